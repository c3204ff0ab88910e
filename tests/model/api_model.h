// One body for the model test and the fuzzer: bytes choose calls of the C ABI, and each answer is
// compared with what a std::map says. Where the bytes come from, a generator or a fuzzer, is the
// caller's matter.
#pragma once

#include <dskvs/dskvs.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

namespace dskvs::test {

struct Mismatch : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Gives the next number below `bound`, or false when the bytes are used up.
using Choice = std::function<bool(uint32_t bound, uint32_t* number)>;

// Does something about the store that no answer may depend on.
using Between = std::function<void(dskvs_t store)>;

// Runs calls on a new store at `path` until the choices end, `between` before each; closes, opens,
// and compares once more. Returns the number of calls. Throws Mismatch.
uint64_t run_against_model(
    const std::string& path, const Choice& choose, const Between& between = [](dskvs_t) {});

}  // namespace dskvs::test
