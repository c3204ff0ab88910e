// Rescue: entries join the open epoch though they did not change, and so are written again. It is
// the one mechanism behind cleaning, compaction, healing and writing recovered epochs again.
//
// Each entry knows the segment that it stands in (Entry::home). Entries are rescued whose segment
// - is to be cleaned (home <= clean_through_): once the epoch that the last of them joined is
//   durable, nothing in those segments is needed, and its commit says so;
// - holds bytes that may be lost (home >= lost_from_, or kNowhere): after a failed write or sync,
//   and after an open that found epochs above the durable one. The epoch that they join is then
//   committed to a fresh segment as one range from the durable epoch on.
// Removals leave no entry to rescue: see EpochWriter.
//
// The persister's thread alone.
#pragma once

#include "environment.h"
#include "memory/epoch.h"
#include "memory/sweep.h"
#include "persister/segment_tally.h"

#include <span>

namespace dskvs {

class Rescuer {
 public:
  Rescuer(Catalog& catalog, Epochs& epochs, const LogShape& shape) noexcept
      : catalog_(catalog),
        epochs_(epochs),
        parts_min_(shape.rescue_parts_min),
        part_look_bytes_(shape.part_look_bytes) {}

  // No Collection may be freed.
  bool sweeping() const noexcept { return sweep_.active(); }

  // ---- Cleaning: clean(), rescue() until nothing is left to sweep, an epoch that says so.

  // `bytes` stand in the segments up to there; `last_segment` is being written to.
  void clean(uint64_t through_segment, uint64_t bytes, uint64_t last_segment) noexcept;
  bool cleaning() const noexcept { return clean_through_ != 0; }
  // Sweeps on until about so much more has joined the open epoch, or as much has been looked at for
  // nothing as takes the same time. The end of the sweep is a change of the open epoch. kMemory;
  // kSpace: with the next entry more than `dirty_bytes_max` would be dirty, users' changes
  // included. Where it failed it goes on.
  Status rescue(uint64_t share_bytes, uint64_t dirty_bytes_max) noexcept;
  // What the sweep may still come across, at most. REQUIRES: sweeping().
  uint64_t unswept_bytes() const noexcept { return unswept_bytes_; }
  // What has to be written again, at most, until cleaning has gained half as much room: of
  // `segments`, those of use, oldest first. Where the oldest hold little garbage that is more than
  // they hold.
  uint64_t bytes_until_gain(std::span<const SegmentFile> segments) const noexcept;
  // What joined the open epoch, about.
  uint64_t rescued_bytes() const noexcept { return rescued_bytes_; }
  // Nothing current stands in this segment, or before it, unless it is in the open epoch; 0: no
  // such segment.
  uint64_t cleaned_through() const noexcept;
  // A commit has said so, if there was anything to say.
  void committed() noexcept {
    rescued_bytes_ = 0;
    if (!sweep_.active()) clean_through_ = 0;
  }

  // ---- Healing.

  // What stands in this segment or behind it may be lost; 0: no segment is to blame. Cleaning ends:
  // what has joined the open epoch stays in it.
  void lose(uint64_t from_segment) noexcept;
  // Sweeps through all, at once, which is a change of the open epoch. kMemory.
  Status rescue_lost() noexcept;
  void healed() noexcept { lost_from_ = kNoSegment; }

 private:
  static constexpr uint64_t kNoSegment = UINT64_MAX;  // behind all segments

  Status rescue_part(uint64_t dirty_bytes_max) noexcept;

  Catalog& catalog_;
  Epochs& epochs_;
  const uint64_t parts_min_;
  const uint64_t part_look_bytes_;
  Sweep sweep_;
  SegmentTally tally_;
  uint64_t clean_through_ = 0;  // 0: no cleaning
  uint64_t lost_from_ = kNoSegment;
  uint64_t unswept_bytes_ = 0;
  uint64_t rescued_bytes_ = 0;
  uint64_t seen_bytes_ = 0;  // what looking took so far, as bytes that could have been written
};

}  // namespace dskvs
