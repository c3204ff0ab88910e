// How large the log may become, and what is cleaned to keep it so. Pure: figures in, answers out.
#pragma once

#include "disk/segment_format.h"
#include "environment.h"
#include "memory/epoch.h"

#include <span>

namespace dskvs {

// What the current entries would occupy in a fresh log, about.
uint64_t live_log_bytes(const Totals& totals) noexcept;

struct LogLoad {
  uint64_t disk_bytes;   // of the log's files
  uint64_t live_bytes;   // see live_log_bytes()
  uint64_t dirty_bytes;  // accepted and not yet written
  uint64_t epoch_bytes;  // what users change in an epoch: the open one, or the largest of late
};

// The log is kept below 2 x live data + LogShape::slack_bytes. An eighth of the slack is for what
// is not counted: commits, padding, and removals.
class LogBounds {
 public:
  explicit LogBounds(const LogShape& shape) noexcept : shape_(shape) {}

  // What is dirty, and what cleaning may have to write again, has no room.
  bool is_full(const LogLoad& load, bool sweeping) const noexcept;
  // Where epochs are large, one that changes all may come at any time, and finds room only in a log
  // that holds little beside what is live. So the first for which that is not so any more takes
  // along all that is live and not dirty, if that has room or is little, and all segments of today
  // are free.
  bool cleaning_all_is_due(const LogLoad& load) const noexcept;
  // The newest of `segments`, oldest first, that is to be cleaned now; 0: none. So early that two
  // more epochs fit meanwhile.
  uint64_t clean_through(std::span<const SegmentFile> segments, const LogLoad& load) const noexcept;
  // From when on a segment counts as full.
  uint64_t segment_bytes(uint64_t live_bytes) const noexcept;

 private:
  static bool epochs_are_large(const LogLoad& load) noexcept {
    return load.epoch_bytes > load.live_bytes / 4;
  }
  // If the next epoch changed all, it would have room; or it would after the one that is open.
  bool all_has_room(const LogLoad& load) const noexcept {
    return load.disk_bytes <= load.live_bytes + shape_.slack_bytes - shape_.slack_bytes / 16;
  }
  bool all_will_have_room(const LogLoad& load) const noexcept {
    return load.disk_bytes + load.dirty_bytes + load.live_bytes <= log_bytes_max(load.live_bytes);
  }
  uint64_t log_bytes_max(uint64_t live_bytes) const noexcept {
    return 2 * live_bytes + shape_.slack_bytes - shape_.slack_bytes / 8;
  }

  const LogShape shape_;
};

}  // namespace dskvs
