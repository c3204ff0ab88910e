// A benchmark has no way on after an error.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

namespace bench {

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(stderr, "dskvs_bench: {}\n", fmt::format(format, std::forward<Args>(args)...));
  std::_Exit(1);
}

}  // namespace bench
