// Goal: cleaning ends, and keeps up with writers that never pause.
// Method: a store on the simulated disk whose persister moves when the test says so; calls to the
// disk and segments are counted, so that what would go on for ever fails instead.
#include <algorithm>

#include "crash/subject.h"
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

}  // namespace
}  // namespace dskvs::test
