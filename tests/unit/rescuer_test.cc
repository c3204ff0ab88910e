// Goal: what has to be written again is known as well as a sweep can tell, never as less than it
// is; and a share of a sweep is no longer than it should be, however little it finds.
// Method: tallies are counted by hand. A catalog is loaded as from a log, so that each entry stands
// in the segment that the test says, and is swept share by share.
#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "environment.h"
#include "loader.h"
#include "persister/rescuer.h"
#include "support/catch.h"
#include "support/core_seed.h"

namespace dskvs::test {
namespace {

SegmentFile segment(uint64_t id, uint64_t bytes) {
  return {.id = id, .bytes = bytes, .end = bytes};
}

TEST_CASE("of a segment that no sweep has told about, all may be current") {
  SegmentTally tally;
  CHECK(tally.current_bytes(segment(0, 100)) == 100);
  CHECK(tally.current_bytes(segment(3, 100)) == 100);
  tally.finish();  // none was begun
  CHECK(tally.current_bytes(segment(0, 100)) == 100);
  CHECK(tally.current_bytes(segment(3, 100)) == 100);
}

TEST_CASE("a sweep tells about the segments that it was begun for, once it has ended") {
  SegmentTally tally;
  tally.begin(3, 6);
  for (uint64_t id = 1; id < 9; ++id) tally.count(id, 10 * id);
  tally.count(4, 5);
  tally.count(UINT32_MAX, 7);  // Entry::kNowhere
  CHECK(tally.current_bytes(segment(4, 100)) == 100);
  tally.finish();
  CHECK(tally.current_bytes(segment(2, 100)) == 100);
  CHECK(tally.current_bytes(segment(3, 100)) == 30);
  CHECK(tally.current_bytes(segment(4, 100)) == 45);
  CHECK(tally.current_bytes(segment(5, 100)) == 50);
  CHECK(tally.current_bytes(segment(6, 100)) == 100);
  // What an entry takes is counted about. No segment holds more than it has bytes.
  CHECK(tally.current_bytes(segment(5, 50)) == 50);
  CHECK(tally.current_bytes(segment(5, 49)) == 49);
  // Where nothing was counted, nothing is current.
  tally.begin(3, 6);
  tally.finish();
  CHECK(tally.current_bytes(segment(4, 100)) == 0);
}

TEST_CASE("what the last sweep told holds until the next has ended, and is then forgotten") {
  SegmentTally tally;
  tally.begin(3, 6);
  tally.count(4, 40);
  tally.finish();
  tally.begin(5, 8);
  tally.count(5, 50);
  CHECK(tally.current_bytes(segment(4, 100)) == 40);
  CHECK(tally.current_bytes(segment(5, 100)) == 0);
  CHECK(tally.current_bytes(segment(7, 100)) == 100);
  SECTION("it ends") {
    tally.finish();
    CHECK(tally.current_bytes(segment(4, 100)) == 100);
    CHECK(tally.current_bytes(segment(5, 100)) == 50);
    CHECK(tally.current_bytes(segment(7, 100)) == 0);
  }
  SECTION("it is given up, whatever is still counted, and ends all the same") {
    tally.give_up();
    tally.count(5, 50);
    tally.finish();
    CHECK(tally.current_bytes(segment(4, 100)) == 40);
    CHECK(tally.current_bytes(segment(5, 100)) == 0);
    CHECK(tally.current_bytes(segment(7, 100)) == 100);
  }
}

TEST_CASE("a tally has room for 512 segments, and says of later ones that all may be current") {
  constexpr uint64_t kFirst = 1'000;
  SegmentTally tally;
  for (const uint64_t end : {kFirst + 511, kFirst + 512, kFirst + 513, kFirst + 100'000}) {
    tally.begin(kFirst, end);
    for (uint64_t id = kFirst - 1; id < kFirst + 1'100; ++id) tally.count(id, 1 + id % 7);
    tally.finish();
    const uint64_t counted_end = std::min(end, kFirst + 512);
    for (uint64_t id = kFirst - 1; id < kFirst + 1'100; ++id) {
      const bool counted = id >= kFirst && id < counted_end;
      CAPTURE(end, id);
      REQUIRE(tally.current_bytes(segment(id, UINT64_MAX)) == (counted ? 1 + id % 7 : UINT64_MAX));
    }
  }
}

// What a store holds in memory, and what rescues it.
class Swept {
 public:
  explicit Swept(const LogShape& shape = {}) : shape_(shape) {
    hash_seed = 1;  // of the order of a sweep
    REQUIRE(reclaimer::register_thread());
  }
  ~Swept() {
    rescuer_.reset();
    clear_catalog(catalog_);
    epochs_.reset();
    reclaimer::reclaim_all();
  }

  struct Stored {
    uint64_t segment;
    uint32_t entries;
    uint64_t bytes;  // that dirty_bytes_of() says of each
    uint32_t collections = 1;
  };
  // By segment.
  void load(const std::vector<Stored>& all) {
    Loader loader(catalog_, figures_);
    loader.begin(kEpoch);
    uint32_t number = 0;
    for (const Stored& stored : all) {
      RecoverySink& sink = loader.begin_segment(stored.segment);
      for (uint32_t i = 0; i < stored.entries; ++i, ++number) {
        const std::string key = "c" + std::to_string(100'000 + i % stored.collections) + "/m" +
                                std::to_string(10'000'000 + number);
        void* value = nullptr;
        REQUIRE(stored.bytes >= kRecordOverheadBytes + key.size());
        const uint64_t value_bytes = stored.bytes - kRecordOverheadBytes - key.size();
        REQUIRE(sink.add(FrameType::kPut, key, value_bytes, &value) == Status::kOk);
        std::memset(value, 0, value_bytes);
      }
      REQUIRE(sink.commit(stored.segment) == Status::kOk);
      REQUIRE(loader.end_segment() == Status::kOk);
    }
    epochs_.emplace(steady_clock(), kEpoch + 1, 0);
    DirtyChunks removals;
    REQUIRE(loader.finish(*epochs_, &removals) == Status::kOk);
    rescuer_.emplace(catalog_, *epochs_, shape_);
  }

  Rescuer& rescuer() { return *rescuer_; }
  // What was rescued stands in a new segment now.
  void commit() {
    SealedEpoch sealed = epochs_->seal();
    while (DirtyChunk* chunk = sealed.chunks.pop_first()) {
      for (uint32_t i = 0; i < chunk->count; ++i) {
        Entry* const entry = DirtyRecord::entry(chunk->records[i].word.exchange(0));
        entry->set_home(kLastSegment);
        entry->unpin();
      }
      epochs_->free_chunk(chunk);
    }
    rescuer_->committed();
  }
  bool something_changed() const { return epochs_->newest_change() == epochs_->open(); }

 private:
  static constexpr uint32_t kLastSegment = 1'000;
  static constexpr uint64_t kEpoch = 1'000;

  const LogShape shape_;
  TableFigures figures_;
  Catalog catalog_{figures_};
  std::optional<Epochs> epochs_;
  std::optional<Rescuer> rescuer_;
};

TEST_CASE("what has to be written until room is gained is what stands in the oldest segments") {
  Swept store;
  store.load({{2, 3, 100}, {3, 10, 100}, {4, 5, 100}, {5, 9, 100}, {6, 1, 100}, {7, 10, 100}});
  Rescuer& rescuer = store.rescuer();
  std::vector<SegmentFile> segments;
  for (uint64_t id = 2; id < 9; ++id) segments.push_back(segment(id, 1'000));
  const std::span<const SegmentFile> all(segments);
  CHECK(rescuer.bytes_until_gain({}) == 0);
  CHECK(rescuer.bytes_until_gain(all) == 7'000);  // no sweep has told

  rescuer.clean(2, 400, 8);
  CHECK(rescuer.bytes_until_gain(all) == 400 + 6'000);
  REQUIRE(rescuer.rescue(UINT64_MAX, UINT64_MAX) == Status::kOk);
  REQUIRE_FALSE(rescuer.sweeping());
  CHECK(rescuer.rescued_bytes() == 300);
  store.commit();

  // Of 3 and 4 together a quarter is gained, of 3 to 5 a fifth, of 3 to 6 more than a third.
  CHECK(rescuer.bytes_until_gain(all.subspan(1)) == 2'500);
  CHECK(rescuer.bytes_until_gain(all.subspan(1, 3)) == 2'400);
  CHECK(rescuer.bytes_until_gain(all.subspan(2)) == 500);
  CHECK(rescuer.bytes_until_gain(all.subspan(3)) == 1'000);
  CHECK(rescuer.bytes_until_gain(all.subspan(4)) == 100);
  CHECK(rescuer.bytes_until_gain(all.subspan(5)) == 2'000);  // the last one is unknown
  // Half as much is not enough, more than half is.
  CHECK(rescuer.bytes_until_gain({{segment(4, 750), segment(5, 1'000)}}) == 500 + 900);
  CHECK(rescuer.bytes_until_gain({{segment(4, 752), segment(5, 1'000)}}) == 500);
}

TEST_CASE("a sweep stops before an entry that there is no room for, and goes on there") {
  Swept store;
  store.load({{3, 10, 100}, {4, 5, 100}});
  Rescuer& rescuer = store.rescuer();
  rescuer.clean(3, 1'000, 5);
  CHECK(rescuer.rescue(UINT64_MAX, 499) == Status::kSpace);
  CHECK(rescuer.rescued_bytes() == 400);
  CHECK(rescuer.rescue(UINT64_MAX, 499) == Status::kSpace);
  CHECK(rescuer.rescued_bytes() == 400);
  CHECK(rescuer.rescue(UINT64_MAX, 500) == Status::kSpace);
  CHECK(rescuer.rescued_bytes() == 500);
  CHECK(rescuer.sweeping());
  CHECK(rescuer.rescue(UINT64_MAX, 1'000) == Status::kOk);
  CHECK(rescuer.rescued_bytes() == 1'000);
  store.commit();
}

TEST_CASE("while a sweep goes on, it has to be written what the sweep may still come across") {
  Swept store;
  store.load({{3, 10, 100, 10}, {4, 5, 100, 5}, {5, 9, 100, 9}, {6, 1, 100}, {7, 10, 100}});
  Rescuer& rescuer = store.rescuer();
  rescuer.clean(2, 0, 8);  // to count them
  REQUIRE(rescuer.rescue(0, UINT64_MAX) == Status::kOk);
  REQUIRE_FALSE(rescuer.sweeping());
  store.commit();
  std::vector<SegmentFile> segments;
  for (uint64_t id = 3; id < 9; ++id) segments.push_back(segment(id, 1'000));
  CHECK(rescuer.bytes_until_gain(segments) == 2'500);

  rescuer.clean(4, 1'600, 8);  // with what is of no use, and with commits
  CHECK(rescuer.bytes_until_gain(segments) == 1'600 + 900 + 100);
  REQUIRE(rescuer.rescue(300, UINT64_MAX) == Status::kOk);
  REQUIRE(rescuer.sweeping());
  const uint64_t rescued_bytes = rescuer.rescued_bytes();
  CHECK(rescued_bytes >= 300);
  CHECK(rescuer.unswept_bytes() == 1'600 - rescued_bytes);
  CHECK(rescuer.bytes_until_gain(segments) == 1'600 - rescued_bytes + 900 + 100);
  CHECK(rescuer.cleaned_through() == 0);
  store.commit();
  CHECK(rescuer.rescued_bytes() == 0);
  CHECK(rescuer.cleaning());

  REQUIRE(rescuer.rescue(UINT64_MAX, UINT64_MAX) == Status::kOk);
  CHECK(rescuer.rescued_bytes() == 1'500 - rescued_bytes);
  CHECK(rescuer.cleaned_through() == 4);
  store.commit();
  CHECK_FALSE(rescuer.cleaning());
  CHECK(rescuer.bytes_until_gain(std::span(segments).subspan(2)) == 1'000);

  // One that a failure ends has told nothing.
  rescuer.clean(6, 1'000, 8);
  rescuer.lose(0);
  CHECK_FALSE(rescuer.sweeping());
  CHECK(rescuer.bytes_until_gain(std::span(segments).subspan(2)) == 1'000);
}

TEST_CASE("less than there is may be said to be left of a sweep, but never less than nothing") {
  Swept store;
  store.load({{1, 50, 100, 50}});
  store.rescuer().clean(1, 450, 2);
  REQUIRE(store.rescuer().rescue(449, UINT64_MAX) == Status::kOk);
  REQUIRE(store.rescuer().sweeping());
  CHECK(store.rescuer().rescued_bytes() == 500);
  CHECK(store.rescuer().unswept_bytes() == 0);
  REQUIRE(store.rescuer().rescue(0, UINT64_MAX) == Status::kOk);  // that is all of it
  CHECK_FALSE(store.rescuer().sweeping());
  CHECK(store.rescuer().rescued_bytes() == 5'000);
}

constexpr uint32_t kTinyCollections = 2'000;

// How many shares a sweep takes through entries none of which need be rescued, by default each in a
// collection of its own.
uint32_t shares_for_nothing(const LogShape& shape, uint64_t share_bytes,
                            uint32_t entries = kTinyCollections,
                            uint32_t collections = kTinyCollections) {
  Swept store(shape);
  store.load({{5, entries, 50, collections}});
  store.rescuer().clean(1, uint64_t{1} << 30, 5);
  uint32_t shares = 0;
  for (; store.rescuer().sweeping(); ++shares) {
    CHECK_FALSE(store.something_changed());
    REQUIRE(store.rescuer().rescue(share_bytes, UINT64_MAX) == Status::kOk);
  }
  CHECK(store.rescuer().rescued_bytes() == 0);
  CHECK(store.something_changed());  // an epoch is to say that it has ended
  return shares;
}

TEST_CASE("a share of a sweep is over when looking has taken as long, however little was found") {
  constexpr uint64_t kShareBytes = 64'000;
  // An entry takes as long as 64 bytes, and there are few parts of the catalog itself.
  const uint32_t shares =
      shares_for_nothing({.rescue_parts_min = 1, .part_look_bytes = 256}, kShareBytes);
  CHECK(shares >= kTinyCollections * (256 + 64) / (kShareBytes + 256 + 64));
  CHECK(shares <= kTinyCollections * (256 + 64) / kShareBytes + 2);
  CHECK(shares_for_nothing({.rescue_parts_min = 1, .part_look_bytes = 0}, kShareBytes) <= 3);
}

TEST_CASE("looking takes its time also where there are many entries in each part") {
  constexpr uint64_t kShareBytes = 64'000;
  constexpr uint32_t kEntries = 20'000;
  const uint32_t shares = shares_for_nothing({.rescue_parts_min = 1}, kShareBytes, kEntries, 1);
  CHECK(shares > kEntries * 64 / kShareBytes / 2);
  CHECK(shares < kEntries * 64 / kShareBytes * 2);
}

TEST_CASE("so many parts are looked at in any case, so that a sweep ends") {
  const uint32_t shares = shares_for_nothing({.rescue_parts_min = 10}, 1);
  CHECK(shares >= kTinyCollections / 10);
  CHECK(shares <= kTinyCollections / 10 * 11 / 10);
  CHECK(shares_for_nothing({.rescue_parts_min = 100'000}, 1) == 1);
}

TEST_CASE("a share of a sweep is over when so much was rescued, and the last is all that is left") {
  constexpr uint32_t kEntryBytes = 100;
  Swept store({.rescue_parts_min = 100'000});
  store.load({{1, kTinyCollections, kEntryBytes, kTinyCollections}});
  store.rescuer().clean(1, kTinyCollections * kEntryBytes, 5);
  REQUIRE(store.rescuer().rescue(9'950, UINT64_MAX) == Status::kOk);
  CHECK(store.rescuer().rescued_bytes() == 10'000);
  store.commit();
  const uint64_t left_bytes = store.rescuer().unswept_bytes();
  CHECK(left_bytes == kTinyCollections * kEntryBytes - 10'000);
  REQUIRE(store.rescuer().rescue(left_bytes, UINT64_MAX) == Status::kOk);
  CHECK(store.rescuer().rescued_bytes() == left_bytes);
  CHECK_FALSE(store.rescuer().sweeping());
}

}  // namespace
}  // namespace dskvs::test
