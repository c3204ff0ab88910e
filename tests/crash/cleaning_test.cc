// Goal: cleaning ends, and keeps up with writers that never pause.
// Method: a store on the simulated disk whose persister moves when the test says so; calls to the
// disk and segments are counted, so that what would go on for ever fails instead.
#include <algorithm>

#include "crash/subject.h"
#include "memory/arena.h"
#include "memory/epoch.h"
#include "support/catch.h"

namespace dskvs::test {
namespace {

TEST_CASE("a compaction ends, though what it leaves behind is enough to be cleaned again") {
  SimFileSystem files;
  Subject subject(files, kStorePath, {.segment_bytes_min = 12'000, .slack_bytes = 0});
  REQUIRE(subject.open() == Status::kOk);
  for (uint32_t key = 0; key < 4; ++key) {
    REQUIRE(subject.apply({Verb::kPut, key, 1700, key}) == Status::kOk);
    REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
  }
  constexpr uint64_t kCallsMax = 10'000;
  files.set_fault({files.calls() + kCallsMax, SimError::kEio, true});
  REQUIRE(subject.apply({Verb::kCompact}) == Status::kOk);
  files.clear_fault();
  REQUIRE(subject.close() == Status::kOk);
}

TEST_CASE("cleaning keeps up with a writer, though there is always an epoch to be written first") {
  SimFileSystem files;
  Subject subject(files);
  REQUIRE(subject.open() == Status::kOk);
  size_t files_most = 0;
  for (uint32_t i = 0; i < 3'000; ++i) {
    REQUIRE(subject.apply({Verb::kPut, i % 20, 1000, i}) == Status::kOk);
    subject.step();
    files_most = std::max(files_most, files.disk().files(kStorePath).size());
  }
  // 20 kB are live: two segments. The limit of garbage is three more, and one is being written.
  CHECK(files_most <= 16);
  REQUIRE(subject.close() == Status::kOk);
}

bool is_chunk(size_t bytes) { return bytes == sizeof(DirtyChunk); }

TEST_CASE("when memory ends while cleaning, a removal does not come back over a newer put") {
  SimFileSystem files;
  Subject subject(files, kStorePath, {.segment_bytes_min = 12'000, .slack_bytes = 0});
  REQUIRE(subject.open() == Status::kOk);
  for (uint32_t key = 0; key < 6'000; ++key) {
    REQUIRE(subject.apply({Verb::kPut, key, 10, key}) == Status::kOk);
    if (key % 500 == 0) REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
  }
  // Until cleaning is due just when both are written and neither is durable.
  for (uint32_t round = 0; !subject.marks().failing; ++round) {
    REQUIRE(round < 2'000);
    REQUIRE(subject.apply({Verb::kDelete, 0}) == Status::kOk);
    subject.step();
    REQUIRE(subject.apply({Verb::kPut, 0, 500, round}) == Status::kOk);
    subject.step();
    REQUIRE(subject.apply({Verb::kPut, 1, 10, round}) == Status::kOk);
    arena_set_fault(is_chunk);
    subject.step();
    arena_set_fault(nullptr);
  }
  REQUIRE(subject.marks().durable + 2 < subject.marks().accepted);
  while (subject.marks().failing) subject.step();
  const Model accepted = subject.contents();
  REQUIRE(subject.close() == Status::kOk);
  REQUIRE(subject.open() == Status::kOk);
  CHECK(subject.contents() == accepted);
  REQUIRE(subject.close() == Status::kOk);
}

}  // namespace
}  // namespace dskvs::test
