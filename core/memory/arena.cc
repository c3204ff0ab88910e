// Slabs, shards and size classes, over the runs and mappings of pages.h.
//
// Slabs. Objects up to kSlabObjectMax are rounded up to a size class and live in slabs: runs cut in
// objects of one class. A slab belongs to a shard. A shard has, for each class, the list of its
// slabs with room; it takes from the first: the object freed last, or else the next that was never
// used, in order of address. A slab that was full and loses an object becomes the first, so holes
// are filled before fresh memory is touched. An empty slab goes back to the page heap at once.
// Objects above kAloneAbove are alone in theirs, and those above kSlabObjectMax have a mapping.
//
// Locks and ownership. A shard's lock protects its lists, and the Span of each of its slabs, the
// free list inside included. It is not held while a run is taken or given back; only
// arena_prepare_fork holds more than one lock. A thread has a home shard, given out in turn; one
// that finds its home locked for long moves to another that is free: the holder was descheduled.
// It does not for less, since what it freed at home would stay unused there. Threads share a home
// when there are more of them than shards.
//
// Memory ordering is that of the locks. What arena_free reads without one are the first unit of the
// run, its class and its shard: all were written before the object was handed out, and stay as they
// are while it lives; that its address reached the freeing thread orders the two.
#include "memory/arena.h"

#include <malloc.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>

#include "memory/pages.h"

namespace dskvs {
namespace {

constexpr size_t kSlabObjectMax = size_t{1} << 20;
constexpr size_t kAloneAbove = size_t{256} << 10;  // an object has a slab of its own
// No address space is larger; AddressSanitizer aborts rather than refuse more than 1 TiB.
constexpr size_t kObjectMax = size_t{1} << (kArenaIsMalloc ? 39 : 47);

// Classes: multiples of 8 up to 256, then 16 to each doubling.
constexpr size_t kObjectMin = 16;
constexpr size_t kFineMaxBits = 8;
constexpr size_t kFineMax = size_t{1} << kFineMaxBits;
constexpr size_t kFineStep = 8;
constexpr size_t kFineClasses = kFineMax / kFineStep + 1;  // class 0 is none
constexpr size_t kStepsBits = 4;
constexpr size_t kSteps = size_t{1} << kStepsBits;
constexpr size_t kClassCount =
    kFineClasses + (std::bit_width(kSlabObjectMax) - 1 - kFineMaxBits) * kSteps;

constexpr size_t class_of(size_t bytes) {
  if (bytes <= kFineMax) return (std::max(bytes, kObjectMin) + kFineStep - 1) / kFineStep;
  const size_t last = bytes - 1;
  const size_t doubling = std::bit_width(last) - 1;
  const size_t step = (last >> (doubling - kStepsBits)) - kSteps;
  return kFineClasses + (doubling - kFineMaxBits) * kSteps + step;
}

constexpr size_t class_bytes(size_t object_class) {
  if (object_class < kFineClasses) return object_class * kFineStep;
  const size_t coarse = object_class - kFineClasses;
  const size_t doubling = kFineMaxBits + coarse / kSteps;
  return (kSteps + coarse % kSteps + 1) << (doubling - kStepsBits);
}

static_assert(class_of(kSlabObjectMax) == kClassCount - 1);
static_assert(class_bytes(kClassCount - 1) == kSlabObjectMax);
static_assert(class_bytes(class_of(257)) == 272 && class_bytes(class_of(132)) == 136);

// Units of a slab: the fewest that lose no more than 1/40 at its end, or else lose least. Powers of
// two, so that a chunk has room for all of one class, with nothing left between.
constexpr size_t slab_units(size_t bytes) {
  constexpr size_t kUnitsMax = 16;
  if (bytes > kAloneAbove) return round_up(bytes, kUnitBytes) / kUnitBytes;
  const auto lost_in_max = [bytes](size_t units) {
    return units * kUnitBytes % bytes * (kUnitsMax / units);
  };
  size_t best = 1;
  for (size_t units = 2; units <= kUnitsMax; units *= 2) {
    if (lost_in_max(best) * 40 <= kUnitsMax * kUnitBytes) break;
    if (lost_in_max(units) < lost_in_max(best)) best = units;
  }
  return best;
}

// Larger classes are served by one shard for all threads: the lock costs nothing beside the copying
// of such objects, while half-filled slabs of them in every shard would cost a lot.
constexpr size_t kShardedMax = size_t{32} << 10;
constexpr size_t kShardedClasses = class_of(kShardedMax) + 1;
constexpr size_t kThreadShards = 16;
constexpr size_t kCommonShard = kThreadShards;
constexpr size_t kShardCount = kThreadShards + 1;

struct Shard {
  alignas(kLineBytes) SpinLock lock;
  uint64_t used_bytes = 0;
  std::array<List<Span, &Span::links>, kClassCount> slabs;  // those with room

  // nullptr when no slab of the class has room. With the lock held.
  void* allocate(size_t object_class) {
    auto& list = slabs[object_class];
    Span* slab = list.first();
    if (slab == nullptr) return nullptr;
    std::byte* object;
    if (FreeObject* freed = slab->freed; freed != nullptr) {
      slab->freed = freed->next;
      __builtin_prefetch(freed->next, 1);
      object = reinterpret_cast<std::byte*>(freed);
    } else {
      object = slab->fresh;
      slab->fresh += slab->object_bytes;
    }
    used_bytes += slab->object_bytes;
    if (++slab->used == slab->capacity) list.remove(slab);
    return object;
  }
};

constinit PageHeap page_heap;
constinit Mappings mappings;
constinit std::array<Shard, kShardCount> shards;
std::atomic<uint64_t> malloc_bytes{0};
std::atomic<bool (*)(size_t)> fault{nullptr};

std::atomic<uint32_t> next_home_shard{0};
constexpr uint32_t kNoShard = UINT32_MAX;
thread_local uint32_t home_shard = kNoShard;

// Returns the index of a shard whose lock is now held.
size_t lock_shard(size_t object_class) {
  if (object_class >= kShardedClasses) {
    shards[kCommonShard].lock.lock();
    return kCommonShard;
  }
  if (home_shard == kNoShard) {
    home_shard = next_home_shard.fetch_add(1, std::memory_order_relaxed) % kThreadShards;
  }
  if (shards[home_shard].lock.try_lock_briefly()) return home_shard;
  for (uint32_t i = 1; i < kThreadShards; ++i) {
    const uint32_t other = (home_shard + i) % kThreadShards;
    if (shards[other].lock.try_lock()) {
      home_shard = other;
      return other;
    }
  }
  shards[home_shard].lock.lock();
  return home_shard;
}

Span* make_slab(size_t object_class, size_t shard) {
  const size_t bytes = class_bytes(object_class);
  Span* slab = page_heap.take(slab_units(bytes), bytes > kShardedMax);
  if (slab == nullptr) return nullptr;
  std::byte* begin = run_begin(slab);
  slab->freed = nullptr;
  slab->fresh = begin;
  slab->object_bytes = static_cast<uint32_t>(bytes);
  slab->used = 0;
  slab->capacity = static_cast<uint32_t>(static_cast<size_t>(run_end(slab) - begin) / bytes);
  slab->object_class = static_cast<uint16_t>(object_class);
  slab->shard = static_cast<uint8_t>(shard);
  return slab;
}

void* allocate_in_slab(size_t object_class) {
  const size_t shard = lock_shard(object_class);
  void* object = shards[shard].allocate(object_class);
  shards[shard].lock.unlock();
  if (object != nullptr) [[likely]]
    return object;
  Span* slab = make_slab(object_class, shard);
  if (slab == nullptr) return nullptr;
  std::lock_guard guard(shards[shard].lock);
  shards[shard].slabs[object_class].push_last(slab);
  return shards[shard].allocate(object_class);
}

void free_in_slab(Span* slab, void* memory) {
  Shard& shard = shards[slab->shard];
  shard.lock.lock();
  slab->freed = ::new (memory) FreeObject{slab->freed};
  shard.used_bytes -= slab->object_bytes;
  auto& list = shard.slabs[slab->object_class];
  const uint32_t used = --slab->used;
  if (used + 1 == slab->capacity) list.push_first(slab);
  if (used == 0) list.remove(slab);
  shard.lock.unlock();
  if (used == 0) page_heap.give(slab);  // it is ours: nothing leads to it any more
}

void* allocate_by_malloc(size_t bytes) {
  void* memory = std::malloc(std::max(bytes, size_t{1}));
  if (memory == nullptr) return nullptr;
  malloc_bytes.fetch_add(malloc_usable_size(memory), std::memory_order_relaxed);
  return memory;
}

// So many are no more as they were, for whoever still looks at them.
constexpr size_t kFreedBytes = 4096;

void free_by_malloc(void* memory) {
  const size_t bytes = malloc_usable_size(memory);
  malloc_bytes.fetch_sub(bytes, std::memory_order_relaxed);
  explicit_bzero(memory, std::min(bytes, kFreedBytes));
  std::free(memory);
}

bool fails(size_t bytes) {
  auto* asked = fault.load(std::memory_order_relaxed);
  return bytes > kObjectMax || (asked != nullptr && asked(bytes));
}

}  // namespace

void* arena_allocate(size_t bytes) noexcept {
  if (fails(bytes)) [[unlikely]]
    return nullptr;
  if (kArenaIsMalloc) return allocate_by_malloc(bytes);
  if (bytes <= kSlabObjectMax) [[likely]]
    return allocate_in_slab(class_of(bytes));
  return mappings.allocate(bytes);
}

void arena_free(void* memory) noexcept {
  if (memory == nullptr) return;
  if (kArenaIsMalloc) return free_by_malloc(memory);
  Chunk* chunk = chunk_of(memory);
  const uint8_t first = chunk->first[unit_of(memory)];
  if (first == kMappingMark) return mappings.free(reinterpret_cast<Mapping*>(chunk));
  free_in_slab(&chunk->spans[first], memory);
}

ArenaFigures arena_figures() noexcept {
  uint64_t used = malloc_bytes.load(std::memory_order_relaxed);
  if (kArenaIsMalloc) return {used, used};
  for (Shard& shard : shards) {
    std::lock_guard guard(shard.lock);
    used += shard.used_bytes;
  }
  std::lock_guard guard(mappings.lock);
  return {pages_mapped_bytes(), used + mappings.used_bytes};
}

bool arena_provision(size_t spare_bytes) noexcept {
  return !kArenaIsMalloc && page_heap.provision(round_up(spare_bytes, kChunkBytes) / kChunkBytes);
}

void arena_keep_peak() noexcept { page_heap.keep_peak(); }

bool arena_trim(size_t spare_bytes) noexcept {
  return page_heap.trim(spare_bytes / kChunkBytes) || mappings.trim(spare_bytes);
}

void arena_set_fault(bool (*new_fault)(size_t bytes)) noexcept {
  fault.store(new_fault, std::memory_order_relaxed);
}

void arena_prepare_fork() noexcept {
  for (Shard& shard : shards) shard.lock.lock();
  page_heap.lock.lock();
  mappings.lock.lock();
}

void arena_after_fork() noexcept {
  mappings.lock.unlock();
  page_heap.lock.unlock();
  for (Shard& shard : shards) shard.lock.unlock();
}

}  // namespace dskvs
