// Options whose argument is a number.
#pragma once

#include "command.h"
#include "failure.h"
#include "formatted.h"

#include <charconv>
#include <cstring>

namespace dskvs::cli {

// A number above 0 and up to `max`, and nothing after it; throws Failure (usage) for anything else.
template <typename Number>
Number number_option(const Arguments& arguments, std::string_view name, Number fallback,
                     Number max) {
  const auto text = arguments.value(name);
  if (!text) return fallback;
  const char* const end = *text + std::strlen(*text);
  Number number{};
  const auto [stop, error] = std::from_chars(*text, end, number);
  if (error != std::errc() || stop != end || !(number > 0) || number > max) {
    fail_usage(formatted("--{} needs a number above 0 and up to {}", name, max));
  }
  return number;
}

}  // namespace dskvs::cli
