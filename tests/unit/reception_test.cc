// Goal: who waits for the persister is told what it waits for, that it is late, that the store is
// being closed, or what has failed; and the persister learns what is wanted.
// Method: a reception alone; the test stands in for the persister.
#include "persister/reception.h"

#include "support/catch.h"

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
}

TEST_CASE("compactions are wanted until they are done, and the persister sleeps until it stops") {
  std::function<bool()> step;
  Alone alone([&] { return step(); });
  Reception& reception = alone.reception;
  step = [&] {
    CHECK(alone.has_requests());
    reception.compaction_done(reception.compaction_wanted(), Status::kOk);
    return true;
  };
  CHECK(reception.compact() == Status::kOk);
  CHECK(reception.compaction_wanted() == 0);
  CHECK_FALSE(alone.has_requests());
  reception.stop();
  CHECK_FALSE(reception.sleep(true, [](bool) { return UINT64_MAX; }));
}

}  // namespace
}  // namespace dskvs::test
