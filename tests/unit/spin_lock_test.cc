// Goal: the spin lock lets one thread in at a time, and its waiters come in even when the holder is
// descheduled.
// Method: more threads than processors change two plain counters together under the lock, some of
// them giving their processor away inside; ThreadSanitizer sees the counters too.
#include "memory/spin_lock.h"

#include <sched.h>

#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "support/catch.h"

namespace dskvs {

TEST_CASE("one thread at a time holds the lock") {
  constexpr uint64_t kThreads = 8;
  constexpr uint64_t kRounds = 20'000;
  SpinLock lock;
  uint64_t first = 0;
  uint64_t second = 0;
  uint64_t torn = 0;
  auto work = [&](bool yields) {
    for (uint64_t i = 0; i < kRounds; ++i) {
      std::lock_guard guard(lock);
      if (first != second) ++torn;
      ++first;
      if (yields && i % 1'000 == 0) sched_yield();
      ++second;
    }
  };
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < kThreads; ++i) threads.emplace_back(work, i % 2 == 0);
  for (std::thread& thread : threads) thread.join();
  CHECK(torn == 0);
  CHECK(first == kThreads * kRounds);
}

TEST_CASE("a lock that is held is refused, not waited for") {
  SpinLock lock;
  REQUIRE(lock.try_lock());
  bool taken = true;
  std::thread([&] { taken = lock.try_lock(); }).join();
  CHECK(!taken);
  lock.unlock();
  REQUIRE(lock.try_lock());
  lock.unlock();
}

TEST_CASE("a waiter comes in when the lock is given back") {
  SpinLock lock;
  lock.lock();
  bool in = false;
  std::thread waiter([&] {
    std::lock_guard guard(lock);
    in = true;
  });
  for (int i = 0; i < 2'000; ++i) sched_yield();  // long enough for the waiter to go to sleep
  CHECK(!in);
  lock.unlock();
  waiter.join();
  CHECK(in);
}

}  // namespace dskvs
