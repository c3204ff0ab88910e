// What the fuzzers do with their bytes; each body is also run by a unit test, on random bytes and
// on its corpus. A body aborts, with a word on stderr, when the store does what it must not.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dskvs::test {

// Bytes become one segment, its checksums made to fit where they do not say otherwise, which is
// read frame by frame, searched behind every bad place, and compared with what a plain reading of
// the format finds there. Returns whether it held a frame.
bool fuzz_segment(const uint8_t* data, size_t size);

// Bytes choose calls of the C ABI, compared with a std::map, and steps of the persister between
// them. Returns true.
bool fuzz_calls(const uint8_t* data, size_t size);

// Bytes become segment files, most of their checksums and commits made to fit, in a directory that
// is then verified, opened beside a writer's lock, opened for writing, written to and opened again.
// Returns whether it was opened.
bool fuzz_directory(const uint8_t* data, size_t size);

}  // namespace dskvs::test
