// Waiting for the disk without the GIL, and without keeping Ctrl-C waiting.
#pragma once

#include "python.h"

namespace dskvs::python {

// dskvs_wait(), in slices; signal handlers run between them. False with a Python error set when one
// of them raised; else `status` is what dskvs_wait() said. `hurry`: begin as dskvs_sync() does.
bool wait_until(dskvs_t store, uint64_t mark, int32_t level, uint64_t timeout_ms, bool hurry,
                int32_t* status);

}  // namespace dskvs::python
