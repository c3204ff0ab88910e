#include "failure.h"

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

namespace dskvs::cli {

int exit_code_of(int32_t status) {
  switch (status) {
    case DSKVS_OK:
      return kExitOk;
    case DSKVS_NOT_FOUND:
      return kExitNotFound;
    case DSKVS_ERR_ARGUMENT:
    case DSKVS_ERR_KEY:
    case DSKVS_ERR_PATH:
      return kExitUsage;
    case DSKVS_ERR_CORRUPT:
      return kExitCorrupt;
    case DSKVS_ERR_LOCKED:
      return kExitLocked;
    default:
      return kExitOther;
  }
}

void expect_ok(int32_t status, std::string_view what) {
  if (status == DSKVS_OK) return;
  // Expected outcomes leave no text; their name says it all.
  const std::string reason = status < 0 ? dskvs_last_error() : "";
  std::string text(what);
  if (!text.empty()) text += ": ";
  throw Failure{exit_code_of(status), text + (reason.empty() ? dskvs_status_name(status) : reason)};
}

void fail_usage(std::string text) { throw Failure{kExitUsage, std::move(text)}; }

void fail_system(std::string_view what) {
  const int error = errno;
  throw Failure{kExitOther, std::string(what) + ": " + system_error_text(error)};
}

std::string system_error_text(int error) { return std::generic_category().message(error); }

void warn(std::string_view text) {
  const std::string line = "dskvs: " + std::string(text) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace dskvs::cli
