// Where the arena has its memory from: chunks cut in runs, and mappings of single large objects.
//
// Chunks. Memory comes from the system in chunks of 2 MiB, aligned to their size, for which huge
// pages are asked: one page fault a chunk instead of 512, and fewer misses of the TLB. A chunk is
// cut in 32 units of 64 KiB. Its header, at the start of unit 0, describes them; it is found by
// masking the address of any object in the chunk.
//
// Runs. The page heap hands out runs of adjacent units, from the fullest chunk that has room, so
// that others become empty and go back to the system. A chunk in use may have many free units that
// no run needs for long, after a great deal was deleted or when sizes change: when there are more
// of them in all than a part of what is in use, trim gives their memory back, that of the chunks
// untouched for longest first. Such a chunk is served in small pages from then on, lest the kernel
// fill its holes to make a huge page; when it becomes empty it is unmapped.
//
// Mappings. What is too large for a chunk has a mapping of its own, aligned as a chunk and with a
// small header, so that the same mask tells it from a chunk. Those that were freed last are kept
// for the next object of about that size.
//
// Each of the two has a lock, which is never held while the system is called. Taking a run out of
// its chunk's mask of free units makes the taker the sole owner of the run and of its Span; giving
// it back ends that.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "memory/list.h"
#include "memory/spin_lock.h"

namespace dskvs {

inline constexpr size_t kUnitBytes = size_t{64} << 10;
inline constexpr size_t kChunkUnits = 32;
inline constexpr size_t kChunkBytes = kUnitBytes * kChunkUnits;  // a huge page
inline constexpr size_t kPageBytes = 4096;
inline constexpr size_t kLineBytes = 64;

using UnitMask = uint32_t;  // bit: unit of a chunk

constexpr size_t round_up(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

struct FreeObject {
  FreeObject* next;
};

// Describes a run. The page heap sets `units`; all else is its owner's.
struct Span {
  Links<Span> links;
  FreeObject* freed;
  std::byte* fresh;  // objects from here to the end were never handed out
  uint32_t object_bytes;
  uint32_t used;
  uint32_t capacity;
  uint16_t object_class;
  uint8_t shard;
  uint8_t units;
};
static_assert(sizeof(Span) <= kLineBytes);

struct Chunk {
  std::array<uint8_t, kChunkUnits> first;  // unit: the first unit of its run
  Links<Chunk> by_room;
  Links<Chunk> by_age;
  UnitMask free_units;
  UnitMask clean_units;  // free, and given back to the system
  uint32_t longest_run;  // of free units
  bool small_pages;      // the kernel was told so when units were given back
  alignas(kLineBytes) std::array<Span, kChunkUnits> spans;  // in the place of a run's first unit
};

// At the start of a mapping, where a chunk has the first unit of unit 0's run.
struct Mapping {
  uint8_t mark;
  Links<Mapping> links;
  size_t bytes;
};
inline constexpr uint8_t kMappingMark = 0xff;
inline constexpr size_t kMappingHeaderBytes = kLineBytes;
static_assert(sizeof(Mapping) <= kMappingHeaderBytes);

inline Chunk* chunk_of(const void* memory) {
  return reinterpret_cast<Chunk*>(reinterpret_cast<uintptr_t>(memory) & ~(kChunkBytes - 1));
}

inline size_t unit_of(const void* memory) {
  return reinterpret_cast<uintptr_t>(memory) / kUnitBytes % kChunkUnits;
}

// In unit 0 the run begins behind the header.
inline std::byte* run_begin(const Span* span) {
  Chunk* chunk = chunk_of(span);
  const auto unit = static_cast<size_t>(span - chunk->spans.data());
  return reinterpret_cast<std::byte*>(chunk) + (unit == 0 ? sizeof(Chunk) : unit * kUnitBytes);
}

inline std::byte* run_end(const Span* span) {
  return reinterpret_cast<std::byte*>(chunk_of(span)) +
         (unit_of(run_begin(span)) + span->units) * kUnitBytes;
}

// Of chunks and mappings, in use or spare, without what was given back.
uint64_t pages_mapped_bytes() noexcept;

class PageHeap {
 public:
  // nullptr when the system has no memory. A whole run leaves out unit 0.
  Span* take(size_t units, bool whole) noexcept;
  void give(Span* span) noexcept;

  // One step towards so many chunks without a used unit, touched and not unmapped. False when there
  // is nothing to do, or no memory.
  bool provision(size_t spare_chunks) noexcept;

  // From now on what is freed is kept, up to as much as was in use at most; each further call lets
  // that peak fade by 1/64. Until trim.
  void keep_peak() noexcept;

  // One step towards so few of them, and towards as few free units in all, beyond 1/64 of those in
  // use. False when there is nothing to do.
  bool trim(size_t spare_chunks) noexcept;

  SpinLock lock;  // guards all below

 private:
  Chunk* find(size_t units) const;
  Chunk* put_back(Chunk* chunk, UnitMask units, UnitMask clean_units);
  Chunk* take_surplus(size_t spare_chunks);
  Chunk* take_aged(size_t spare_chunks);
  size_t chunks_in_use() const { return chunks_ - spare_chunks_; }
  size_t spare_max() const;
  void insert(Chunk* chunk);
  void remove(Chunk* chunk);

  // By the longest free run.
  std::array<List<Chunk, &Chunk::by_room>, kChunkUnits + 1> by_room_;
  List<Chunk, &Chunk::by_age> aging_;  // chunks in use that have much to give back
  size_t chunks_ = 0;
  size_t spare_chunks_ = 0;  // without a used unit
  size_t peak_chunks_ = 0;   // in use, since keep_peak; 0: is not kept
  size_t used_units_ = 0;
  size_t dirty_units_ = 0;  // free, with memory behind
};

class Mappings {
 public:
  // Aligned to kMappingHeaderBytes. nullptr when the system has no memory.
  void* allocate(size_t bytes) noexcept;
  void free(Mapping* mapping) noexcept;

  // One step towards keeping no more than so much of what was freed. False when there is nothing to
  // do.
  bool trim(size_t spare_bytes) noexcept;

  SpinLock lock;  // guards all below
  size_t used_bytes = 0;

 private:
  Mapping* take(size_t bytes);

  List<Mapping, &Mapping::links> freed_;  // the last one first
  size_t freed_bytes_ = 0;
};

}  // namespace dskvs
