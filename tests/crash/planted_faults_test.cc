// Goal: the crash tests would notice. Each trap of the promise is fallen into on purpose, and each
// must be caught; a test that cannot fail proves nothing.
// Method: plant.py makes copies of the core with faults that are switched on one at a time; for
// each the explorer runs random scripts, with crashes at every call, crashes in the recovery,
// failing disks and writers that come in between, until it reports a violation. The script that
// found it must find nothing in the unharmed copy, and neither must the first ones.
// DSKVS_PLANTED_SCRIPTS says how many those are, DSKVS_PLANTED_FAULT which fault to try alone;
// DSKVS_PLANTED_KNOWN=0 begins the search without the scripts that are known.
#include <fmt/format.h>

#include "crash/explorer.h"
#include "crash/planted_list.h"
#include "crash/scripts.h"
#include "support/catch.h"
#include "support/core_seed.h"

namespace dskvs::test {
namespace {

constexpr uint64_t kScriptsMax = 16'000;

// Scripts that catch what few do are tried before the search begins.
constexpr uint64_t kKnown[] = {
    1144, 748, 432, 70, 15, 14, 7936048091064160930u, 6823379542209268899u};

uint64_t nth_script(uint64_t seed, uint64_t known, uint64_t n) {
  return n < known ? kKnown[n] : seed + n - known;
}

ExplorerOptions options_of(uint64_t seed) {
  ExplorerOptions options;
  options.seed = seed;
  options.depth = 3;
  options.go_on_every[0] = 8;
  options.go_on_max[0] = 4;
  options.go_on_every[1] = 16;
  options.go_on_max[1] = 1;
  options.power_cut.exhaustive_max = 256;
  options.power_cut.random_subsets = 16;
  options.interleave_every = seed % 2 == 0 ? 4 : 0;
  return options;
}

// Runs the script of this seed; what was violated, or "".
std::string violation_in(uint64_t seed, Statistics& statistics) {
  try {
    Explorer(options_of(seed), statistics).run(random_script(seed));
  } catch (const Violation& violation) {
    return violation.what();
  }
  return "";
}

TEST_CASE("every planted fault is caught") {
  const uint64_t seed = announce_seed("planted_faults_test");
  const uint64_t known = rounds("DSKVS_PLANTED_KNOWN", std::size(kKnown));
  hash_seed = 1;  // always, or the known scripts would be others
  REQUIRE(std::size(kFaults) >= 25);
  {
    Statistics statistics;
    const uint64_t scripts = rounds("DSKVS_PLANTED_SCRIPTS", 50);
    for (uint64_t i = 0; i < scripts; ++i) REQUIRE(violation_in(seed + i, statistics) == "");
  }
  const char* only = std::getenv("DSKVS_PLANTED_FAULT");
  for (const auto& fault : kFaults) {
    if (only != nullptr && std::string_view(only) != fault.name) continue;
    planted_fault = fault.number;
    Statistics statistics;
    std::string caught;
    uint64_t script = seed;
    for (uint64_t n = 0; n < kScriptsMax && caught.empty(); ++n) {
      script = nth_script(seed, known, n);
      caught = violation_in(script, statistics);
    }
    planted_fault = 0;
    const std::string how = caught.substr(0, caught.find('\n'));
    fmt::print("{:26} {:>3} scripts, {:>7} states, {}: {}\n", fault.name,
               statistics.scripts.load() + 1, statistics.recovered.load(), script,
               caught.empty() ? "NOT CAUGHT" : how);
    std::fflush(stdout);
    INFO(fault.name << ": " << fault.breaks);
    CHECK(caught != "");
    CHECK(violation_in(script, statistics) == "");
  }
}

}  // namespace
}  // namespace dskvs::test
