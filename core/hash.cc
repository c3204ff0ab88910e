#include "hash.h"

#include <sys/random.h>
#include <time.h>

namespace dskvs {
namespace {

uint64_t draw_seed() noexcept {
  uint64_t seed;
  if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) == sizeof seed) return seed;
  // So early after boot that the system has no randomness yet: what differs from run to run.
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return XXH64(&now, sizeof now, reinterpret_cast<uintptr_t>(&seed));
}

}  // namespace

uint64_t hash_seed = draw_seed();

}  // namespace dskvs
