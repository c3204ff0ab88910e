// Goal: a disk that is full, or slow, costs nothing but time: what can be written gets through, in
// this session and the next, and close says OK only when all is durable.
// Method: a store on the simulated disk, which takes so many bytes and no more, and says so (its
// capacity) or not (a quota); the store is closed, or its process killed, while the disk is full,
// and another one is opened on what it left.
#include <random>

#include "crash/subject.h"
#include "store.h"
#include "support/catch.h"
#include "support/seed.h"
#include "support/sim_environment.h"

namespace dskvs::test {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr LogShape kRealLog{};

constexpr Operation kOld{Verb::kPut, 1, 5'000, 1};
constexpr Operation kTooLarge{Verb::kPut, 2, 10'000'000, 2};
constexpr Operation kSmall{Verb::kPut, 3, 5, 3};

// Keeps the disk as a kill would leave it right after the first write that found no room.
class FullDisk : public SimObserver {
 public:
  explicit FullDisk(SimFileSystem& files) : files_(files) { files.set_observer(this); }
  ~FullDisk() override { files_.set_observer(nullptr); }

  void before(const SimCall&, const SimDisk&) override {}
  void after(const SimCall& call, Status status, const SimDisk& disk) override {
    if (call.op != SimOp::kWrite || status != Status::kSpace) return;
    // With the second one the reserve is gone as well.
    if (++full_ <= 2) when_full_ = disk.after_kill();
  }
  const SimDisk& when_full() const {
    REQUIRE(when_full_.live_bytes() == 3 * kMiB);
    REQUIRE_FALSE(when_full_.has_file(std::string(kStorePath) + "/reserve"));
    return when_full_;
  }

 private:
  SimFileSystem& files_;
  int full_ = 0;
  SimDisk when_full_;
};

// What the too large value left must not keep a new store from writing.
void require_writable(SimDisk disk) {
  SimFileSystem files(std::move(disk));
  files.set_quota(3 * kMiB);
  Subject next(files, kStorePath, kRealLog);
  REQUIRE(next.open() == Status::kOk);
  REQUIRE(next.contents() == Model{{key_of(kOld), value_of(kOld)}});
  REQUIRE(next.apply(kSmall) == Status::kOk);
  REQUIRE(next.apply({Verb::kSync}) == Status::kOk);
  REQUIRE(next.apply({Verb::kDelete, kOld.key}) == Status::kOk);
  REQUIRE(next.apply({Verb::kCompact}) == Status::kOk);
  REQUIRE(next.close() == Status::kOk);
  REQUIRE(next.open() == Status::kOk);
  REQUIRE(next.contents() == Model{{key_of(kSmall), value_of(kSmall)}});
  REQUIRE(next.close() == Status::kOk);
}

TEST_CASE("a value that the disk cannot take does not occupy it, after close and after a kill") {
  // What the log knows to be durable depends on what was written after it.
  for (const int syncs : {1, 3}) {
    for (const int sessions : {1, 2}) {
      CAPTURE(syncs, sessions);
      SimFileSystem files;
      files.set_quota(3 * kMiB);
      Subject subject(files, kStorePath, kRealLog);
      for (int session = 0; session < sessions; ++session) {
        if (session > 0) REQUIRE(subject.close() == Status::kOk);
        REQUIRE(subject.open() == Status::kOk);
        for (int i = 0; i < syncs; ++i) {
          REQUIRE(subject.apply(kOld) == Status::kOk);
          REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
        }
      }
      FullDisk full(files);
      REQUIRE(subject.apply(kTooLarge) == Status::kOk);
      REQUIRE(subject.apply({Verb::kSync}) == Status::kSpace);
      REQUIRE(subject.close() == Status::kSpace);
      REQUIRE(files.disk().live_bytes() < 2 * kMiB);
      REQUIRE(files.disk().has_file(std::string(kStorePath) + "/reserve"));
      require_writable(files.disk().after_kill());
      require_writable(full.when_full());
    }
  }
}

TEST_CASE("when the value that the disk cannot take is deleted, the session goes on") {
  SimFileSystem files;
  files.set_quota(3 * kMiB);
  Subject subject(files, kStorePath, kRealLog);
  REQUIRE(subject.open() == Status::kOk);
  REQUIRE(subject.apply(kOld) == Status::kOk);
  REQUIRE(subject.apply(kTooLarge) == Status::kOk);
  REQUIRE(subject.apply({Verb::kSync}) == Status::kSpace);
  REQUIRE(subject.apply({Verb::kDelete, kTooLarge.key}) == Status::kOk);
  REQUIRE(subject.apply(kSmall) == Status::kOk);
  for (int step = 0; step < 10 && subject.marks().failing; ++step) subject.step();
  REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
  REQUIRE(subject.close() == Status::kOk);
}

TEST_CASE("the reserve of the session before lets the first write of this one through") {
  SimFileSystem files;
  Subject subject(files, kStorePath, kRealLog);
  REQUIRE(subject.open() == Status::kOk);
  REQUIRE(subject.apply(kOld) == Status::kOk);
  REQUIRE(subject.close() == Status::kOk);
  files.set_capacity(files.disk().live_bytes());
  REQUIRE(subject.open() == Status::kOk);
  REQUIRE(subject.apply({Verb::kDelete, kOld.key}) == Status::kOk);
  REQUIRE(subject.close() == Status::kOk);
  REQUIRE(subject.open() == Status::kOk);
  REQUIRE(subject.contents().empty());
  REQUIRE(subject.close() == Status::kOk);
}

TEST_CASE("the reserve lets an epoch through that found no room half way") {
  SimFileSystem files;
  Subject subject(files, kStorePath, kRealLog);
  REQUIRE(subject.open() == Status::kOk);
  REQUIRE(subject.apply(kOld) == Status::kOk);
  REQUIRE(subject.close() == Status::kOk);
  REQUIRE(subject.open() == Status::kOk);
  files.set_capacity(files.disk().live_bytes() + 3 * kMiB / 2);
  Model expected{{key_of(kOld), value_of(kOld)}};
  for (uint32_t key = 10; key < 710; ++key) {
    const Operation put{Verb::kPut, key, 3'000, key};
    REQUIRE(subject.apply(put) == Status::kOk);
    expected[key_of(put)] = value_of(put);
  }
  REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
  REQUIRE_FALSE(files.disk().has_file(std::string(kStorePath) + "/reserve"));
  REQUIRE(subject.close() == Status::kOk);
  REQUIRE(subject.open() == Status::kOk);
  REQUIRE(subject.contents() == expected);
  REQUIRE(subject.close() == Status::kOk);
}

// Puts until the disk has no room; gives how many got in.
uint32_t fill(Subject& subject, Model* model, uint32_t value_bytes) {
  for (uint32_t key = 100;; ++key) {
    const Operation put{Verb::kPut, key, value_bytes, key};
    const Status status = subject.apply(put);
    if (status != Status::kOk) {
      REQUIRE(status == Status::kSpace);
      REQUIRE_FALSE(subject.marks().failing);
      return key - 100;
    }
    (*model)[key_of(put)] = value_of(put);
  }
}

void require_reopens(Subject& subject, const Model& model) {
  REQUIRE(subject.open() == Status::kOk);
  REQUIRE(subject.contents() == model);
  REQUIRE(subject.close() == Status::kOk);
}

// However much was accepted at once: what is refused is refused before it is in their way.
TEST_CASE("on a full disk puts are refused, and what was accepted, deletes and close get through") {
  for (const uint32_t value_bytes : {300, 5'000, 100'000, 3'000'000}) {
    for (const uint32_t puts_a_step : {1, 7, 1'000'000}) {
      CAPTURE(value_bytes, puts_a_step);
      SimFileSystem files;
      files.set_capacity(20 * kMiB);
      Subject subject(files, kStorePath, kRealLog);
      REQUIRE(subject.open() == Status::kOk);
      REQUIRE(subject.apply(kOld) == Status::kOk);
      Model model{{key_of(kOld), value_of(kOld)}};
      uint32_t put_count = 0;
      for (uint32_t key = 100;; ++key) {
        const Operation put{Verb::kPut, key, value_bytes, key};
        const Status status = subject.apply(put);
        if (status == Status::kSpace) break;
        REQUIRE(status == Status::kOk);
        model[key_of(put)] = value_of(put);
        if (++put_count % puts_a_step == 0) subject.step();
      }
      REQUIRE_FALSE(subject.marks().failing);
      REQUIRE(put_count * uint64_t{value_bytes} > 20 * kMiB / 3);
      // What was dirty was never much of the disk.
      if (value_bytes < kMiB) REQUIRE(subject.marks().written > 5);
      // Though there is a value in its place, which the disk will have to hold until this one is.
      REQUIRE(subject.apply({Verb::kPut, 100, value_bytes, 1}) == Status::kSpace);
      for (uint32_t key = 100; key < 100 + put_count / 4; ++key) {
        const Operation gone{Verb::kDelete, key};
        REQUIRE(subject.apply(gone) == Status::kOk);
        model.erase(key_of(gone));
        if (key % 100 == 0) subject.step();
      }
      REQUIRE(subject.close() == Status::kOk);
      require_reopens(subject, model);
    }
  }
}

TEST_CASE("a value that the disk has no room for is refused, a smaller one is not") {
  SimFileSystem files;
  files.set_capacity(8 * kMiB);
  Subject subject(files, kStorePath, kRealLog);
  REQUIRE(subject.open() == Status::kOk);
  REQUIRE(subject.apply({Verb::kPut, 2, 7 * kMiB, 2}) == Status::kSpace);  // but for the reserve
  REQUIRE(subject.apply(kTooLarge) == Status::kSpace);
  REQUIRE(std::string(last_error()).find("room") != std::string::npos);
  REQUIRE(subject.apply(kOld) == Status::kOk);
  REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
  files.set_capacity(30 * kMiB);  // who made room does not wait
  REQUIRE(subject.apply(kTooLarge) == Status::kOk);
  REQUIRE(subject.close() == Status::kOk);
  require_reopens(subject,
                  {{key_of(kOld), value_of(kOld)}, {key_of(kTooLarge), value_of(kTooLarge)}});
}

TEST_CASE("what a sync releases is room again") {
  SimFileSystem files;
  files.set_capacity(3 * kMiB);
  Subject subject(files);
  REQUIRE(subject.open() == Status::kOk);
  // Written over again and again: the log is many times the disk.
  Model model;
  for (uint32_t round = 0; round < 200; ++round) {
    for (uint32_t key = 0; key < 20; ++key) {
      const Operation put{Verb::kPut, key, 5'000, round * 100 + key};
      REQUIRE(subject.apply(put) == Status::kOk);
      model[key_of(put)] = value_of(put);
    }
    if (round % 3 == 0) subject.step();
  }
  REQUIRE(subject.close() == Status::kOk);
  require_reopens(subject, model);
}

TEST_CASE("what cannot be compacted for want of room stays as it is, and is no failure") {
  SimFileSystem files;
  files.set_capacity(12 * kMiB);
  Subject subject(files, kStorePath, kRealLog);
  REQUIRE(subject.open() == Status::kOk);
  Model model;
  const uint32_t put_count = fill(subject, &model, 50'000);
  REQUIRE(put_count > 100);
  const uint64_t disk_bytes = files.disk().live_bytes();
  REQUIRE(subject.apply({Verb::kCompact}) == Status::kSpace);
  REQUIRE_FALSE(subject.marks().failing);
  for (int steps = 0; subject.step(false); ++steps) REQUIRE(steps < 100);
  REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
  REQUIRE(files.disk().live_bytes() <= disk_bytes + 8192);  // nor takes what others may need
  const Operation gone{Verb::kDelete, 100};
  REQUIRE(subject.apply(gone) == Status::kOk);
  model.erase(key_of(gone));
  REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
  files.set_capacity(40 * kMiB);
  REQUIRE(subject.apply({Verb::kCompact}) == Status::kOk);
  REQUIRE(subject.close() == Status::kOk);
  require_reopens(subject, model);
}

TEST_CASE("the reserve that removals took is made anew when there is room, and puts go on") {
  SimFileSystem files;
  files.set_capacity(8 * kMiB);
  Subject subject(files, kStorePath, kRealLog);
  REQUIRE(subject.open() == Status::kOk);
  Model model;
  (void)fill(subject, &model, 10'000);
  files.set_capacity(files.disk().live_bytes());  // others took the rest
  const Operation gone{Verb::kDelete, 100};
  REQUIRE(subject.apply(gone) == Status::kOk);
  model.erase(key_of(gone));
  REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
  REQUIRE_FALSE(files.disk().has_file(std::string(kStorePath) + "/reserve"));
  REQUIRE(subject.apply(kSmall) == Status::kSpace);  // what the reserve gave is not for puts
  files.set_capacity(20 * kMiB);
  REQUIRE(subject.apply(kSmall) == Status::kOk);
  model[key_of(kSmall)] = value_of(kSmall);
  REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
  REQUIRE(files.disk().has_file(std::string(kStorePath) + "/reserve"));
  REQUIRE(subject.close() == Status::kOk);
  require_reopens(subject, model);
}

TEST_CASE("when others took the room, no more is accepted than had been") {
  constexpr Operation kLarge{Verb::kPut, 2, 2'000'000, 2};
  SimFileSystem files;
  files.set_capacity(20 * kMiB);
  Subject subject(files, kStorePath, kRealLog);
  REQUIRE(subject.open() == Status::kOk);
  REQUIRE(subject.apply(kOld) == Status::kOk);
  REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
  files.set_capacity(files.disk().live_bytes());
  REQUIRE(subject.apply(kLarge) == Status::kOk);
  subject.step();
  REQUIRE(subject.marks().failing);
  REQUIRE(subject.apply(kSmall) == Status::kSpace);
  REQUIRE(subject.apply({Verb::kDelete, kLarge.key}) == Status::kOk);
  while (subject.marks().failing) REQUIRE(subject.step());
  files.set_capacity(20 * kMiB);
  REQUIRE(subject.apply(kSmall) == Status::kOk);
  REQUIRE(subject.close() == Status::kOk);
  require_reopens(subject, {{key_of(kOld), value_of(kOld)}, {key_of(kSmall), value_of(kSmall)}});
}

TEST_CASE("cleaning that others left no room for is given up, and tried again later") {
  SimFileSystem files;
  files.set_capacity(30 * kMiB);
  Subject subject(files, kStorePath, {.segment_bytes_min = 4 * kMiB, .slack_bytes = 64 * kMiB});
  REQUIRE(subject.open() == Status::kOk);
  Model model;
  for (uint32_t key = 0; key < 150; ++key) {
    const Operation put{Verb::kPut, key, 100'000, key};
    REQUIRE(subject.apply(put) == Status::kOk);
    model[key_of(put)] = value_of(put);
  }
  REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
  files.set_capacity(files.disk().live_bytes() + kMiB / 2);
  for (uint32_t key = 0; key < 150; key += 2) {
    const Operation gone{Verb::kDelete, key};
    REQUIRE(subject.apply(gone) == Status::kOk);
    model.erase(key_of(gone));
  }
  REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
  for (int tries = 0; tries < 5; ++tries) {
    REQUIRE(subject.apply(kSmall) == Status::kSpace);
    for (int steps = 0; subject.step(false); ++steps) REQUIRE(steps < 100);
    REQUIRE_FALSE(subject.marks().failing);
    subject.pass(200'000);
  }
  files.set_capacity(30 * kMiB);
  const Operation large{Verb::kPut, 1, 9'000'000, 1};  // takes what cleaning gains
  REQUIRE(subject.apply(large) == Status::kOk);
  model[key_of(large)] = value_of(large);
  REQUIRE(subject.close() == Status::kOk);
  require_reopens(subject, model);
}

TEST_CASE("the room that deletes make is there for the next put") {
  SimFileSystem files;
  files.set_capacity(30 * kMiB);
  Subject subject(files, kStorePath, {.segment_bytes_min = kMiB, .slack_bytes = 64 * kMiB});
  REQUIRE(subject.open() == Status::kOk);
  Model model;
  const uint32_t put_count = fill(subject, &model, 100'000);
  const Operation large{Verb::kPut, 1, 5'000'000, 1};
  REQUIRE(subject.apply(large) == Status::kSpace);
  for (uint32_t key = 100; key < 100 + put_count / 2; ++key) {
    const Operation gone{Verb::kDelete, key};
    REQUIRE(subject.apply(gone) == Status::kOk);
    model.erase(key_of(gone));
  }
  REQUIRE(subject.apply(large) == Status::kOk);
  model[key_of(large)] = value_of(large);
  REQUIRE(subject.close() == Status::kOk);
  require_reopens(subject, model);
}

// Puts, deletes, compactions and steps in any order; what the disk has room for changes only by
// what the store does.
void live_on_a_small_disk(uint64_t seed) {
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t end) { return static_cast<uint32_t>(random() % end); };
  constexpr LogShape kShapes[] = {
      kSmallLog, {.segment_bytes_min = 512 << 10, .slack_bytes = 2 * kMiB}, kRealLog};
  SimFileSystem files;
  files.set_capacity((4 + below(12)) * kMiB);
  Subject subject(files, kStorePath, kShapes[below(3)]);
  REQUIRE(subject.open() == Status::kOk);
  Model model;
  const uint32_t keys = 10 + below(200);
  const uint32_t bytes_max = 1 + below(below(2) == 0 ? 400'000 : 20'000);
  uint64_t refused = 0;
  for (int i = 0; i < 1'000; ++i) {
    const uint32_t what = below(100);
    const Operation put{Verb::kPut, below(keys), below(bytes_max), random()};
    const Operation gone{Verb::kDelete, below(keys)};
    if (what < 60) {
      const Status status = subject.apply(put);
      if (status == Status::kOk) {
        model[key_of(put)] = value_of(put);
      } else {
        REQUIRE(status == Status::kSpace);
        ++refused;
      }
    } else if (what < 70) {
      const bool there = model.erase(key_of(gone)) == 1;
      REQUIRE(subject.apply(gone) == (there ? Status::kOk : Status::kNotFound));
    } else if (what < 71) {
      const Status status = subject.apply({Verb::kCompact});
      REQUIRE((status == Status::kOk || status == Status::kSpace));
    } else if (what < 73) {
      REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
    } else {
      subject.pass(below(200'000));
      (void)subject.step(below(2) == 0);
    }
    INFO("after " << i << ", " << refused << " refused: " << last_error());
    REQUIRE_FALSE(subject.marks().failing);
  }
  REQUIRE(subject.contents() == model);
  REQUIRE(subject.close() == Status::kOk);
  require_reopens(subject, model);
}

TEST_CASE("the first change of a session finds the persister that is to make room") {
  SimFileSystem files;
  files.set_capacity(8 * kMiB);
  const Environment environment{files, steady_clock(), fixed_random, false};
  Options options;
  std::unique_ptr<Store> store;
  REQUIRE(Store::open(kStorePath, options, environment, &store) == Status::kOk);
  REQUIRE(store->wait_for_room(Change::kPut, 7 * kMiB) == Status::kSpace);
  store->begin_close();
  REQUIRE(store->close() == Status::kOk);
  store.reset();
  options.read_only = true;
  REQUIRE(Store::open(kStorePath, options, environment, &store) == Status::kOk);
  REQUIRE(store->wait_for_room(Change::kPut, 7 * kMiB) == Status::kReadOnly);
  REQUIRE(store->close() == Status::kOk);
}

TEST_CASE("on a small disk nothing fails and nothing is lost, whatever is done") {
  std::mt19937_64 seeds(announce_seed("full_disk_test"));
  const uint64_t runs = rounds("DSKVS_FULL_DISK_RUNS", 30);
  for (uint64_t run = 0; run < runs; ++run) live_on_a_small_disk(seeds());
}

TEST_CASE("a disk that is full half way through an epoch is said to be full") {
  SimFileSystem files;
  files.set_quota(kMiB);
  Subject subject(files, kStorePath, kRealLog);
  REQUIRE(subject.open() == Status::kOk);
  Model expected;
  for (uint32_t key = 10; key < 710; ++key) {
    const Operation put{Verb::kPut, key, 3'000, key};
    REQUIRE(subject.apply(put) == Status::kOk);
    expected[key_of(put)] = value_of(put);
  }
  REQUIRE(subject.apply({Verb::kSync}) == Status::kSpace);
  files.set_quota(10 * kMiB);
  REQUIRE(subject.close() == Status::kOk);
  REQUIRE(subject.open() == Status::kOk);
  REQUIRE(subject.contents() == expected);
  REQUIRE(subject.close() == Status::kOk);
}

TEST_CASE("what a kill left above the durable epoch stays until it is written again") {
  SimFileSystem files;
  Subject subject(files, kStorePath, kRealLog);
  REQUIRE(subject.open() == Status::kOk);
  REQUIRE(subject.apply(kOld) == Status::kOk);
  subject.step();  // written, not synced
  REQUIRE(subject.marks().written > subject.marks().durable);
  SimFileSystem after(files.disk().after_kill());
  after.set_capacity(0);
  Subject next(after, kStorePath, kRealLog);
  for (int session = 0; session < 3; ++session) {
    REQUIRE(next.open() == Status::kOk);
    REQUIRE(next.contents() == Model{{key_of(kOld), value_of(kOld)}});
    REQUIRE(next.apply({Verb::kSync}) == Status::kSpace);
    REQUIRE(next.close() == Status::kSpace);
  }
}

TEST_CASE("close waits for a disk that is slow, and says OK when all is durable") {
  SimFileSystem files;
  Subject subject(files, kStorePath, kRealLog, 60'000'000);  // a minute goes by at each look
  REQUIRE(subject.open() == Status::kOk);
  REQUIRE(subject.apply(kOld) == Status::kOk);
  REQUIRE(subject.close() == Status::kOk);
  std::mt19937_64 random(1);
  for_each_power_cut(files.disk(), {}, random, [](const SimDisk& disk) {
    SimFileSystem after(disk);
    Subject next(after, kStorePath, kRealLog);
    REQUIRE(next.open(true) == Status::kOk);
    REQUIRE(next.contents() == Model{{key_of(kOld), value_of(kOld)}});
    REQUIRE(next.close() == Status::kOk);
    return true;
  });
}

}  // namespace
}  // namespace dskvs::test
