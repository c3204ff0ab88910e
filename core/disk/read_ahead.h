// Reads a part of a file front to back in a second thread, so that the next bytes are fetched while
// these are parsed.
//
// A ring of slots with one producer, the thread, and one consumer. produced_ and consumed_ count
// slots and only grow; slot n % kSlots belongs to the producer while n >= produced_, and to the
// consumer from then on until it counts it as consumed. Each counter is stored with release by its
// one writer and loaded with acquire by the other side, which is all that orders the slots' bytes.
#pragma once

#include "disk/file.h"
#include "status.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>

namespace dskvs {

class ReadAhead {
 public:
  // Room in front of a slot's bytes, for what the consumer has left of the slot before it.
  static constexpr size_t kHeadroomBytes = size_t{256} << 10;

  // Begins to read [begin, end) of `file`, which outlives this. nullptr: no thread, or no memory,
  // can be had; the caller reads by itself.
  static std::unique_ptr<ReadAhead> start(File& file, uint64_t begin, uint64_t end);
  ~ReadAhead();

  // Waits for the next bytes. What was handed out before may be overwritten from now on, but for
  // the slot before this one, which stays until the next call. `*size` 0: the file has ended. kIo.
  Status next(std::byte** bytes, size_t* size);

 private:
  static constexpr uint32_t kSlots = 4;
  static constexpr size_t kSlotBytes = size_t{1} << 20;

  struct Slot {
    std::unique_ptr<std::byte[]> room;
    size_t size = 0;
    Status status = Status::kOk;
  };

  ReadAhead(File& file, uint64_t begin, uint64_t end) : file_(file), next_(begin), end_(end) {}
  void run() noexcept;
  void fill(Slot* slot) noexcept;

  File& file_;
  uint64_t next_;        // the producer's
  uint64_t hinted_ = 0;  // the producer's: up to here the system was asked to read
  const uint64_t end_;
  std::array<Slot, kSlots> slots_;
  std::array<char, kErrorTextSizeMax + 1> error_{};  // written before the slot that failed
  uint32_t taken_ = 0;                               // the consumer's
  std::atomic<uint32_t> produced_ = 0;
  std::atomic<uint32_t> consumed_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace dskvs
