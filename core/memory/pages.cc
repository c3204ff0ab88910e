#include "memory/pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <mutex>
#include <new>

namespace dskvs {
namespace {

constexpr UnitMask kAllUnits = ~UnitMask{0};

// What is kept without trim, beside 1/8 of what is in use.
constexpr size_t kSpareChunksMin = 4;

// Chunks with fewer are not worth the system call, nor small pages.
constexpr size_t kAgingUnitsMin = 8;

std::atomic<uint64_t> mapped_bytes{0};

void* map(size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

// Aligned by mapping more and giving back what is before and after.
void* map_and_cut(size_t bytes) {
  auto* start = static_cast<std::byte*>(map(bytes + kChunkBytes));
  if (start == nullptr) return nullptr;
  const size_t before = round_up(reinterpret_cast<uintptr_t>(start), kChunkBytes) -
                        reinterpret_cast<uintptr_t>(start);
  if (before != 0) ::munmap(start, before);
  ::munmap(start + before + bytes, kChunkBytes - before);
  return start + before;
}

// Aligned to a chunk. nullptr when the system has no more.
void* map_aligned(size_t bytes) {
  void* memory = map(bytes);  // often the place below the last one, which is aligned
  if (memory != nullptr && memory != chunk_of(memory)) {
    ::munmap(memory, bytes);
    memory = map_and_cut(bytes);
  }
  if (memory == nullptr) return nullptr;
  if (bytes >= kChunkBytes) ::madvise(memory, bytes, MADV_HUGEPAGE);
  mapped_bytes.fetch_add(bytes, std::memory_order_relaxed);
  return memory;
}

void unmap(void* memory, size_t bytes) {
  ::munmap(memory, bytes);
  mapped_bytes.fetch_sub(bytes, std::memory_order_relaxed);
}

UnitMask unit_mask(size_t first, size_t units) {
  return kAllUnits >> (kChunkUnits - units) << first;
}

size_t count(UnitMask units) { return static_cast<size_t>(std::popcount(units)); }

size_t count_dirty(const Chunk* chunk) { return count(chunk->free_units & ~chunk->clean_units); }

bool is_empty(const Chunk* chunk) { return chunk->free_units == kAllUnits; }

bool is_aging(const Chunk* chunk) {
  return !is_empty(chunk) && count_dirty(chunk) >= kAgingUnitsMin;
}

// Bit i of the result: units i to i + length - 1 are all set in `units`.
UnitMask run_starts(UnitMask units, size_t length) {
  for (; length > 1; --length) units &= units >> 1;
  return units;
}

uint32_t longest_run(UnitMask units) {
  uint32_t length = 0;
  for (; units != 0; units &= units >> 1) ++length;
  return length;
}

// The first unit of the lowest run, one that needs no page faults if there is one.
size_t choose(const Chunk* chunk, size_t units, bool whole) {
  const UnitMask usable = chunk->free_units & ~UnitMask{whole};
  UnitMask starts = run_starts(usable & ~chunk->clean_units, units);
  if (starts == 0) starts = run_starts(usable, units);
  return static_cast<size_t>(std::countr_zero(starts));
}

void cut(Chunk* chunk, UnitMask units) {
  const size_t clean = count(chunk->clean_units & units);
  if (clean != 0) mapped_bytes.fetch_add(clean * kUnitBytes, std::memory_order_relaxed);
  chunk->free_units &= ~units;
  chunk->clean_units &= ~units;
}

Chunk* map_chunk() {
  void* memory = map_aligned(kChunkBytes);
  if (memory == nullptr) return nullptr;
  auto* chunk = ::new (memory) Chunk;
  chunk->free_units = kAllUnits;
  chunk->clean_units = 0;
  chunk->small_pages = false;
  return chunk;
}

void unmap_chunk(Chunk* chunk) {
  mapped_bytes.fetch_add(count(chunk->clean_units) * kUnitBytes, std::memory_order_relaxed);
  unmap(chunk, kChunkBytes);
}

// Where there are no huge pages, map_chunk touched only the header.
void touch(Chunk* chunk) {
  auto* bytes = reinterpret_cast<volatile std::byte*>(chunk);
  for (size_t at = round_up(sizeof(Chunk), kPageBytes); at < kChunkBytes; at += kPageBytes) {
    bytes[at] = std::byte{0};
  }
}

// Gives the memory of free units back to the system. The caller owns them.
void clean(Chunk* chunk, UnitMask units) {
  auto* start = reinterpret_cast<std::byte*>(chunk);
  ::madvise(start, kChunkBytes, MADV_NOHUGEPAGE);
  mapped_bytes.fetch_sub(count(units) * kUnitBytes, std::memory_order_relaxed);
  while (units != 0) {
    const auto first = static_cast<size_t>(std::countr_zero(units));
    const auto length = static_cast<size_t>(std::countr_one(units >> first));
    const size_t header = first == 0 ? round_up(sizeof(Chunk), kPageBytes) : 0;
    ::madvise(start + first * kUnitBytes + header, length * kUnitBytes - header, MADV_DONTNEED);
    units &= ~unit_mask(first, length);
  }
}

}  // namespace

uint64_t pages_mapped_bytes() noexcept { return mapped_bytes.load(std::memory_order_relaxed); }

Span* PageHeap::take(size_t units, bool whole) noexcept {
  lock.lock();
  // Without unit 0, a run of one more unit has room for sure.
  Chunk* chunk = find(whole ? units + 1 : units);
  if (chunk != nullptr) {
    remove(chunk);
  } else {
    lock.unlock();
    chunk = map_chunk();
    if (chunk == nullptr) return nullptr;
    lock.lock();
  }
  const size_t first = choose(chunk, units, whole);
  cut(chunk, unit_mask(first, units));
  insert(chunk);
  if (peak_chunks_ != 0) peak_chunks_ = std::max(peak_chunks_, chunks_in_use());
  lock.unlock();

  std::fill_n(chunk->first.begin() + first, units, static_cast<uint8_t>(first));
  Span* span = &chunk->spans[first];
  span->units = static_cast<uint8_t>(units);
  return span;
}

void PageHeap::give(Span* span) noexcept {
  Chunk* chunk = chunk_of(span);
  const auto first = static_cast<size_t>(span - chunk->spans.data());
  lock.lock();
  Chunk* surplus = put_back(chunk, unit_mask(first, span->units), 0);
  while (surplus != nullptr) {
    lock.unlock();
    unmap_chunk(surplus);
    lock.lock();
    surplus = take_surplus(spare_max());
  }
  lock.unlock();
}

bool PageHeap::provision(size_t spare_chunks) noexcept {
  {
    std::lock_guard guard(lock);
    if (spare_chunks_ >= spare_chunks) return false;
  }
  Chunk* chunk = map_chunk();
  if (chunk == nullptr) return false;
  touch(chunk);
  std::lock_guard guard(lock);
  insert(chunk);
  return spare_chunks_ < spare_chunks;
}

void PageHeap::keep_peak() noexcept {
  constexpr size_t kFade = 64;
  std::lock_guard guard(lock);
  const size_t faded = peak_chunks_ - (peak_chunks_ + kFade - 1) / kFade;
  peak_chunks_ = std::max(chunks_in_use(), faded);
}

bool PageHeap::trim(size_t spare_chunks) noexcept {
  lock.lock();
  peak_chunks_ = 0;
  Chunk* surplus = take_surplus(spare_chunks);
  Chunk* aged = surplus == nullptr ? take_aged(spare_chunks) : nullptr;
  if (aged != nullptr) {
    // Nobody else can take these units while they count as used.
    const UnitMask dirty = aged->free_units & ~aged->clean_units;
    aged->free_units &= ~dirty;
    insert(aged);
    lock.unlock();
    clean(aged, dirty);
    lock.lock();
    surplus = put_back(aged, dirty, dirty);
  }
  lock.unlock();
  if (surplus != nullptr) unmap_chunk(surplus);
  return surplus != nullptr || aged != nullptr;
}

size_t PageHeap::spare_max() const {
  const size_t in_use = chunks_in_use();
  return kSpareChunksMin + std::max(in_use / 8, peak_chunks_ - std::min(peak_chunks_, in_use));
}

Chunk* PageHeap::find(size_t units) const {
  while (units < kChunkUnits && by_room_[units].empty()) ++units;
  return by_room_[units].first();
}

// Returns a chunk that is to be unmapped, or nullptr.
Chunk* PageHeap::put_back(Chunk* chunk, UnitMask units, UnitMask clean_units) {
  remove(chunk);
  chunk->free_units |= units;
  chunk->clean_units |= clean_units;
  if (clean_units != 0) chunk->small_pages = true;
  if (chunk->small_pages && is_empty(chunk)) return chunk;
  insert(chunk);
  return take_surplus(spare_max());
}

Chunk* PageHeap::take_surplus(size_t spare_chunks) {
  if (spare_chunks_ <= spare_chunks) return nullptr;
  Chunk* chunk = by_room_[kChunkUnits].last();
  remove(chunk);
  return chunk;
}

Chunk* PageHeap::take_aged(size_t spare_chunks) {
  if (aging_.empty() || dirty_units_ <= spare_chunks * kChunkUnits + used_units_ / 64) {
    return nullptr;
  }
  Chunk* chunk = aging_.first();
  remove(chunk);
  return chunk;
}

void PageHeap::insert(Chunk* chunk) {
  chunk->longest_run = longest_run(chunk->free_units);
  by_room_[chunk->longest_run].push_first(chunk);
  if (is_aging(chunk)) aging_.push_last(chunk);
  ++chunks_;
  if (is_empty(chunk)) ++spare_chunks_;
  used_units_ += count(~chunk->free_units);
  dirty_units_ += count_dirty(chunk);
}

// Before its masks change, or to take it out.
void PageHeap::remove(Chunk* chunk) {
  by_room_[chunk->longest_run].remove(chunk);
  if (is_aging(chunk)) aging_.remove(chunk);
  --chunks_;
  if (is_empty(chunk)) --spare_chunks_;
  used_units_ -= count(~chunk->free_units);
  dirty_units_ -= count_dirty(chunk);
}

void* Mappings::allocate(size_t bytes) noexcept {
  const size_t rounded = round_up(bytes + kMappingHeaderBytes, kPageBytes);
  Mapping* mapping = take(rounded);
  if (mapping == nullptr) {
    void* memory = map_aligned(rounded);
    if (memory == nullptr) return nullptr;
    // Too small for a huge page: all pages at once. Where the kernel cannot, they fault one by one.
    if (rounded < kChunkBytes) ::madvise(memory, rounded, MADV_POPULATE_WRITE);
    mapping = ::new (memory) Mapping{kMappingMark, {}, rounded};
  }
  std::lock_guard guard(lock);
  used_bytes += mapping->bytes;
  return reinterpret_cast<std::byte*>(mapping) + kMappingHeaderBytes;
}

void Mappings::free(Mapping* mapping) noexcept {
  lock.lock();
  used_bytes -= mapping->bytes;
  const size_t spare_bytes = kSpareChunksMin * kChunkBytes + used_bytes / 8;
  freed_.push_first(mapping);
  freed_bytes_ += mapping->bytes;
  lock.unlock();
  while (trim(spare_bytes)) {
  }
}

bool Mappings::trim(size_t spare_bytes) noexcept {
  Mapping* surplus = nullptr;
  {
    std::lock_guard guard(lock);
    if (freed_bytes_ <= spare_bytes) return false;
    surplus = freed_.last();
    freed_.remove(surplus);
    freed_bytes_ -= surplus->bytes;
  }
  unmap(surplus, surplus->bytes);
  return true;
}

// One that was freed, of so many bytes and at most 1/8 more, or nullptr.
Mapping* Mappings::take(size_t bytes) {
  constexpr int kLooks = 16;
  std::lock_guard guard(lock);
  Mapping* mapping = freed_.first();
  for (int i = 0; i < kLooks && mapping != nullptr; ++i, mapping = mapping->links.next) {
    if (mapping->bytes < bytes || mapping->bytes > bytes + bytes / 8) continue;
    freed_.remove(mapping);
    freed_bytes_ -= mapping->bytes;
    return mapping;
  }
  return nullptr;
}

}  // namespace dskvs
