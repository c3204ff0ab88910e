// What interpose.cc asks of the scheduler. All of it by the thread that holds the baton.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

namespace dskvs::test {

struct alignas(64) Scheduled {
  enum class State { kReady, kWaiting, kEnded };

  std::atomic<uint32_t> baton{0};
  State state = State::kReady;
  const void* waits_for = nullptr;
  uint64_t deadline_us = UINT64_MAX;
  bool woken = false;       // or its time has come
  int64_t priority = 0;     // the highest goes on
  uint64_t left = 0;        // steps until the scheduler is asked again
  uint64_t chunk = 0;       // what `left` began with
  uint64_t until_fall = 0;  // steps until it falls behind all others
  pthread_t thread{};
  uint32_t number = 0;
};

// nullptr: a thread that is not scheduled, which does as ever.
extern constinit thread_local Scheduled* scheduled __attribute__((tls_model("initial-exec")));

constexpr uint64_t kForeverUs = UINT64_MAX;

void decide(Scheduled& self) noexcept;
inline void point() noexcept {
  Scheduled* const self = scheduled;
  if (self != nullptr && --self->left == 0) [[unlikely]]
    decide(*self);
}

// False: the time has come. Locks and conditions are waited for at their addresses.
bool wait_for(const void* address, uint64_t deadline_us) noexcept;
// All who wait there can go on, when they get the baton.
void make_ready(const void* address) noexcept;
// At most so many of them, which may be at once.
void wake(const void* address, uint64_t most) noexcept;
void yield() noexcept;

Scheduled& add_thread() noexcept;
void begin_thread(Scheduled& self) noexcept;  // in the new thread; waits for the baton
void end_thread(Scheduled& self) noexcept;    // hands it on for good
Scheduled* find_thread(pthread_t thread) noexcept;

// Not through interpose.cc.
long real_futex(std::atomic<uint32_t>& word, int operation, uint32_t value) noexcept;

}  // namespace dskvs::test
