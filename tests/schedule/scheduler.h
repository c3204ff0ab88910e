// Runs a body and the threads that it starts one at a time: exactly one holds the baton, and at
// each atomic operation, lock, wait and file call it may have to hand it on. Who goes on is decided
// by the seed alone, so that the same seed is the same run.
//
// What the threads do reaches the scheduler through interpose.cc. Waiting is a state of the
// scheduler's: who waits for a lock, a condition, a futex, a thread or for time gets no baton. Time
// is simulated. It passes when nobody else can go on, and now and then although somebody could,
// since a thread that the system has put aside does not stop the clock. When nobody can go on and
// nobody waits for time, a wake-up was lost, or threads wait for each other.
//
// Two policies, by the seed:
// - priorities: each thread, and time, has a random one, and the highest goes on. At a few steps,
//   chosen in advance, the thread that takes them falls behind all others. The steps are counted
//   for each thread by itself, or the long ways of the persister would draw them all.
// - a random walk: at intervals of a random length, anybody goes on.
// A thread that yields falls behind all others.
//
// All is sequentially consistent: what weaker memory orders allow is not explored.
#pragma once

#include <cstdint>
#include <functional>

namespace dskvs::test {

struct Trace {
  uint64_t steps = 0;
  uint64_t switches = 0;
  uint64_t hash = 0;  // of who went on where
};

// Runs `body`, and returns when it and all threads that it started have ended. What goes wrong is
// told to `violated`, which must not return: the threads stay where they are. One at a time.
Trace run_schedule(uint64_t seed, void (*violated)(const char* what),
                   const std::function<void()>& body);

// In the body and its threads: microseconds of the simulated time.
uint64_t simulated_us();
// How much of it passed because nobody could go on.
uint64_t idle_time_us();
// Ends the run as what the scheduler finds does.
void schedule_violated(const char* what);
// A number that is larger at each call. In the order of the schedule.
uint64_t next_instant();
// May hand the baton on.
void schedule_point();

}  // namespace dskvs::test
