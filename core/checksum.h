// The one hash of the disk format: XXH3, 64 bits, always seeded.
#pragma once

#include <xxhash.h>

#include <cstddef>
#include <cstdint>

namespace dskvs {

inline uint64_t checksum(uint64_t seed, const void* data, size_t size) noexcept {
  return XXH3_64bits_withSeed(data, size, seed);
}

// The same hash over bytes that do not lie in one place.
class RunningChecksum {
 public:
  explicit RunningChecksum(uint64_t seed) noexcept {
    XXH3_INITSTATE(&state_);
    XXH3_64bits_reset_withSeed(&state_, seed);
  }
  void add(const void* data, size_t size) noexcept { XXH3_64bits_update(&state_, data, size); }
  uint64_t value() const noexcept { return XXH3_64bits_digest(&state_); }

 private:
  XXH3_state_t state_;
};

}  // namespace dskvs
