// Errors and warnings, each one line on stderr. A command ends early by throwing a Failure, which
// main() turns into such a line and an exit code.
#pragma once

#include <dskvs/dskvs.h>

#include <string>
#include <string_view>

namespace dskvs::cli {

// Pinned: scripts depend on them, and dskvs(1) lists them.
enum ExitCode : int {
  kExitOk = 0,
  kExitNotFound = 1,
  kExitUsage = 2,
  kExitCorrupt = 3,
  kExitLocked = 4,
  kExitOther = 5,
};

struct Failure {
  int exit_code;
  std::string text;
};

int exit_code_of(int32_t status);

// Throws, unless `status` is DSKVS_OK, what dskvs_last_error() has to say; `what`, when not empty,
// goes before it.
void expect_ok(int32_t status, std::string_view what = {});

[[noreturn]] void fail_usage(std::string text);

// Explains errno.
[[noreturn]] void fail_system(std::string_view what);
std::string system_error_text(int error);

// Prints "dskvs: text" on a line of stderr; that this may fail too is no error.
void warn(std::string_view text);

}  // namespace dskvs::cli
