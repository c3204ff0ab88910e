// Lets the standard maps look a key up by its bytes, without making a string of it.
#pragma once

#include <functional>
#include <string_view>

namespace bench {

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

}  // namespace bench
