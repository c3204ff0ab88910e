#include "status.h"

#include <algorithm>
#include <cstring>

namespace dskvs {
namespace {

thread_local char last_error_text[kErrorTextSizeMax + 1];

}  // namespace

const char* status_name(int32_t status) noexcept {
  switch (static_cast<Status>(status)) {
    case Status::kOk:
      return "DSKVS_OK";
    case Status::kNotFound:
      return "DSKVS_NOT_FOUND";
    case Status::kTimeout:
      return "DSKVS_TIMEOUT";
    case Status::kConflict:
      return "DSKVS_CONFLICT";
    case Status::kArgument:
      return "DSKVS_ERR_ARGUMENT";
    case Status::kKey:
      return "DSKVS_ERR_KEY";
    case Status::kPath:
      return "DSKVS_ERR_PATH";
    case Status::kLocked:
      return "DSKVS_ERR_LOCKED";
    case Status::kClosed:
      return "DSKVS_ERR_CLOSED";
    case Status::kForked:
      return "DSKVS_ERR_FORKED";
    case Status::kReadOnly:
      return "DSKVS_ERR_READ_ONLY";
    case Status::kBuffer:
      return "DSKVS_ERR_BUFFER";
    case Status::kCancelled:
      return "DSKVS_ERR_CANCELLED";
    case Status::kMemory:
      return "DSKVS_ERR_MEMORY";
    case Status::kFull:
      return "DSKVS_ERR_FULL";
    case Status::kSpace:
      return "DSKVS_ERR_SPACE";
    case Status::kIo:
      return "DSKVS_ERR_IO";
    case Status::kCorrupt:
      return "DSKVS_ERR_CORRUPT";
    case Status::kVersion:
      return "DSKVS_ERR_VERSION";
    case Status::kInternal:
      return "DSKVS_ERR_INTERNAL";
  }
  return "unknown status";
}

const char* last_error() noexcept { return last_error_text; }

void set_last_error(std::string_view text) noexcept {
  size_t size = std::min(text.size(), kErrorTextSizeMax);
  std::memcpy(last_error_text, text.data(), size);
  last_error_text[size] = '\0';
}

void explain(fmt::string_view format, fmt::format_args args) noexcept {
  char text[kErrorTextSizeMax];
  auto end = fmt::vformat_to_n(text, sizeof text, format, args);
  set_last_error({text, end.size < sizeof text ? end.size : sizeof text});
}

}  // namespace dskvs
