#include "persister/rescuer.h"

#include <algorithm>

namespace dskvs {
namespace {

// To look at a part for nothing takes about as long as to write so many bytes.
constexpr uint64_t kPartBytes = uint64_t{16} << 10;

}  // namespace

void Rescuer::clean(uint64_t through_segment, uint64_t bytes) noexcept {
  clean_through_ = through_segment;
  unswept_bytes_ = bytes;
  sweep_.begin();
}

Status Rescuer::rescue(uint64_t share_bytes) noexcept {
  const bool all = share_bytes >= unswept_bytes_;
  const uint64_t before_bytes = rescued_bytes_;
  uint64_t parts = std::max(parts_min_, share_bytes / kPartBytes);
  while (sweep_.active() &&
         (all || (parts-- != 0 && rescued_bytes_ - before_bytes < share_bytes))) {
    if (Status status = rescue_part(); status != Status::kOk) return status;
    if (!sweep_.active()) epochs_.touch();
  }
  return Status::kOk;
}

uint64_t Rescuer::cleaned_through() const noexcept { return sweep_.active() ? 0 : clean_through_; }

void Rescuer::lose(uint64_t from_segment) noexcept {
  if (from_segment != 0) lost_from_ = std::min(lost_from_, from_segment);
  clean_through_ = 0;
  sweep_.end();
}

Status Rescuer::rescue_lost() noexcept {
  sweep_.begin();
  return rescue(UINT64_MAX);
}

Status Rescuer::rescue_part() noexcept {
  return sweep_.advance(catalog_, [&](Collection& collection, Entry* entry) {
    uint32_t home = entry->home();
    if ((home & Entry::kDirty) != 0) return Status::kOk;
    if (home > clean_through_ && home < lost_from_) return Status::kOk;
    const uint64_t bytes = dirty_bytes_of(collection, reinterpret_cast<uintptr_t>(entry));
    rescued_bytes_ += bytes;
    unswept_bytes_ -= std::min(unswept_bytes_, bytes);
    return epochs_.record_rescue(collection, entry);
  });
}

}  // namespace dskvs
