#include "persister/log_bounds.h"

#include <algorithm>

namespace dskvs {
namespace {

constexpr uint64_t kSegmentBytesMax = uint64_t{256} << 20;
constexpr size_t kSegmentsMax = 256;  // more are cleaned though they hold little garbage

// What an entry takes in the log beyond its key and value: the header and, on average, padding.
constexpr uint64_t kFrameOverheadBytes = kFrameHeaderBytes + 4;

}  // namespace

uint64_t live_log_bytes(const Totals& totals) noexcept {
  return static_cast<uint64_t>(totals.entries) * kFrameOverheadBytes +
         static_cast<uint64_t>(totals.key_bytes + totals.value_bytes);
}

bool LogBounds::is_full(const LogLoad& load, bool sweeping) const noexcept {
  uint64_t rescued = sweeping ? load.live_bytes / 4 : 0;
  if (epochs_are_large(load) && !all_will_have_room(load)) {
    rescued = load.live_bytes - std::min(load.live_bytes, load.dirty_bytes);
  }
  return load.disk_bytes + load.dirty_bytes + rescued > log_bytes_max(load.live_bytes);
}

bool LogBounds::cleaning_all_is_due(const LogLoad& load) const noexcept {
  return epochs_are_large(load) && !all_will_have_room(load) &&
         (all_has_room(load) || load.dirty_bytes > load.live_bytes / 2);
}

uint64_t LogBounds::clean_through(std::span<const SegmentFile> segments,
                                  const LogLoad& load) const noexcept {
  uint64_t log_bytes = 0;
  for (const SegmentFile& segment : segments) log_bytes += segment.bytes;
  const bool many = segments.size() > kSegmentsMax;
  const uint64_t slack_bytes = shape_.slack_bytes / 8 * 3;
  const uint64_t enough_bytes = load.live_bytes / 3 * 5 + slack_bytes;
  const bool all_instead = epochs_are_large(load) && all_has_room(load);
  if (!many && (all_instead || log_bytes + 2 * load.epoch_bytes < enough_bytes)) return 0;
  uint64_t through = 0;
  uint64_t through_bytes = 0;
  for (size_t i = 0; i + 1 < segments.size(); i++) {
    const uint64_t rest_bytes = log_bytes - through_bytes;
    const bool enough =
        many ? i > segments.size() / 2
             : through_bytes > log_bytes / 4 && rest_bytes <= load.live_bytes / 2 * 3 + slack_bytes;
    if (enough) break;
    through = segments[i].id;
    through_bytes += segments[i].bytes;
  }
  return through;
}

uint64_t LogBounds::segment_bytes(uint64_t live_bytes) const noexcept {
  return std::clamp(live_bytes / 8, shape_.segment_bytes_min, kSegmentBytesMax);
}

}  // namespace dskvs
