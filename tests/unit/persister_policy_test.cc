// Goal: the persister writes, syncs, retries and cleans when it should.
// Method: what decides is pure (Pace, LogBounds): made-up times and figures go in. The Rescuer
// sweeps through entries of which it is told where they stand.
#include <algorithm>
#include <string>

#include "loader.h"
#include "persister/log_bounds.h"
#include "persister/pace.h"
#include "persister/rescuer.h"
#include "support/catch.h"

namespace dskvs::test {
namespace {

constexpr uint64_t kMs = 1000;
constexpr uint64_t kMiB = uint64_t{1} << 20;

Undurable little_since(uint64_t since_us) {
  return {.since_us = since_us, .bytes = 1, .full = false};
}

TEST_CASE("epochs follow each other at the time that one takes, within bounds") {
  Pace pace(100);
  CHECK(pace.next_write_us() == 0);
  pace.write_ended(1000 * kMs, 10, false);
  CHECK(pace.next_write_us() == 1002 * kMs);
  pace.write_ended(1000 * kMs, 10, true);
  CHECK(pace.next_write_us() == 1004 * kMs);
  pace.write_ended(1000 * kMs, 7 * kMs, true);
  CHECK(pace.next_write_us() == 1007 * kMs);
  pace.write_ended(1000 * kMs, 400 * kMs, false);
  CHECK(pace.next_write_us() == 1025 * kMs);
}

TEST_CASE("a write after a quiet time is synced at once") {
  Pace pace(100);
  pace.sync_begins(999 * kMs);
  pace.sync_ended(1000 * kMs);
  pace.write_begins(1000 * kMs);
  CHECK(pace.after_quiet());
  CHECK(pace.sync_is_due(1001 * kMs, true, little_since(1000 * kMs)));
  CHECK_FALSE(pace.sync_is_due(1001 * kMs, false, little_since(1000 * kMs)));  // more to write
  pace.write_ended(1001 * kMs, 0, false);

  pace.write_begins(1004 * kMs);
  CHECK_FALSE(pace.after_quiet());
  CHECK_FALSE(pace.sync_is_due(1005 * kMs, true, little_since(1004 * kMs)));
  pace.write_ended(1005 * kMs, 0, false);

  pace.write_begins(1010 * kMs);
  CHECK(pace.after_quiet());
}

TEST_CASE("unless the disk syncs so slowly that it would do little else") {
  Pace pace(100);
  pace.sync_begins(1000 * kMs);
  pace.sync_ended(1020 * kMs);
  pace.write_ended(1020 * kMs, 0, false);
  pace.write_begins(1099 * kMs);
  CHECK_FALSE(pace.after_quiet());
  pace.write_begins(1100 * kMs);
  CHECK(pace.after_quiet());
  // One that was slow is forgotten with the next.
  pace.sync_begins(1100 * kMs);
  pace.sync_ended(1101 * kMs);
  pace.write_ended(1101 * kMs, 0, false);
  pace.write_begins(1106 * kMs);
  CHECK(pace.after_quiet());
}

TEST_CASE("the oldest that is not durable is so within the interval, the sync included") {
  Pace pace(100);
  pace.sync_begins(1000 * kMs);
  pace.sync_ended(1010 * kMs);
  CHECK(pace.next_sync_us(997 * kMs) == 1087 * kMs);
  CHECK_FALSE(pace.sync_is_due(1087 * kMs - 1, false, little_since(997 * kMs)));
  CHECK(pace.sync_is_due(1087 * kMs, false, little_since(997 * kMs)));
  pace.sync_ended(1500 * kMs);
  CHECK(pace.next_sync_us(1000 * kMs) == 1050 * kMs);  // at most half of it
  // A fast one does not make the slow ones forgotten at once.
  pace.sync_begins(1600 * kMs);
  pace.sync_ended(1610 * kMs);
  CHECK(pace.next_sync_us(1600 * kMs) == 1650 * kMs);
  for (int fast = 0; fast < 50; ++fast) pace.sync_ended(1610 * kMs);
  CHECK(pace.next_sync_us(1600 * kMs) == 1690 * kMs);
}

TEST_CASE("much to sync, and a full segment, do not wait for the interval") {
  Pace pace(100);
  pace.sync_begins(1000 * kMs);
  Undurable undurable{.since_us = 1000 * kMs, .bytes = 16 * kMiB - 1, .full = false};
  CHECK_FALSE(pace.sync_is_due(1000 * kMs, false, undurable));
  undurable.bytes++;
  CHECK(pace.sync_is_due(1000 * kMs, false, undurable));
  undurable = {.since_us = 1000 * kMs, .bytes = 1, .full = true};
  CHECK(pace.sync_is_due(1000 * kMs, false, undurable));
}

TEST_CASE("without an interval nothing is synced by itself") {
  Pace pace(0);
  pace.write_begins(1000 * kMs);
  CHECK(pace.next_sync_us(0) == UINT64_MAX);
  CHECK_FALSE(
      pace.sync_is_due(UINT64_MAX, true, {.since_us = 0, .bytes = UINT64_MAX, .full = true}));
}

TEST_CASE("retries become rarer until one succeeds") {
  Pace pace(100);
  uint64_t pause_us = 10 * kMs;
  for (int failures = 0; failures < 10; ++failures) {
    pace.failed(5000 * kMs);
    CHECK(pace.retry_us() == 5000 * kMs + pause_us);
    pause_us = std::min(2 * pause_us, 1000 * kMs);
  }
  pace.healed();
  pace.failed(5000 * kMs);
  CHECK(pace.retry_us() == 5010 * kMs);
}

// Of 100 MiB of live data at most 256 MiB are kept: an eighth of the slack is not counted.
constexpr LogShape kShape{.segment_bytes_min = 16 * kMiB, .slack_bytes = 64 * kMiB};
constexpr LogLoad kLoad{.disk_bytes = 0,
                        .used_bytes = 0,
                        .live_bytes = 100 * kMiB,
                        .dirty_bytes = 0,
                        .epoch_bytes = 0,
                        .unswept_bytes = 0,
                        .gain_bytes = 0};

LogLoad load(uint64_t used_mib, uint64_t dirty_mib, uint64_t epoch_mib, uint64_t unswept_mib,
             uint64_t gain_mib) {
  LogLoad load = kLoad;
  load.disk_bytes = load.used_bytes = used_mib * kMiB;
  load.dirty_bytes = dirty_mib * kMiB;
  load.epoch_bytes = epoch_mib * kMiB;
  load.unswept_bytes = unswept_mib * kMiB;
  load.gain_bytes = gain_mib * kMiB;
  return load;
}

// The oldest segments are garbage for the most part: to clean them gains room.
LogLoad load(uint64_t used_mib, uint64_t dirty_mib, uint64_t epoch_mib, uint64_t unswept_mib) {
  return load(used_mib, dirty_mib, epoch_mib, unswept_mib, unswept_mib);
}

TEST_CASE("each epoch takes along as much of cleaning as makes both end together") {
  const LogBounds bounds(kShape);
  // There is room for 20, and 8 of them are dirty.
  CHECK(bounds.share_bytes(load(226, 8, 8, 10)) == 4 * kMiB);
  // Never more than an eighth of what is live, and never so little that it would not end.
  CHECK(bounds.share_bytes(load(216, 10, 10, 20)) == 10 * kMiB);
  CHECK(bounds.share_bytes(load(216, 20, 20, 20)) == kLoad.live_bytes / 8);
  CHECK(bounds.share_bytes(load(216, 0, 0, 20)) == 1 * kMiB + 1);
  // But when epochs are large, all at once.
  CHECK(bounds.share_bytes(load(216, 26, 26, 20)) == UINT64_MAX);
}

TEST_CASE("the log is full below twice the live data and the slack") {
  const LogBounds bounds(kShape);
  CHECK_FALSE(bounds.is_full(load(240, 16, 16, 0)));
  CHECK(bounds.is_full(load(240, 17, 17, 0)));
  CHECK_FALSE(bounds.is_full(load(206, 30, 30, 20)));
  CHECK(bounds.is_full(load(207, 30, 30, 20)));
  // Segments that go with the next sync are still there.
  LogLoad dead = load(100, 30, 30, 20);
  dead.disk_bytes = 207 * kMiB;
  CHECK(bounds.is_full(dead));
}

TEST_CASE("all is cleaned when epochs are large, while there is room for it") {
  const LogBounds bounds(kShape);
  const std::vector<SegmentFile> segments{{1, 20 * kMiB, 0}, {2, 100 * kMiB, 0}};
  // Not as long as it will fit after this epoch as well.
  CHECK(bounds.clean_through(segments, load(126, 30, 30, 20)) == 0);
  CHECK(bounds.clean_through(segments, load(127, 30, 30, 20)) == 2);
  CHECK(bounds.clean_through(segments, load(156, 30, 30, 20)) == 2);
  CHECK(bounds.clean_through({{segments.back()}}, load(156, 30, 30, 20)) == 2);
  // When it is too late for that, the oldest must do.
  CHECK(bounds.clean_through(segments, load(157, 30, 30, 20)) == 1);
  // More than a quarter is large, or an eighth where they were and left one long segment.
  CHECK(bounds.clean_through(segments, load(127, 30, 25, 20)) == 0);
  CHECK(bounds.clean_through(segments, load(127, 30, 13, 51)) == 2);
}

TEST_CASE("the oldest segments are cleaned when garbage grows, and never the newest") {
  const LogBounds bounds(kShape);
  std::vector<SegmentFile> segments;
  for (uint64_t id = 5; id < 17; ++id) segments.push_back({id, 16 * kMiB, 16 * kMiB});
  // 5/3 of what is live and 24 MiB, less two epochs.
  CHECK(bounds.clean_through(segments, load(188, 1, 1, 16)) == 0);
  // As many as leave as much room for what users write meanwhile.
  CHECK(bounds.clean_through(segments, load(191, 1, 1, 16)) == 6);
  CHECK(bounds.clean_through(segments, load(191, 2, 1, 16)) == 5);
  CHECK(bounds.clean_through(segments, load(255, 0, 1, 16)) == 5);
  // At most until there is little, which is 3/2 and 24 MiB. Beyond the bound, always so many.
  CHECK(bounds.clean_through(segments, load(190, 0, 1, 16)) == 5);
  CHECK(bounds.clean_through(segments, load(255, 1, 1, 16)) == 10);
  segments.front().bytes = 96 * kMiB;  // nor is little left behind it
  CHECK(bounds.clean_through(segments, load(255, 1, 1, 16)) == 5);
  CHECK(bounds.clean_through({}, load(255, 1, 1, 0)) == 0);
  CHECK(bounds.clean_through({{segments.front()}}, load(255, 1, 1, 16)) == 0);
}

TEST_CASE("one long segment is cleaned while there is room for it") {
  const LogBounds bounds(kShape);
  const std::vector<SegmentFile> segments{{1, 100 * kMiB, 0}, {2, 16 * kMiB, 0}, {3, 1, 0}};
  CHECK(bounds.clean_through(segments, load(120, 20, 1, 100)) == 0);
  CHECK(bounds.clean_through(segments, load(121, 20, 1, 100)) == 1);
}

TEST_CASE("what is dirty is limited when all that is live does not fit once more") {
  const LogBounds bounds(kShape);
  CHECK(bounds.dirty_bytes_max(load(156, 200, 200, 20)) == UINT64_MAX);
  CHECK(bounds.dirty_bytes_max(load(157, 10, 10, 20)) == kLoad.live_bytes / 4 + 1);
  CHECK(bounds.dirty_bytes_max(load(230, 10, 10, 20)) == 6 * kMiB);
  // One put at a time, which moves cleaning on.
  CHECK(bounds.dirty_bytes_max(load(256, 10, 10, 20)) == 1);
  // What was deleted is not the writers' fault.
  CHECK(bounds.dirty_bytes_max(load(257, 10, 10, 20)) == 8 * kMiB);
}

TEST_CASE("room is kept until something is gained, though that is several segments on") {
  const LogBounds bounds(kShape);
  // There is room for 20 beside the 30 that have to be written, of which 10 are left of this sweep.
  CHECK(bounds.share_bytes(load(206, 8, 8, 10, 30)) == 12 * kMiB);
  CHECK(bounds.dirty_bytes_max(load(206, 8, 8, 10, 30)) == 20 * kMiB);
  CHECK(bounds.dirty_bytes_max(load(227, 8, 8, 10, 30)) == 1);  // there is none
  // An eighth of what is live, as ever.
  CHECK(bounds.share_bytes(load(206, 9, 9, 10, 30)) == kLoad.live_bytes / 8);
}

TEST_CASE("an epoch takes along no more than the sweep has left, whatever has to be gained") {
  const LogBounds bounds(kShape);
  const auto with_dead = [](uint64_t disk_mib, LogLoad load) {
    load.disk_bytes = disk_mib * kMiB;
    return load;
  };
  CHECK_FALSE(bounds.is_full(with_dead(234, load(206, 20, 20, 2, 30))));
  CHECK(bounds.is_full(with_dead(235, load(206, 20, 20, 2, 30))));
  // Of the 20 that it has left, its share: 12.
  CHECK_FALSE(bounds.is_full(with_dead(236, load(206, 8, 8, 20, 30))));
  CHECK(bounds.is_full(with_dead(237, load(206, 8, 8, 20, 30))));
}

TEST_CASE("cleaning begins early when it gains late, and is none of everything for that") {
  const LogBounds bounds(kShape);
  std::vector<SegmentFile> segments;
  for (uint64_t id = 5; id < 15; ++id) segments.push_back({id, 16 * kMiB, 16 * kMiB});
  // With 16 that have to be written, there would be time until 190 are used.
  CHECK(bounds.clean_through(segments, load(170, 11, 1, 16)) == 0);
  CHECK(bounds.clean_through(segments, load(170, 10, 1, 16, 60)) == 0);
  CHECK(bounds.clean_through(segments, load(170, 11, 1, 16, 60)) == 5);
  // Epochs of an eighth are large where so much stands in one segment, not in several.
  CHECK(bounds.clean_through(segments, load(127, 30, 13, 51, 51)) == 14);
  CHECK(bounds.clean_through(segments, load(127, 30, 13, 20, 51)) == 0);
}

// Beside 100 MiB of live data.
LogLoad on_disk(uint64_t used_mib, uint64_t dirty_mib, uint64_t unswept_mib, uint64_t room_mib) {
  LogLoad load = dskvs::test::load(used_mib, dirty_mib, dirty_mib, unswept_mib);
  load.room_bytes = room_mib * kMiB;
  return load;
}

TEST_CASE("of the room on the disk, puts leave what the next cleaning may take") {
  CHECK(LogBounds::put_bytes_max(load(100, 8, 8, 16)) == UINT64_MAX);
  CHECK(LogBounds::put_bytes_max(on_disk(100, 8, 16, 100)) == 84 * kMiB);
  CHECK(LogBounds::put_bytes_max(on_disk(100, 8, 16, 10)) == 0);
  // An eighth of it may be dirty; one put always may.
  CHECK(LogBounds::disk_dirty_bytes_max(load(100, 8, 8, 16)) > (uint64_t{1} << 60));
  CHECK(LogBounds::disk_dirty_bytes_max(on_disk(100, 8, 16, 80)) == 10 * kMiB + 1);
  CHECK(LogBounds::disk_dirty_bytes_max(on_disk(100, 8, 16, 0)) == 1);
}

TEST_CASE(
    "before the disk is full the oldest segment is cleaned, if that gains more than a little") {
  const LogBounds bounds(kShape);
  const std::vector<SegmentFile> segments{{11, 16 * kMiB, 16 * kMiB}, {12, 111 * kMiB, 1}};
  CHECK(bounds.clean_through(segments, on_disk(127, 0, 16, 16)) == 0);
  CHECK(bounds.clean_through(segments, on_disk(127, 1, 16, 19)) == 0);
  CHECK(bounds.clean_through(segments, on_disk(127, 1, 16, 18)) == 11);
  CHECK(bounds.clean_through(segments, on_disk(127, 1, 16, 0)) == 11);
  // A quarter, and a little.
  CHECK(bounds.clean_through(segments, on_disk(126, 1, 16, 0)) == 0);
  // All of it only where all fits, and of the oldest what fits; one in any case.
  CHECK(bounds.clean_through(segments, on_disk(126, 31, 16, 100 + 9)) == 12);
  CHECK(bounds.clean_through(segments, on_disk(126, 31, 16, 99)) == 0);
  const std::vector<SegmentFile> many{
      {11, 40 * kMiB, 1}, {12, 40 * kMiB, 1}, {13, 40 * kMiB, 1}, {14, 100 * kMiB, 1}};
  LogLoad full = load(220, 40, 8, 40);
  CHECK(bounds.clean_through(many, full) == 12);
  full.room_bytes = 120 * kMiB;
  CHECK(bounds.clean_through(many, full) == 12);
  full.room_bytes--;
  CHECK(bounds.clean_through(many, full) == 11);
  // Also if it is the only one.
  CHECK(bounds.clean_through(std::vector<SegmentFile>{{11, 127 * kMiB, 1}},
                             on_disk(127, 1, 100, 0)) == 11);
}

TEST_CASE("segments that are too many are halved, whatever they hold") {
  const LogBounds bounds({});
  std::vector<SegmentFile> segments;
  for (uint64_t id = 1; id <= 288; ++id) segments.push_back({id, kMiB, kMiB});  // 256, and 4 x 8
  LogLoad all_live = kLoad;
  all_live.live_bytes = all_live.used_bytes = 256 * kMiB;
  CHECK(bounds.clean_through(segments, all_live) == 0);
  segments.push_back({289, kMiB, kMiB});
  CHECK(bounds.clean_through(segments, all_live) == 146);
  all_live.epoch_bytes = 65 * kMiB;  // also where epochs are large, and all has room
  CHECK(bounds.clean_through(segments, all_live) == 146);
}

TEST_CASE("a large store without garbage is left alone, however many its segments are") {
  const LogBounds bounds({});
  for (const uint64_t live_gib : {1, 10, 75, 1'000, 10'000}) {
    LogLoad all_live = kLoad;
    all_live.live_bytes = all_live.used_bytes = live_gib << 30;
    std::vector<SegmentFile> segments;
    const uint64_t bytes = bounds.segment_bytes(all_live.live_bytes);
    for (uint64_t id = 1; id <= all_live.live_bytes / bytes; ++id) {
      segments.push_back({id, bytes, bytes});
    }
    CHECK(bounds.clean_through(segments, all_live) == 0);
  }
}

TEST_CASE("segments grow with the store") {
  const LogBounds bounds({});
  CHECK(bounds.segment_bytes(0) == 16 * kMiB);
  CHECK(bounds.segment_bytes(800 * kMiB) == 100 * kMiB);
  CHECK(bounds.segment_bytes(8000 * kMiB) == 256 * kMiB);
}

constexpr uint64_t kSwept = 20'000;

// So many entries, all of one segment, in a store whose persister is the test.
struct Swept {
  explicit Swept(uint32_t home) {
    REQUIRE(reclaimer::register_thread());
    Collection* const collection = Collection::make("c", figures);
    reclaimer::prepare_to_retire();
    (void)catalog.update(KeyHash{}("c"), "c", true, [&](Collection*, auto&& replace) {
      replace(collection);
      return Status::kOk;
    });
    for (uint64_t i = 0; i < kSwept; ++i) {
      const std::string key = std::to_string(i);
      reclaimer::prepare_to_retire();
      const ReadSection section;
      (void)collection->members().update(KeyHash{}(key), key, true, [&](Entry*, auto&& replace) {
        Entry* const entry = Entry::make(key, 100);
        entry->set_home(home);
        replace(entry);
        return Status::kOk;
      });
    }
  }
  ~Swept() {
    SealedEpoch sealed = epochs.seal();
    while (DirtyChunk* chunk = sealed.chunks.pop_first()) {
      for (uint32_t i = 0; i < chunk->count; ++i) {
        DirtyRecord::entry(chunk->records[i].word.exchange(0))->unpin();
      }
      epochs.free_chunk(chunk);
    }
    clear_catalog(catalog);
  }

  TableFigures figures;
  Catalog catalog{figures};
  Epochs epochs{steady_clock(), 2, 1};
  Rescuer rescuer{catalog, epochs, {.rescue_parts_min = 2, .part_look_bytes = 0}};
};

TEST_CASE("a share of looking at what need not be rescued is as large at the end as at first") {
  constexpr uint64_t kLookBytes = 64;  // for each entry
  constexpr uint64_t kShares = 8;
  const std::vector<SegmentFile> segment{{3, 10'000'000, 0}};
  Swept swept(3);
  CHECK(swept.rescuer.bytes_until_gain(segment) == segment[0].bytes);
  swept.rescuer.clean(1, UINT64_MAX, 4);
  uint64_t shares = 0;
  for (; swept.rescuer.sweeping(); ++shares) {
    REQUIRE(swept.rescuer.rescue(kSwept * kLookBytes / kShares, UINT64_MAX) == Status::kOk);
  }
  CHECK(shares > kShares / 2);
  CHECK(shares <= kShares + 1);
  CHECK(swept.rescuer.rescued_bytes() == 0);
  // By now it is known how much of the segment is current.
  CHECK(swept.rescuer.bytes_until_gain(segment) >= kSwept * 100);
  CHECK(swept.rescuer.bytes_until_gain(segment) < kSwept * 200);
  CHECK(swept.rescuer.cleaned_through() == 1);
}

TEST_CASE("what was rescued is swept, and the rest with it when that is no more than a share") {
  Swept swept(1);
  constexpr uint64_t kBytes = 1'000'000;  // told, though more stand there
  constexpr uint64_t kShareBytes = 100'000;
  Rescuer& rescuer = swept.rescuer;
  rescuer.clean(1, kBytes, 3);
  uint64_t shares = 0;
  for (; rescuer.sweeping(); ++shares) {
    const uint64_t before = rescuer.rescued_bytes();
    const bool last = rescuer.unswept_bytes() <= kShareBytes;
    REQUIRE(rescuer.rescue(kShareBytes, UINT64_MAX) == Status::kOk);
    CHECK(rescuer.unswept_bytes() == kBytes - std::min(kBytes, rescuer.rescued_bytes()));
    CHECK(rescuer.sweeping() != last);
    if (!last) CHECK(rescuer.rescued_bytes() >= before + kShareBytes);
  }
  CHECK(shares > 5);
  CHECK(rescuer.cleaned_through() == 1);
  rescuer.committed();
  CHECK_FALSE(rescuer.cleaning());
}

}  // namespace
}  // namespace dskvs::test
