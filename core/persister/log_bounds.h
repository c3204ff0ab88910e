// How large the log may become, and what is cleaned to keep it so. Pure: figures in, answers out.
#pragma once

#include "disk/segment_format.h"
#include "environment.h"
#include "memory/epoch.h"

#include <algorithm>
#include <span>

namespace dskvs {

// What the current entries would occupy in a fresh log, about.
uint64_t live_log_bytes(const Totals& totals) noexcept;

struct LogLoad {
  uint64_t disk_bytes;     // of the segments
  uint64_t used_bytes;     // of those that are of use: the others go with the next sync
  uint64_t live_bytes;     // see live_log_bytes()
  uint64_t dirty_bytes;    // accepted and not yet written, or rescued
  uint64_t epoch_bytes;    // what users change in an epoch: the open one, or the largest of late
  uint64_t unswept_bytes;  // that cleaning may have to write yet; without one, that the next may
  uint64_t gain_bytes;     // likewise, until it has gained room: as much, or of later segments too
  uint64_t room_bytes = UINT64_MAX;  // on the disk, the reserve aside; UINT64_MAX: unknown
};

// The log is kept below 2 x live data + LogShape::slack_bytes. An eighth of the slack is for what
// is not counted: commits, padding, removals, and the reserve.
//
// Cleaning writes before it frees, so it needs room: used + dirty + gain must fit, and there are
// two ways to see to it. Where epochs are large, all that is live and not dirty is cleaned along
// with one of them: that fits whatever users change, if all that is live fits once more. Elsewhere
// the oldest segments are cleaned, and each epoch takes along the share of it that makes both come
// to their end together, room and cleaning. Then what is dirty has to be limited as well.
//
// A disk may have less room than that. Before it is full the oldest segment is cleaned, and the
// next, as long as enough of the log is garbage; room for that is kept. More at once is cleaned
// only where there is room for all of it: what was begun in vain would take that of the next.
class LogBounds {
 public:
  explicit LogBounds(const LogShape& shape) noexcept : shape_(shape) {}

  // The newest of `segments`, those of use, oldest first, that is to be cleaned from now on; 0:
  // none. The last of them: all, and what is written from now on goes to another one.
  uint64_t clean_through(std::span<const SegmentFile> segments, const LogLoad& load) const noexcept;
  // To clean the oldest segments gains more than a little, if the disk wants for room.
  bool has_garbage(const LogLoad& load) const noexcept {
    return load.used_bytes > load.live_bytes + load.live_bytes / 4 + shape_.slack_bytes / 64;
  }
  // How much of cleaning the open epoch takes along; UINT64_MAX: all.
  uint64_t share_bytes(const LogLoad& load) const noexcept;
  // With it, the open epoch has no room.
  bool is_full(const LogLoad& load) const noexcept;
  // The bound is broken by far, as after much was deleted: what is to go takes too long to wait
  // for.
  bool is_broken(const LogLoad& load) const noexcept {
    return load.disk_bytes / 3 > (2 * load.live_bytes + shape_.slack_bytes) / 2;
  }
  // So much may be dirty; UINT64_MAX: no limit.
  uint64_t dirty_bytes_max(const LogLoad& load) const noexcept;
  // Likewise for the disk's sake: an epoch goes to one segment, and a long one takes much room to
  // be cleaned.
  static uint64_t disk_dirty_bytes_max(const LogLoad& load) noexcept {
    return load.room_bytes / 8 + 1;
  }
  // So much may be put until the disk is full.
  static uint64_t put_bytes_max(const LogLoad& load) noexcept {
    if (load.room_bytes == UINT64_MAX) return UINT64_MAX;
    return load.room_bytes - std::min(load.room_bytes, load.unswept_bytes);
  }
  // From when on a segment counts as full.
  uint64_t segment_bytes(uint64_t live_bytes) const noexcept;

 private:
  static bool epochs_are_large(const LogLoad& load) noexcept {
    const bool were_large = load.unswept_bytes > load.live_bytes / 2;
    return load.epoch_bytes > load.live_bytes / (were_large ? 8 : 4);
  }
  uint64_t log_bytes_max(uint64_t live_bytes) const noexcept {
    return 2 * live_bytes + shape_.slack_bytes - shape_.slack_bytes / 8;
  }
  // For what users write until cleaning has come to its end.
  uint64_t room_bytes(const LogLoad& load) const noexcept;

  const LogShape shape_;
};

}  // namespace dskvs
