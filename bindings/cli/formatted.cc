#include "formatted.h"

#include <fmt/format.h>

namespace dskvs::cli {

std::string formatted_args(fmt::string_view format, fmt::format_args args) {
  return fmt::vformat(format, args);
}

}  // namespace dskvs::cli
