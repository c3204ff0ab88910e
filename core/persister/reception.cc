#include "persister/reception.h"

#include <algorithm>
#include <chrono>

namespace dskvs {
namespace {

using std::chrono::steady_clock;

constexpr uint64_t kForeverMs = uint64_t{100} * 365 * 86'400'000;
constexpr uint64_t kPauseUsMax = uint64_t{86'400} * 1'000'000;

}  // namespace

// ---- Those who wait.

// Waits until `reached`, which is asked under the lock.
template <typename Reached>
Status Reception::wait_until(std::unique_lock<std::mutex>& lock, uint64_t timeout_ms,
                             Reached&& reached) noexcept {
  auto deadline = steady_clock::now() + std::chrono::milliseconds(std::min(timeout_ms, kForeverMs));
  for (bool late = false;;) {
    if (reached()) return Status::kOk;
    if (closing_) return fail(Status::kClosed, "the store is being closed");
    if (figures_.error != Status::kOk) return failure_.again();
    if (late || timeout_ms == 0) return Status::kTimeout;
    if (step_) {
      lock.unlock();
      bool moved = step_();
      lock.lock();
      if (!moved) return Status::kTimeout;
      continue;
    }
    waiters_++;
    late = changed_.wait_until(lock, deadline) == std::cv_status::timeout;
    waiters_--;
  }
}

Status Reception::wait(uint64_t mark, Level level, uint64_t timeout_ms) noexcept {
  if (level == Level::kDurable && options_.sync_interval_ms == 0) request_sync(mark);
  std::unique_lock lock(mutex_);
  return wait_until(lock, timeout_ms, [&] {
    return mark <= (level == Level::kDurable ? figures_.durable_epoch : figures_.written_epoch);
  });
}

Status Reception::sync(uint64_t mark, uint64_t timeout_ms) noexcept {
  request_sync(mark);
  return wait(mark, Level::kDurable, timeout_ms);
}

void Reception::request_sync(uint64_t mark) noexcept {
  std::lock_guard guard(mutex_);
  sync_wanted_.store(std::max(mark, sync_wanted()), std::memory_order_relaxed);
  wake_.notify_one();
}

Status Reception::wait_for_room(Change change, uint64_t bytes) noexcept {
  std::unique_lock lock(mutex_);
  Status status = wait_until(lock, DSKVS_FOREVER, [&] { return backlog_has_room(change); });
  while (status == Status::kOk && !disk_has_room(change, bytes)) {
    const uint64_t left_before = left_bytes(change);
    status = clean(lock, false);
    if (disk_has_room(change, bytes)) return Status::kOk;
    if (status == Status::kOk && left_bytes(change) <= left_before) {
      status = fail(Status::kSpace, "the disk has room for {} bytes more", left_bytes(change));
    }
  }
  return status;
}

Status Reception::compact() noexcept {
  std::unique_lock lock(mutex_);
  return clean(lock, true);
}

// All the log, or what the disk asks for.
Status Reception::clean(std::unique_lock<std::mutex>& lock, bool all) noexcept {
  const uint64_t compaction = ++compactions_wanted_;
  if (all) full_compaction_wanted_ = compaction;
  wake_.notify_one();
  const Status status =
      wait_until(lock, DSKVS_FOREVER, [&] { return compactions_done_ >= compaction; });
  return status == Status::kOk ? compaction_result_.again() : status;
}

Status Reception::begin_snapshot(std::vector<SegmentFile>* segments) noexcept {
  std::lock_guard turn(snapshot_turn_);
  uint64_t mark = epochs_.newest_change();
  request_sync(mark);
  std::unique_lock lock(mutex_);
  snapshot_ = segments;
  snapshot_mark_ = mark;
  wake_.notify_one();
  Status status = wait_until(lock, DSKVS_FOREVER, [&] { return snapshot_ == nullptr; });
  snapshot_ = nullptr;
  return status;
}

void Reception::end_snapshot() noexcept {
  std::lock_guard guard(mutex_);
  ended_snapshots_++;
  wake_.notify_one();
}

PersisterFigures Reception::figures() noexcept {
  std::lock_guard guard(mutex_);
  return figures_;
}

void Reception::begin_close() noexcept {
  std::lock_guard guard(mutex_);
  closing_ = true;
  changed_.notify_all();
}

// ---- The persister.

void Reception::nudge() noexcept {
  std::lock_guard guard(mutex_);
  wake_.notify_one();
}

void Reception::stop() noexcept {
  std::lock_guard guard(mutex_);
  stopping_ = true;
  wake_.notify_one();
}

bool Reception::sleep(bool until_change,
                      const std::function<uint64_t(bool requests)>& pause_us) noexcept {
  std::unique_lock lock(mutex_);
  if (stopping_) return false;
  sleeping_.store(until_change, std::memory_order_seq_cst);
  bool requests =
      snapshot_ != nullptr || compactions_wanted_ != compactions_done_ || ended_snapshots_ != 0;
  if (uint64_t pause = std::min(pause_us(requests), kPauseUsMax); pause != 0) {
    wake_.wait_until(lock, steady_clock::now() + std::chrono::microseconds(pause));
  }
  sleeping_.store(false, std::memory_order_relaxed);
  return true;
}

void Reception::publish(const PersisterFigures& figures) noexcept {
  std::lock_guard guard(mutex_);
  bool news = figures.written_epoch != figures_.written_epoch ||
              figures.durable_epoch != figures_.durable_epoch || figures.error != figures_.error ||
              figures.dirty_bytes_max > figures_.dirty_bytes_max;
  figures_ = figures;
  dirty_bytes_max_.store(std::min(options_.dirty_bytes_max, figures.dirty_bytes_max),
                         std::memory_order_relaxed);
  if (news && waiters_ != 0) changed_.notify_all();
}

void Reception::explain(Status error) noexcept {
  std::lock_guard guard(mutex_);
  failure_ = KeptFailure(error);
}

Status Reception::error() noexcept {
  std::lock_guard guard(mutex_);
  return figures_.error == Status::kOk ? Status::kOk : failure_.again();
}

Reception::Compaction Reception::compaction_wanted() noexcept {
  std::lock_guard guard(mutex_);
  if (compactions_done_ == compactions_wanted_) return {};
  return {.number = compactions_wanted_, .all = full_compaction_wanted_ > compactions_done_};
}

void Reception::compaction_done(uint64_t compaction, Status result) noexcept {
  std::lock_guard guard(mutex_);
  compactions_done_ = compaction;
  compaction_result_ = KeptFailure(result);
  changed_.notify_all();
}

std::optional<uint64_t> Reception::snapshot_wanted() noexcept {
  std::lock_guard guard(mutex_);
  return snapshot_ == nullptr ? std::nullopt : std::optional(snapshot_mark_);
}

bool Reception::hand_out(std::vector<SegmentFile>& snapshot) noexcept {
  std::lock_guard guard(mutex_);
  if (snapshot_ == nullptr) return false;
  snapshot_->swap(snapshot);
  snapshot_ = nullptr;
  changed_.notify_all();
  return true;
}

uint32_t Reception::take_ended_snapshots() noexcept {
  std::lock_guard guard(mutex_);
  return std::exchange(ended_snapshots_, 0);
}

}  // namespace dskvs
