// fmt::format, compiled once: fmt is used as headers only, and its code would be in every file.
#pragma once

#include <fmt/core.h>

#include <string>

namespace dskvs::cli {

std::string formatted_args(fmt::string_view format, fmt::format_args args);

template <typename... Args>
std::string formatted(fmt::format_string<Args...> format, Args&&... args) {
  return formatted_args(format, fmt::make_format_args(args...));
}

}  // namespace dskvs::cli
