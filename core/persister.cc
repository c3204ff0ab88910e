#include "persister.h"

#include "signals_blocked.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace dskvs {
namespace {

// Under load, epochs follow each other at this distance, or at the processor's time that writing
// one takes when that is longer: the persister then takes at most half of a processor, and keys
// that change often are written seldom.
constexpr uint64_t kWritePauseUsMin = 3'000;
constexpr uint64_t kWritePauseUsMax = 25'000;

// A write after a time this long without one is synced at once, unless the disk syncs so slowly
// that it would do little else.
constexpr uint64_t kQuietUs = 4'000;
constexpr uint64_t kQuietSyncs = 4;

// So much is synced before it is time, so that the disk is never idle for long and then busy for
// long.
constexpr uint64_t kSyncBytes = uint64_t{16} << 20;

constexpr uint64_t kRetryPauseUsMin = 10'000;
constexpr uint64_t kRetryPauseUsMax = 1'000'000;
constexpr uint64_t kDrainUsMax = 5'000'000;  // close gives a failing disk this long
constexpr uint64_t kTidyAfterUs = 50'000;
constexpr uint64_t kTidyPauseUs = 1'000;

// Memory made ready for the values to come: while there are writes as much as so many epochs like
// the last one take, and when it is quiet.
constexpr uint64_t kSpareEpochs = 16;
constexpr size_t kSpareBytesMax = size_t{16} << 20;
constexpr size_t kSpareBytesQuiet = size_t{2} << 20;

constexpr uint64_t kSegmentBytesMax = uint64_t{256} << 20;
constexpr uint64_t kSegmentsMax = 256;  // more are cleaned though they hold little garbage

// Rescue for cleaning, in one epoch: so much at least, more when the epoch before was large. To
// look at a part for nothing takes about as long as to write so many bytes.
constexpr uint64_t kRescueBytesMin = uint64_t{1} << 20;
constexpr uint64_t kRescuePartsMin = 128;
constexpr uint64_t kRescuePartBytes = uint64_t{16} << 10;

constexpr uint64_t kEmptyPartsAtOnce = 32;

// What an entry takes in the log beyond its key and value: the header and, on average, padding.
constexpr uint64_t kFrameOverheadBytes = kFrameHeaderBytes + 4;

// What the log and the files behind it allocate is little, and may fail all the same.
template <typename Call>
Status without_throwing(Call&& call) noexcept {
  try {
    return call();
  } catch (...) {
    return fail(Status::kMemory, "no memory to write the log");
  }
}

uint64_t segment_bytes_for(uint64_t live_bytes, const LogShape& shape) noexcept {
  return std::clamp(live_bytes / 8, shape.segment_bytes_min, kSegmentBytesMax);
}

}  // namespace

Persister::Persister(const Environment& environment, const Options& options, Directory& directory,
                     LogPosition position, Catalog& catalog, Epochs& epochs, Unsettled unsettled)
    : environment_(environment),
      options_(options),
      catalog_(catalog),
      epochs_(epochs),
      worker_(environment.manual_persister,
              [this] {
                std::lock_guard guard(mutex_);
                wake_.notify_one();
              }),
      log_(directory, std::move(position), environment.log_shape.segment_bytes_min, &worker_),
      retained_(epochs),
      heal_wanted_(unsettled.any) {
  for (DirtyChunk* chunk = unsettled.removals; chunk != nullptr;) {
    DirtyChunk* next = chunk->next;
    retained_.add(chunk);
    chunk = next;
  }
  retained_epoch_ = log_.written_epoch();
  figures_.written_epoch = log_.written_epoch();
  figures_.durable_epoch = log_.durable_epoch();
  publish();
}

Persister::~Persister() = default;

// ---- The steps.

bool Persister::step(bool hurry) noexcept {
  uint64_t now = environment_.clock.now_us();
  if (log_.errand_has_ended()) return collect_errand();
  // What goes on beside the rest is begun first.
  if ((!heal_wanted_ && step_sync(now, false)) || step_errand(false)) return true;
  if (heal_wanted_) return step_heal(now, hurry) || step_errand(hurry) || step_empty();
  return step_write(now, hurry) || step_sync(now, hurry) || step_errand(hurry) || step_snapshot() ||
         step_compact() || step_provision() || step_clean() || step_empty() || step_tidy(now);
}

bool Persister::step_heal(uint64_t now, bool hurry) noexcept {
  if (!hurry && now < retry_us_) return false;
  epochs_.subtract_dirty(unsettled_dirty_bytes_);
  unsettled_dirty_bytes_ = 0;
  for (sweep_.begin(); sweep_.active();) {
    Status status = rescue_part();
    if (status == Status::kOk) continue;
    failed(status, 0);
    return true;
  }
  epochs_.touch();
  bool was_failing = failing_;
  if (write_epoch() != Status::kOk) return true;
  heal_wanted_ = false;
  heal_from_ = kNoHome;
  retry_pause_us_ = 0;
  {
    std::lock_guard guard(mutex_);
    failing_ = false;
    figures_.error = Status::kOk;
    if (was_failing) figures_.heals++;
  }
  publish();
  return true;
}

bool Persister::step_write(uint64_t now, bool hurry) noexcept {
  if (!something_changed()) return false;
  bool pressed = hurry || sync_wanted_.load(std::memory_order_relaxed) > log_.written_epoch() ||
                 epochs_.dirty_bytes() > options_.dirty_bytes_max / 2;
  if (!pressed && (now < next_write_us_ || writing_is_held())) return false;
  // Here, so that cleaning keeps up with writing however busy the disk is.
  if (cleaning_all_is_cheap()) start_cleaning_all();
  rescue_within_budget();
  if (heal_wanted_) return true;
  if (write_epoch() == Status::kOk) start_cleaning_if_due();
  return true;
}

bool Persister::step_sync(uint64_t now, bool hurry) noexcept {
  if (log_.has_errand()) return false;
  if (log_.durable_epoch() == log_.written_epoch()) return false;
  bool wanted = sync_wanted_.load(std::memory_order_relaxed) > log_.durable_epoch();
  if (!hurry && !wanted && !sync_is_due(now)) return false;
  // When there is nothing else to do, this thread waits for the disk itself: that is sooner done.
  if (!hurry && after_quiet_ && !something_changed()) {
    (void)sync_log();
  } else {
    begin_sync(now);
  }
  return true;
}

bool Persister::sync_is_due(uint64_t now) const noexcept {
  if (log_.has_dead_segments() && log_is_full()) return true;
  if (options_.sync_interval_ms == 0) return false;
  if (now >= next_sync_us()) return true;
  if (after_quiet_ && !something_changed()) return true;
  return log_.segment_full() || log_.undurable_bytes() >= kSyncBytes;
}

// So early that it may take as long as the last one, and what was written right after the last one
// began is durable within the interval all the same.
uint64_t Persister::next_sync_us() const noexcept {
  uint64_t interval_us = options_.sync_interval_ms * 1000;
  return last_sync_us_ + interval_us - std::min(sync_took_us_, interval_us / 2);
}

// What is dirty, and what cleaning may have to write again, has no room in the log's bounds.
bool Persister::log_is_full() const noexcept {
  uint64_t dirty = epochs_.dirty_bytes();
  uint64_t rescued = sweep_.active() ? live_bytes() / 4 : 0;
  if (cleaning_all_is_cheap()) rescued = live_bytes() - std::min(live_bytes(), dirty);
  return log_.disk_bytes() + dirty + rescued > log_bytes_max();
}

// When most of what is live is dirty, it costs little to write the rest along with it, and all
// segments of today are free: before there is no room any more to do so.
bool Persister::cleaning_all_is_cheap() const noexcept {
  uint64_t dirty = epochs_.dirty_bytes();
  uint64_t live = live_bytes();
  return dirty > live / 2 && log_.disk_bytes() + dirty + live > log_bytes_max();
}

uint64_t Persister::log_bytes_max() const noexcept {
  return 2 * live_bytes() + environment_.log_shape.slack_bytes;
}

// Room is being made in the log: an epoch that has none waits for it.
bool Persister::writing_is_held() const noexcept {
  return (log_.has_dead_segments() || log_.has_files_to_unlink()) && log_is_full();
}

bool Persister::step_errand(bool hurry) noexcept {
  if (log_.has_errand()) return hurry && collect_errand();
  if (!log_.has_files_to_unlink()) return false;
  // To leave a full segment takes syncs in short order, and to unlink takes long.
  bool leaving = log_.segment_full() && log_.durable_epoch() != log_.written_epoch();
  if (!hurry && leaving && !log_is_full()) return false;
  log_.start_unlink();
  return true;
}

bool Persister::step_snapshot() noexcept {
  uint64_t mark;
  {
    std::lock_guard guard(mutex_);
    for (; unpins_wanted_ != 0; unpins_wanted_--) log_.unpin();
    if (snapshot_ == nullptr || log_.written_epoch() < snapshot_mark_) return false;
    mark = snapshot_mark_;
  }
  if (sync_log() != Status::kOk || log_.durable_epoch() < mark) return true;
  std::lock_guard guard(mutex_);
  if (snapshot_ == nullptr) return true;
  Status copied = without_throwing([&] {
    *snapshot_ = log_.snapshot();
    return Status::kOk;
  });
  if (copied != Status::kOk) return false;  // tried again
  snapshot_ = nullptr;
  log_.pin();
  changed_.notify_all();
  return true;
}

// Rewrites everything that stands in the segments of today into one of tomorrow.
bool Persister::step_compact() noexcept {
  switch (compact_stage_) {
    case CompactStage::kNone: {
      {
        std::lock_guard guard(mutex_);
        if (compactions_done_ == compactions_wanted_) return false;
        compact_ticket_ = compactions_wanted_;
      }
      compact_through_ = log_.live_segments().empty() ? 0 : log_.live_segments().back().id;
      if (compact_through_ != 0) {
        log_.rotate_at_next_begin();
        epochs_.touch();
      }
      compact_stage_ = compact_through_ == 0 ? CompactStage::kSync : CompactStage::kRotate;
      return true;
    }
    case CompactStage::kRotate:
      if (log_.segment() <= compact_through_) return false;
      start_cleaning(compact_through_);
      compact_stage_ = CompactStage::kClean;
      return true;
    case CompactStage::kClean:
      if (clean_through_ != 0) return false;
      compact_stage_ = CompactStage::kSync;
      return true;
    case CompactStage::kSync:
      if (sync_log() == Status::kOk) compact_stage_ = CompactStage::kUnlink;
      return true;
    case CompactStage::kUnlink: {
      if (log_.has_errand() || log_.has_files_to_unlink()) return false;
      compact_stage_ = CompactStage::kNone;
      std::lock_guard guard(mutex_);
      compactions_done_ = compact_ticket_;
      changed_.notify_all();
      return true;
    }
  }
  return false;
}

bool Persister::step_clean() noexcept {
  if (!sweep_.active()) return false;
  if (rescue_budget_bytes_ == 0 || rescue_budget_parts_ == 0) {
    if (something_changed()) return false;
    rescue_budget_bytes_ = kRescueBytesMin;
    rescue_budget_parts_ = kRescuePartsMin;
  }
  rescue_within_budget();
  return true;
}

void Persister::rescue_within_budget() noexcept {
  if (!sweep_.active()) return;
  bool in_a_hurry = log_is_full() || cleaning_all_is_cheap();
  while (sweep_.active() &&
         (in_a_hurry || (rescue_budget_bytes_ != 0 && rescue_budget_parts_ != 0))) {
    rescue_budget_parts_ -= std::min<uint64_t>(rescue_budget_parts_, 1);
    Status status = rescue_part();
    if (status == Status::kOk) continue;
    // No memory for records: those who wait for it are told, and the sweep goes on later.
    return failed(status, 0);
  }
  if (!sweep_.active()) {
    clean_commit_due_ = true;
    epochs_.touch();
  }
}

bool Persister::step_empty() noexcept {
  if (!graveyard_.has_entries()) return false;
  for (uint64_t i = 0; i < kEmptyPartsAtOnce && graveyard_.has_entries(); i++) {
    graveyard_.empty_one_part();
  }
  if (!sweep_.active()) graveyard_.free_up_to(log_.durable_epoch());
  return true;
}

// While there are writes, keeps some memory mapped and touched, so that they meet no page faults.
bool Persister::step_provision() noexcept {
  if (tidy_us_ == 0 || tidying_) return false;
  return arena_provision(std::clamp(kSpareEpochs * epoch_bytes_, kSpareBytesQuiet, kSpareBytesMax));
}

// When all is quiet: frees what threads that are idle now have retired, and gives memory back to
// the system, a little at a time.
bool Persister::step_tidy(uint64_t now) noexcept {
  if (tidy_us_ == 0 || now < tidy_us_) return false;
  if (!tidying_) {
    epochs_.free_excess_chunks();
    reclaimer::reclaim_all();
  }
  tidying_ = arena_trim(kSpareBytesQuiet);
  tidy_us_ = tidying_ ? now + kTidyPauseUs : 0;
  return true;
}

// ---- Writing.

Status Persister::write_epoch() noexcept {
  uint64_t begun_us = environment_.clock.now_us();
  uint64_t cpu_before_us = environment_.clock.thread_cpu_us();
  after_quiet_ = begun_us >= last_write_us_ + std::max(kQuietUs, kQuietSyncs * sync_took_us_);
  SealedEpoch sealed = epochs_.seal();
  uint64_t since = 0;
  unwritten_since_us_.compare_exchange_strong(since, sealed.first_write_us);
  graveyard_.add(epochs_.take_ended(sealed.epoch));
  log_.set_segment_bytes(segment_bytes_for(live_bytes(), environment_.log_shape));

  uint64_t segment_before = log_.segment();
  uint64_t durable_before = log_.durable_epoch();
  uint64_t bytes_before = log_.bytes_written();
  uint64_t cleaned_before = figures_.bytes_cleaned;  // nobody else writes it
  Status status = without_throwing([&] { return write_batch(sealed); });
  uint64_t segment = log_.segment() != 0 ? log_.segment() : segment_before;
  became_durable();  // a rotation syncs
  bool written = status == Status::kOk;
  uint64_t dirty_bytes = settle(sealed, written ? static_cast<uint32_t>(segment) : Entry::kNowhere);
  if (!written) {
    unsettled_dirty_bytes_ += dirty_bytes;
    failed(status, segment);
    return status;
  }
  epochs_.subtract_dirty(dirty_bytes);
  if (clean_commit_due_) {
    clean_commit_due_ = false;
    clean_through_ = 0;
  }
  uint64_t done_us = environment_.clock.now_us();
  if (log_.durable_epoch() != durable_before) undurable_since_us_.store(0);
  uint64_t since_durable = 0;
  undurable_since_us_.compare_exchange_strong(since_durable, unwritten_since_us_.load());
  unwritten_since_us_.store(0);
  if (log_.has_errand() && written_since_us_ == 0) written_since_us_ = sealed.first_write_us;
  publish();
  last_write_us_ = done_us;
  uint64_t cpu_us = environment_.clock.thread_cpu_us() - cpu_before_us;
  next_write_us_ = done_us + std::clamp(cpu_us, kWritePauseUsMin, kWritePauseUsMax);
  tidy_us_ = done_us + kTidyAfterUs;
  tidying_ = false;
  // In proportion to what the users wrote: rescued bytes must not ask for more of their kind.
  epoch_bytes_ = log_.bytes_written() - bytes_before;
  epoch_bytes_ -= std::min(epoch_bytes_, figures_.bytes_cleaned - cleaned_before);
  rescue_budget_bytes_ = std::max(kRescueBytesMin, 2 * epoch_bytes_);
  rescue_budget_parts_ = std::max(kRescuePartsMin, epoch_bytes_ / kRescuePartBytes);
  return Status::kOk;
}

Status Persister::write_batch(const SealedEpoch& sealed) noexcept {
  Status status = log_.begin(sealed.epoch);
  if (status != Status::kOk) return status;
  status = write_drops(log_.batch_first_epoch() - 1);
  // What was removed above the durable epoch, in batches that failed among others.
  if (status == Status::kOk && heal_wanted_) status = write_tombstones(retained_.first(), 0);
  if (status == Status::kOk) status = write_tombstones(sealed.chunks, sealed.epoch);
  if (status == Status::kOk) status = write_puts(sealed.chunks, sealed.epoch);
  if (status != Status::kOk) return status;
  return log_.commit(clean_commit_due_ ? first_segment_behind(clean_through_) : 0);
}

Status Persister::write_drops(uint64_t above_epoch) noexcept {
  for (const Collection* c = graveyard_.first(); c != nullptr; c = c->next_ended) {
    uint64_t dropped = c->dropped_epoch.load(std::memory_order_relaxed);
    if (dropped == kNeverEnded || dropped <= above_epoch) continue;
    Status status = log_.drop(c->key());
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

// Records of an epoch that drops their collection are void: the drop stands in front of them, and
// what was put after it belongs to a new collection of that name.
Status Persister::write_tombstones(const DirtyChunk* chunks, uint64_t epoch) noexcept {
  for (const DirtyChunk* chunk = chunks; chunk != nullptr; chunk = chunk->next) {
    for (uint32_t i = 0; i < chunk->count; i++) {
      const DirtyRecord& record = chunk->records[i];
      uintptr_t word = record.word.load(std::memory_order_relaxed);
      if ((word & DirtyRecord::kTombstone) == 0) continue;
      const Collection& collection = *record.collection;
      if (collection.dropped_epoch.load(std::memory_order_relaxed) <= epoch) continue;
      Status status = log_.remove(collection.key(), DirtyRecord::entry(word)->key());
      if (status != Status::kOk) return status;
    }
  }
  return Status::kOk;
}

Status Persister::write_puts(const DirtyChunk* chunks, uint64_t epoch) noexcept {
  constexpr uint32_t kAhead = 8;
  for (const DirtyChunk* chunk = chunks; chunk != nullptr; chunk = chunk->next) {
    for (uint32_t i = 0; i < chunk->count; i++) {
      if (i + kAhead < chunk->count) {
        const DirtyRecord& later = chunk->records[i + kAhead];
        __builtin_prefetch(DirtyRecord::entry(later.word.load(std::memory_order_relaxed)));
      }
      const DirtyRecord& record = chunk->records[i];
      uintptr_t word = record.word.load(std::memory_order_relaxed);
      if (word == 0 || (word & DirtyRecord::kTombstone) != 0) continue;
      const Collection& collection = *record.collection;
      if (collection.dropped_epoch.load(std::memory_order_relaxed) <= epoch) continue;
      const Entry& entry = *DirtyRecord::entry(word);
      Status status = log_.put(collection.key(), entry.key(), entry.value(), entry.value_size());
      if (status != Status::kOk) return status;
    }
  }
  return Status::kOk;
}

// The batch is over, and its entries stand in `home`. Gives the records' references back, but for
// removals, which are retained. Returns the bytes that they counted as dirty.
uint64_t Persister::settle(const SealedEpoch& sealed, uint32_t home) noexcept {
  uint64_t dirty_bytes = 0;
  uint64_t cleaned_bytes = 0;
  for (DirtyChunk* chunk = sealed.chunks; chunk != nullptr;) {
    for (uint32_t i = 0; i < chunk->count; i++) {
      DirtyRecord& record = chunk->records[i];
      uintptr_t word = record.word.load(std::memory_order_relaxed);
      bool tombstone = (word & DirtyRecord::kTombstone) != 0;
      if (home != Entry::kNowhere && (word == 0 || tombstone)) remove_if_empty(*record.collection);
      if (word == 0) continue;
      uint64_t bytes = dirty_bytes_of(*record.collection, word);
      dirty_bytes += bytes;
      if ((word & DirtyRecord::kRescued) != 0) cleaned_bytes += bytes;
      if (tombstone &&
          record.collection->dropped_epoch.load(std::memory_order_relaxed) > sealed.epoch) {
        retained_epoch_ = sealed.epoch;
        continue;
      }
      Entry* entry = DirtyRecord::entry(word);
      if (!tombstone) entry->set_home(home);
      record.word.store(0, std::memory_order_relaxed);
      entry->unpin();
    }
    DirtyChunk* next = chunk->next;
    retained_.add(chunk);
    chunk = next;
  }
  std::lock_guard guard(mutex_);
  figures_.bytes_cleaned += cleaned_bytes;
  return dirty_bytes;
}

// Takes a collection out of the catalog when its last member is gone.
void Persister::remove_if_empty(Collection& collection) noexcept {
  if (collection.members().count() != 0 || !reclaimer::prepare_to_retire()) return;
  ReadSection section;
  TableTotals totals;
  if (!collection.members().seal(true, &totals)) return;
  std::string_view name = collection.key();
  (void)catalog_.update(KeyHash{}(name), name, false, [&](Collection*, Collection** next) {
    epochs_.note_ended(collection);
    *next = nullptr;
    return Status::kOk;
  });
}

// Waits for the disk, so nothing is written meanwhile.
Status Persister::sync_log() noexcept {
  uint64_t segment = log_.segment();
  last_sync_us_ = environment_.clock.now_us();
  written_since_us_ = 0;
  return end_sync(without_throwing([&] { return log_.sync(); }), segment);
}

void Persister::begin_sync(uint64_t now) noexcept {
  uint64_t segment = log_.segment();
  last_sync_us_ = now;
  written_since_us_ = 0;
  Status status = without_throwing([&] { return log_.start_sync(); });
  if (!log_.has_errand()) (void)end_sync(status, segment);
}

bool Persister::collect_errand() noexcept {
  uint64_t segment = log_.segment();
  uint64_t durable_before = log_.durable_epoch();
  Status status = log_.finish_errand();
  if (status != Status::kOk || log_.durable_epoch() != durable_before) {
    (void)end_sync(status, segment);
  } else {
    publish();
  }
  return true;
}

Status Persister::end_sync(Status status, uint64_t segment) noexcept {
  became_durable();
  if (status != Status::kOk) {
    failed(status, segment);
    return status;
  }
  sync_took_us_ = environment_.clock.now_us() - last_sync_us_;
  undurable_since_us_.store(written_since_us_);
  publish();
  return status;
}

void Persister::became_durable() noexcept {
  uint64_t durable = log_.durable_epoch();
  if (durable >= retained_epoch_) retained_.release();
  if (!sweep_.active()) graveyard_.free_up_to(durable);
}

// The disk, or memory, failed. What is not durable stays in memory, to be written again.
void Persister::failed(Status status, uint64_t segment) noexcept {
  if (segment != 0) heal_from_ = std::min(heal_from_, static_cast<uint32_t>(segment));
  heal_wanted_ = true;
  sweep_.end();
  clean_through_ = 0;
  clean_commit_due_ = false;
  compact_stage_ = CompactStage::kNone;
  retry_pause_us_ = std::clamp(retry_pause_us_ * 2, kRetryPauseUsMin, kRetryPauseUsMax);
  retry_us_ = environment_.clock.now_us() + retry_pause_us_;
  {
    std::lock_guard guard(mutex_);
    failing_ = true;
    figures_.error = status;
    std::strncpy(error_text_.data(), last_error(), kErrorTextSizeMax);
  }
  publish();
}

// ---- Rescue and cleaning.

Status Persister::rescue_part() noexcept {
  return sweep_.advance(catalog_, [&](Collection& collection, Entry* entry) {
    uint32_t home = entry->home();
    if ((home & Entry::kDirty) != 0) return Status::kOk;
    if (home > clean_through_ && home < heal_from_) return Status::kOk;
    rescue_budget_bytes_ -= std::min(rescue_budget_bytes_, entry->bytes());
    return epochs_.record_rescue(collection, entry);
  });
}

uint64_t Persister::live_bytes() const noexcept {
  Totals totals = epochs_.totals();
  return static_cast<uint64_t>(totals.entries) * kFrameOverheadBytes +
         static_cast<uint64_t>(totals.key_bytes + totals.value_bytes);
}

// Keeps the log within its bounds: begins early enough that what is written meanwhile fits.
void Persister::start_cleaning_if_due() noexcept {
  if (clean_through_ != 0 || compact_stage_ != CompactStage::kNone) return;
  const auto& segments = log_.live_segments();
  uint64_t log_bytes = 0;
  for (const SegmentFile& segment : segments) log_bytes += segment.bytes;
  uint64_t live = live_bytes();
  bool many = segments.size() > kSegmentsMax;
  uint64_t garbage_bytes_max = environment_.log_shape.slack_bytes / 8 * 3;
  if (!many && log_bytes + 2 * epoch_bytes_ < live + live / 4 * 3 + garbage_bytes_max) return;
  uint64_t through = 0;
  uint64_t through_bytes = 0;
  for (size_t i = 0; i + 1 < segments.size(); i++) {
    uint64_t rest = log_bytes - through_bytes;
    bool enough = many ? i > segments.size() / 2
                       : through_bytes > log_bytes / 4 && rest <= live + garbage_bytes_max;
    if (enough) break;
    through = segments[i].id;
    through_bytes += segments[i].bytes;
  }
  if (through != 0) start_cleaning(through);
}

void Persister::start_cleaning_all() noexcept {
  if (compact_stage_ != CompactStage::kNone || log_.segment() == 0) return;
  log_.rotate_at_next_begin();
  start_cleaning(log_.segment());
}

void Persister::start_cleaning(uint64_t through_segment) noexcept {
  clean_through_ = through_segment;
  clean_commit_due_ = false;
  sweep_.begin();
}

uint64_t Persister::first_segment_behind(uint64_t segment) const noexcept {
  for (const SegmentFile& live : log_.live_segments()) {
    if (live.id > segment) return live.id;
  }
  return 0;
}

// ---- Meeting the others.

void Persister::publish() noexcept {
  std::lock_guard guard(mutex_);
  figures_.written_epoch = log_.written_epoch();
  figures_.durable_epoch = log_.durable_epoch();
  figures_.disk_bytes = log_.disk_bytes();
  figures_.segments = log_.segments();
  figures_.bytes_written = log_.bytes_written();
  figures_.syncs = log_.syncs();
  if (waiters_ != 0) changed_.notify_all();
}

PersisterFigures Persister::figures() noexcept {
  std::lock_guard guard(mutex_);
  PersisterFigures figures = figures_;
  figures.unwritten_since_us = unwritten_since_us_.load();
  figures.undurable_since_us = undurable_since_us_.load();
  return figures;
}

// Waits until `reached`, which is asked under the lock. kTimeout, kClosed, the persister's error.
template <typename Reached>
Status Persister::wait_until(std::unique_lock<std::mutex>& lock, uint64_t timeout_ms,
                             Reached&& reached) noexcept {
  constexpr uint64_t kForeverMs = uint64_t{100} * 365 * 86'400'000;
  auto deadline = std::chrono::steady_clock::now() +
                  std::chrono::milliseconds(std::min(timeout_ms, kForeverMs));
  for (;;) {
    if (reached()) return Status::kOk;
    if (closing_) return fail(Status::kClosed, "the store is being closed");
    if (failing_) return fail(figures_.error, "{}", error_text_.data());
    if (timeout_ms == 0) return Status::kTimeout;
    if (environment_.manual_persister) {
      lock.unlock();
      bool moved = step(true);
      lock.lock();
      if (!moved) return Status::kTimeout;
      continue;
    }
    waiters_++;
    bool late = changed_.wait_until(lock, deadline) == std::cv_status::timeout;
    waiters_--;
    if (late && !reached()) return Status::kTimeout;
  }
}

Status Persister::wait(uint64_t mark, Level level, uint64_t timeout_ms) noexcept {
  if (level == Level::kDurable && options_.sync_interval_ms == 0) request_sync(mark);
  std::unique_lock lock(mutex_);
  return wait_until(lock, timeout_ms, [&] {
    return mark <= (level == Level::kDurable ? figures_.durable_epoch : figures_.written_epoch);
  });
}

Status Persister::sync(uint64_t mark, uint64_t timeout_ms) noexcept {
  request_sync(mark);
  return wait(mark, Level::kDurable, timeout_ms);
}

void Persister::request_sync(uint64_t mark) noexcept {
  uint64_t wanted = sync_wanted_.load(std::memory_order_relaxed);
  while (wanted < mark && !sync_wanted_.compare_exchange_weak(wanted, mark)) {
  }
  std::lock_guard guard(mutex_);
  wake_.notify_one();
}

Status Persister::wait_for_room() noexcept {
  std::unique_lock lock(mutex_);
  return wait_until(lock, DSKVS_FOREVER, [&] { return has_room(); });
}

Status Persister::compact() noexcept {
  Status status = start();
  if (status != Status::kOk) return status;
  std::unique_lock lock(mutex_);
  uint64_t ticket = ++compactions_wanted_;
  wake_.notify_one();
  return wait_until(lock, DSKVS_FOREVER, [&] { return compactions_done_ >= ticket; });
}

Status Persister::begin_snapshot(std::vector<SegmentFile>* segments) noexcept {
  Status status = start();
  if (status != Status::kOk) return status;
  std::lock_guard turn(snapshot_turn_);
  uint64_t mark = epochs_.newest_change();
  request_sync(mark);
  std::unique_lock lock(mutex_);
  snapshot_ = segments;
  snapshot_mark_ = mark;
  wake_.notify_one();
  status = wait_until(lock, DSKVS_FOREVER, [&] { return snapshot_ == nullptr; });
  snapshot_ = nullptr;
  return status;
}

void Persister::end_snapshot() noexcept {
  std::lock_guard guard(mutex_);
  unpins_wanted_++;
  wake_.notify_one();
}

// ---- The thread.

Status Persister::start() noexcept {
  if (started_.load(std::memory_order_acquire) || environment_.manual_persister) {
    return Status::kOk;
  }
  std::lock_guard guard(mutex_);
  if (started_.load(std::memory_order_relaxed) || closing_) return Status::kOk;
  const SignalsBlocked blocked;
  try {
    thread_ = std::thread([this] { run(); });
    started_.store(true, std::memory_order_release);
    return Status::kOk;
  } catch (...) {
    return fail(Status::kMemory, "the system gives no thread for the persister");
  }
}

void Persister::wake() noexcept {
  if (!sleeping_.load(std::memory_order_seq_cst)) return;
  std::lock_guard guard(mutex_);
  wake_.notify_one();
}

// When step() will have something to do though nobody asks; UINT64_MAX: never.
uint64_t Persister::next_due_us(uint64_t now) noexcept {
  uint64_t due = UINT64_MAX;
  if (heal_wanted_) return retry_us_;
  if (something_changed() && !writing_is_held()) due = next_write_us_;
  if (log_.durable_epoch() != log_.written_epoch() && options_.sync_interval_ms != 0 &&
      !log_.has_errand()) {
    due = std::min(due, next_sync_us());
  }
  if (tidy_us_ != 0) due = std::min(due, tidy_us_);
  return std::max(due, now);
}

void Persister::run() noexcept {
  pthread_setname_np(pthread_self(), "dskvs");
  while (!reclaimer::register_thread()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));  // until there is memory
  }
  for (;;) {
    if (step(false)) continue;
    std::unique_lock lock(mutex_);
    if (stopping_) break;
    // Asked under the lock that the Worker takes to wake us: the end of a job is never missed.
    if (log_.errand_has_ended()) continue;
    uint64_t now = environment_.clock.now_us();
    // Until the next epoch may be written no change is news.
    bool news = now >= next_write_us_;
    sleeping_.store(news, std::memory_order_seq_cst);
    uint64_t due = next_due_us(now);
    if (!news) due = std::min(due, next_write_us_);
    bool sync_asked =
        !log_.has_errand() && sync_wanted_.load(std::memory_order_relaxed) > log_.durable_epoch();
    bool asked = snapshot_ != nullptr || compactions_wanted_ != compactions_done_ ||
                 unpins_wanted_ != 0 || sync_asked;
    if (asked && !heal_wanted_) due = std::min(due, now + 200);
    if (due == UINT64_MAX) {
      wake_.wait_until(lock, std::chrono::steady_clock::now() + std::chrono::hours(24));
    } else if (due > now) {
      wake_.wait_until(lock,
                       std::chrono::steady_clock::now() + std::chrono::microseconds(due - now));
    }
    sleeping_.store(false, std::memory_order_relaxed);
  }
  drain();
}

void Persister::begin_close() noexcept {
  std::lock_guard guard(mutex_);
  closing_ = true;
  changed_.notify_all();
}

Status Persister::close(uint64_t* undurable_epochs) noexcept {
  if (thread_.joinable()) {
    {
      std::lock_guard guard(mutex_);
      stopping_ = true;
      wake_.notify_one();
    }
    thread_.join();
  } else {
    drain();
  }
  *undurable_epochs = epochs_.newest_change() - log_.durable_epoch();
  if (*undurable_epochs == 0 && !failing_) return Status::kOk;
  return fail(figures_.error, "{}", error_text_.data());
}

void Persister::drain() noexcept {
  uint64_t until_us = environment_.clock.now_us() + kDrainUsMax;
  auto all_durable = [&] {
    return !heal_wanted_ && !something_changed() && log_.durable_epoch() == log_.written_epoch();
  };
  // Where no time passes, a few steps tell: the first may only learn what failed long ago.
  uint64_t steps_left = environment_.manual_persister ? 4 : UINT64_MAX;
  while (!all_durable() && steps_left != 0 && environment_.clock.now_us() < until_us) {
    if (heal_wanted_ && !environment_.manual_persister) {
      uint64_t now = environment_.clock.now_us();
      if (now < retry_us_) std::this_thread::sleep_for(std::chrono::microseconds(retry_us_ - now));
    }
    (void)step(true);
    if (heal_wanted_) steps_left--;
  }
  if (!all_durable()) return;
  Status status = without_throwing([&] { return log_.close(); });
  if (status != Status::kOk) failed(status, 0);
}

}  // namespace dskvs
