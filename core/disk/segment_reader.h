// Walks the frames of one segment, in order, with bounded memory.
#pragma once

#include "checksum.h"
#include "disk/file.h"
#include "disk/progress.h"
#include "disk/segment_format.h"
#include "status.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace dskvs {

enum class Next { kFrame, kEnd, kBad };

// What a reader came upon.
struct Frame {
  Next what;
  const char* kind;  // but kFrame: why there is none
  uint64_t bytes;    // of the whole frame, if its header is intact, or else of a place for a header
  // kFrame alone.
  FrameType type;
  uint64_t offset;
  uint64_t checksum;
  std::string_view key;
  uint64_t value_size;
  const std::byte* value;  // nullptr: it is large, and neither read nor checked yet
};

class SegmentReader {
 public:
  // One buffer for all segments that it will read. `meter` counts what is read. Tests make the
  // buffer small; a quarter of it must have room for the header and key of every frame.
  explicit SegmentReader(ProgressMeter& meter, size_t buffer_bytes = kBufferBytes)
      : meter_(meter), buffer_bytes_(buffer_bytes) {}

  // Will read [begin, end) of `file`. REQUIRES: begin <= end. Throws bad_alloc.
  void open(std::unique_ptr<File> file, FrameSeed seed, uint64_t begin, uint64_t end);

  // The next frame: its checksum is right, but for a large value, which read_value() must take
  // before the next call. kBad: there is none here, and offset() stays.
  // kOk, kIo, kCancelled.
  Status next(Frame* frame);

  // Likewise, but a large value is checked as well, before read_value() takes it.
  Status next_intact(Frame* frame);

  // The next commit that is intact, whatever stands before it. Never kBad.
  Status next_commit(Frame* frame);

  // A large frame that reaches into a hole of the file costs nobody its size. It is believed only
  // where another frame's header stands behind it: without one it is not committed, so that it does
  // not matter; and, where it `shall_be_intact`, when it is. Otherwise it becomes kBad. Leaves
  // every other frame alone. What the system says of holes decides no more than that: all bytes
  // are read, since some file systems called data a hole that was not on the disk yet.
  Status check_hollow(Frame* frame, bool shall_be_intact);

  // Reads the value of a large frame to `to`, or only checks it (nullptr). Where the frame's
  // checksum is wrong it becomes kBad, and offset() is the frame's.
  Status read_value(Frame* frame, void* to);

  uint64_t offset() const { return offset_; }

  // Goes on at `offset`, which is a multiple of 8, or at the end.
  void seek(uint64_t offset);

  // Moves to the first place at or behind offset() where a frame header stands that is followed by
  // its frame's bytes, or to the end. `commits_only`: a commit's header.
  Status find_header(bool commits_only);

  // Where no header tells whose the segment is, a commit does: it names the store, and its checksum
  // bears that out. Leaves `*store_id` as it is when there is none.
  Status find_store_id(uint64_t segment_id, StoreId* store_id);

 private:
  // The system reads ahead of reads of this size, in order, by itself; to ask it for more, or for
  // more at a time, makes several threads' reading slower.
  static constexpr size_t kBufferBytes = size_t{1} << 20;

  template <typename Is>
  Status find(size_t bytes, Is&& is);
  Status fill(size_t bytes);
  bool in_hole(uint64_t begin, uint64_t end);
  static Status none(Frame* frame, const char* kind, Next what = Next::kBad);
  bool fits(const FrameHeader& header) const;
  // From here on a frame is not buffered whole.
  uint64_t large_frame_bytes() const { return buffer_bytes_ / 4; }
  uint64_t left() const { return end_ - offset_; }
  size_t buffered() const { return filled_ - position_; }

  ProgressMeter& meter_;
  const size_t buffer_bytes_;
  std::unique_ptr<File> file_;
  std::vector<std::byte> buffer_;  // a whole small segment, or buffer_bytes_
  size_t position_ = 0;            // in the buffer: the byte at offset_
  size_t filled_ = 0;
  FrameSeed seed_;
  uint64_t offset_ = 0;
  uint64_t end_ = 0;
  // The first hole that ends behind the large frame that was looked at last: they are looked at in
  // their order.
  struct {
    uint64_t begin;
    uint64_t end;
  } hole_{};

  static_assert(kBufferBytes / 4 > kFrameHeaderBytes + kKeyBytesMax);
};

}  // namespace dskvs
