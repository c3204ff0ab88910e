// The seed of a random test of the core: the hashes, on which the order depends in which a store
// writes, come from it as well. With one thread and a simulated disk the same seed is the same run.
#pragma once

#include "hash.h"
#include "support/seed.h"

namespace dskvs::test {

inline uint64_t announce_core_seed(const char* test) {
  hash_seed = announce_seed(test);
  return hash_seed;
}

}  // namespace dskvs::test
