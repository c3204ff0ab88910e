// Recovery into one sink: the frames go on, one segment's after another's, on this thread.
#pragma once

#include "disk/recovery.h"

namespace dskvs::test {

class InOrder final : public SegmentedSink {
 public:
  explicit InOrder(RecoverySink& sink) : sink_(sink) {}
  void begin(uint64_t) override {}
  RecoverySink& begin_segment(uint64_t) override { return sink_; }
  Status end_segment() override { return Status::kOk; }

 private:
  RecoverySink& sink_;
};

inline Status recover(Directory& directory, const Progress& progress, RecoverySink& sink,
                      LogPosition* position, RecoveryReport* report) {
  InOrder in_order(sink);
  return dskvs::recover(directory, progress, &in_order, 1, position, report);
}

}  // namespace dskvs::test
