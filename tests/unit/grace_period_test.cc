// Goal: nothing is given back that somebody may still be looking at, at the two moments that need
// an argument: a removal that is recorded and not yet made, and an object that is retired before it
// is out of reach.
// Method: threads hand over to one another through flags, and through the reclaimer's clock, which
// moves when somebody begins to wait for readers. Nothing depends on time.
#include <atomic>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>

#include "hash.h"
#include "memory/sweep.h"
#include "persister/housekeeping.h"
#include "support/catch.h"
#include "unit/one_entry.h"

namespace dskvs::test {
namespace {

// A thread that is in a section from its construction to leave().
class Reader {
 public:
  Reader() {
    await([&] { return inside_.load(); });
  }
  ~Reader() { leave(); }
  void leave() {
    leaving_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  void read() {
    prepare_thread();
    ReadSection section;
    inside_ = true;
    await([&] { return leaving_.load(); });
  }

  std::atomic<bool> inside_{false};
  std::atomic<bool> leaving_{false};
  std::thread thread_{[this] { read(); }};
};

TEST_CASE("a seal waits for who began while a removal was recorded and not yet made") {
  for (const bool remove : {false, true}) {
    OneEntry store;
    std::atomic<bool> recorded{false};
    std::atomic<bool> going_on{false};
    std::atomic<bool> sealed{false};
    std::thread writer([&] {
      prepare_thread();
      store.replace(remove, [&] {
        recorded = true;
        await([&] { return going_on.load(); });
      });
    });
    await([&] { return recorded.load(); });

    const uint64_t before = reclaimer_clock();
    std::thread persister([&] {
      (void)store.epochs.seal();
      sealed = true;
    });
    await([&] { return reclaimer_clock() > before; });  // it waits for the writer
    const uint64_t first_wait = reclaimer_clock();
    {
      ReadSection section;
      CHECK(store.find() != nullptr);
      going_on = true;
      writer.join();
      CHECK((store.find() == nullptr) == remove);
      await([&] { return sealed || reclaimer_clock() > first_wait; });
      CHECK(sealed != remove);
    }
    persister.join();
  }
}

TEST_CASE("an epoch's first change has its own time, whatever the next epoch does meanwhile") {
  OneEntry store;
  const uint64_t before_us = steady_clock().now_us();
  store.replace(false, [] {});
  const uint64_t after_us = steady_clock().now_us();
  const uint64_t sealed_epoch = store.epochs.open();
  std::optional<SealedEpoch> sealed;
  {
    std::optional<Reader> reader{std::in_place};
    std::thread persister([&] { sealed = store.epochs.seal(); });
    await([&] { return store.epochs.open() > sealed_epoch; });
    await([&] { return steady_clock().now_us() > after_us; });
    store.replace(false, [] {});  // in the next epoch, while the seal waits for the reader
    CHECK(store.epochs.open_since_us() > after_us);
    reader.reset();
    persister.join();
  }
  CHECK(sealed->first_write_us >= before_us);
  CHECK(sealed->first_write_us <= after_us);
  for (DirtyChunk* chunk; (chunk = sealed->chunks.pop_first()) != nullptr;) {
    for (uint32_t i = 0; i < chunk->count; ++i) {
      DirtyRecord::entry(chunk->records[i].word.exchange(0))->unpin();
    }
    store.epochs.free_chunk(chunk);
  }
}

TEST_CASE("a sweep meets what a sealed collection holds until its drop has an epoch") {
  constexpr int kMembers = 1'000;
  prepare_thread();
  Epochs epochs(steady_clock(), 1, 1);
  TableFigures figures;
  Catalog catalog(figures);
  Collection* const collection = Collection::make("collection", figures);
  const auto put = [](auto& table, auto* node) {
    ReadSection section;
    const std::string_view key = node->key();
    if (table.update(KeyHash{}(key), key, true, [&](auto, auto replace) {
          replace(node);
          return Status::kOk;
        }) != Status::kOk) {
      std::abort();
    }
  };
  put(catalog, collection);
  for (int i = 0; i < kMembers; ++i) {
    put(collection->members(), Entry::make(std::to_string(i), 0));
  }
  const auto count = [&] {
    int met = 0;
    Sweep sweep;
    for (sweep.begin(); sweep.active();) {
      REQUIRE(sweep.advance(catalog, [&](Collection&, Entry*) {
        met++;
        return Status::kOk;
      }) == Status::kOk);
    }
    return met;
  };
  CHECK(count() == kMembers);
  // As in the middle of delete_all: it is the next epoch that drops them.
  TableTotals totals;
  REQUIRE(collection->members().seal(false, &totals));
  CHECK(count() == kMembers);
  bool first = false;
  epochs.record_drop(*collection, totals, &first);
  CHECK(count() == 0);
  (void)epochs.seal();
  CHECK(epochs.take_ended(1) == collection);
  collection->members().take_all([](Entry* entry) { entry->unpin(); });
  catalog.take_all([](Collection*) {});
  Collection::free(collection);
}

TEST_CASE("what an idle thread has retired goes under load too") {
  Epochs epochs(steady_clock(), 1, 1);
  Housekeeping housekeeping(epochs, true);
  std::atomic<bool> given_back{false};
  std::atomic<bool> retired{false};
  std::optional<Reader> reader{std::in_place};
  std::thread idle([&] {
    prepare_thread();
    {
      ReadSection section;
      reclaimer::retire(&given_back, size_t{1} << 30, [](void* object) noexcept {
        static_cast<std::atomic<bool>*>(object)->store(true);
      });
    }
    reclaimer::reclaim_if_due();  // somebody may look at it still
    retired = true;
    await([&] { return given_back.load(); });
  });
  await([&] { return retired.load(); });
  CHECK_FALSE(given_back);
  reader.reset();
  for (uint64_t epoch = 1; epoch <= 64; ++epoch) housekeeping.epoch_written(epoch, 1);
  CHECK(given_back);
  given_back = true;
  idle.join();
}

TEST_CASE("bags are left alone while their thread is in a section") {
  prepare_thread();
  std::atomic<bool> given_back[2] = {};
  const auto retire = [](std::atomic<bool>& object, size_t bytes) {
    reclaimer::retire(&object, bytes, [](void* retired) noexcept {
      static_cast<std::atomic<bool>*>(retired)->store(true);
    });
  };
  std::optional<Reader> reader;
  {
    Reader waited_for;
    const uint64_t before = reclaimer_clock();
    std::thread persister(reclaimer::reclaim_all);
    await([&] { return reclaimer_clock() > before; });
    ReadSection section;  // too late to be waited for
    retire(given_back[0], 1);
    waited_for.leave();
    persister.join();
    reader.emplace();  // still finds the object: it is out of reach when the section ends
  }
  {
    ReadSection section;
    retire(given_back[1], size_t{1} << 30);
  }
  reclaimer::reclaim_if_due();
  CHECK_FALSE(given_back[0]);
  reader->leave();
  reclaimer::reclaim_all();
  CHECK(given_back[0]);
  CHECK(given_back[1]);
}

}  // namespace
}  // namespace dskvs::test
