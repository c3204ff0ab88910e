#include "handles.h"

#include <pthread.h>

namespace dskvs {
namespace {

constexpr uint32_t kSlotBits = 12;
constexpr uint32_t kSlots = 1u << kSlotBits;

// Who finds its handle in the slot may read the rest; it changes only while there is none.
struct alignas(32) Slot {
  std::atomic<dskvs_t> handle{0};  // 0: free, or being closed
  Store* store = nullptr;          // nullptr: free
  uint64_t generation = 0;
  uint32_t forks = 0;
};

Slot slots[kSlots];
SpinLock slots_lock;  // guards generations, and who takes a slot
std::atomic<uint32_t> forks{0};

void before_fork() {
  slots_lock.lock();
  reclaimer::prepare_fork();
  arena_prepare_fork();
}

void after_fork(bool in_child) {
  arena_after_fork();
  reclaimer::after_fork(in_child);
  if (in_child) forks.fetch_add(1, std::memory_order_relaxed);
  slots_lock.unlock();
}

[[maybe_unused]] const int fork_handlers = pthread_atfork(
    before_fork, [] { after_fork(false); }, [] { after_fork(true); });

Slot& slot_of(dskvs_t handle) noexcept { return slots[handle % kSlots]; }

Status refuse(dskvs_t handle) noexcept {
  return fail(Status::kClosed, "{:#x} is not the handle of an open store", handle);
}

}  // namespace

Status look_up(dskvs_t handle, Store** store) noexcept {
  Slot& slot = slot_of(handle);
  if (handle == 0 || slot.handle.load(std::memory_order_acquire) != handle) return refuse(handle);
  if (slot.forks != forks.load(std::memory_order_relaxed)) {
    return fail(Status::kForked, "the store was opened by the parent process: open it here");
  }
  *store = slot.store;
  return Status::kOk;
}

Status add_handle(std::unique_ptr<Store>& store, dskvs_t* handle) noexcept {
  std::lock_guard guard(slots_lock);
  for (uint32_t i = 0; i < kSlots; i++) {
    Slot& slot = slots[i];
    if (slot.store != nullptr) continue;
    slot.generation++;
    slot.forks = forks.load(std::memory_order_relaxed);
    slot.store = store.release();
    *handle = slot.generation << kSlotBits | i;
    slot.handle.store(*handle, std::memory_order_release);
    return Status::kOk;
  }
  return fail(Status::kMemory, "{} stores are open; there can be no more", kSlots);
}

Status remove_handle(dskvs_t handle, std::unique_ptr<Store>* store) noexcept {
  Slot& slot = slot_of(handle);
  Store* found;
  {
    ReadSection section;
    Status status = look_up(handle, &found);
    if (status != Status::kOk) return status;
    dskvs_t expected = handle;  // it receives what stands there instead
    if (!slot.handle.compare_exchange_strong(expected, 0, std::memory_order_acq_rel)) {
      return refuse(handle);
    }
  }
  store->reset(found);
  reclaimer::wait_for_readers();
  (*store)->begin_close();
  std::lock_guard guard(slots_lock);
  slot.store = nullptr;
  return Status::kOk;
}

}  // namespace dskvs
