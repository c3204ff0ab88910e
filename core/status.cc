#include "status.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace dskvs {
namespace {

thread_local char last_error_text[kErrorTextSizeMax + 1];

constexpr std::pair<int32_t, const char*> kNames[] = {
    {DSKVS_OK, "DSKVS_OK"},
    {DSKVS_NOT_FOUND, "DSKVS_NOT_FOUND"},
    {DSKVS_TIMEOUT, "DSKVS_TIMEOUT"},
    {DSKVS_CONFLICT, "DSKVS_CONFLICT"},
    {DSKVS_ERR_ARGUMENT, "DSKVS_ERR_ARGUMENT"},
    {DSKVS_ERR_KEY, "DSKVS_ERR_KEY"},
    {DSKVS_ERR_PATH, "DSKVS_ERR_PATH"},
    {DSKVS_ERR_LOCKED, "DSKVS_ERR_LOCKED"},
    {DSKVS_ERR_CLOSED, "DSKVS_ERR_CLOSED"},
    {DSKVS_ERR_FORKED, "DSKVS_ERR_FORKED"},
    {DSKVS_ERR_READ_ONLY, "DSKVS_ERR_READ_ONLY"},
    {DSKVS_ERR_BUFFER, "DSKVS_ERR_BUFFER"},
    {DSKVS_ERR_CANCELLED, "DSKVS_ERR_CANCELLED"},
    {DSKVS_ERR_MEMORY, "DSKVS_ERR_MEMORY"},
    {DSKVS_ERR_FULL, "DSKVS_ERR_FULL"},
    {DSKVS_ERR_SPACE, "DSKVS_ERR_SPACE"},
    {DSKVS_ERR_IO, "DSKVS_ERR_IO"},
    {DSKVS_ERR_CORRUPT, "DSKVS_ERR_CORRUPT"},
    {DSKVS_ERR_VERSION, "DSKVS_ERR_VERSION"},
    {DSKVS_ERR_INTERNAL, "DSKVS_ERR_INTERNAL"},
};

}  // namespace

const char* status_name(int32_t status) noexcept {
  for (const auto& [code, name] : kNames) {
    if (code == status) return name;
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
  *fmt::vformat_to_n(last_error_text, kErrorTextSizeMax, format, args).out = '\0';
}

}  // namespace dskvs
