// Reads the log of a directory and hands over what it holds: one state that existed.
//
// What counts, and what does not, is said in docs/durability.md and docs/file-format.md. In short:
// the newest segment that begins with an intact batch is the head; the segments that its header
// leads back to, up to the first live one, are the chain; all of the chain must be intact up to
// where its successor begins, and the head is cut at the first frame that is not intact. A cut is
// corruption, not a torn tail, when anything later shows that the frame was durable.
#pragma once

#include "disk/file.h"
#include "disk/log_position.h"
#include "disk/progress.h"
#include "status.h"

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace dskvs {

// What is wrong with a log, and where.
struct Damage {
  std::string file;
  uint64_t offset = 0;
  std::string kind;

  // NOLINTNEXTLINE(modernize-use-nullptr): the 0 that is compared with is the compiler's
  auto operator<=>(const Damage& other) const = default;
};

// What takes the frames. Any failure that it returns ends the recovery with that status.
class RecoverySink {
 public:
  virtual ~RecoverySink() = default;
  // Takes a put, a removal or a drop, and says where the `value_size` bytes go, which the recovery
  // fills before the next call. `key` is "collection/member", or the collection that is dropped; it
  // lives until this call returns.
  virtual Status add(FrameType type, std::string_view key, uint64_t value_size, void** value) = 0;
  // All frames since the last commit take effect, in their order, as the epochs up to this one.
  // Those behind the last commit never happened.
  virtual Status commit(uint64_t last_epoch) = 0;
};

// What takes the frames of several segments at once, each from a thread of its own.
class SegmentedSink {
 public:
  virtual ~SegmentedSink() = default;
  // Before all else: what is above this epoch was written, but may not be durable.
  virtual void begin(uint64_t durable_epoch) = 0;
  // What takes the next segment's frames, until its end_segment(). On the caller's thread, like
  // that, and in the order of the log.
  virtual RecoverySink& begin_segment(uint64_t segment_id) = 0;
  // All earlier segments have taken effect, and now this one does, with what it committed.
  virtual Status end_segment() = 0;
};

struct RecoveryReport {
  uint64_t recovered_epoch = 0;
  uint64_t highest_epoch_seen = 0;  // known to have been accepted; above recovered_epoch: lost
  uint64_t frames_cut = 0;          // whole or torn, behind the last commit that counts
  Damage damage;                    // with kCorrupt: the first that was met
};

// Hands over the frames of up to `segments_at_once` segments at a time, each on a thread of its
// own; progress is called on this one. `sink` nullptr: only checks.
// Writes nothing. kNotFound: the directory changed meanwhile, as it does beside a live writer:
// begin again, with an empty sink. kCorrupt and kVersion name file and offset. kIo, kMemory,
// kCancelled. Throws bad_alloc.
Status recover(Directory& directory, const Progress& progress, SegmentedSink* sink,
               uint32_t segments_at_once, LogPosition* position, RecoveryReport* report);

// Calls `read` until it is not kNotFound: a writer beside us replaces segments at most about as
// often as one can be read.
template <typename Read>
Status read_beside_writer(const Directory& directory, Read&& read) {
  constexpr int kAttemptsMax = 1000;
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    if (Status status = read(); status != Status::kNotFound) return status;
  }
  return fail(Status::kIo, "'{}' changes faster than it can be read", directory.path());
}

}  // namespace dskvs
