#include "persister/log_bounds.h"

#include <algorithm>

namespace dskvs {
namespace {

constexpr uint64_t kSegmentBytesMax = uint64_t{256} << 20;
// Beyond four for each that what is live would fill, more than this are cleaned though they hold
// little garbage.
constexpr size_t kSegmentsMax = 256;

// What an entry takes in the log beyond its key and value: the header and, on average, padding.
constexpr uint64_t kFrameOverheadBytes = kFrameHeaderBytes + 4;

}  // namespace

uint64_t live_log_bytes(const Totals& totals) noexcept {
  return static_cast<uint64_t>(totals.entries) * kFrameOverheadBytes +
         static_cast<uint64_t>(totals.key_bytes + totals.value_bytes);
}

uint64_t LogBounds::clean_through(std::span<const SegmentFile> segments,
                                  const LogLoad& load) const noexcept {
  if (segments.empty()) return 0;
  const bool disk_asks = put_bytes_max(load) < load.dirty_bytes + 2 * load.epoch_bytes;
  if (disk_asks && has_garbage(load)) return segments.front().id;
  const uint64_t bytes_max = log_bytes_max(load.live_bytes);
  const bool all_fits =
      load.used_bytes + load.live_bytes <= bytes_max && load.live_bytes <= load.room_bytes;
  const bool many =
      segments.size() > kSegmentsMax + 4 * load.live_bytes / segment_bytes(load.live_bytes);
  if (epochs_are_large(load) && all_fits && !many) {
    const bool will_fit = load.used_bytes + load.dirty_bytes + load.live_bytes <= bytes_max;
    return will_fit ? 0 : segments.back().id;
  }
  if (segments.size() == 1) return 0;  // it is being written
  // Worth its while, or about to be short of room: a segment that holds all that is live.
  const uint64_t slack_bytes = shape_.slack_bytes / 8 * 3;
  const uint64_t much_bytes = load.live_bytes / 3 * 5 + slack_bytes;
  const bool much = load.used_bytes + 2 * load.epoch_bytes >= much_bytes;
  const bool pressed = room_bytes(load) < load.dirty_bytes + shape_.slack_bytes / 4;
  if (!many && !much && !pressed) return 0;
  const uint64_t little_bytes = load.live_bytes / 2 * 3 + slack_bytes;
  const uint64_t taken_bytes = load.used_bytes + load.dirty_bytes;
  // What users write meanwhile has the other half. Too late for that: nothing is to be saved.
  const uint64_t half_bytes = taken_bytes < bytes_max ? (bytes_max - taken_bytes) / 2 : UINT64_MAX;
  const uint64_t disk_bytes = load.room_bytes - std::min(load.room_bytes, load.dirty_bytes);
  uint64_t through_bytes = segments[0].bytes;
  size_t last = 0;
  for (; last + 2 < segments.size(); last++) {
    const uint64_t next_bytes = through_bytes + segments[last + 1].bytes;
    const bool little = load.used_bytes - std::min(load.used_bytes, through_bytes) <= little_bytes;
    if (many ? last > segments.size() / 2 : little || next_bytes > half_bytes) break;
    if (next_bytes > disk_bytes) break;
    through_bytes = next_bytes;
  }
  return segments[last].id;
}

uint64_t LogBounds::share_bytes(const LogLoad& load) const noexcept {
  if (epochs_are_large(load)) return UINT64_MAX;
  const uint64_t room = room_bytes(load);
  const double part = room > load.dirty_bytes
                          ? static_cast<double>(load.dirty_bytes) / static_cast<double>(room)
                          : 1;
  // Likewise; and so much at least that cleaning ends.
  const auto share = static_cast<uint64_t>(static_cast<double>(load.gain_bytes) * part);
  return std::max(std::min(share, load.live_bytes / 8), shape_.slack_bytes / 64 + 1);
}

bool LogBounds::is_full(const LogLoad& load) const noexcept {
  const uint64_t share = std::min(share_bytes(load), load.unswept_bytes);
  return load.disk_bytes + load.dirty_bytes + share > log_bytes_max(load.live_bytes);
}

uint64_t LogBounds::dirty_bytes_max(const LogLoad& load) const noexcept {
  const uint64_t bytes_max = log_bytes_max(load.live_bytes);
  if (load.used_bytes + load.live_bytes <= bytes_max) return UINT64_MAX;
  // Much was deleted: it is no use to wait.
  if (load.used_bytes > bytes_max) return shape_.slack_bytes / 8;
  // One put at a time moves cleaning on. An epoch makes a segment, to be cleaned as a whole one
  // day.
  return std::clamp(room_bytes(load), uint64_t{1}, load.live_bytes / 4 + 1);
}

uint64_t LogBounds::room_bytes(const LogLoad& load) const noexcept {
  const uint64_t bytes_max = log_bytes_max(load.live_bytes);
  return bytes_max - std::min(bytes_max, load.used_bytes + load.gain_bytes);
}

uint64_t LogBounds::segment_bytes(uint64_t live_bytes) const noexcept {
  return std::clamp(live_bytes / 8, shape_.segment_bytes_min, kSegmentBytesMax);
}

}  // namespace dskvs
