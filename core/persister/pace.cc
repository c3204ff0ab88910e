#include "persister/pace.h"

#include <algorithm>

namespace dskvs {
namespace {

// Under load, epochs follow each other at this distance, or at the processor's time that writing
// one takes when that is longer: the persister then takes at most half of a processor, and keys
// that change often are written seldom.
constexpr uint64_t kWritePauseUsMin = 2'000;
constexpr uint64_t kWritePauseUsHot = 4'000;
constexpr uint64_t kWritePauseUsMax = 25'000;

// A write after a time this long without one is synced at once, unless the disk syncs so slowly
// that it would do little else.
constexpr uint64_t kQuietUs = 5'000;
constexpr uint64_t kQuietSyncs = 4;

// So much is synced before it is time, so that the disk is never idle for long and then busy for
// long.
constexpr uint64_t kSyncBytes = uint64_t{16} << 20;

constexpr uint64_t kRetryPauseUsMin = 10'000;
constexpr uint64_t kRetryPauseUsMax = 1'000'000;

}  // namespace

void Pace::write_begins(uint64_t now_us) noexcept {
  after_quiet_ = now_us >= last_write_us_ + std::max(kQuietUs, kQuietSyncs * sync_took_us_);
}

void Pace::write_ended(uint64_t now_us, uint64_t cpu_us, bool hot) noexcept {
  last_write_us_ = now_us;
  const uint64_t pause_us_min = hot ? kWritePauseUsHot : kWritePauseUsMin;
  next_write_us_ = now_us + std::clamp(cpu_us, pause_us_min, kWritePauseUsMax);
}

bool Pace::sync_is_due(uint64_t now_us, bool idle, const Undurable& undurable) const noexcept {
  if (sync_interval_us_ == 0) return false;
  return now_us >= next_sync_us(undurable.since_us) || (after_quiet_ && idle) || undurable.full ||
         undurable.bytes >= kSyncBytes;
}

void Pace::sync_ended(uint64_t now_us) noexcept {
  sync_took_us_ = now_us - sync_began_us_;
  sync_longest_us_ = std::max(sync_took_us_, sync_longest_us_ - sync_longest_us_ / 8);
}

// So early that it may take as long as others of late, and the oldest is durable within the
// interval all the same.
uint64_t Pace::next_sync_us(uint64_t undurable_since_us) const noexcept {
  if (sync_interval_us_ == 0) return UINT64_MAX;
  return undurable_since_us + sync_interval_us_ - std::min(sync_longest_us_, sync_interval_us_ / 2);
}

void Pace::failed(uint64_t now_us) noexcept {
  retry_pause_us_ = std::clamp(retry_pause_us_ * 2, kRetryPauseUsMin, kRetryPauseUsMax);
  retry_us_ = now_us + retry_pause_us_;
}

}  // namespace dskvs
