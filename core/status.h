// Statuses inside the library, and the text that explains the last error of a thread.
#pragma once

#include <dskvs/dskvs.h>
#if __has_include(<fmt/base.h>)
#include <fmt/base.h>  // of later versions, where core.h is all of it
#else
#include <fmt/core.h>
#endif

#include <cstdint>
#include <cstring>
#include <string_view>

namespace dskvs {

// The same numbers as in dskvs.h, which is their one source; only that the compiler minds when one
// is dropped.
enum class [[nodiscard]] Status : int32_t{
    kOk = DSKVS_OK,
    kNotFound = DSKVS_NOT_FOUND,
    kTimeout = DSKVS_TIMEOUT,
    kConflict = DSKVS_CONFLICT,
    kArgument = DSKVS_ERR_ARGUMENT,
    kKey = DSKVS_ERR_KEY,
    kPath = DSKVS_ERR_PATH,
    kLocked = DSKVS_ERR_LOCKED,
    kClosed = DSKVS_ERR_CLOSED,
    kForked = DSKVS_ERR_FORKED,
    kReadOnly = DSKVS_ERR_READ_ONLY,
    kBuffer = DSKVS_ERR_BUFFER,
    kCancelled = DSKVS_ERR_CANCELLED,
    kMemory = DSKVS_ERR_MEMORY,
    kFull = DSKVS_ERR_FULL,
    kSpace = DSKVS_ERR_SPACE,
    kIo = DSKVS_ERR_IO,
    kCorrupt = DSKVS_ERR_CORRUPT,
    kVersion = DSKVS_ERR_VERSION,
    kInternal = DSKVS_ERR_INTERNAL,
};

// Static; never NULL.
const char* status_name(int32_t status) noexcept;

// The text of the calling thread's last error. A fixed buffer: explaining an error never allocates,
// so it works when memory is what ran out. Longer texts are cut. Small: it is a thread's own
// memory, of which the system keeps little for libraries that are loaded late.
inline constexpr size_t kErrorTextSizeMax = 511;
const char* last_error() noexcept;
void set_last_error(std::string_view text) noexcept;

void explain(fmt::string_view format, fmt::format_args args) noexcept;

// Explains, then returns `status`. The text names paths, sizes and rules; never the bytes of keys
// and values, which may be secret. No argument is a part of last_error(), which it overwrites.
template <typename... Args>
Status fail(Status status, fmt::format_string<Args...> format, Args&&... args) noexcept {
  explain(format, fmt::make_format_args(args...));
  return status;
}

// A status and, if it is a failure, its text: kept for another thread, or while what is undone
// because of it may fail and explain in its turn.
class KeptFailure {
 public:
  KeptFailure() = default;
  explicit KeptFailure(Status status) noexcept : status_(status) {
    if (status != Status::kOk) std::strcpy(text_, last_error());  // which has the same limit
  }

  const char* text() const noexcept { return text_; }
  Status again() const noexcept {
    if (status_ != Status::kOk) set_last_error(text_);
    return status_;
  }

 private:
  Status status_ = Status::kOk;
  char text_[kErrorTextSizeMax + 1] = "";
};

// Leaves the thread's error text as it was, whatever fails meanwhile without being reported.
class KeptErrorText {
 public:
  KeptErrorText() noexcept { std::strcpy(text_, last_error()); }
  ~KeptErrorText() { set_last_error(text_); }
  KeptErrorText(const KeptErrorText&) = delete;
  KeptErrorText& operator=(const KeptErrorText&) = delete;

 private:
  char text_[kErrorTextSizeMax + 1];
};

}  // namespace dskvs
