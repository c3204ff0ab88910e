// The libFuzzer target of one body; DSKVS_FUZZ_BODY names it.
#include "fuzz/bodies.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dskvs::test::DSKVS_FUZZ_BODY(data, size);
  return 0;
}
