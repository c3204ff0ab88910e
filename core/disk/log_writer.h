// Appends batches of frames to the log. One thread, the persister's.
//
// A batch is an epoch range: begin(), any number of drop(), remove() and put(), commit(). It lies
// in one segment, behind the commit of the range before it. sync() makes all batches so far
// durable. Only the newest segment ever holds bytes that are not durable: a full one is synced as a
// whole before it gets a successor. That has to be waited for, so a full segment is left when
// little in it is not durable and no errand keeps the disk busy, or when it is twice as long.
//
// Errands. With a Worker, syncing and unlinking go on beside the batches to come: one at a time is
// begun by sync(false) or start_unlink(), and takes effect with finish_errand(). What is written
// while a sync is under way counts for the next one. Whatever closes the segment waits for its sync
// first. Without a Worker, and in sync(true), all is done before the call returns.
//
// Failures. Whatever fails, write, sync or creation, the call returns its status (fail() has the
// text), the batch under way has no effect, and the segment is abandoned: it is never written or
// synced again, because the system may have forgotten what was dirty in it. The next begin() makes
// a fresh segment that continues from the durable point. continues_from_durable() is then true: the
// next batch must carry everything accepted above durable_epoch(), removals and drops included, and
// is committed as the range [durable_epoch() + 1, last_epoch]. written_epoch() does not go back:
// the abandoned segment stays, and a recovery finds it, until a newer commit takes its place.
//
// A full disk. What was never committed gives its room back: a segment is cut behind its last
// commit, or goes when it has none. Likewise, before a session gives up for want of room, what the
// one before left. And there is the reserve, which is freed then: nobody but removals is to count
// on it.
//
// The first live segment. A commit names the oldest segment that holds anything of use. Older ones
// are unlinked once that commit is durable. After an abandonment it is again what the last durable
// commit said, until a commit() names it anew.
//
// Memory. Everything is allocated in the constructor, which throws bad_alloc, and, a few words a
// segment, in begin().
#pragma once

#include "disk/file.h"
#include "disk/log_position.h"
#include "disk/segment_format.h"
#include "disk/worker.h"
#include "status.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace dskvs {

class LogWriter {
 public:
  static constexpr uint64_t kReserveBytes = uint64_t{1} << 20;

  // Looks for the reserve and for room, and does no other I/O. REQUIRES: the directory is locked,
  // or nothing is begun; it and the worker outlive the writer; a store id.
  LogWriter(Directory& directory, LogPosition position, uint64_t segment_bytes,
            Worker* worker = nullptr);
  ~LogWriter();

  // True before the first batch of a session and after an abandonment.
  bool continues_from_durable() const { return file_ == nullptr; }

  // Opens a batch. May make a segment, and sync the full one before it. After a failure ask
  // continues_from_durable() anew. REQUIRES: last_epoch > written_epoch(), or >= when
  // continues_from_durable(). kIo, kSpace, kMemory.
  Status begin(uint64_t last_epoch);
  // The first epoch of the batch that begin() opened.
  uint64_t batch_first_epoch() const { return batch_.first_epoch; }

  // From when on a segment counts as full.
  void set_segment_bytes(uint64_t bytes) { segment_bytes_ = bytes; }
  // Makes the next begin() leave the segment, full or not.
  void rotate_at_next_begin() { rotate_wanted_ = true; }

  // Within a batch, in any order that the caller wants recovery to repeat. kIo, kSpace: the batch
  // is over. `value` stays as it is until commit() returns.
  Status drop(std::string_view collection) { return append(FrameType::kDrop, collection); }
  Status remove(std::string_view collection, std::string_view member) {
    return append(FrameType::kRemove, collection, member);
  }
  Status put(std::string_view collection, std::string_view member, const void* value,
             uint64_t value_size) {
    return append(FrameType::kPut, collection, member, value, value_size);
  }

  // Closes the batch: all of it is with the system, and written_epoch() is the range's last.
  // `first_live_segment` 0: as before. kIo, kSpace.
  Status commit(uint64_t first_live_segment);

  // Makes everything committed durable, then unlinks what is of no use any more. Nothing to do is
  // kOk. REQUIRES: no open batch. kIo, kSpace. Unless it `waits`, the sync is an errand that is
  // only begun; a failure: none is under way. REQUIRES then: a Worker, no errand.
  Status sync(bool waits = true);
  // Begins to unlink one file. REQUIRES: a Worker, no errand, has_files_to_unlink().
  void start_unlink();
  bool has_files_to_unlink() const { return unlinks_to_try_ != 0; }
  // What could not be unlinked is tried again, as it is whenever something new happens.
  void retry_unlinks();
  // Why one could not be unlinked, of those that were tried since something new happened.
  Status unlink_error() const { return unlink_error_.again(); }
  bool has_errand() const { return errand_ != Errand::kNone; }
  bool errand_has_ended() const { return has_errand() && worker_->has_ended(); }
  // Waits for the errand, if there is one. kIo, kSpace: the sync failed.
  Status finish_errand();

  // sync(), then leaves a record that all was durable, and closes the file. Call once, and nothing
  // that writes after it.
  Status close();
  // In its place when the disk gave out: leaves as much room behind as can be.
  void give_up();

  uint64_t written_epoch() const { return written_.epoch; }
  uint64_t durable_epoch() const { return durable_.epoch; }

  uint64_t segment() const { return file_ == nullptr ? 0 : live_.back().id; }  // the one written to
  // The segment in hand has become long, and is left when little in it is not durable and there is
  // no errand. REQUIRES: there is one.
  bool segment_full() const { return offset_ >= segment_bytes_; }
  // And much in it is not: only a sync lets it be left. Likewise.
  bool full_is_undurable() const;
  // Of the segment in hand.
  uint64_t undurable_bytes() const;
  // A sync would let segments go.
  bool has_dead_segments() const { return written_.first_live > durable_.first_live; }
  // Oldest first, each up to its last commit. Directly after a sync() that returned kOk they are,
  // copied, this store at durable_epoch(); pinned while they are copied.
  const std::vector<SegmentFile>& live_segments() const { return live_; }
  // Of them those that are of use still, as soon as all is durable.
  std::span<const SegmentFile> segments_in_use() const {
    return {first_in_use(written_), live_.end()};
  }
  uint64_t bytes_in_use() const;  // of them

  uint64_t segments() const;    // files, of use or not
  uint64_t disk_bytes() const;  // of all of them and the reserve
  uint64_t reserve_bytes() const { return reserve_bytes_; }
  // What may still be written, with the reserve: less what was, since the file system was asked
  // last, as it is after each sync and unlinking. UINT64_MAX: it does not tell.
  uint64_t room_bytes() const;
  void look_for_room() { free_bytes_ = directory_.free_bytes(); }
  uint64_t bytes_written() const { return bytes_written_; }  // since construction
  uint64_t syncs() const { return syncs_; }                  // that moved durable_epoch()

  // While pinned, none of the segments is unlinked that are live now; of later ones, any.
  void pin();
  void unpin();

 private:
  enum class Errand { kNone, kSync, kUnlink };
  // A commit, as the end of all that counts.
  struct Point {
    uint64_t epoch = 0;
    uint64_t segment = 0;
    uint64_t end = 0;         // just behind it
    uint64_t first_live = 0;  // segment, as it says; 0: none did
  };

  Status reserve_lists();
  std::vector<SegmentFile>::const_iterator first_in_use(const Point& commit) const;
  bool must_rotate() const;
  Status rotate();
  Status create_segment();
  Status write_segment_header(uint64_t id);
  Status append(FrameType type, std::string_view collection, std::string_view member = {},
                const void* value = nullptr, uint64_t value_size = 0);
  uint64_t stage_frame(FrameType type, uint16_t key_size, uint64_t value_size,
                       const void* large_value);
  Status make_room(size_t bytes);
  void cut_piece();
  Status flush();
  template <typename Call>
  Status with_room(Call&& call);
  Status write(std::span<const Piece> pieces, uint64_t bytes);
  Status write_commit(uint64_t first_live_segment);
  Status write_padding();
  Status finish_sync();
  Status end_sync(Status status);
  void end_unlink(Status status);
  void became_durable();
  Status abandon_after_write(Status status);
  Status abandon(Status status);
  void unlink_garbage();
  bool find_reserve();
  void make_reserve();
  bool free_room();
  void cut_behind(SegmentFile& segment, uint64_t end);

  Directory& directory_;
  Worker* const worker_;
  const StoreId store_id_;
  uint64_t segment_bytes_;
  bool rotate_wanted_ = false;
  uint64_t next_segment_id_;
  Point written_;  // the last; its segment is the one in hand, or was
  Point durable_;
  Point goal_;                          // of the sync that was prepared last
  const SegmentFile head_;              // found at open
  std::vector<SegmentFile> live_;       // oldest first; with a file open, the last is that file
  std::vector<SegmentFile> zombies_;    // found at open; gone with the first durable commit
  std::vector<SegmentFile> abandoned_;  // the last one left that holds commits above durable_.epoch
  std::vector<SegmentFile> garbage_;    // to be unlinked when no pin forbids it, from the front
  size_t unlinks_to_try_ = 0;           // of them, until something new happens
  KeptFailure unlink_error_;
  uint64_t pins_ = 0;
  uint64_t pinned_from_ = 0;  // while there are pins; both segments, inclusive
  uint64_t pinned_through_ = 0;

  std::unique_ptr<File> file_;
  FrameSeed seed_;
  uint64_t offset_ = 0;  // of the next frame; up to live_.back().bytes the system has it
  CommitPayload batch_{};
  Errand errand_ = Errand::kNone;

  // Frames wait here; large values are only pointed to. pieces_ are in file order, and the staged
  // bytes behind the last cut are the piece that is still growing.
  std::unique_ptr<std::byte[]> staging_;
  size_t staged_bytes_ = 0;
  size_t cut_bytes_ = 0;
  std::vector<Piece> pieces_;

  uint64_t free_bytes_;
  uint64_t reserve_bytes_ = 0;
  bool reserve_works_ = true;
  uint64_t bytes_written_ = 0;
  uint64_t syncs_ = 0;
};

}  // namespace dskvs
