#include "options.h"

#include <algorithm>
#include <cstring>

namespace dskvs {
namespace {

Status check_size(uint64_t size) noexcept {
  return is_struct_size(size) ? Status::kOk : fail(Status::kArgument, "options.size is {}", size);
}

}  // namespace

Status parse_options(const dskvs_options* given, Options* options) noexcept {
  *options = {};
  if (given == nullptr) return Status::kOk;
  Status status = check_size(given->size);
  if (status != Status::kOk) return status;
  auto* bytes = reinterpret_cast<const unsigned char*>(given);
  for (size_t i = sizeof(dskvs_options); i < given->size; i++) {
    if (bytes[i] != 0) {
      return fail(Status::kArgument, "this library does not know the option at byte {}", i);
    }
  }
  dskvs_options all = DSKVS_OPTIONS_INIT;
  std::memcpy(&all, given, std::min<size_t>(given->size, sizeof all));
  if (all.read_only > 1) {
    return fail(Status::kArgument, "options.read_only is {}; 0 or 1", all.read_only);
  }
  if (all.create > 2) return fail(Status::kArgument, "options.create is {}; 0, 1 or 2", all.create);
  if (all.sync_interval_ms > kSyncIntervalMsMax) {
    return fail(Status::kArgument, "options.sync_interval_ms is {}; at most {}",
                all.sync_interval_ms, kSyncIntervalMsMax);
  }
  if (all.dirty_bytes_max < kDirtyBytesMin) {
    return fail(Status::kArgument, "options.dirty_bytes_max is {}; at least {}",
                all.dirty_bytes_max, kDirtyBytesMin);
  }
  if (all.read_only == 1 && all.create == 2) {
    return fail(Status::kArgument, "options.create is 2, which read_only rules out");
  }
  constexpr Presence kPresence[] = {Presence::kMustExist, Presence::kMayCreate,
                                    Presence::kMustBeNew};
  options->read_only = all.read_only == 1;
  options->presence = all.read_only == 1 ? Presence::kMustExist : kPresence[all.create];
  options->sync_interval_ms = all.sync_interval_ms;
  options->memory_bytes_max = all.memory_bytes_max;
  options->dirty_bytes_max = all.dirty_bytes_max;
  options->progress = {all.progress, all.progress_context};
  return Status::kOk;
}

Status default_options(dskvs_options* options, size_t size) noexcept {
  if (options == nullptr) return fail(Status::kArgument, "options is NULL");
  Status status = check_size(size);
  if (status != Status::kOk) return status;
  const dskvs_options defaults = DSKVS_OPTIONS_INIT;
  std::memset(options, 0, size);
  std::memcpy(options, &defaults, std::min(size, sizeof defaults));
  options->size = size;
  return Status::kOk;
}

}  // namespace dskvs
