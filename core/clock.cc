#include "clock.h"

#include <time.h>

#include <cstddef>
#include <new>

namespace dskvs {
namespace {

class SteadyClock : public Clock {
 public:
  uint64_t now_us() noexcept override { return read(CLOCK_MONOTONIC) + 1; }
  uint64_t thread_cpu_us() noexcept override { return read(CLOCK_THREAD_CPUTIME_ID); }

 private:
  static uint64_t read(clockid_t clock) noexcept {
    timespec time;
    clock_gettime(clock, &time);
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000 +
           static_cast<uint64_t>(time.tv_nsec) / 1000;
  }
};

}  // namespace

Clock& steady_clock() noexcept {
  // Never destroyed: a persister may outlive main().
  alignas(SteadyClock) static std::byte place[sizeof(SteadyClock)];
  static SteadyClock& clock = *new (place) SteadyClock;
  return clock;
}

}  // namespace dskvs
