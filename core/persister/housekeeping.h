// Memory that the persister makes ready for writers, so that they meet no page faults, and gives
// back to the system when all is quiet. Its thread alone.
#pragma once

#include "memory/epoch.h"

namespace dskvs {

class Housekeeping {
 public:
  // `syncs`: what is written is synced though nobody asks.
  Housekeeping(Epochs& epochs, bool syncs) noexcept : epochs_(epochs), syncs_(syncs) {}
  // Memory that is freed from now on is not kept for writers any more.
  ~Housekeeping();

  void epoch_written(uint64_t now_us, uint64_t epoch_bytes) noexcept;
  // A little at a time; false: there is nothing to do.
  bool provision() noexcept;
  bool tidy(uint64_t now_us) noexcept;
  // When there is something to tidy; UINT64_MAX: all is tidy.
  uint64_t tidy_us() const noexcept { return tidy_us_; }

 private:
  Epochs& epochs_;
  const bool syncs_;
  uint64_t epoch_bytes_ = 0;  // of the last one
  uint64_t epochs_written_ = 0;
  uint64_t tidy_us_ = UINT64_MAX;
  bool tidying_ = false;  // a first step is done
};

}  // namespace dskvs
