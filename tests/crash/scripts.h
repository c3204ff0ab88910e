// What the explored processes do: every short sequence of calls, and random long ones.
#pragma once

#include <cstdint>
#include <vector>

#include "crash/history.h"

namespace dskvs::test {

using Script = std::vector<Operation>;

// All sequences of 1 to 3 calls out of twelve, each behind each of the preludes.
uint64_t short_script_count();
Script short_script(uint64_t index);

// 5 to 30 calls with values of 0 B to several blocks, steps, reopenings and compactions between.
Script random_script(uint64_t seed);

}  // namespace dskvs::test
