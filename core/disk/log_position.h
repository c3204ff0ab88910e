// Where recovery found the log, and what a writer continues from.
#pragma once

#include "disk/segment_format.h"

#include <cstdint>
#include <vector>

namespace dskvs {

struct LogPosition {
  StoreId store_id{};            // all zeros: no segment tells; the caller chooses one
  uint64_t next_segment_id = 1;  // above all ids ever seen
  uint64_t recovered_epoch = 0;  // R
  uint64_t durable_epoch = 0;    // D <= R, as the last recovered commit records it
  uint64_t durable_segment =
      0;                        // just behind the commit of D; 0, 0: the log is empty up to D. This
  uint64_t durable_offset = 0;  // segment is not in `chain` when nothing in it is live any more.
  SegmentFile head{};           // ends behind the commit of R; id 0: there is none
  std::vector<SegmentFile> chain;    // segments that hold live frames up to D, oldest first
  std::vector<SegmentFile> zombies;  // all others: of use until the first durable commit, at most;
                                     // with an `end` of 0 of none, as neither a kill nor a power
                                     // loss could make them the log again
};

}  // namespace dskvs
