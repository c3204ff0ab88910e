// The same lookups as through the C ABI, done on the core's own classes. Apart from the rest,
// because the core's headers and the benchmark's have names in common.
#pragma once

#include <string>

#include "keys.h"

namespace bench {

struct CoreCosts {
  double contains_ns;
  double get_into_ns;
  double get_and_release_ns;
};

// Makes a store in `directory`, puts `keys` with values of `value_size` bytes, and times each kind
// of lookup for `seconds`.
CoreCosts time_core_lookups(const std::string& directory, const Keys& keys, size_t value_size,
                            double seconds);

}  // namespace bench
