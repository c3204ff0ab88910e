// Goal: a change belongs to the epoch that is open when it takes effect, and it takes effect at the
// latest when somebody sees it. Epochs count changes to the byte, and lose no record's place.
// Method: as in grace_period_test. A change is stopped when it can be seen and is in no epoch yet:
// in what makes it visible, or where the store asks for the time, which it does before the first
// change of an epoch joins it.
#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "persister/epoch_writer.h"
#include "store.h"
#include "support/catch.h"
#include "support/log_client.h"
#include "support/sim_environment.h"
#include "support/sim_file_system.h"
#include "unit/one_entry.h"

namespace dskvs::test {
namespace {

// Gives back what a sealed epoch holds, and says how many records that is.
uint32_t take_records(Epochs& epochs, SealedEpoch& sealed) {
  uint32_t count = 0;
  while (DirtyChunk* chunk = sealed.chunks.pop_first()) {
    for (uint32_t i = 0; i < chunk->count; ++i, ++count) {
      const uintptr_t word = chunk->records[i].word.exchange(0);
      if (word != 0) DirtyRecord::entry(word)->unpin();
    }
    epochs.free_chunk(chunk);
  }
  return count;
}

enum class Seen { kNever, kBefore, kAfter };

TEST_CASE("a put joins the epoch that is open when it is seen first, or when it goes on") {
  for (const Seen seen : {Seen::kNever, Seen::kBefore, Seen::kAfter}) {
    OneEntry store;
    const uint64_t epoch = store.epochs.open();
    std::atomic<bool> visible{false};
    std::atomic<bool> going_on{false};
    std::thread writer([&] {
      prepare_thread();
      store.replace(false, [&] {
        visible = true;
        await([&] { return going_on.load(); });
      });
    });
    await([&] { return visible.load(); });
    const auto look = [&](uint64_t open) {
      const ReadSection section;
      Entry* const entry = store.find();
      CHECK(entry->home() == Entry::kPutting);
      CHECK(store.epochs.newest_change() < open);
      bool first = false;
      CHECK(store.epochs.settle(*entry, &first));
      CHECK(first);
      CHECK(store.epochs.newest_change() == open);
      CHECK(entry->home() == Entry::joined(Entry::kPutting, open));
      CHECK(store.epochs.settle(*entry, &first));
    };
    if (seen == Seen::kBefore) look(epoch);
    std::optional<SealedEpoch> sealed;
    std::thread persister([&] { sealed = store.epochs.seal(); });
    await([&] { return store.epochs.open() > epoch; });
    if (seen == Seen::kAfter) look(epoch + 1);
    going_on = true;
    writer.join();
    persister.join();
    const uint32_t joined = seen == Seen::kBefore ? 1 : 0;
    CHECK(take_records(store.epochs, *sealed) == joined);
    SealedEpoch next = store.epochs.seal();
    CHECK(take_records(store.epochs, next) == 1 - joined);
  }
}

// What is not exact would add up as long as a store lives.
TEST_CASE("totals and dirty bytes are those of what happened, to the byte") {
  constexpr int64_t kKeyBytes = 4 + 1 + 6;
  constexpr int64_t kMemberBytes = sizeof(Entry) + 6;
  prepare_thread();
  for (const uint64_t step : {1, 100, 1'000'000}) {
    TableFigures figures;
    Epochs epochs(steady_clock(), 1, step);  // frees the collection, which it drops
    Collection* const collection = Collection::make("name", figures);
    bool first = false;
    int64_t accepted_bytes = 0;
    uint64_t dirty_bytes = 0;
    const auto put = [&](Entry* old, uint64_t value_bytes) {
      const ReadSection section;
      Entry* const entry = Entry::make("member", value_bytes);
      REQUIRE(epochs.record_put(*collection, *entry, old, &first, [] {}) == Status::kOk);
      accepted_bytes += kKeyBytes + static_cast<int64_t>(value_bytes);
      return entry;
    };
    const auto remove = [&](Entry* old) {
      const ReadSection section;
      REQUIRE(epochs.record_removal(*collection, *old, &first) == Status::kOk);
      accepted_bytes += kKeyBytes;
    };
    // Ends the epoch, in which so many records weigh so much.
    const auto check = [&](std::optional<int64_t> value_bytes, uint32_t records, uint64_t bytes) {
      const Totals totals = epochs.totals();
      CHECK(totals.entries == (value_bytes ? 1 : 0));
      CHECK(totals.key_bytes == (value_bytes ? kKeyBytes : 0));
      CHECK(totals.value_bytes == value_bytes.value_or(0));
      CHECK(totals.entry_bytes == (value_bytes ? kMemberBytes + *value_bytes : 0));
      CHECK(totals.bytes_accepted == accepted_bytes);
      SealedEpoch sealed = epochs.seal();
      CHECK(take_records(epochs, sealed) == records);
      dirty_bytes += kRecordOverheadBytes + bytes;
      CHECK(epochs.dirty_bytes() == dirty_bytes);
    };

    Entry* entry = put(nullptr, 100);
    entry = put(entry, 70);
    check(70, 1, kKeyBytes + 70);
    entry = put(entry, 300);
    check(300, 1, kKeyBytes + 300);
    {
      const ReadSection section;
      REQUIRE(epochs.record_rescue(*collection, entry) == Status::kOk);
    }
    check(300, 1, kKeyBytes + 300);
    entry = put(entry, 50);
    remove(entry);
    check({}, 1, kKeyBytes);
    remove(put(nullptr, 20));  // leaves a record that says nothing
    check({}, 1, 0);
    entry = put(nullptr, 30);
    check(30, 1, kKeyBytes + 30);
    epochs.record_drop(*collection, {.count = 1, .key_bytes = 6, .value_bytes = 30}, &first);
    entry->unpin();
    accepted_bytes += 4;
    check({}, 0, 4);
    epochs.subtract_dirty(dirty_bytes);
    CHECK(epochs.dirty_bytes() == 0);
  }
}

TEST_CASE("chunks have ids of their own, as few as there are chunks, and use them again") {
  constexpr uint32_t kChunks = 3 * 1024;
  prepare_thread();
  Epochs epochs(steady_clock(), 1, 1);
  for (int times = 0; times < 2; ++times) {
    std::vector<DirtyChunk*> chunks;
    std::vector<bool> taken(kChunks);
    for (uint32_t i = 0; i < kChunks; ++i) {
      DirtyChunk* const chunk = epochs.take_chunk();
      REQUIRE(chunk != nullptr);
      REQUIRE(chunk->id < kChunks);
      REQUIRE_FALSE(taken[chunk->id]);
      taken[chunk->id] = true;
      chunks.push_back(chunk);
    }
    for (DirtyChunk* chunk : chunks) epochs.free_chunk(chunk);
    epochs.free_excess_chunks();
  }
}

TEST_CASE("who sees a key that is being removed, or a collection, sees that it is gone") {
  OneEntry store;
  bool first = false;
  {
    const ReadSection section;
    Entry* const entry = store.find();
    entry->begin_removal();
    for (int times = 0; times < 2; ++times) {
      CHECK_FALSE(store.epochs.settle(*entry, &first));
      CHECK(entry->home() == Entry::joined(Entry::kRemoving, store.epochs.open()));
    }
    CHECK(first);
    CHECK(store.epochs.newest_change() == store.epochs.open());
  }
  const uint64_t epoch = store.epochs.open();
  std::atomic<uint64_t>& dropped = store.collection->dropped_epoch;
  dropped = kEnding;
  first = false;
  store.epochs.settle(*store.collection, &first);
  CHECK(dropped == epoch);
  CHECK_FALSE(first);  // the removal was
  (void)store.epochs.seal();
  store.epochs.settle(*store.collection, &first);
  CHECK(dropped == epoch);
}

TEST_CASE("an entry that is being removed while its epoch is written stays so") {
  for (const bool removing : {false, true}) {
    OneEntry store;
    store.replace(false, [] {});
    SealedEpoch sealed = store.epochs.seal();
    SimFileSystem files;
    const auto directory = open_locked(files, "/store");
    LogPosition position;
    position.store_id = {1};
    LogWriter log(*directory, position, kSmallLog.segment_bytes_min);
    TableFigures figures;
    Catalog catalog(figures);
    EpochWriter writer(catalog, store.epochs, log, {});

    REQUIRE(writer.write(sealed, 0) == Status::kOk);
    const ReadSection section;
    Entry* const entry = store.find();
    if (removing) entry->begin_removal();
    writer.settle(sealed, 1);
    CHECK(entry->home() == (removing ? Entry::kRemoving : 1));
    bool first = false;
    CHECK(store.epochs.settle(*entry, &first) == !removing);
  }
}

class StoppingClock : public Clock {
 public:
  uint64_t now_us() noexcept override {
    if (std::this_thread::get_id() == stops_) {
      stopped_ = true;
      await([&] { return going_on_.load(); });
    }
    return ++now_us_;
  }
  uint64_t thread_cpu_us() noexcept override { return ++now_us_; }

  // `call` in a thread of its own, and `meanwhile` when that is stopped.
  template <typename Call, typename Meanwhile>
  void stop(Call&& call, Meanwhile&& meanwhile) {
    stopped_ = going_on_ = false;
    std::thread thread([&] {
      prepare_thread();
      const ReadSection section;
      stops_ = std::this_thread::get_id();
      call();
    });
    await([&] { return stopped_.load(); });
    meanwhile();
    going_on_ = true;
    thread.join();
  }

 private:
  std::atomic<uint64_t> now_us_{1'000'000};
  std::atomic<std::thread::id> stops_;
  std::atomic<bool> stopped_{false};
  std::atomic<bool> going_on_{false};
};

TEST_CASE("what a reader answers about a call that is under way is in the epoch of its mark") {
  constexpr std::string_view kText = "collection/member";
  prepare_thread();
  SimFileSystem files;
  StoppingClock clock;
  std::unique_ptr<Store> store;
  REQUIRE(Store::open("/store", {}, {files, clock, fixed_random, true, kSmallLog}, &store) ==
          Status::kOk);
  Key parsed;
  REQUIRE(parse_key(kText, &parsed) == Status::kOk);
  const HashedKey key(parsed);
  const auto put = [&] { (void)store->put(key, Entry::make(key.member, 0), {}); };
  const auto remove = [&] { (void)store->remove(key, {}); };
  const auto drop = [&] {
    uint64_t removed = 0;
    (void)store->drop(key.collection, &removed);
  };
  const auto check = [&](auto&& call, bool there) {
    clock.stop(call, [&] {
      const uint64_t before = store->mark();
      const ReadSection section;
      CHECK((store->find(key) != nullptr) == there);
      CHECK(store->mark() == before + 1);
      CHECK((store->find(key) != nullptr) == there);
    });
    while (store->step(true)) {
    }
  };
  check(put, true);
  check(put, true);
  check(remove, false);
  check(put, true);
  check(drop, false);
  store->begin_close();
  CHECK(store->close() == Status::kOk);
}

}  // namespace
}  // namespace dskvs::test
