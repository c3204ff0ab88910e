// Takes the place of what threads meet through, for those that are scheduled: the atomic operations
// of what was compiled with -fsanitize=thread, which calls __tsan_* here instead of libtsan; and
// the calls of the C library for threads, locks, conditions, futexes and time. libstdc++ comes here
// too, since what the executable defines goes before what libraries do. Other threads get the real
// ones.
//
// Not here: pthread_once() and read-write locks, for which no two threads of a run wait. One that
// did would keep the baton, and the run end by SIGALRM.
//
// Compiled without -fsanitize=thread. A real lock is taken only when it is free, so a thread never
// blocks with the baton in its hand.
#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <cstring>

#include "schedule/scheduler.h"
#include "schedule/scheduler_impl.h"

namespace dskvs::test {
namespace {

template <typename Function>
Function* real(Function* /*type*/, const char* name) noexcept {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}
#define DSKVS_REAL(name)                                                  \
  ([]() noexcept {                                                        \
    static decltype(&::name) found = nullptr;                             \
    if (found == nullptr) found = real<decltype(::name)>(nullptr, #name); \
    return found;                                                         \
  }())

uint64_t us_of(const timespec& time) noexcept {
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000 +
         (static_cast<uint64_t>(time.tv_nsec) + 999) / 1000;
}

struct Start {
  void* (*routine)(void*);
  void* argument;
  Scheduled* self;
};

// A thread is scheduled until the last of its destructors has run: what they do is seen by others.
void leave(void* value) noexcept;
pthread_key_t leave_key() noexcept {
  static const pthread_key_t key = [] {
    pthread_key_t made;
    if (::pthread_key_create(&made, leave) != 0) std::abort();
    return made;
  }();
  return key;
}
void leave(void* value) noexcept {
  static thread_local int rounds = 0;
  if (++rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
    ::pthread_setspecific(leave_key(), value);
  } else {
    end_thread(*static_cast<Scheduled*>(value));
  }
}

void* run_thread(void* argument) {
  const Start start = *static_cast<Start*>(argument);
  delete static_cast<Start*>(argument);
  begin_thread(*start.self);
  ::pthread_setspecific(leave_key(), start.self);
  return start.routine(start.argument);
}

int wait_at(pthread_cond_t* condition, pthread_mutex_t* mutex, uint64_t deadline_us) noexcept {
  point();
  // To give the lock back and to wait is one step.
  DSKVS_REAL(pthread_mutex_unlock)(mutex);
  make_ready(mutex);
  const bool woken = wait_for(condition, deadline_us);
  ::pthread_mutex_lock(mutex);
  return woken ? 0 : ETIMEDOUT;
}

}  // namespace

long real_futex(std::atomic<uint32_t>& word, int operation, uint32_t value) noexcept {
  return DSKVS_REAL(syscall)(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, nullptr,
                             nullptr, 0);
}

}  // namespace dskvs::test

using namespace dskvs::test;

// ---- Threads.

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*routine)(void*), void* argument) noexcept {
  if (scheduled == nullptr) {
    return DSKVS_REAL(pthread_create)(thread, attributes, routine, argument);
  }
  Scheduled& added = add_thread();
  auto* const start = new Start{routine, argument, &added};
  if (DSKVS_REAL(pthread_create)(thread, attributes, run_thread, start) != 0) std::abort();
  added.thread = *thread;
  point();
  return 0;
}

extern "C" int pthread_join(pthread_t thread, void** result) {
  if (scheduled != nullptr) {
    point();
    while (Scheduled* const other = find_thread(thread)) wait_for(other, kForeverUs);
  }
  return DSKVS_REAL(pthread_join)(thread, result);
}

extern "C" int sched_yield() noexcept {
  if (scheduled == nullptr) return DSKVS_REAL(sched_yield)();
  yield();
  return 0;
}

// The same on every machine: recovery takes as many threads as there are processors.
extern "C" int get_nprocs() noexcept { return 2; }

// ---- Locks and conditions.

extern "C" int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  if (scheduled == nullptr) return DSKVS_REAL(pthread_mutex_lock)(mutex);
  point();
  int status;
  while ((status = DSKVS_REAL(pthread_mutex_trylock)(mutex)) == EBUSY) wait_for(mutex, kForeverUs);
  return status;
}

extern "C" int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept {
  point();
  return DSKVS_REAL(pthread_mutex_trylock)(mutex);
}

extern "C" int pthread_mutex_unlock(pthread_mutex_t* mutex) noexcept {
  const int status = DSKVS_REAL(pthread_mutex_unlock)(mutex);
  if (scheduled == nullptr) return status;
  make_ready(mutex);
  point();
  return status;
}

extern "C" int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  if (scheduled == nullptr) return DSKVS_REAL(pthread_cond_wait)(condition, mutex);
  return wait_at(condition, mutex, kForeverUs);
}

extern "C" int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                                      const timespec* until) {
  if (scheduled == nullptr) return DSKVS_REAL(pthread_cond_timedwait)(condition, mutex, until);
  return wait_at(condition, mutex, us_of(*until));
}

extern "C" int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                                      clockid_t clock, const timespec* until) {
  if (scheduled == nullptr) {
    return DSKVS_REAL(pthread_cond_clockwait)(condition, mutex, clock, until);
  }
  return wait_at(condition, mutex, us_of(*until));
}

extern "C" int pthread_cond_signal(pthread_cond_t* condition) noexcept {
  if (scheduled == nullptr) return DSKVS_REAL(pthread_cond_signal)(condition);
  point();
  wake(condition, 1);
  return 0;
}

extern "C" int pthread_cond_broadcast(pthread_cond_t* condition) noexcept {
  if (scheduled == nullptr) return DSKVS_REAL(pthread_cond_broadcast)(condition);
  point();
  wake(condition, UINT64_MAX);
  return 0;
}

// ---- Time.

extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  if (scheduled == nullptr) return DSKVS_REAL(clock_gettime)(clock, time);
  const uint64_t now_us = simulated_us();
  time->tv_sec = static_cast<time_t>(now_us / 1'000'000);
  time->tv_nsec = static_cast<long>(now_us % 1'000'000 * 1000);
  return 0;
}

extern "C" int nanosleep(const timespec* pause, timespec* rest) {
  if (scheduled == nullptr) return DSKVS_REAL(nanosleep)(pause, rest);
  (void)wait_for(nullptr, simulated_us() + us_of(*pause));
  return 0;
}

extern "C" int clock_nanosleep(clockid_t clock, int flags, const timespec* pause, timespec* rest) {
  if (scheduled == nullptr) return DSKVS_REAL(clock_nanosleep)(clock, flags, pause, rest);
  const uint64_t from_us = (flags & TIMER_ABSTIME) != 0 ? 0 : simulated_us();
  (void)wait_for(nullptr, from_us + us_of(*pause));
  return 0;
}

// ---- Futexes, under std::atomic::wait() and the first look at a static variable.

extern "C" long syscall(long number, ...) noexcept {
  long words[6];
  va_list rest;
  va_start(rest, number);
  for (long& word : words) word = va_arg(rest, long);
  va_end(rest);
  const int operation = static_cast<int>(words[1]) & FUTEX_CMD_MASK;  // who calls gives an int
  const bool waits = operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET;
  const bool wakes = operation == FUTEX_WAKE || operation == FUTEX_WAKE_BITSET;
  if (scheduled == nullptr || number != SYS_futex || (!waits && !wakes)) {
    return DSKVS_REAL(syscall)(number, words[0], words[1], words[2], words[3], words[4], words[5]);
  }
  auto* const address = reinterpret_cast<int*>(words[0]);
  point();
  if (wakes) {
    wake(address, static_cast<uint32_t>(words[2]));
    return 0;
  }
  if (*address != static_cast<int>(words[2])) {
    errno = EAGAIN;
    return -1;
  }
  const auto* const pause = reinterpret_cast<const timespec*>(words[3]);
  uint64_t until_us = pause == nullptr ? kForeverUs : us_of(*pause);
  if (pause != nullptr && operation == FUTEX_WAIT) until_us += simulated_us();
  if (wait_for(address, until_us)) return 0;
  errno = ETIMEDOUT;
  return -1;
}

// ---- What -fsanitize=thread calls. Every order is the strongest.

// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" {

#define DSKVS_FETCH(bits, type, name)                                                     \
  type __tsan_atomic##bits##_fetch_##name(volatile type* at, type value, int /*order*/) { \
    point();                                                                              \
    return __atomic_fetch_##name(at, value, __ATOMIC_SEQ_CST);                            \
  }
#define DSKVS_EXCHANGE_IF(bits, type, strength)                                          \
  int __tsan_atomic##bits##_compare_exchange_##strength(                                 \
      volatile type* at, type* expected, type value, int /*order*/, int /*otherwise*/) { \
    point();                                                                             \
    return __atomic_compare_exchange_n(at, expected, value, false, __ATOMIC_SEQ_CST,     \
                                       __ATOMIC_SEQ_CST);                                \
  }
#define DSKVS_ATOMICS(bits, type)                                                                 \
  type __tsan_atomic##bits##_load(const volatile type* at, int /*order*/) {                       \
    point();                                                                                      \
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                                 \
  }                                                                                               \
  void __tsan_atomic##bits##_store(volatile type* at, type value, int /*order*/) {                \
    point();                                                                                      \
    __atomic_store_n(at, value, __ATOMIC_SEQ_CST);                                                \
  }                                                                                               \
  type __tsan_atomic##bits##_exchange(volatile type* at, type value, int /*order*/) {             \
    point();                                                                                      \
    return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);                                      \
  }                                                                                               \
  type __tsan_atomic##bits##_compare_exchange_val(volatile type* at, type expected, type value,   \
                                                  int /*order*/, int /*otherwise*/) {             \
    point();                                                                                      \
    __atomic_compare_exchange_n(at, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
    return expected;                                                                              \
  }                                                                                               \
  DSKVS_EXCHANGE_IF(bits, type, strong)                                                           \
  DSKVS_EXCHANGE_IF(bits, type, weak)                                                             \
  DSKVS_FETCH(bits, type, add)                                                                    \
  DSKVS_FETCH(bits, type, sub)                                                                    \
  DSKVS_FETCH(bits, type, and)                                                                    \
  DSKVS_FETCH(bits, type, or)                                                                     \
  DSKVS_FETCH(bits, type, xor)
DSKVS_ATOMICS(8, uint8_t)
DSKVS_ATOMICS(16, uint16_t)
DSKVS_ATOMICS(32, uint32_t)
DSKVS_ATOMICS(64, uint64_t)
void __tsan_atomic_thread_fence(int /*order*/) { point(); }
void __tsan_atomic_signal_fence(int /*order*/) {}

// What is not atomic is nobody else's meanwhile, or ThreadSanitizer itself has something to say.
#define DSKVS_PLAIN(size)                    \
  void __tsan_read##size(void*) {}           \
  void __tsan_write##size(void*) {}          \
  void __tsan_unaligned_read##size(void*) {} \
  void __tsan_unaligned_write##size(void*) {}
DSKVS_PLAIN(1)
DSKVS_PLAIN(2)
DSKVS_PLAIN(4)
DSKVS_PLAIN(8)
DSKVS_PLAIN(16)
void* __tsan_memcpy(void* to, const void* from, unsigned long size) {
  return std::memcpy(to, from, size);
}
void* __tsan_memmove(void* to, const void* from, unsigned long size) {
  return std::memmove(to, from, size);
}
void* __tsan_memset(void* to, int byte, unsigned long size) { return std::memset(to, byte, size); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit(void*) {}
void __tsan_read_range(void*, unsigned long) {}
void __tsan_write_range(void*, unsigned long) {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}
}
// NOLINTEND(bugprone-reserved-identifier)
