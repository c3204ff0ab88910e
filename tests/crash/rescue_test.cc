// Goal: what an epoch takes along of cleaning may turn out to be more than its share, and the log
// stays within its bound all the same.
// Method: a store on the simulated disk whose persister moves when the test says so, and whose
// entries all stand in one part of a table, which is rescued as a whole. Time passes, but nobody
// syncs: so segments that are of no use any more are still there when the next ones are cleaned.
#include <algorithm>

#include "crash/subject.h"
#include "support/catch.h"
#include "support/core_seed.h"

namespace dskvs::test {
namespace {

constexpr uint64_t kSegmentBytes = 64'000'000;  // one for each time that the store is open
constexpr uint32_t kValueBytes = 10'000;
constexpr uint32_t kColdKeys = 50;  // in each of two segments
constexpr uint32_t kTwice = 30;     // of them, in the first
constexpr uint32_t kHotKeys = 8;
constexpr uint64_t kLiveBytes = (2 * kColdKeys + kHotKeys) * uint64_t{kValueBytes + 28 + 8};
constexpr uint64_t kSlackBytes = kLiveBytes / 5 * 2;

uint64_t log_bytes(const SimDisk& disk) {
  uint64_t bytes = 0;
  for (const std::string& path : disk.files(kStorePath)) {
    if (path.ends_with(".dskvs")) bytes += disk.file_size(path);
  }
  return bytes;
}

// The most that the log has taken.
class LogSize : public SimObserver {
 public:
  void before(const SimCall&, const SimDisk&) override {}
  void after(const SimCall& call, Status, const SimDisk& disk) override {
    if (call.op == SimOp::kWrite) most = std::max(most, log_bytes(disk));
  }

  uint64_t most = 0;
};

class Writer {
 public:
  // Key 0 and those behind it, all of one collection.
  void put(Subject& subject, uint32_t key) {
    const Operation operation{Verb::kPut, 2 * key, kValueBytes, ++value_};
    REQUIRE(subject.apply(operation) == Status::kOk);
    model[key_of(operation)] = value_of(operation);
  }
  void put_cold(Subject& subject, uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      put(subject, first + i);
      if (i % 10 == 9) REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
    }
  }

  Model model;

 private:
  uint64_t value_ = 0;
};

TEST_CASE("an epoch that took along more than its share waits for room like any other") {
  hash_seed = 1;
  SimFileSystem files;
  Writer writer;
  // The first segment holds garbage as well. Nothing is cleaned yet.
  for (const uint32_t first : {0u, kColdKeys}) {
    Subject subject(files, kStorePath,
                    {.segment_bytes_min = kSegmentBytes, .slack_bytes = uint64_t{1} << 30});
    REQUIRE(subject.open() == Status::kOk);
    if (first == 0) writer.put_cold(subject, 0, kTwice);
    writer.put_cold(subject, first, kColdKeys);
    REQUIRE(subject.close() == Status::kOk);
  }
  LogSize size;
  Subject subject(files, kStorePath,
                  {.segment_bytes_min = kSegmentBytes, .slack_bytes = kSlackBytes});
  REQUIRE(subject.open(false, 0) == Status::kOk);
  files.set_observer(&size);
  const auto bytes_at = [&] { return log_bytes(files.disk()); };
  const uint64_t before = bytes_at();
  // The first is cleaned, and stays; then the second, when there is room for a share of it alone.
  bool waits = false;
  for (uint32_t epoch = 0; epoch < 20 && !waits; ++epoch) {
    for (uint32_t i = 0; i < kHotKeys / 2; ++i) {
      writer.put(subject, 2 * kColdKeys + (epoch * kHotKeys / 2 + i) % kHotKeys);
    }
    subject.pass(50'000);
    // Once, so that what is cleaned is never cleaned when all is quiet.
    const Marks then = subject.marks();
    REQUIRE(then.written < then.accepted);
    REQUIRE(subject.step(false));
    const Marks now = subject.marks();
    waits = now.written == then.written && now.dirty_bytes > then.dirty_bytes;
    REQUIRE(size.most < 2 * kLiveBytes + kSlackBytes);
  }
  REQUIRE(waits);
  REQUIRE(bytes_at() > before + kColdKeys * kValueBytes);  // nothing is unlinked yet
  const Marks then = subject.marks();
  CHECK(then.dirty_bytes > kColdKeys * kValueBytes);
  // A sync lets the first segment go, and there is room at once.
  subject.pass(50'000);
  for (int steps = 0; subject.marks().written < then.accepted; ++steps) {
    REQUIRE(steps < 10);
    (void)subject.step(false);  // the end of the sync, or of an unlinking, may have to come first
  }
  CHECK(size.most < 2 * kLiveBytes + kSlackBytes);
  files.set_observer(nullptr);
  SimFileSystem left(files.disk().after_kill());
  Subject survivor(left);
  REQUIRE(survivor.open() == Status::kOk);
  CHECK((survivor.contents() == writer.model));
  REQUIRE(subject.close() == Status::kOk);
}

}  // namespace
}  // namespace dskvs::test
