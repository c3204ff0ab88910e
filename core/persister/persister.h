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
// After a failure one step comes before all others: heal, which writes all that is not durable.
//
// Who knows what. EpochWriter: what the log gets of an epoch. Rescuer: which entries are written
// again. Pace: when epochs, syncs and retries are due. LogBounds: how large the log may become.
// Housekeeping: memory, ahead and behind. Reception: the other threads, who meet the persister
// there and nowhere else. None of them knows another, or this class, which does what they say.
//
// Threads. step() and everything that begins with it run on the persister's thread, or, with a
// manual persister, on the only one. The Worker wakes it after each job.
#pragma once

#include "disk/log_writer.h"
#include "environment.h"
#include "options.h"
#include "persister/epoch_writer.h"
#include "persister/housekeeping.h"
#include "persister/log_bounds.h"
#include "persister/pace.h"
#include "persister/reception.h"
#include "persister/rescuer.h"

#include <thread>

namespace dskvs {

class Persister {
 public:
  Persister(const Environment& environment, const Options& options, Directory& directory,
            LogPosition position, Catalog& catalog, Epochs& epochs, DirtyChunks removals);

  // ---- Any thread.

  // Starts the thread, if it is not running. kMemory.
  Status start() noexcept;
  Reception& reception() noexcept { return reception_; }
  const Reception& reception() const noexcept { return reception_; }

  // ---- The last of the other threads.

  // Writes and syncs everything, ends the thread, closes the log. When that fails, the reception's
  // figures and the dirty bytes say what did not get there.
  Status close() noexcept;

  // ---- The persister's thread.

  // Does the most urgent thing that is due; `hurry`: or would be later. False: there was nothing.
  bool step(bool hurry) noexcept;
  // How long step(false) will have nothing to do, unless somebody wakes us; UINT64_MAX: for ever.
  // `requests`: somebody waits for something else than a sync.
  uint64_t pause_us(uint64_t now, bool requests) const noexcept;

 private:
  enum class CompactStage { kNone, kClean, kUnlink };

  // Steps. Each returns whether it did something.
  bool step_heal(uint64_t now, bool hurry) noexcept;
  bool step_write(uint64_t now, bool hurry) noexcept;
  bool step_sync(uint64_t now, bool hurry) noexcept;
  bool step_errand(bool hurry) noexcept;
  bool step_snapshot() noexcept;
  bool step_compact() noexcept;
  bool step_clean() noexcept;
  bool begin_compaction() noexcept;
  void end_compaction(Status status) noexcept;

  Status write_epoch() noexcept;
  Status sync_log(bool waits) noexcept;
  void collect_errand() noexcept;
  Status end_sync(Status status, uint64_t segment) noexcept;
  void clean_if_due() noexcept;
  void clean(uint64_t through_segment) noexcept;
  void rescue() noexcept;
  void stop_cleaning(Status status) noexcept;
  void failed(Status status, uint64_t segment) noexcept;
  void publish() noexcept;
  void publish_room(const LogLoad& load) noexcept;

  LogLoad log_load() const noexcept;
  bool log_is_full() const noexcept { return bounds_.is_full(log_load()); }
  bool may_clean() const noexcept;
  bool sync_is_due(uint64_t now) const noexcept;
  bool writing_is_held() const noexcept;
  bool something_changed() const noexcept { return epochs_.newest_change() == epochs_.open(); }
  bool all_is_durable() const noexcept { return log_.durable_epoch() == log_.written_epoch(); }

  void run() noexcept;
  void drain() noexcept;

  const Environment environment_;
  const Options options_;
  Epochs& epochs_;

  Reception reception_;  // before the worker, which wakes the persister until it is destroyed
  Worker worker_;
  LogWriter log_;
  EpochWriter writer_;
  Rescuer rescuer_;
  Pace pace_;
  const LogBounds bounds_;
  Housekeeping housekeeping_;

  PersisterFigures figures_{};
  bool heal_wanted_;                // what is above the durable epoch must be written again
  uint64_t epoch_bytes_most_ = 0;   // that one took in the log of late, rescued ones aside
  int64_t bytes_accepted_ = 0;      // when it was sealed
  uint64_t unsynced_since_us_ = 0;  // first write of the epochs since the last sync began; 0: none
  uint64_t no_cleaning_until_us_ = 0;  // the disk had no room for it
  CompactStage compact_stage_ = CompactStage::kNone;
  uint64_t compaction_ = 0;

  std::mutex start_mutex_;  // one thread starts the persister's
  std::atomic<bool> started_{false};
  std::thread thread_;
};

}  // namespace dskvs
