#include "persister/rescuer.h"

#include <algorithm>

namespace dskvs {
namespace {

// To look at an entry for nothing takes about as long as to write so many bytes.
constexpr uint64_t kEntryLookBytes = 64;

}  // namespace

void Rescuer::clean(uint64_t through_segment, uint64_t bytes, uint64_t last_segment) noexcept {
  clean_through_ = through_segment;
  unswept_bytes_ = bytes;
  sweep_.begin();
  tally_.begin(through_segment + 1, last_segment);
}

Status Rescuer::rescue(uint64_t share_bytes, uint64_t dirty_bytes_max) noexcept {
  const bool all = share_bytes >= unswept_bytes_;
  const uint64_t before_bytes = rescued_bytes_;
  const uint64_t seen_before_bytes = seen_bytes_;
  for (uint64_t parts = 0; sweep_.active(); ++parts) {
    const bool looks_on = parts < parts_min_ || seen_bytes_ - seen_before_bytes < share_bytes;
    if (!all && (!looks_on || rescued_bytes_ - before_bytes >= share_bytes)) break;
    if (Status status = rescue_part(dirty_bytes_max); status != Status::kOk) return status;
    if (sweep_.active()) continue;
    tally_.finish();
    epochs_.touch();
  }
  return Status::kOk;
}

uint64_t Rescuer::bytes_until_gain(std::span<const SegmentFile> segments) const noexcept {
  uint64_t bytes = sweeping() ? unswept_bytes_ : 0;
  uint64_t current_bytes = 0;
  uint64_t gained_bytes = 0;
  for (const SegmentFile& segment : segments) {
    const uint64_t current = tally_.current_bytes(segment);
    if (!sweeping() || segment.id > clean_through_) {
      if (gained_bytes > current_bytes / 2) break;
      bytes += current;
    }
    current_bytes += current;
    gained_bytes += segment.bytes - current;
  }
  return bytes;
}

uint64_t Rescuer::cleaned_through() const noexcept { return sweep_.active() ? 0 : clean_through_; }

void Rescuer::lose(uint64_t from_segment) noexcept {
  if (from_segment != 0) lost_from_ = std::min(lost_from_, from_segment);
  clean_through_ = 0;
  sweep_.end();
  tally_.give_up();
}

Status Rescuer::rescue_lost() noexcept {
  sweep_.begin();
  return rescue(UINT64_MAX, UINT64_MAX);
}

Status Rescuer::rescue_part(uint64_t dirty_bytes_max) noexcept {
  seen_bytes_ += part_look_bytes_;
  return sweep_.advance(catalog_, [&](Collection& collection, Entry* entry) {
    seen_bytes_ += kEntryLookBytes;
    uint32_t home = entry->home();
    if ((home & Entry::kDirty) != 0) return Status::kOk;
    const uint64_t bytes = dirty_bytes_of(collection, reinterpret_cast<uintptr_t>(entry));
    tally_.count(home, bytes);
    if (home > clean_through_ && home < lost_from_) return Status::kOk;
    if (epochs_.dirty_bytes() + bytes > dirty_bytes_max) {
      return fail(Status::kSpace, "the disk has no room to clean the log");
    }
    rescued_bytes_ += bytes;
    unswept_bytes_ -= std::min(unswept_bytes_, bytes);
    return epochs_.record_rescue(collection, entry);
  });
}

}  // namespace dskvs
