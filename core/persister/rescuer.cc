#include "persister/rescuer.h"

#include <algorithm>

namespace dskvs {
namespace {

// Rescue for cleaning, in one epoch: so much at least, more when the epoch before was large. To
// look at a part for nothing takes about as long as to write so many bytes.
constexpr uint64_t kBudgetBytesMin = uint64_t{1} << 20;
constexpr uint64_t kPartBytes = uint64_t{16} << 10;

}  // namespace

void Rescuer::clean(uint64_t through_segment) noexcept {
  clean_through_ = through_segment;
  sweep_.begin();
}

Status Rescuer::rescue(bool all) noexcept {
  while (sweep_.active() && (all || !budget_is_spent())) {
    budget_parts_ -= std::min<uint64_t>(budget_parts_, 1);
    if (Status status = rescue_part(); status != Status::kOk) return status;
    if (!sweep_.active()) epochs_.touch();
  }
  return Status::kOk;
}

void Rescuer::set_budget(uint64_t epoch_bytes) noexcept {
  budget_bytes_ = std::max(kBudgetBytesMin, 2 * epoch_bytes);
  budget_parts_ = std::max(parts_min_, epoch_bytes / kPartBytes);
  rescued_bytes_ = 0;
}

uint64_t Rescuer::cleaned_through() const noexcept { return sweep_.active() ? 0 : clean_through_; }

void Rescuer::lose(uint64_t from_segment) noexcept {
  if (from_segment != 0) lost_from_ = std::min(lost_from_, from_segment);
  clean_through_ = 0;
  sweep_.end();
}

Status Rescuer::rescue_lost() noexcept {
  for (sweep_.begin(); sweep_.active();) {
    if (Status status = rescue_part(); status != Status::kOk) return status;
  }
  return Status::kOk;
}

Status Rescuer::rescue_part() noexcept {
  return sweep_.advance(catalog_, [&](Collection& collection, Entry* entry) {
    uint32_t home = entry->home();
    if ((home & Entry::kDirty) != 0) return Status::kOk;
    if (home > clean_through_ && home < lost_from_) return Status::kOk;
    rescued_bytes_ += dirty_bytes_of(collection, reinterpret_cast<uintptr_t>(entry));
    return epochs_.record_rescue(collection, entry);
  });
}

}  // namespace dskvs
