// Goal: a change belongs to the epoch that is open when it takes effect, and it takes effect at the
// latest when somebody sees it.
// Method: as in grace_period_test. A put is stopped when it can be seen and is in no epoch yet.
#include <atomic>
#include <optional>
#include <thread>

#include "support/catch.h"
#include "unit/one_entry.h"

namespace dskvs::test {
namespace {

// Gives back what a sealed epoch holds, and says how many changes that is.
uint32_t take_records(Epochs& epochs, SealedEpoch& sealed) {
  uint32_t count = 0;
  while (DirtyChunk* chunk = sealed.chunks.pop_first()) {
    for (uint32_t i = 0; i < chunk->count; ++i, ++count) {
      DirtyRecord::entry(chunk->records[i].word.exchange(0))->unpin();
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

}  // namespace
}  // namespace dskvs::test
