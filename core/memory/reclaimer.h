// Says when memory that was taken out of a lock-free structure can be freed: when no thread can
// still be looking at it. The same mechanism tells the persister that no writer is left in a sealed
// epoch, and close() that no call is left in a store.
//
// Every call that looks at shared structures does so in a ReadSection. A thread has a slot; while
// it is in a section, the slot shows the value that the global clock had when the section began.
// Whoever wants to know that all sections which are open now have ended advances the clock to t,
// and waits until every slot shows 0 (outside) or at least t.
//
// Memory ordering. The writer of a slot does "store slot; read structures", the observer does
// "change structures; read slot": on each side the load may not pass the store, which needs a full
// fence on both, or, since sections are frequent and observations rare, none on the side of the
// section and an asymmetric one, membarrier(2), on the other: it makes every running thread of the
// process pass a full fence between its beginning and its end. So either the observer sees the
// slot, or the section began after the fence and sees what the observer had changed before. Where
// the system has no membarrier, and under ThreadSanitizer, which does not know it, sections pay for
// their own fence. The clock is read with acquire: a section that shows t or more began after the
// advance to t, and sees everything that happened before it. Leaving a section is a release, which
// the observer's acquire load of the slot pairs with.
//
// Retired objects wait in bags of the retiring thread's slot. A bag is disposed of as a whole, at
// one advance of the clock for some hundred objects. A slot's lock protects its bags: its thread
// takes it to retire, and the persister to empty the bags of threads that went idle. An object may
// be retired a moment before it is out of reach, but in the same section: so bags are looked at
// only while their thread is in none. Disposing of an object must not retire another.
#pragma once

#include "memory/spin_lock.h"

#include <atomic>
#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_THREAD__)
#define DSKVS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DSKVS_TSAN 1
#endif
#endif

namespace dskvs {

using Dispose = void (*)(void* object) noexcept;

struct RetiredBag {
  struct Item {
    void* object;
    Dispose dispose;
  };
  static constexpr uint32_t kItemsMax = 512;

  uint32_t count = 0;
  Item items[kItemsMax];
};

struct alignas(64) ReaderSlot {
  static constexpr size_t kWeightDue = size_t{1} << 20;

  std::atomic<uint64_t> entered{0};  // 0: outside; else the clock at the section's beginning

  alignas(64) std::atomic<bool> taken{
      false};                  // by a thread; slots are never freed, but taken again
  uint32_t index = 0;          // 0, 1, 2 ... in the order of creation
  ReaderSlot* next = nullptr;  // all slots, newest first; immutable

  std::atomic<uint32_t> retired{0};      // items in `fresh`; written under the lock
  std::atomic<bool> reclaim_due{false};  // likewise

  SpinLock lock;                   // guards what follows
  size_t weight = 0;               // of the items in `fresh`
  size_t weight_due = kWeightDue;  // worth another attempt from here
  RetiredBag bags[2];
  RetiredBag* fresh = &bags[0];    // retired since the last advance
  RetiredBag* waiting = &bags[1];  // can be disposed of when all slots show waiting_clock or 0
  uint64_t waiting_clock = 0;
};

namespace reclaimer {

extern std::atomic<uint64_t> clock;
extern bool fences_are_asymmetric;
// initial-exec: one instruction to reach, also from a library that was dlopened.
extern constinit thread_local ReaderSlot* slot __attribute__((tls_model("initial-exec")));

// Gives the calling thread a slot, if it has none. False: no memory.
[[nodiscard]] bool register_thread() noexcept;

// Makes sure that the calling thread can retire kRetiredPerCallMax objects. May wait for readers,
// so call it outside of sections.
inline constexpr uint32_t kRetiredPerCallMax = 64;
void prepare_to_retire() noexcept;

// Hands over an object that nobody can reach who enters a section after this one's end; it will be
// disposed of when nobody can look at it any more. In a section. `bytes` is its size, so that large
// ones do not pile up.
void retire(void* object, size_t bytes, Dispose dispose) noexcept;

// Disposes of what the calling thread has retired, if that is worth while by now. Outside of
// sections.
void reclaim_if_due() noexcept;

// Returns when every section that is open now has ended. Outside of sections.
void wait_for_readers() noexcept;

// Disposes of all that was retired before the call by threads that are in no section. Outside of
// sections.
void reclaim_all() noexcept;

// Around fork, in the thread that forks, the latter in parent and child. Meanwhile no bag changes
// and no slot is added: the child finds the bags whole, and every slot that it may have to wait
// for.
void prepare_fork() noexcept;
void after_fork(bool in_child) noexcept;

}  // namespace reclaimer

class ReadSection {
 public:
  // The thread must be registered, and in no section.
  ReadSection() noexcept : slot_(*reclaimer::slot) {
    uint64_t now = reclaimer::clock.load(std::memory_order_acquire);
#ifdef DSKVS_TSAN
    slot_.entered.exchange(now, std::memory_order_seq_cst);
#else
    // release: who sees this section has seen the end of the one before.
    slot_.entered.store(now, std::memory_order_release);
    if (reclaimer::fences_are_asymmetric) [[likely]] {
      std::atomic_signal_fence(std::memory_order_seq_cst);
    } else {
      std::atomic_thread_fence(std::memory_order_seq_cst);
    }
#endif
  }
  ~ReadSection() { slot_.entered.store(0, std::memory_order_release); }
  ReadSection(const ReadSection&) = delete;
  ReadSection& operator=(const ReadSection&) = delete;

 private:
  ReaderSlot& slot_;
};

}  // namespace dskvs
