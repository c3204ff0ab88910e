// How large the log may become, and what is cleaned to keep it so. Pure: figures in, answers out.
#pragma once

#include "disk/segment_format.h"
#include "environment.h"
#include "memory/epoch.h"

#include <vector>

namespace dskvs {

// What the current entries would occupy in a fresh log, about.
uint64_t live_log_bytes(const Totals& totals) noexcept;

struct LogLoad {
  uint64_t disk_bytes;   // of the log's files
  uint64_t live_bytes;   // see live_log_bytes()
  uint64_t dirty_bytes;  // accepted and not yet written
};

// The log is kept below 2 x live data + LogShape::slack_bytes.
class LogBounds {
 public:
  explicit LogBounds(const LogShape& shape) noexcept : shape_(shape) {}

  // What is dirty, and what cleaning may have to write again, has no room.
  bool is_full(const LogLoad& load, bool sweeping) const noexcept;
  // When most of what is live is dirty, it costs little to write the rest along with it, and all
  // segments of today are free: before there is no room any more to do so.
  bool cleaning_all_is_cheap(const LogLoad& load) const noexcept;
  // The newest of `segments`, oldest first, that is to be cleaned now; 0: none. So early that two
  // more epochs like the last one fit meanwhile.
  uint64_t clean_through(const std::vector<SegmentFile>& segments, uint64_t live_bytes,
                         uint64_t epoch_bytes) const noexcept;
  // From when on a segment counts as full.
  uint64_t segment_bytes(uint64_t live_bytes) const noexcept;

 private:
  uint64_t log_bytes_max(uint64_t live_bytes) const noexcept {
    return 2 * live_bytes + shape_.slack_bytes;
  }

  const LogShape shape_;
};

}  // namespace dskvs
