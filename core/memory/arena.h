// The memory that entries, tables and records stand in. One arena for the process: values that were
// handed out outlive their store.
//
// All functions may be called by any thread; what one thread allocated any other may free. None
// throws, none is safe in a signal handler.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#define DSKVS_ARENA_MALLOC
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DSKVS_ARENA_MALLOC
#endif
#endif

namespace dskvs {

// Under AddressSanitizer, or where the build defines DSKVS_ARENA_MALLOC (for valgrind), malloc
// serves instead, so that the tool sees every misuse.
#ifdef DSKVS_ARENA_MALLOC
inline constexpr bool kArenaIsMalloc = true;
#else
inline constexpr bool kArenaIsMalloc = false;
#endif

// Aligned to 8 bytes, to 16 from 256 bytes on. 0 bytes are as 1. nullptr when the system has no
// memory. The bytes are not initialised.
[[nodiscard]] void* arena_allocate(size_t bytes) noexcept;

// `memory` is from arena_allocate, or nullptr.
void arena_free(void* memory) noexcept;

struct ArenaFigures {
  uint64_t mapped_bytes;  // from the system, in use or spare
  uint64_t used_bytes;    // by what is allocated, rounding included
};
ArenaFigures arena_figures() noexcept;

// One step towards `spare_bytes` of spare memory, mapped and touched, so that so much can be
// allocated without page faults. Takes about half a millisecond, so it is for a background thread.
// False when there is nothing left to do, or no memory.
bool arena_provision(size_t spare_bytes) noexcept;

// While memory is in use in waves: from now on what is freed is kept for what is allocated next, up
// to as much as was in use at most. Each further call, one a wave or so, lets that peak fade by
// 1/64. arena_trim ends it.
void arena_keep_peak() noexcept;

// One step towards giving back to the system what is spare beyond `spare_bytes`: memory without any
// object in it, and, beyond 1/64 of what is in use, the larger holes between objects. Takes a
// fraction of a millisecond, so it is for a background thread. False when there is nothing left to
// do. Without it all holes stay, and of memory without objects at most 8 MiB + 1/8 of what is in
// use, or what arena_keep_peak says.
bool arena_trim(size_t spare_bytes) noexcept;

// Around fork, in the thread that forks, the latter in parent and child: no lock of the arena is
// inherited in the locked state, nor with its data half changed.
void arena_prepare_fork() noexcept;
void arena_after_fork() noexcept;

// Tests make allocations fail: `fault`, unless nullptr, is asked before each allocation, and true
// makes it return nullptr.
void arena_set_fault(bool (*fault)(size_t bytes)) noexcept;

}  // namespace dskvs
