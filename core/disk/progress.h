// How a long walk over the log tells how far it is, and learns that it shall stop.
#pragma once

#include "status.h"

#include <atomic>
#include <cstdint>
#include <thread>

namespace dskvs {

struct Progress {
  dskvs_progress callback = nullptr;
  void* context = nullptr;
};

// Counts bytes and calls back in steps of them, which needs no clock. Any thread may add, and
// learns that it shall stop; the callback is called on the one that made the meter.
class ProgressMeter {
 public:
  ProgressMeter(const Progress& progress, uint64_t total_bytes) noexcept
      : progress_(progress), total_bytes_(total_bytes) {}

  // kCancelled when the callback has said so, or cancel() was called.
  Status add(uint64_t bytes) noexcept {
    done_bytes_.fetch_add(bytes, std::memory_order_relaxed);
    if (std::this_thread::get_id() == owner_) return report();
    return cancelled_.load(std::memory_order_relaxed) ? fail_cancelled() : Status::kOk;
  }

  // On the owner's thread: calls back if another step is done.
  Status report() noexcept {
    const uint64_t done_bytes = done_bytes_.load(std::memory_order_relaxed);
    if (cancelled_.load(std::memory_order_relaxed)) return fail_cancelled();
    if (done_bytes < next_call_bytes_) return Status::kOk;
    next_call_bytes_ = done_bytes + kStepBytes;
    return call(done_bytes < total_bytes_ ? done_bytes : total_bytes_);
  }

  Status finish() noexcept { return call(total_bytes_); }

  void cancel() noexcept { cancelled_.store(true, std::memory_order_relaxed); }

 private:
  static constexpr uint64_t kStepBytes = uint64_t{8} << 20;

  static Status fail_cancelled() noexcept {
    return fail(Status::kCancelled, "cancelled by the progress callback");
  }
  Status call(uint64_t done_bytes) noexcept {
    if (progress_.callback == nullptr) return Status::kOk;
    if (progress_.callback(progress_.context, done_bytes, total_bytes_) == 0) return Status::kOk;
    cancel();
    return fail_cancelled();
  }

  const Progress progress_;
  const uint64_t total_bytes_;
  const std::thread::id owner_ = std::this_thread::get_id();
  std::atomic<uint64_t> done_bytes_{0};
  std::atomic<bool> cancelled_{false};
  uint64_t next_call_bytes_ = kStepBytes;  // the owner's
};

}  // namespace dskvs
