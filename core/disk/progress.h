// How a long walk over the log tells how far it is, and learns that it shall stop.
#pragma once

#include "status.h"

#include <cstdint>

namespace dskvs {

struct Progress {
  dskvs_progress callback = nullptr;
  void* context = nullptr;
};

// Counts bytes and calls back in steps of them, which needs no clock.
class ProgressMeter {
 public:
  ProgressMeter(const Progress& progress, uint64_t total_bytes) noexcept
      : progress_(progress), total_bytes_(total_bytes) {}

  // kCancelled when the callback says so.
  Status add(uint64_t bytes) noexcept {
    done_bytes_ += bytes;
    if (done_bytes_ < next_call_bytes_) return Status::kOk;
    next_call_bytes_ = done_bytes_ + kStepBytes;
    return call(done_bytes_ < total_bytes_ ? done_bytes_ : total_bytes_);
  }

  Status finish() noexcept { return call(total_bytes_); }

 private:
  static constexpr uint64_t kStepBytes = uint64_t{8} << 20;

  Status call(uint64_t done_bytes) noexcept {
    if (progress_.callback == nullptr) return Status::kOk;
    if (progress_.callback(progress_.context, done_bytes, total_bytes_) == 0) return Status::kOk;
    return fail(Status::kCancelled, "cancelled by the progress callback");
  }

  Progress progress_;
  uint64_t total_bytes_;
  uint64_t done_bytes_ = 0;
  uint64_t next_call_bytes_ = kStepBytes;
};

}  // namespace dskvs
