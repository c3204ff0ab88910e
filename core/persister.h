// The thread between the two wings: it takes what changed in memory to the log, epoch by epoch, and
// nothing else does.
//
// One step at a time, the most urgent first:
//   write   seal the open epoch, write its drops, removals and puts, commit: W moves
//   sync    by policy, or when somebody asks: D moves. A Worker waits for the disk, and epochs are
//           written meanwhile
//   unlink  what the log needs no more, by the same Worker
//   rescue  make entries join the open epoch though they did not change; under load a share of it
//           comes before each write, so that the log is cleaned as fast as it grows
//   empty   free the entries of ended collections
//
// Rescue is how everything else is done. Each entry knows the segment that it stands in
// (Entry::home). Entries are rescued whose segment
// - is to be cleaned (home <= clean_through_): once the epoch that the last of them joined is
//   durable, nothing in those segments is needed, and its commit says so;
// - holds bytes that may be lost (home >= heal_from_, or kNowhere): after a failed write or sync,
//   and after an open that found epochs above the durable one. The epoch that they join is then
//   committed to a fresh segment as one range from the durable epoch on.
// Removals leave no entry to rescue. They are retained, with the names of dropped collections,
// until they are durable, and lead the range.
// Why the range is right: it must hold each key that changed above the durable epoch, as it is at
// the range's end. The newest change of such a key is in the epoch being sealed (a record), or it
// was written, or failed to be, and its entry is still current (rescued, which makes a record), or
// it was a removal (retained).
//
// Threads. step() and everything that begins with it run on the persister's thread, or, with a
// manual persister, on the only one. Others meet it at mutex_, which guards the watermarks, the
// error, the requests and the waiters. A writer wakes it only at the first change of an epoch, and
// only when it sleeps: the change is published with a full barrier before `sleeping_` is looked at,
// and the persister sets `sleeping_` with one before it looks for changes a last time. The Worker
// wakes it after each job.
#pragma once

#include "disk/log_writer.h"
#include "environment.h"
#include "memory/epoch.h"
#include "memory/graveyard.h"
#include "memory/sweep.h"
#include "options.h"

#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace dskvs {

inline constexpr uint32_t kNoHome = UINT32_MAX;  // behind all segments

enum class Level { kWritten = DSKVS_WRITTEN, kDurable = DSKVS_DURABLE };

// What recovery found above the durable epoch. The puts among it are in the tables, with
// Entry::kNowhere as their home; dropped collections are in the Epochs' list of the ended.
struct Unsettled {
  bool any = false;                // there are such epochs
  DirtyChunk* removals = nullptr;  // tombstones
};

struct PersisterFigures {
  uint64_t written_epoch, durable_epoch;
  uint64_t unwritten_since_us, undurable_since_us;  // 0: nothing is; of what was sealed
  uint64_t disk_bytes, segments, bytes_written, syncs;
  uint64_t bytes_cleaned, heals;
  Status error;
};

class Persister {
 public:
  Persister(const Environment& environment, const Options& options, Directory& directory,
            LogPosition position, Catalog& catalog, Epochs& epochs, Unsettled unsettled);
  ~Persister();

  // ---- Any thread.

  // Starts the thread, if it is not running. kMemory.
  Status start() noexcept;
  // After the first change of an epoch.
  void wake() noexcept;

  Status wait(uint64_t mark, Level level, uint64_t timeout_ms) noexcept;
  Status sync(uint64_t mark, uint64_t timeout_ms) noexcept;
  // Returns when the dirty bytes are below their limit. kClosed, or the persister's error.
  Status wait_for_room() noexcept;
  [[nodiscard]] bool has_room() const noexcept {
    return epochs_.dirty_bytes() < options_.dirty_bytes_max;
  }
  Status compact() noexcept;
  // Syncs, and hands out what to copy; until end_snapshot() nothing of it is unlinked.
  Status begin_snapshot(std::vector<SegmentFile>* segments) noexcept;
  void end_snapshot() noexcept;
  PersisterFigures figures() noexcept;
  // What the current entries would occupy in a fresh log, about.
  [[nodiscard]] uint64_t live_bytes() const noexcept;

  // Waiting calls return kClosed from now on.
  void begin_close() noexcept;
  // Writes and syncs everything, ends the thread, closes the log. `*undurable_epochs` counts what
  // did not get there.
  Status close(uint64_t* undurable_epochs) noexcept;

  // ---- The persister's thread.

  // Does the most urgent thing that is due; `hurry`: or would be later. False: there was nothing.
  bool step(bool hurry) noexcept;

 private:
  enum class CompactStage { kNone, kRotate, kClean, kSync, kUnlink };

  // Steps. Each returns whether it did something.
  bool step_heal(uint64_t now, bool hurry) noexcept;
  bool step_write(uint64_t now, bool hurry) noexcept;
  bool step_sync(uint64_t now, bool hurry) noexcept;
  bool sync_is_due(uint64_t now) const noexcept;
  uint64_t next_sync_us() const noexcept;
  uint64_t log_bytes_max() const noexcept;
  bool log_is_full() const noexcept;
  bool cleaning_all_is_cheap() const noexcept;
  bool writing_is_held() const noexcept;
  bool step_compact() noexcept;
  bool step_errand(bool hurry) noexcept;
  bool step_snapshot() noexcept;
  bool step_clean() noexcept;
  bool step_empty() noexcept;
  bool step_provision() noexcept;
  bool step_tidy(uint64_t now) noexcept;

  Status write_epoch() noexcept;
  Status write_batch(const SealedEpoch& sealed) noexcept;
  Status write_drops(uint64_t above_epoch) noexcept;
  Status write_tombstones(const DirtyChunk* chunks, uint64_t epoch) noexcept;
  Status write_puts(const DirtyChunk* chunks, uint64_t epoch) noexcept;
  uint64_t settle(const SealedEpoch& sealed, uint32_t home) noexcept;
  Status sync_log() noexcept;
  void begin_sync(uint64_t now) noexcept;
  bool collect_errand() noexcept;
  Status end_sync(Status status, uint64_t segment) noexcept;
  void became_durable() noexcept;
  void failed(Status status, uint64_t segment) noexcept;
  Status rescue_part() noexcept;
  void rescue_within_budget() noexcept;
  void start_cleaning_if_due() noexcept;
  void start_cleaning_all() noexcept;
  void start_cleaning(uint64_t through_segment) noexcept;
  uint64_t first_segment_behind(uint64_t segment) const noexcept;
  void remove_if_empty(Collection& collection) noexcept;

  void run() noexcept;
  void drain() noexcept;
  uint64_t next_due_us(uint64_t now) noexcept;
  void publish() noexcept;
  template <typename Reached>
  Status wait_until(std::unique_lock<std::mutex>& lock, uint64_t timeout_ms,
                    Reached&& reached) noexcept;
  void request_sync(uint64_t mark) noexcept;
  bool something_changed() const noexcept { return epochs_.newest_change() == epochs_.open(); }

  const Environment environment_;
  const Options options_;
  Catalog& catalog_;
  Epochs& epochs_;

  // ---- Everyone. Before the worker, which wakes the persister until it is destroyed.
  std::atomic<bool> started_{false};
  std::atomic<bool> sleeping_{false};
  std::atomic<uint64_t> sync_wanted_{0};  // hurry until this epoch is durable
  std::atomic<uint64_t> unwritten_since_us_{0};
  std::atomic<uint64_t> undurable_since_us_{0};

  std::mutex mutex_;                 // guards what follows; never held during I/O
  std::condition_variable changed_;  // watermarks, the error, room, requests done
  std::condition_variable wake_;     // the persister
  uint32_t waiters_ = 0;
  PersisterFigures figures_{};
  bool failing_ = false;
  std::array<char, kErrorTextSizeMax + 1> error_text_{};
  bool closing_ = false;
  bool stopping_ = false;
  uint64_t compactions_wanted_ = 0;
  uint64_t compactions_done_ = 0;
  std::vector<SegmentFile>* snapshot_ = nullptr;  // of the one who wants it; nullptr: nobody
  uint64_t snapshot_mark_ = 0;
  uint32_t unpins_wanted_ = 0;
  std::mutex snapshot_turn_;  // one at a time

  // ---- The persister's thread alone.
  Worker worker_;
  LogWriter log_;
  Graveyard graveyard_;
  RetainedRemovals retained_;
  Sweep sweep_;
  bool heal_wanted_ = false;      // what is above the durable epoch must be written again
  uint32_t heal_from_ = kNoHome;  // rescue what stands in this segment or behind it
  uint64_t clean_through_ = 0;    // rescue what stands in this segment or before it; 0: no cleaning
  bool clean_commit_due_ = false;  // the sweep is through: the next commit says so
  CompactStage compact_stage_ = CompactStage::kNone;
  uint64_t compact_through_ = 0;
  uint64_t compact_ticket_ = 0;
  uint64_t retained_epoch_ = 0;       // the last with removals in retained_
  uint64_t rescue_budget_bytes_ = 0;  // of the open epoch
  uint64_t rescue_budget_parts_ = 0;
  uint64_t unsettled_dirty_bytes_ = 0;  // of failed batches: dirty, but without records
  uint64_t next_write_us_ = 0;
  uint64_t last_write_us_ = 0;  // when the last epoch was written
  bool after_quiet_ = false;    // it was the first after a quiet time
  uint64_t epoch_bytes_ = 0;    // what it took in the log
  uint64_t last_sync_us_ = 0;   // when the last sync began, and how long it took
  uint64_t sync_took_us_ = 0;
  uint64_t written_since_us_ = 0;  // first write of the first epoch written since then; 0: none
  uint64_t retry_us_ = 0;
  uint64_t retry_pause_us_ = 0;
  uint64_t tidy_us_ = 0;  // when to go on tidying; 0: all is tidy
  bool tidying_ = false;  // a first step is done

  std::thread thread_;
};

}  // namespace dskvs
