// The hash of names and members: seeded once a process, so that nobody can prepare keys that
// collide.
#pragma once

#include <xxhash.h>

#include <cstdint>
#include <string_view>

namespace dskvs {

extern uint64_t hash_seed;  // drawn from the system's randomness when the library is loaded

struct KeyHash {
  uint64_t operator()(std::string_view key) const noexcept {
    return XXH3_64bits_withSeed(key.data(), key.size(), hash_seed);
  }
};

}  // namespace dskvs
