// The seed of a random test: DSKVS_SEED, or a fresh one. Printed either way, so that every failure
// can be replayed.
#pragma once

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace dskvs::test {

inline uint64_t announce_seed(const char* test) {
  const char* given = std::getenv("DSKVS_SEED");
  uint64_t seed = given != nullptr
                      ? std::strtoull(given, nullptr, 10)
                      : (uint64_t{std::random_device{}()} << 32 | std::random_device{}());
  std::printf("%s: DSKVS_SEED=%" PRIu64 "\n", test, seed);
  std::fflush(stdout);
  return seed;
}

// A count of rounds: the environment variable `name`, for campaigns, or what suits CI.
inline uint64_t rounds(const char* name, uint64_t in_ci) {
  const char* given = std::getenv(name);
  return given != nullptr ? std::strtoull(given, nullptr, 10) : in_ci;
}

}  // namespace dskvs::test
