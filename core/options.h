// The options of a store, checked. dskvs.h says what they mean.
#pragma once

#include "disk/file.h"
#include "disk/progress.h"

namespace dskvs {

inline constexpr uint64_t kSyncIntervalMsMax = 86'400'000;
inline constexpr uint64_t kDirtyBytesMin = 65'536;

struct Options {
  bool read_only = false;
  Presence presence = Presence::kMayCreate;
  uint64_t sync_interval_ms = 100;
  uint64_t memory_bytes_max = 0;
  uint64_t dirty_bytes_max = uint64_t{256} << 20;
  Progress progress;
};

// `given` may be NULL, older or newer than this library. kArgument names the option.
Status parse_options(const dskvs_options* given, Options* options) noexcept;

// Whether a struct that crosses the ABI can be so large. There is a limit beyond any that will ever
// be met, against wild values.
constexpr bool is_struct_size(uint64_t size) {
  return size >= sizeof(uint64_t) && size <= 4096 && size % sizeof(uint64_t) == 0;
}

// Copies the first `size` bytes of the defaults.
Status default_options(dskvs_options* options, size_t size) noexcept;

}  // namespace dskvs
