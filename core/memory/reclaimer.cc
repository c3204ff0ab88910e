#include "memory/reclaimer.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

namespace dskvs {

namespace reclaimer {
namespace {

// To reclaim is worth while from 256 objects on, or 1 MiB of them.
constexpr size_t kWeightDue = ReaderSlot::kWeightDue;
constexpr size_t kObjectWeightMin = kWeightDue / 256;
constexpr size_t kWeightStep = kWeightDue / 8;

std::atomic<ReaderSlot*> all_slots{nullptr};
SpinLock growth_lock;  // who adds a slot holds it

bool register_membarrier() noexcept {
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void release_slot(void* object) noexcept {
  auto* leaving = static_cast<ReaderSlot*>(object);
  slot = nullptr;
  leaving->taken.store(false, std::memory_order_release);
}

// Gives a slot back when its thread ends. A pthread key rather than a thread_local destructor: it
// runs again when a later destructor of the thread calls into the library once more.
struct ExitKey {
  pthread_key_t key = 0;
  const bool made = ::pthread_key_create(&key, release_slot) == 0;
};
const ExitKey& exit_key() noexcept {
  static const ExitKey key;
  return key;
}

// nullptr: `wanted` is true for none.
template <typename Wanted>
ReaderSlot* find_slot(Wanted&& wanted) noexcept {
  ReaderSlot* s = all_slots.load(std::memory_order_acquire);
  while (s != nullptr && !wanted(*s)) s = s->next;
  return s;
}

template <typename Visit>
void for_each_slot(Visit&& visit) noexcept {
  (void)find_slot([&](ReaderSlot& s) {
    visit(s);
    return false;
  });
}

ReaderSlot* take_free_slot() noexcept {
  return find_slot([](ReaderSlot& s) {
    return !s.taken.load(std::memory_order_relaxed) &&
           !s.taken.exchange(true, std::memory_order_acquire);
  });
}

ReaderSlot* make_slot() noexcept {
  auto* made = new (std::nothrow) ReaderSlot;
  if (made == nullptr) return nullptr;
  made->taken.store(true, std::memory_order_relaxed);
  std::lock_guard guard(growth_lock);
  made->next = all_slots.load(std::memory_order_relaxed);
  made->index = made->next == nullptr ? 0 : made->next->index + 1;
  all_slots.store(made, std::memory_order_release);
  return made;
}

// Begins a new period. Sections that show less than the result may have begun before.
uint64_t advance_clock() noexcept {
  uint64_t now = clock.fetch_add(1, std::memory_order_seq_cst) + 1;
#ifndef DSKVS_TSAN
  if (fences_are_asymmetric) {
    while (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0 &&
           errno == ENOMEM) {
      std::this_thread::yield();
    }
  } else {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
#endif
  return now;
}

bool still_inside(const ReaderSlot& s, uint64_t before) noexcept {
  uint64_t entered = s.entered.load(std::memory_order_seq_cst);
  return entered != 0 && entered < before;
}

bool anyone_inside(uint64_t before) noexcept {
  return find_slot([before](const ReaderSlot& s) { return still_inside(s, before); }) != nullptr;
}

void wait_until_all_outside(uint64_t before) noexcept {
  for_each_slot([before](const ReaderSlot& s) {
    // Sections are short; one that lasts belongs to a thread that the scheduler has put aside.
    for (int spins = 0; still_inside(s, before); spins++) {
      if (spins >= 256) {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      } else if (spins >= 64) {
        std::this_thread::yield();
      }
    }
  });
}

void dispose_of(RetiredBag& bag) noexcept {
  for (uint32_t i = 0; i < bag.count; i++) {
    if (i + 8 < bag.count) __builtin_prefetch(bag.items[i + 8].object, 1);
    bag.items[i].dispose(bag.items[i].object);
  }
  bag.count = 0;
}

// Needs s.lock.
void reclaim(ReaderSlot& s) noexcept {
  if (s.waiting->count != 0) {
    if (anyone_inside(s.waiting_clock)) return;
    dispose_of(*s.waiting);
  }
  if (s.fresh->count == 0) return;
  std::swap(s.fresh, s.waiting);
  s.retired.store(0, std::memory_order_relaxed);
  s.reclaim_due.store(false, std::memory_order_relaxed);
  s.weight = 0;
  s.weight_due = kWeightDue;
  s.waiting_clock = advance_clock();
  if (!anyone_inside(s.waiting_clock)) dispose_of(*s.waiting);
}

}  // namespace

std::atomic<uint64_t> clock{1};
bool fences_are_asymmetric = register_membarrier();
constinit thread_local ReaderSlot* slot __attribute__((tls_model("initial-exec"))) = nullptr;

bool register_thread() noexcept {
  if (slot != nullptr) return true;
  if (!exit_key().made) return false;  // the process has no key left
  ReaderSlot* mine = take_free_slot();
  if (mine == nullptr) mine = make_slot();
  if (mine == nullptr) return false;
  if (pthread_setspecific(exit_key().key, mine) != 0) {
    mine->taken.store(false, std::memory_order_release);
    return false;
  }
  slot = mine;
  return true;
}

void prepare_to_retire() noexcept {
  ReaderSlot& mine = *slot;
  while (mine.retired.load(std::memory_order_relaxed) >
         RetiredBag::kItemsMax - kRetiredPerCallMax) {
    uint64_t wait_for;
    {
      std::lock_guard guard(mine.lock);
      reclaim(mine);
      wait_for = mine.waiting_clock;
    }
    wait_until_all_outside(wait_for);
  }
}

void retire(void* object, size_t bytes, Dispose dispose) noexcept {
  ReaderSlot& mine = *slot;
  std::lock_guard guard(mine.lock);
  RetiredBag& bag = *mine.fresh;
  assert(bag.count < RetiredBag::kItemsMax);
  bag.items[bag.count++] = {object, dispose};
  mine.weight += std::max(bytes, kObjectWeightMin);
  mine.retired.store(bag.count, std::memory_order_relaxed);
  if (mine.weight >= mine.weight_due) mine.reclaim_due.store(true, std::memory_order_relaxed);
}

void reclaim_if_due() noexcept {
  ReaderSlot& mine = *slot;
  if (!mine.reclaim_due.load(std::memory_order_relaxed)) return;
  std::lock_guard guard(mine.lock);
  reclaim(mine);
  // Somebody keeps the previous bag waiting: do not ask again at every call.
  mine.reclaim_due.store(false, std::memory_order_relaxed);
  mine.weight_due = std::max(kWeightDue, mine.weight + kWeightStep);
}

void wait_for_readers() noexcept { wait_until_all_outside(advance_clock()); }

void reclaim_all() noexcept {
  wait_for_readers();
  for_each_slot([](ReaderSlot& s) {
    std::lock_guard guard(s.lock);
    // Whatever is in the bags was retired under this lock: if in a section that is still open, that
    // is seen here.
    if (s.entered.load(std::memory_order_acquire) != 0) return;
    reclaim(s);
    reclaim(s);
  });
}

void prepare_fork() noexcept {
  (void)exit_key();  // its initialisation has ended, too
  growth_lock.lock();
  for_each_slot([](ReaderSlot& s) { s.lock.lock(); });
}

void after_fork(bool in_child) noexcept {
  if (in_child) fences_are_asymmetric = register_membarrier();
  for_each_slot([in_child](ReaderSlot& s) {
    s.lock.unlock();
    if (!in_child || &s == slot) return;
    // Its thread is gone, and its section with it.
    s.entered.store(0, std::memory_order_relaxed);
    s.taken.store(false, std::memory_order_relaxed);
  });
  growth_lock.unlock();
}

}  // namespace reclaimer
}  // namespace dskvs
