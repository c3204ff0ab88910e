// Hands the frames of one segment of the log to a sink.
#pragma once

#include "disk/recovery.h"
#include "disk/segment_format.h"
#include "disk/segment_reader.h"

#include <cstdint>
#include <map>

namespace dskvs {

// How far the frames of a segment are intact and keep to the rules, in order: batches are whole,
// epochs and marks go on where they were.
struct Replayed {
  explicit Replayed(const SegmentHeader& segment)
      : header(segment),
        last_epoch(segment.first_epoch - 1),
        durable_epoch(segment.first_epoch - 1) {}

  SegmentHeader header;
  uint64_t last_epoch;
  uint64_t end = 0;  // behind the last commit; 0: there is none
  uint64_t durable_epoch;
  uint64_t durable_end = 0;  // of its commit; 0: in a segment before
  uint64_t first_live_segment = 1;
  std::map<uint64_t, uint64_t> undurable;  // the last epochs of commits, and their ends
  CommitPayload batch;                     // what the frames since the last commit ask of theirs

  uint64_t stop = 0;        // the first offset where no frame stands that may stand there
  const char* kind = "";    // why
  uint64_t frames_cut = 0;  // between the last commit and there, and the one there, if one is
  KeptFailure result;       // of a replay on another thread
};

// Reads the segment that `reader` has opened up to where it must stop. On any thread, beside others
// that replay other segments. `sink` nullptr: only checks. kMemory for a value that no memory here
// can hold, before its bytes are read: allocating it would not tell, since the system may promise
// more than it has.
Status replay(SegmentReader& reader, RecoverySink* sink, Replayed* replayed);

// Hands over a put, a removal or a drop. It becomes kBad when its large value is.
Status hand_over(Frame* frame, SegmentReader& reader, RecoverySink* sink);

}  // namespace dskvs
