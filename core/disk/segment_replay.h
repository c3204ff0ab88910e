// Hands the frames of one segment of the log to a sink.
#pragma once

#include "disk/log_survey.h"
#include "disk/recovery.h"
#include "disk/segment_reader.h"

#include <cstdint>

namespace dskvs {

// How far the frames of a segment are intact and may stand where they do.
struct Replayed {
  explicit Replayed(const SegmentHeader& header) : order(header) {}

  SegmentOrder order;
  uint64_t stop = 0;        // the first offset where no frame stands that may stand there
  const char* kind = "";    // why
  KeptFailure result;       // of a replay on another thread
  uint64_t frames_cut = 0;  // between the last commit and there, and the one there, if one is
};

// Reads the segment that `reader` has opened up to where it must stop. On any thread, beside others
// that replay other segments. `sink` nullptr: only checks. kMemory for a value that no memory here
// can hold, before its bytes are read: allocating it would not tell, since the system may promise
// more than it has.
Status replay(SegmentReader& reader, RecoverySink* sink, Replayed* replayed);

// Hands over a put, a removal or a drop. It becomes kBad when its large value is.
Status hand_over(Frame* frame, SegmentReader& reader, RecoverySink* sink);

}  // namespace dskvs
