#include "persister/housekeeping.h"

#include <algorithm>

namespace dskvs {
namespace {

constexpr uint64_t kTidyAfterUs = 50'000;
constexpr uint64_t kTidyPauseUs = 1'000;
constexpr uint64_t kReclaimEpochs = 64;

// Memory made ready for the values to come: while there are writes as much as so many epochs like
// the last one take, and when it is quiet.
constexpr uint64_t kSpareEpochs = 16;
constexpr size_t kSpareBytesMax = size_t{16} << 20;
constexpr size_t kSpareBytesQuiet = size_t{2} << 20;

}  // namespace

Housekeeping::~Housekeeping() { (void)arena_trim(kSpareBytesQuiet); }

void Housekeeping::epoch_written(uint64_t now_us, uint64_t epoch_bytes) noexcept {
  epoch_bytes_ = epoch_bytes;
  tidy_us_ = now_us + kTidyAfterUs;
  tidying_ = false;
  arena_keep_peak();  // an epoch's entries are freed together
  // What threads that are idle now have retired does not wait for a quiet time that may never come.
  if (++epochs_written_ % kReclaimEpochs == 0) reclaimer::reclaim_all();
}

bool Housekeeping::provision() noexcept {
  if (tidy_us_ == UINT64_MAX || tidying_) return false;
  return arena_provision(std::clamp(kSpareEpochs * epoch_bytes_, kSpareBytesQuiet, kSpareBytesMax));
}

bool Housekeeping::tidy(uint64_t now_us) noexcept {
  if (now_us < tidy_us_) return false;
  if (!tidying_) {
    epochs_.free_excess_chunks();
    reclaimer::reclaim_all();
    // Collections that ended with the last epoch are freed when the next is durable.
    if (syncs_ && epochs_.has_ended()) epochs_.touch();
  }
  tidying_ = arena_trim(kSpareBytesQuiet);
  tidy_us_ = tidying_ ? now_us + kTidyPauseUs : UINT64_MAX;
  return true;
}

}  // namespace dskvs
