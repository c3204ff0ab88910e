#include "waiting.h"

#include <algorithm>
#include <chrono>

namespace dskvs::python {
namespace {

constexpr uint64_t kSliceMs = 50;

uint64_t elapsed_ms(std::chrono::steady_clock::time_point since) {
  auto elapsed = std::chrono::steady_clock::now() - since;
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(elapsed).count());
}

}  // namespace

bool wait_until(dskvs_t store, uint64_t mark, int32_t level, uint64_t timeout_ms, bool hurry,
                int32_t* status) {
  const auto start = std::chrono::steady_clock::now();
  uint64_t left_ms = timeout_ms;
  while (true) {
    const uint64_t slice_ms = std::min(left_ms, kSliceMs);
    {
      GilReleased released;
      // Only the first slice syncs: each sync takes a new mark, which writers move ever further.
      *status = hurry ? dskvs_sync(store, slice_ms) : dskvs_wait(store, mark, level, slice_ms);
    }
    hurry = false;
    if (PyErr_CheckSignals() != 0) return false;
    if (*status != DSKVS_TIMEOUT) return true;
    if (timeout_ms != DSKVS_FOREVER) left_ms = timeout_ms - std::min(timeout_ms, elapsed_ms(start));
    if (left_ms == 0) return true;
  }
}

}  // namespace dskvs::python
