// Goal: who waits for the persister is told what it waits for, that it is late, that the store is
// being closed, or what has failed; and the persister learns what is wanted.
// Method: a reception alone; the test stands in for the persister.
#include "persister/reception.h"

#include "support/catch.h"

#include <chrono>
#include <future>
#include <thread>

namespace dskvs::test {
namespace {

struct Alone {
  explicit Alone(std::function<bool()> step = {}) : reception(options, epochs, std::move(step)) {}

  void publish(uint64_t written, uint64_t durable, Status error = Status::kOk) {
    PersisterFigures figures{};
    figures.written_epoch = written;
    figures.durable_epoch = durable;
    figures.error = error;
    reception.publish(figures);
  }

  // Whether the persister would look for requests soon.
  bool has_requests() {
    bool told = false;
    REQUIRE(reception.sleep(true, [&](bool requests) {
      told = requests;
      return uint64_t{0};
    }));
    return told;
  }

  Options options;
  Epochs epochs{steady_clock(), 1, 1};
  Reception reception;
};

TEST_CASE("a wait ends with what was waited for, the end of its time, an error or the close") {
  Alone alone;
  Reception& reception = alone.reception;
  alone.publish(2, 1);
  CHECK(reception.wait(2, Level::kWritten, 0) == Status::kOk);
  CHECK(reception.wait(1, Level::kDurable, DSKVS_FOREVER) == Status::kOk);
  CHECK(reception.wait(2, Level::kDurable, 0) == Status::kTimeout);
  CHECK(reception.wait(2, Level::kDurable, 1) == Status::kTimeout);

  (void)fail(Status::kSpace, "the disk is full");
  reception.explain(Status::kSpace);
  alone.publish(2, 1, Status::kSpace);
  CHECK(reception.wait(2, Level::kWritten, DSKVS_FOREVER) == Status::kOk);
  CHECK(reception.wait(2, Level::kDurable, DSKVS_FOREVER) == Status::kSpace);
  CHECK(std::string(last_error()) == "the disk is full");

  reception.begin_close();
  CHECK(reception.wait(2, Level::kDurable, DSKVS_FOREVER) == Status::kClosed);
}

TEST_CASE("without a thread those who wait move the persister, until it has nothing to do") {
  uint64_t written = 0;
  std::function<bool()> step;
  Alone alone([&] { return step(); });
  step = [&] {
    if (written == 3) return false;
    alone.publish(++written, 0);
    return true;
  };
  CHECK(alone.reception.wait(2, Level::kWritten, DSKVS_FOREVER) == Status::kOk);
  CHECK(written == 2);
  CHECK(alone.reception.wait(4, Level::kWritten, DSKVS_FOREVER) == Status::kTimeout);
  CHECK(written == 3);
}

TEST_CASE("who waits for room is told when there is more, though nothing else is new") {
  Alone alone;
  PersisterFigures figures{};
  figures.dirty_bytes_max = 0;
  alone.reception.publish(figures);
  auto waiting = std::async(std::launch::async,
                            [&] { return alone.reception.wait_for_room(Change::kPut, 0); });
  CHECK(waiting.wait_for(std::chrono::milliseconds(50)) == std::future_status::timeout);
  figures.dirty_bytes_max = 1;
  alone.reception.publish(figures);
  CHECK(waiting.wait_for(std::chrono::seconds(10)) == std::future_status::ready);
  alone.reception.begin_close();
  CHECK(waiting.get() == Status::kOk);
}

TEST_CASE("a sync that is wanted stays so, whoever asks for less after it") {
  Alone alone;
  alone.publish(5, 5);
  CHECK(alone.reception.sync(3, 0) == Status::kOk);
  CHECK(alone.reception.sync_wanted() == 3);
  CHECK(alone.reception.sync(2, 0) == Status::kOk);
  CHECK(alone.reception.sync_wanted() == 3);
  alone.options.sync_interval_ms = 0;  // nothing is synced by itself: to wait is to ask
  CHECK(alone.reception.wait(4, Level::kWritten, 0) == Status::kOk);
  CHECK(alone.reception.sync_wanted() == 3);
  CHECK(alone.reception.wait(4, Level::kDurable, 0) == Status::kOk);
  CHECK(alone.reception.sync_wanted() == 4);
}

TEST_CASE("a snapshot goes to the one who wants it, and to nobody when nobody does") {
  std::vector<SegmentFile> snapshot{{1, 4096, 4096}};
  std::vector<SegmentFile> received;
  std::function<bool()> step;
  Alone alone([&] { return step(); });
  Reception& reception = alone.reception;
  CHECK_FALSE(reception.snapshot_wanted());
  CHECK_FALSE(reception.hand_out(snapshot));
  CHECK(snapshot.size() == 1);
  step = [&] {
    CHECK(reception.snapshot_wanted() == alone.epochs.newest_change());
    CHECK(alone.has_requests());
    return reception.hand_out(snapshot);
  };
  CHECK(reception.begin_snapshot(&received) == Status::kOk);
  CHECK(received.size() == 1);
  CHECK_FALSE(reception.snapshot_wanted());
  CHECK_FALSE(alone.has_requests());
  reception.end_snapshot();
  CHECK(alone.has_requests());
  CHECK(reception.take_ended_snapshots() == 1);
  CHECK(reception.take_ended_snapshots() == 0);
  CHECK_FALSE(alone.has_requests());
  // Nor does it go to one who wanted it and is gone.
  step = [&] { return false; };
  std::vector<SegmentFile> nothing;
  CHECK(reception.begin_snapshot(&nothing) == Status::kTimeout);
  CHECK_FALSE(reception.snapshot_wanted());
  snapshot.assign(2, {1, 4096, 4096});
  CHECK_FALSE(reception.hand_out(snapshot));
  CHECK(nothing.empty());
}

TEST_CASE("who wants a snapshot wakes the persister, which may just have been woken for the sync") {
  Alone alone;
  std::thread persister([&] {
    std::vector<SegmentFile> snapshot;
    // A minute, unless somebody wakes it.
    const auto pause_us = [](bool requests) { return uint64_t{requests ? 0u : 60'000'000u}; };
    while (alone.reception.sleep(true, pause_us)) (void)alone.reception.hand_out(snapshot);
  });
  const auto begin = std::chrono::steady_clock::now();
  bool late = false;
  for (int i = 0; i < 1000 && !late; ++i) {
    std::vector<SegmentFile> received;
    CHECK(alone.reception.begin_snapshot(&received) == Status::kOk);
    late = std::chrono::steady_clock::now() - begin > std::chrono::seconds(50);
  }
  CHECK_FALSE(late);
  alone.reception.stop();
  persister.join();
}

TEST_CASE("compactions are wanted until they are done, and the persister sleeps until it stops") {
  std::function<bool()> step;
  Alone alone([&] { return step(); });
  Reception& reception = alone.reception;
  step = [&] {
    CHECK(alone.has_requests());
    reception.compaction_done(reception.compaction_wanted().number, Status::kOk);
    return true;
  };
  CHECK(reception.compact() == Status::kOk);
  CHECK(reception.compaction_wanted().number == 0);
  CHECK_FALSE(alone.has_requests());
  reception.stop();
  CHECK_FALSE(reception.sleep(true, [](bool) { return UINT64_MAX; }));
}

TEST_CASE("a put has the room of puts, a removal all of it, and no limit of the backlog") {
  Alone alone;
  Reception& reception = alone.reception;
  CHECK(reception.has_room(Change::kPut, uint64_t{1} << 60));  // nobody knows
  alone.publish(0, 0);
  reception.set_room_bytes(1'000, 5'000);
  CHECK_FALSE(reception.has_room(Change::kPut, 1'000));  // nothing may be dirty
  CHECK(reception.has_room(Change::kRemoval, 5'000));
  CHECK_FALSE(reception.has_room(Change::kRemoval, 5'001));
  PersisterFigures figures{};
  figures.dirty_bytes_max = UINT64_MAX;
  reception.publish(figures);
  CHECK(reception.has_room(Change::kPut, 1'000));
  CHECK_FALSE(reception.has_room(Change::kPut, 1'001));
  CHECK(reception.dirty_bytes_max() == 1'000);
  reception.set_room_bytes(UINT64_MAX, UINT64_MAX);
  CHECK(reception.dirty_bytes_max() == alone.options.dirty_bytes_max);
}

TEST_CASE(
    "what the disk has no room for waits as long as cleaning makes some, and is refused then") {
  std::function<bool()> step;
  Alone alone([&] { return step(); });
  Reception& reception = alone.reception;
  PersisterFigures figures{};
  figures.dirty_bytes_max = UINT64_MAX;
  reception.publish(figures);
  uint64_t room_bytes = 100;
  reception.set_room_bytes(room_bytes, 0);
  int passes = 0;
  step = [&] {
    CHECK(alone.has_requests());
    const auto wanted = reception.compaction_wanted();
    CHECK_FALSE(wanted.all);
    ++passes;
    if (room_bytes < 300) room_bytes += 50;
    reception.set_room_bytes(room_bytes, 0);
    reception.compaction_done(wanted.number, Status::kOk);
    return true;
  };
  CHECK(reception.wait_for_room(Change::kPut, 220) == Status::kOk);
  CHECK(passes == 3);
  CHECK(reception.wait_for_room(Change::kPut, 250) == Status::kOk);
  CHECK(passes == 3);
  CHECK(reception.wait_for_room(Change::kPut, 301) == Status::kSpace);
  CHECK(passes == 5);
  CHECK(std::string(last_error()).find("300 bytes") != std::string::npos);
  CHECK(reception.compaction_wanted().number == 0);

  // When cleaning fails, that is why; but not when there is room all the same.
  step = [&] {
    (void)fail(Status::kSpace, "no room to clean");
    reception.compaction_done(reception.compaction_wanted().number, Status::kSpace);
    return true;
  };
  CHECK(reception.wait_for_room(Change::kPut, 301) == Status::kSpace);
  CHECK(std::string(last_error()) == "no room to clean");
  step = [&] {
    reception.set_room_bytes(400, 0);
    reception.compaction_done(reception.compaction_wanted().number, Status::kIo);
    return true;
  };
  CHECK(reception.wait_for_room(Change::kPut, 301) == Status::kOk);
}

TEST_CASE("who wants all to be cleaned is not served by less") {
  std::function<bool()> step;
  Alone alone([&] { return step(); });
  Reception& reception = alone.reception;
  alone.publish(0, 0);
  reception.set_room_bytes(0, 0);
  bool asked = false;
  step = [&] {
    // Another one asks meanwhile, for less.
    if (!std::exchange(asked, true)) {
      return reception.wait_for_room(Change::kRemoval, 1) == Status::kSpace;
    }
    const auto wanted = reception.compaction_wanted();
    CHECK(wanted.number == 2);
    CHECK(wanted.all);
    reception.compaction_done(wanted.number, Status::kOk);
    return true;
  };
  CHECK(reception.compact() == Status::kOk);
  step = [&] {
    const auto wanted = reception.compaction_wanted();
    CHECK(wanted.number == 3);
    CHECK_FALSE(wanted.all);
    reception.compaction_done(wanted.number, Status::kOk);
    return true;
  };
  CHECK(reception.wait_for_room(Change::kRemoval, 1) == Status::kSpace);
}

}  // namespace
}  // namespace dskvs::test
