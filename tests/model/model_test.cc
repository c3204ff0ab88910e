// Goal: one thread sees exactly a map of maps, through every call, across close and open.
// Method: random calls of the C ABI beside a std::map, all answers compared; see api_model.h.
#include "model/api_model.h"
#include "support/catch.h"
#include "support/seed.h"
#include "support/temp_dir.h"

using namespace dskvs::test;

TEST_CASE("random calls answer as a map of maps does") {
  const uint64_t seed = announce_seed("model_test");
  const uint64_t runs = rounds("DSKVS_MODEL_RUNS", 60);
  for (uint64_t run = 0; run < runs; run++) {
    std::mt19937_64 random(seed + run);
    uint64_t left = 20'000;
    TempDir dir(TempDir::fast_base());
    INFO("DSKVS_SEED=" << seed + run << " DSKVS_MODEL_RUNS=1");
    CHECK_NOTHROW(run_against_model(dir / "store", [&](uint32_t bound, uint32_t* number) {
      *number = static_cast<uint32_t>(random() % bound);
      if (left == 0) return false;
      left--;
      return true;
    }));
  }
}
