#include "persister/persister.h"

#include "signals_blocked.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace dskvs {
namespace {

constexpr uint64_t kDrainUsMax = 5'000'000;  // close gives a failing disk this long
constexpr uint64_t kHotFactor = 8;         // so much more accepted than written makes an epoch hot
constexpr uint64_t kFadeEpochs = 8;        // until a large epoch is of late no more
constexpr uint64_t kRequestPauseUs = 200;  // until requests that cannot be met are looked at again
constexpr uint64_t kMemoryPauseUs = 10'000;   // until the thread asks again for what it needs
constexpr uint64_t kNoRoomPauseUs = 100'000;  // until cleaning is tried again

}  // namespace

Persister::Persister(const Environment& environment, const Options& options, Directory& directory,
                     LogPosition position, Catalog& catalog, Epochs& epochs, DirtyChunks removals)
    : environment_(environment),
      options_(options),
      epochs_(epochs),
      reception_(
          options_, epochs,
          environment.manual_persister ? [this] { return step(true); } : std::function<bool()>()),
      worker_(environment.manual_persister, [this] { reception_.nudge(); }),
      log_(directory, std::move(position), environment.log_shape.segment_bytes_min, &worker_),
      writer_(catalog, epochs, log_, removals),
      rescuer_(catalog, epochs, environment.log_shape),
      pace_(options.sync_interval_ms),
      bounds_(environment.log_shape),
      housekeeping_(epochs, options.sync_interval_ms != 0),
      heal_wanted_(!all_is_durable()) {
  // For how long what open found above the durable epoch has been so, nobody knows.
  if (!all_is_durable()) figures_.undurable_since_us = environment.clock.now_us();
  publish();
}

// ---- The steps.

bool Persister::step(bool hurry) noexcept {
  uint64_t now = environment_.clock.now_us();
  if (log_.errand_has_ended()) {
    collect_errand();
    return true;
  }
  // What goes on beside the rest is begun first. When room is short, syncs are always due: what the
  // last one has released goes before the next.
  if (log_is_full() && step_errand(false)) return true;
  if ((!heal_wanted_ && step_sync(now, false)) || step_errand(false)) return true;
  if (heal_wanted_) {
    return step_heal(now, hurry) || writer_.empty_ended(rescuer_.sweeping());
  }
  return step_write(now, hurry) || step_sync(now, hurry) || step_errand(hurry) || step_snapshot() ||
         step_compact() || housekeeping_.provision() || step_clean() ||
         writer_.empty_ended(rescuer_.sweeping()) ||
         (!something_changed() && housekeeping_.tidy(now));
}

bool Persister::step_heal(uint64_t now, bool hurry) noexcept {
  if (!hurry && now < pace_.retry_us()) return false;
  writer_.forget_failed();
  if (Status status = rescuer_.rescue_lost(); status != Status::kOk) {
    failed(status, 0);
    return true;
  }
  bool was_failing = figures_.error != Status::kOk;
  if (write_epoch() != Status::kOk) return true;
  heal_wanted_ = false;
  rescuer_.healed();
  pace_.healed();
  figures_.error = Status::kOk;
  if (was_failing) figures_.heals++;
  publish();
  return true;
}

bool Persister::step_write(uint64_t now, bool hurry) noexcept {
  if (!something_changed()) return false;
  clean_if_due();
  bool pressed = hurry || epochs_.dirty_bytes() > reception_.dirty_bytes_max() / 2;
  bool due = now >= pace_.next_write_us() || reception_.sync_wanted() > log_.written_epoch();
  if ((!pressed && !due) || writing_is_held()) return false;
  // Here, so that cleaning keeps up with writing however busy the disk is.
  bool has_room = true;
  if (rescuer_.sweeping()) {
    rescue();
    has_room = !writing_is_held();  // a share ends with a whole part, and users go on
  }
  if (has_room && !heal_wanted_ && write_epoch() == Status::kOk) clean_if_due();
  return true;
}

bool Persister::step_sync(uint64_t now, bool hurry) noexcept {
  if (log_.has_errand() || all_is_durable()) return false;
  bool wanted = reception_.sync_wanted() > log_.durable_epoch();
  if (!hurry && !wanted && !sync_is_due(now)) return false;
  // When there is nothing else to do, this thread waits for the disk itself: that is sooner done.
  const uint64_t durable_before = log_.durable_epoch();
  const Status status = sync_log(!hurry && pace_.after_quiet() && !something_changed());
  // What achieves nothing is not tried for ever.
  return status != Status::kOk || log_.has_errand() || log_.durable_epoch() != durable_before;
}

bool Persister::step_errand(bool hurry) noexcept {
  if (log_.has_errand()) {
    if (hurry) collect_errand();
    return hurry;
  }
  if (!log_.has_files_to_unlink()) return false;
  log_.start_unlink();
  return true;
}

bool Persister::step_snapshot() noexcept {
  if (const uint32_t ended = reception_.take_ended_snapshots(); ended != 0) {
    for (uint32_t i = 0; i < ended; i++) log_.unpin();
    return true;  // what it had kept may go now
  }
  std::optional<uint64_t> mark = reception_.snapshot_wanted();
  if (!mark || log_.written_epoch() < *mark) return false;
  if (sync_log(true) != Status::kOk) return true;
  std::vector<SegmentFile> snapshot;
  try {
    snapshot = log_.live_segments();
  } catch (const std::bad_alloc&) {
    return false;  // tried again
  }
  if (reception_.hand_out(snapshot)) log_.pin();
  return true;
}

bool Persister::step_compact() noexcept {
  switch (compact_stage_) {
    case CompactStage::kNone:
      return begin_compaction();
    case CompactStage::kClean:
      if (rescuer_.cleaning()) return false;
      if (sync_log(true) != Status::kOk) return true;
      log_.retry_unlinks();
      compact_stage_ = CompactStage::kUnlink;
      return true;
    case CompactStage::kUnlink:
      if (log_.has_errand()) return false;  // it unlinks, until nothing is left
      end_compaction(log_.unlink_error());
      return true;
  }
  return false;
}

bool Persister::begin_compaction() noexcept {
  const Reception::Compaction wanted = reception_.compaction_wanted();
  if (wanted.number == 0) return false;
  compaction_ = wanted.number;
  log_.look_for_room();
  const LogLoad load = log_load();
  if (!wanted.all) {
    if (may_clean() && bounds_.has_garbage(load)) clean(log_.segments_in_use().front().id);
  } else if (load.live_bytes > load.room_bytes) {
    end_compaction(fail(Status::kSpace, "the disk has no room to write all of the log anew"));
    return true;
  } else if (!log_.live_segments().empty()) {
    clean(log_.live_segments().back().id);
  }
  compact_stage_ = CompactStage::kClean;
  return true;
}

void Persister::end_compaction(Status status) noexcept {
  compact_stage_ = CompactStage::kNone;
  reception_.compaction_done(compaction_, status);
}

bool Persister::step_clean() noexcept {
  if (!rescuer_.sweeping() || something_changed()) return false;
  rescue();
  return true;
}

void Persister::clean_if_due() noexcept {
  if (may_clean()) clean(bounds_.clean_through(log_.segments_in_use(), log_load()));
}

// What stands in the segments up to this one is to be written again, into a later one; 0: nothing.
void Persister::clean(uint64_t through_segment) noexcept {
  if (through_segment == 0) return;
  if (through_segment == log_.segment()) log_.rotate_at_next_begin();
  uint64_t bytes = 0;
  for (const SegmentFile& segment : log_.segments_in_use()) {
    if (segment.id <= through_segment) bytes += segment.bytes;
  }
  rescuer_.clean(through_segment, bytes, log_.segment());
}

void Persister::rescue() noexcept {
  const LogLoad load = log_load();
  const Status status = rescuer_.rescue(bounds_.share_bytes(load), load.room_bytes);
  if (status == Status::kSpace) {
    stop_cleaning(status);
  } else if (status != Status::kOk) {
    // No memory for records: those who wait for it are told, and cleaning begins again later.
    failed(status, 0);
  }
}

// What users change goes on: there may be room for that.
void Persister::stop_cleaning(Status status) noexcept {
  rescuer_.lose(0);
  no_cleaning_until_us_ = environment_.clock.now_us() + kNoRoomPauseUs;
  if (compact_stage_ != CompactStage::kNone) end_compaction(status);
}

// ---- What they do.

Status Persister::write_epoch() noexcept {
  uint64_t cpu_before_us = environment_.clock.thread_cpu_us();
  pace_.write_begins(environment_.clock.now_us());
  if (figures_.unwritten_since_us == 0) figures_.unwritten_since_us = epochs_.open_since_us();
  publish();
  SealedEpoch sealed = epochs_.seal();
  int64_t accepted = epochs_.totals().bytes_accepted;
  accepted -= std::exchange(bytes_accepted_, accepted);
  log_.set_segment_bytes(bounds_.segment_bytes(log_load().live_bytes));

  uint64_t segment_before = log_.segment();
  uint64_t durable_before = log_.durable_epoch();
  uint64_t bytes_before = log_.bytes_written();
  Status status = writer_.write(sealed, rescuer_.cleaned_through());
  bool written = status == Status::kOk;
  uint64_t segment = log_.segment() != 0 ? log_.segment() : segment_before;
  writer_.became_durable(rescuer_.sweeping());  // a rotation syncs
  publish_room(log_load());                     // less, before what took it is dirty no more
  uint64_t rescued_bytes =
      writer_.settle(sealed, written ? static_cast<uint32_t>(segment) : Entry::kNowhere);
  figures_.bytes_cleaned += rescued_bytes;
  if (!written) {
    failed(status, segment);
    return status;
  }
  rescuer_.committed();
  if (log_.durable_epoch() != durable_before) figures_.undurable_since_us = 0;
  if (figures_.undurable_since_us == 0) figures_.undurable_since_us = figures_.unwritten_since_us;
  figures_.unwritten_since_us = 0;
  if (log_.has_errand() && unsynced_since_us_ == 0) unsynced_since_us_ = sealed.first_write_us;
  uint64_t done_us = environment_.clock.now_us();
  publish();
  // In proportion to what the users wrote: rescued bytes must not ask for more of their kind.
  uint64_t bytes = log_.bytes_written() - bytes_before;
  bytes -= std::min(bytes, rescued_bytes);
  epoch_bytes_most_ = std::max(bytes, epoch_bytes_most_ - epoch_bytes_most_ / kFadeEpochs);
  housekeeping_.epoch_written(done_us, bytes);
  bool hot = static_cast<uint64_t>(accepted) > kHotFactor * bytes;
  pace_.write_ended(done_us, environment_.clock.thread_cpu_us() - cpu_before_us, hot);
  return Status::kOk;
}

// `waits`: for the disk, so nothing is written meanwhile. Otherwise the sync is an errand.
Status Persister::sync_log(bool waits) noexcept {
  uint64_t segment = log_.segment();
  pace_.sync_begins(environment_.clock.now_us());
  unsynced_since_us_ = 0;
  Status status = log_.sync(waits);
  return !waits && log_.has_errand() ? Status::kOk : end_sync(status, segment);
}

void Persister::collect_errand() noexcept {
  uint64_t segment = log_.segment();
  uint64_t durable_before = log_.durable_epoch();
  Status status = log_.finish_errand();
  if (status != Status::kOk || log_.durable_epoch() != durable_before) {
    (void)end_sync(status, segment);
  } else {
    publish();
  }
}

Status Persister::end_sync(Status status, uint64_t segment) noexcept {
  writer_.became_durable(rescuer_.sweeping());
  if (status != Status::kOk) {
    failed(status, segment);
    return status;
  }
  pace_.sync_ended(environment_.clock.now_us());
  figures_.undurable_since_us = unsynced_since_us_;
  publish();
  return status;
}

// The disk, or memory, failed. What is not durable stays in memory, to be written again.
void Persister::failed(Status status, uint64_t segment) noexcept {
  heal_wanted_ = true;
  rescuer_.lose(segment);
  compact_stage_ = CompactStage::kNone;
  pace_.failed(environment_.clock.now_us());
  reception_.explain(status);
  figures_.error = status;
  publish();
}

void Persister::publish() noexcept {
  figures_.written_epoch = log_.written_epoch();
  figures_.durable_epoch = log_.durable_epoch();
  figures_.disk_bytes = log_.disk_bytes();
  figures_.segments = log_.segments();
  figures_.bytes_written = log_.bytes_written();
  figures_.syncs = log_.syncs();
  // Who waits for room waits for cleaning: there has to be something to clean.
  bool cleans = figures_.error == Status::kOk && log_.segments_in_use().size() > 1;
  const LogLoad load = log_load();
  figures_.dirty_bytes_max = std::min(cleans ? bounds_.dirty_bytes_max(load) : UINT64_MAX,
                                      LogBounds::disk_dirty_bytes_max(load));
  publish_room(load);
  reception_.publish(figures_);
}

// After a failure what was accepted may not fit: removals, of that too, are what helps.
void Persister::publish_room(const LogLoad& load) noexcept {
  const bool fails = figures_.error != Status::kOk;
  reception_.set_room_bytes(LogBounds::put_bytes_max(load), fails ? UINT64_MAX : log_.room_bytes());
}

// ---- What they ask.

LogLoad Persister::log_load() const noexcept {
  const uint64_t dirty_bytes = epochs_.dirty_bytes();
  const uint64_t rescued_bytes = std::min(dirty_bytes, rescuer_.rescued_bytes());
  const uint64_t live_bytes = live_log_bytes(epochs_.totals());
  const auto segments = log_.segments_in_use();
  const uint64_t oldest_bytes = segments.empty() ? 0 : segments.front().bytes;
  const uint64_t unswept_bytes = rescuer_.sweeping() ? rescuer_.unswept_bytes() : oldest_bytes;
  const uint64_t gain_bytes = std::max(unswept_bytes, rescuer_.bytes_until_gain(segments));
  const uint64_t clean_bytes_max = live_bytes - std::min(live_bytes, dirty_bytes);
  const uint64_t room_bytes = log_.room_bytes();
  return {.disk_bytes = log_.disk_bytes() - log_.reserve_bytes(),
          .used_bytes = log_.bytes_in_use(),
          .live_bytes = live_bytes,
          .dirty_bytes = dirty_bytes,
          .epoch_bytes = std::max(epoch_bytes_most_, dirty_bytes - rescued_bytes),
          .unswept_bytes = std::min(unswept_bytes, clean_bytes_max),
          .gain_bytes = std::min(gain_bytes, clean_bytes_max),
          .room_bytes = room_bytes == UINT64_MAX
                            ? UINT64_MAX
                            : room_bytes - std::min(room_bytes, LogWriter::kReserveBytes)};
}

bool Persister::may_clean() const noexcept {
  return !rescuer_.cleaning() && compact_stage_ == CompactStage::kNone &&
         environment_.clock.now_us() >= no_cleaning_until_us_;
}

bool Persister::sync_is_due(uint64_t now) const noexcept {
  if (log_.has_dead_segments() && log_is_full()) return true;
  return pace_.sync_is_due(now, !something_changed(),
                           {.since_us = figures_.undurable_since_us,
                            .bytes = log_.undurable_bytes(),
                            .full = log_.full_is_undurable()});
}

// Room is being made in the log: an epoch that has none waits for it.
bool Persister::writing_is_held() const noexcept {
  if (!log_.has_dead_segments() && !log_.has_files_to_unlink()) return false;
  const LogLoad load = log_load();
  return bounds_.is_full(load) && !bounds_.is_broken(load);
}

// ---- The thread.

Status Persister::start() noexcept {
  if (started_.load(std::memory_order_acquire) || environment_.manual_persister) {
    return Status::kOk;
  }
  std::lock_guard guard(start_mutex_);
  if (started_.load(std::memory_order_relaxed)) return Status::kOk;
  thread_ = start_thread("dskvs", [this] { run(); });
  if (!thread_.joinable()) {
    return fail(Status::kMemory, "the system gives no thread for the persister");
  }
  started_.store(true, std::memory_order_release);
  return Status::kOk;
}

void Persister::run() noexcept {
  while (!reclaimer::register_thread()) {
    failed(fail(Status::kMemory, "no memory for the persister's thread"), 0);
    if (!reception_.sleep(false, [](bool) { return kMemoryPauseUs; })) return;
  }
  for (bool running = true; running;) {
    if (step(false)) continue;
    uint64_t now = environment_.clock.now_us();
    // Until the next epoch may be written no change is news.
    running = reception_.sleep(now >= pace_.next_write_us(),
                               [&](bool requests) { return pause_us(now, requests); });
  }
  drain();
}

uint64_t Persister::pause_us(uint64_t now, bool requests) const noexcept {
  // Asked under the lock that the Worker takes to wake us: the end of a job is never missed.
  if (log_.errand_has_ended()) return 0;
  uint64_t due = UINT64_MAX;
  if (heal_wanted_) {
    due = pace_.retry_us();
  } else {
    // While there is an errand, its end wakes us; without one, the next step makes room.
    bool waits_to_write = something_changed() && !(log_.has_errand() && writing_is_held());
    if (waits_to_write || now < pace_.next_write_us()) due = pace_.next_write_us();
    if (!all_is_durable() && !log_.has_errand()) {
      due = std::min(due, pace_.next_sync_us(figures_.undurable_since_us));
    }
    bool sync_wanted = !log_.has_errand() && reception_.sync_wanted() > log_.durable_epoch();
    if (requests || sync_wanted) due = std::min(due, now + kRequestPauseUs);
    if (!something_changed()) due = std::min(due, housekeeping_.tidy_us());
  }
  return due - std::min(due, now);
}

Status Persister::close() noexcept {
  if (thread_.joinable()) {
    reception_.stop();
    thread_.join();
  } else {
    drain();
  }
  const Status status = reception_.error();
  if (status != Status::kOk || log_.durable_epoch() >= epochs_.newest_change()) return status;
  return fail(Status::kInternal, "the log does not become durable");
}

void Persister::drain() noexcept {
  uint64_t until_us = environment_.clock.now_us() + kDrainUsMax;
  // Where no time passes, a few failures tell: the first may only be learnt of now.
  uint64_t failures_left = environment_.manual_persister ? 4 : UINT64_MAX;
  // A disk that is slow, and does not fail, is waited for.
  while (heal_wanted_ || something_changed() || !all_is_durable()) {
    if (heal_wanted_ && !environment_.manual_persister) {
      uint64_t now = environment_.clock.now_us();
      uint64_t pause_us = pace_.retry_us() - std::min(now, pace_.retry_us());
      std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
    }
    bool moved = step(true);
    if (heal_wanted_) failures_left--;
    bool late = heal_wanted_ && environment_.clock.now_us() >= until_us;
    if (!moved || failures_left == 0 || late) return log_.give_up();
  }
  Status status = log_.close();
  if (status != Status::kOk) failed(status, 0);
}

}  // namespace dskvs
