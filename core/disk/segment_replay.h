// Hands the frames of one segment of the log, all of which must be intact, to a sink.
#pragma once

#include "disk/log_survey.h"
#include "disk/progress.h"
#include "disk/recovery.h"

#include <memory>
#include <string>

namespace dskvs {

struct SegmentReplay {
  const std::string& directory_path;  // for messages
  const StoreId& store_id;
  const SegmentInfo& segment;
  uint64_t end;  // where the log leaves the segment
  ProgressMeter& meter;
  RecoverySink& sink;
};

struct SegmentReplayed {
  KeptFailure result;
  DamagePlace damage;  // with kCorrupt
  uint64_t last_epoch = 0;
  uint64_t frames = 0;  // handed over
};

// Runs on any thread, beside others that replay other segments. Throws bad_alloc.
SegmentReplayed replay_segment(const SegmentReplay& replay, std::unique_ptr<File> file);

// kMemory for a value that no memory here can hold, before its bytes are read: allocating it would
// not tell, since the system may promise more than it has.
Status admit_value(uint64_t value_size);

}  // namespace dskvs
