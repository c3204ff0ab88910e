// What a store on a simulated file system has for a clock, for chance and for sizes.
#pragma once

#include <cstring>

#include "environment.h"

namespace dskvs::test {

// Segments of two or three blocks, cleaned as soon as three of them are garbage, as real ones are.
inline constexpr LogShape kSmallLog{.segment_bytes_min = 12'000,
                                    .slack_bytes = 96'000,
                                    .rescue_parts_min = 2,
                                    .part_look_bytes = 16 << 10};

// Every look at it takes so long; nothing waits for it.
class SimClock : public Clock {
 public:
  explicit SimClock(uint64_t look_us) : look_us_(look_us) {}
  uint64_t now_us() noexcept override { return now_us_ += look_us_; }
  uint64_t thread_cpu_us() noexcept override { return now_us(); }
  void pass(uint64_t us) { now_us_ += us; }

 private:
  const uint64_t look_us_;
  uint64_t now_us_ = 1'000'000;
};

// The same for every store, so that the same calls leave the same bytes.
inline void fixed_random(void* bytes, size_t size) noexcept { std::memset(bytes, 0x5a, size); }

}  // namespace dskvs::test
