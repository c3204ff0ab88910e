// How much of each segment was current when a sweep last came by. No more is since, for what is
// written goes to newer segments.
#pragma once

#include "disk/segment_format.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace dskvs {

class SegmentTally {
 public:
  // A sweep begins, that will count what stands in the segments [first, end).
  void begin(uint64_t first, uint64_t end) noexcept {
    counted_.first = first;
    counted_.end = std::min(end, first + kSegments);
    counted_.bytes.fill(0);
  }
  void count(uint64_t segment, uint64_t bytes) noexcept {
    if (counted_.has(segment)) counted_.bytes[segment - counted_.first] += bytes;
  }
  // It has come to its end, or was given up.
  void finish() noexcept {
    if (counted_.end != 0) known_ = counted_;
    give_up();
  }
  void give_up() noexcept { counted_.end = 0; }

  // So much of it is current at most: all, where no sweep has told.
  uint64_t current_bytes(const SegmentFile& segment) const noexcept {
    if (!known_.has(segment.id)) return segment.bytes;
    return std::min(segment.bytes, known_.bytes[segment.id - known_.first]);
  }

 private:
  static constexpr uint64_t kSegments = 512;  // most logs have a few dozen

  struct Counts {
    uint64_t first = 0;
    uint64_t end = 0;
    std::array<uint64_t, kSegments> bytes{};
    bool has(uint64_t segment) const noexcept { return segment >= first && segment < end; }
  };
  Counts counted_;
  Counts known_;
};

}  // namespace dskvs
