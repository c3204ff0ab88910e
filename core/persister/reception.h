// Where the other threads meet the persister: they leave what they want here and wait for it; it
// takes the requests, and publishes how far it has come.
//
// Locks. mutex_ guards all that is not atomic, and is never held during I/O. Who wants a snapshot
// holds snapshot_turn_ around it: there is one at a time.
//
// Sleep. The persister is woken only at the first change of an epoch, by the writer or by a reader
// who made it join, and only when it sleeps: the change is noted with a full barrier before
// `sleeping_` is looked at, and sleep() sets `sleeping_` with one before the persister looks for
// changes a last time.
//
// Room. The limits of what may be dirty, the store's and the disk's, are read without the lock: an
// old one lets a put through, or sends it to wait, where it is asked again under the lock, which
// publish() holds to change the store's. The disk's falls before what took it is dirty no more; no
// ordering makes others see it so, and what slips through has the room that LogWriter spares. What
// the disk has no room for waits only until the persister has cleaned what asks for it, and looked
// again.
//
// Where the persister has no thread of its own, those who wait move it.
#pragma once

#include "disk/segment_format.h"
#include "memory/epoch.h"
#include "options.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace dskvs {

enum class Change { kPut, kRemoval };
enum class Level { kWritten = DSKVS_WRITTEN, kDurable = DSKVS_DURABLE };

struct PersisterFigures {
  uint64_t written_epoch, durable_epoch;
  uint64_t unwritten_since_us, undurable_since_us;  // 0: nothing is; of what was sealed
  uint64_t disk_bytes, segments, bytes_written, syncs;
  uint64_t bytes_cleaned, heals;
  uint64_t dirty_bytes_max;  // for the log's sake
  Status error;              // kOk: there is none that is not healed
};

class Reception {
 public:
  // `step`, if there is no thread, moves the persister; false: there was nothing to do.
  Reception(const Options& options, const Epochs& epochs, std::function<bool()> step) noexcept
      : options_(options),
        epochs_(epochs),
        step_(std::move(step)),
        dirty_bytes_max_(options.dirty_bytes_max) {}

  // ---- Any thread. Who waits gets kTimeout, kClosed, or the persister's error, at once.

  // After the first change of an epoch.
  void wake() noexcept {
    if (sleeping_.load(std::memory_order_seq_cst)) nudge();
  }
  Status wait(uint64_t mark, Level level, uint64_t timeout_ms) noexcept;
  Status sync(uint64_t mark, uint64_t timeout_ms) noexcept;
  // Whether a change of about so many bytes may be accepted now.
  [[nodiscard]] bool has_room(Change change, uint64_t bytes) const noexcept {
    return backlog_has_room(change) && disk_has_room(change, bytes);
  }
  // Returns when it may be again. kSpace: the disk has no room for it.
  Status wait_for_room(Change change, uint64_t bytes) noexcept;
  [[nodiscard]] uint64_t dirty_bytes_max() const noexcept {
    return std::min(dirty_bytes_max_.load(std::memory_order_relaxed), room_bytes(Change::kPut));
  }
  Status compact() noexcept;
  // Syncs, and hands out what to copy; until end_snapshot() nothing of it is unlinked.
  Status begin_snapshot(std::vector<SegmentFile>* segments) noexcept;
  void end_snapshot() noexcept;
  PersisterFigures figures() noexcept;
  // Waiting calls return kClosed from now on.
  void begin_close() noexcept;

  // ---- Who has news for the persister.

  void nudge() noexcept;
  // Ends its sleep for good.
  void stop() noexcept;

  // ---- The persister.

  // Sleeps until somebody wakes it, or for so long as `pause_us` says, which is asked, and told
  // whether there are requests, when nothing can be missed any more. `until_change`: writers are to
  // wake it. False: it is to stop.
  bool sleep(bool until_change, const std::function<uint64_t(bool requests)>& pause_us) noexcept;

  void publish(const PersisterFigures& figures) noexcept;
  // What the disk has room for, of puts and in all. UINT64_MAX: nobody knows.
  void set_room_bytes(uint64_t put_bytes, uint64_t bytes) noexcept {
    put_room_bytes_.store(put_bytes, std::memory_order_relaxed);
    room_bytes_.store(bytes, std::memory_order_relaxed);
  }
  // The calling thread's last error explains what is published as `error`.
  void explain(Status error) noexcept;
  // The error and its text; kOk: there is none.
  Status error() noexcept;

  // Hurry until this epoch is durable.
  [[nodiscard]] uint64_t sync_wanted() const noexcept {
    return sync_wanted_.load(std::memory_order_relaxed);
  }
  // The newest of the compactions that are wanted, and whether one of them is of all the log.
  struct Compaction {
    uint64_t number;  // 0: none
    bool all;
  };
  Compaction compaction_wanted() noexcept;
  // The calling thread's last error explains the result.
  void compaction_done(uint64_t compaction, Status result) noexcept;
  // The mark that a snapshot has to cover; nothing: none is wanted.
  std::optional<uint64_t> snapshot_wanted() noexcept;
  // False: nobody wants it any more.
  bool hand_out(std::vector<SegmentFile>& snapshot) noexcept;
  // How many snapshots have ended since it was asked last.
  uint32_t take_ended_snapshots() noexcept;

 private:
  uint64_t room_bytes(Change change) const noexcept {
    return (change == Change::kPut ? put_room_bytes_ : room_bytes_).load(std::memory_order_relaxed);
  }
  bool backlog_has_room(Change change) const noexcept {
    return change == Change::kRemoval ||
           epochs_.dirty_bytes() < dirty_bytes_max_.load(std::memory_order_relaxed);
  }
  uint64_t left_bytes(Change change) const noexcept {
    const uint64_t room = room_bytes(change);
    return room - std::min(room, epochs_.dirty_bytes());
  }
  bool disk_has_room(Change change, uint64_t bytes) const noexcept {
    return bytes <= left_bytes(change);
  }
  Status clean(std::unique_lock<std::mutex>& lock, bool all) noexcept;
  template <typename Reached>
  Status wait_until(std::unique_lock<std::mutex>& lock, uint64_t timeout_ms,
                    Reached&& reached) noexcept;
  void request_sync(uint64_t mark) noexcept;

  const Options& options_;
  const Epochs& epochs_;
  const std::function<bool()> step_;

  std::atomic<bool> sleeping_{false};
  std::atomic<uint64_t> sync_wanted_{0};
  std::atomic<uint64_t> dirty_bytes_max_;
  std::atomic<uint64_t> put_room_bytes_{UINT64_MAX};
  std::atomic<uint64_t> room_bytes_{UINT64_MAX};

  std::mutex mutex_;
  std::condition_variable changed_;  // the figures, room, requests done
  std::condition_variable wake_;     // the persister
  uint32_t waiters_ = 0;
  PersisterFigures figures_{};
  KeptFailure failure_;  // explains figures_.error
  bool closing_ = false;
  bool stopping_ = false;
  uint64_t compactions_wanted_ = 0;
  uint64_t full_compaction_wanted_ = 0;  // the newest of them
  uint64_t compactions_done_ = 0;
  KeptFailure compaction_result_;                 // of the last one done, for all who wait
  std::vector<SegmentFile>* snapshot_ = nullptr;  // of the one who wants it; nullptr: nobody
  uint64_t snapshot_mark_ = 0;
  uint32_t ended_snapshots_ = 0;

  std::mutex snapshot_turn_;
};

}  // namespace dskvs
