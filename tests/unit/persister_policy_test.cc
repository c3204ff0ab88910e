// Goal: the persister writes, syncs, retries and cleans when it should.
// Method: what decides is pure (Pace, LogBounds): made-up times and figures go in.
#include <algorithm>

#include "persister/log_bounds.h"
#include "persister/pace.h"
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

TEST_CASE("the log is full below twice the live data and the slack") {
  const LogBounds bounds({.segment_bytes_min = 16 * kMiB, .slack_bytes = 64 * kMiB});
  CHECK_FALSE(bounds.is_full({256 * kMiB, 100 * kMiB, 0, 0}, false));
  CHECK(bounds.is_full({256 * kMiB, 100 * kMiB, 1, 0}, false));
  // A sweep may write a quarter of what is live.
  CHECK_FALSE(bounds.is_full({231 * kMiB, 100 * kMiB, 0, 0}, true));
  CHECK(bounds.is_full({232 * kMiB, 100 * kMiB, 0, 0}, true));
  CHECK(bounds.is_full({0, 0, 65 * kMiB, 0}, false));
}

TEST_CASE("all is cleaned when epochs are large, and while there is room for it") {
  const LogBounds bounds({.segment_bytes_min = 16 * kMiB, .slack_bytes = 64 * kMiB});
  CHECK(bounds.cleaning_all_is_due({127 * kMiB, 100 * kMiB, 30 * kMiB, 30 * kMiB}));
  CHECK(bounds.cleaning_all_is_due({160 * kMiB, 100 * kMiB, 1 * kMiB, 30 * kMiB}));
  CHECK_FALSE(bounds.cleaning_all_is_due({126 * kMiB, 100 * kMiB, 30 * kMiB, 30 * kMiB}));
  CHECK_FALSE(bounds.cleaning_all_is_due({161 * kMiB, 100 * kMiB, 30 * kMiB, 30 * kMiB}));
  CHECK_FALSE(bounds.cleaning_all_is_due({150 * kMiB, 100 * kMiB, 30 * kMiB, 25 * kMiB}));
  // When it is too late, but costs little.
  CHECK_FALSE(bounds.cleaning_all_is_due({200 * kMiB, 100 * kMiB, 50 * kMiB, 50 * kMiB}));
  CHECK(bounds.cleaning_all_is_due({200 * kMiB, 100 * kMiB, 51 * kMiB, 51 * kMiB}));
  // What is not dirty has to find room as well.
  CHECK_FALSE(bounds.is_full({126 * kMiB, 100 * kMiB, 30 * kMiB, 30 * kMiB}, false));
  CHECK(bounds.is_full({157 * kMiB, 100 * kMiB, 30 * kMiB, 30 * kMiB}, false));
  CHECK(bounds.is_full({200 * kMiB, 100 * kMiB, 10 * kMiB, 30 * kMiB}, false));
  // Then nothing less is begun. When it is too late for that, the oldest segments must do.
  const std::vector<SegmentFile> segments{{1, 120 * kMiB, 0}, {2, 60 * kMiB, 0}};
  CHECK(bounds.clean_through(segments, {150 * kMiB, 100 * kMiB, 0, 30 * kMiB}) == 0);
  CHECK(bounds.clean_through(segments, {180 * kMiB, 100 * kMiB, 0, 30 * kMiB}) == 1);
}

TEST_CASE("the oldest segments are cleaned when garbage grows, and never the newest") {
  const LogBounds bounds({.segment_bytes_min = 16 * kMiB, .slack_bytes = 64 * kMiB});
  std::vector<SegmentFile> segments;
  for (uint64_t id = 5; id < 13; ++id) segments.push_back({id, 16 * kMiB, 16 * kMiB});
  const uint64_t live = 63 * kMiB;  // cleaned at 105 + 24 MiB; there are 128
  CHECK(bounds.clean_through(segments, {0, live, 0, 0}) == 0);
  // To the first point where a quarter is cleaned, and the rest is little.
  CHECK(bounds.clean_through(segments, {0, live, 0, kMiB}) == 7);
  CHECK(bounds.clean_through(segments, {0, 0, 0, 0}) == 11);
  CHECK(bounds.clean_through({}, {0, 0, 0, 100 * kMiB}) == 0);
  CHECK(bounds.clean_through(std::vector<SegmentFile>{{1, 500 * kMiB, 0}}, {0, 0, 0, 0}) == 0);
}

TEST_CASE("segments that are too many are halved, whatever they hold") {
  const LogBounds bounds({});
  std::vector<SegmentFile> segments;
  for (uint64_t id = 1; id <= 256; ++id) segments.push_back({id, kMiB, kMiB});
  CHECK(bounds.clean_through(segments, {0, 256 * kMiB, 0, 0}) == 0);
  segments.push_back({257, kMiB, kMiB});
  CHECK(bounds.clean_through(segments, {0, 257 * kMiB, 0, 0}) == 129);
}

TEST_CASE("segments grow with the store") {
  const LogBounds bounds({});
  CHECK(bounds.segment_bytes(0) == 16 * kMiB);
  CHECK(bounds.segment_bytes(800 * kMiB) == 100 * kMiB);
  CHECK(bounds.segment_bytes(8000 * kMiB) == 256 * kMiB);
}

}  // namespace
}  // namespace dskvs::test
