// The libFuzzer target of one body; DSKVS_FUZZ_BODY names it.
#include "fuzz/bodies.h"

// Freed memory is kept for longer than an input lasts, and not so long that it is never in the
// processor's cache when it is used again.
extern "C" const char* __asan_default_options() {
  return "quarantine_size_mb=32:malloc_context_size=8";
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dskvs::test::DSKVS_FUZZ_BODY(data, size);
  return 0;
}
