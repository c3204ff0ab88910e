// A lock for critical sections of a few dozen instructions. To take it costs one atomic exchange,
// to give it back one store.
//
// A waiter spins for about the time of a few critical sections; a lock still held then is one whose
// holder was descheduled, so the waiter gives its processor away, at first by yielding, then by
// sleeping ever longer: with more threads than processors nobody burns the time slice that the
// holder needs. There is no queue and no fairness. Satisfies Lockable, for std::lock_guard.
#pragma once

#include <sched.h>
#include <time.h>

#include <atomic>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace dskvs {

inline void spin_pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

class SpinLock {
 public:
  void lock() noexcept {
    if (!try_lock_briefly()) wait();
  }
  [[nodiscard]] bool try_lock() noexcept {
    return !held_.exchange(true, std::memory_order_acquire);
  }
  // Waits for a few critical sections, not for a holder that was descheduled.
  [[nodiscard]] bool try_lock_briefly() noexcept { return try_lock() || spin(); }
  void unlock() noexcept { held_.store(false, std::memory_order_release); }

 private:
  static constexpr int kSpins = 100;
  static constexpr int kYields = 20;
  static constexpr long kSleepNsMin = 20'000;
  static constexpr long kSleepNsMax = 1'000'000;

  [[gnu::noinline]] bool spin() noexcept {
    for (int spins = 0; spins < kSpins; ++spins) {
      // Reads only, until it looks free: the holder keeps its cache line.
      if (!held_.load(std::memory_order_relaxed) && try_lock()) return true;
      spin_pause();
    }
    return false;
  }
  [[gnu::noinline]] void wait() noexcept {
    long sleep_ns = kSleepNsMin;
    for (int yields = 0; held_.load(std::memory_order_relaxed) || !try_lock(); ++yields) {
      if (yields < kYields) {
        sched_yield();
      } else {
        const timespec pause{0, sleep_ns};
        nanosleep(&pause, nullptr);
        if (sleep_ns < kSleepNsMax) sleep_ns *= 2;
      }
    }
  }

  std::atomic<bool> held_{false};
};

}  // namespace dskvs
