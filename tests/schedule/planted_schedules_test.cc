// Goal: the schedule explorer would notice. Faults that only an interleaving brings to light are
// planted in a copy of the core, one at a time, and each must be caught.
// Method: as in planted_faults_test. Runs that are known to catch what few do come first, then a
// search. The run that found a fault must find nothing in the unharmed copy, and neither must
// others. And the explorer itself: the same seed is the same run, whatever ran before it.
// DSKVS_PLANTED_FAULT says which fault to try alone; DSKVS_PLANTED_KNOWN=0 begins with the search.
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <string_view>

#include "crash/planted_list.h"
#include "schedule/explore.h"
#include "support/catch.h"
#include "support/seed.h"

namespace dskvs::test::schedule {
namespace {

constexpr uint64_t kRunsMax = 100'000;

// Runs of seed 0.
constexpr uint64_t kKnown[] = {19,   31,   38,   69,    70,    226,   262,
                               1377, 1658, 3037, 14999, 29510, 39387, 8953879964619723162u};

struct Caught {
  uint64_t seed = 0;
  uint64_t runs = 0;
  Result result;
};

Caught search(uint64_t seed, uint64_t known) {
  Caught caught;
  for (uint64_t i = 0; i < known; ++i) {
    caught.runs++;
    caught.result = explore({.seed = 0, .first = kKnown[i]});
    if (!caught.result.violation.empty()) return caught;
  }
  caught.seed = seed;
  caught.result = explore({.seed = seed, .count = kRunsMax});
  caught.runs += caught.result.statistics.runs + 1;
  return caught;
}

TEST_CASE("the same seed is the same run") {
  const Result result = explore({.seed = 1, .first = 0, .count = 20});
  CHECK(result.violation == "");
  const Statistics& all = result.statistics;
  CHECK(all.runs == 20);
  Statistics each;
  for (uint64_t i = 0; i < 20; ++i) {
    const Statistics one = explore({.seed = 1, .first = i}).statistics;
    each.runs += one.runs;
    each.steps += one.steps;
    each.hash = each.hash * 31 + one.hash;
  }
  CHECK(each.runs == all.runs);
  CHECK(each.steps == all.steps);
  CHECK(each.hash == all.hash);
}

TEST_CASE("every planted interleaving is caught") {
  const uint64_t seed = announce_seed("planted_schedules_test");
  const uint64_t known =
      std::min<uint64_t>(rounds("DSKVS_PLANTED_KNOWN", std::size(kKnown)), std::size(kKnown));
  const char* const only = std::getenv("DSKVS_PLANTED_FAULT");
  for (const auto& fault : kFaults) {
    if (only != nullptr && std::string_view(only) != fault.name) continue;
    planted_fault = fault.number;
    const Caught caught = search(seed, known);
    planted_fault = 0;
    const std::string& how = caught.result.violation;
    fmt::print("{:24} {:>6} runs, --seed {} --only {}: {}\n", fault.name, caught.runs, caught.seed,
               caught.result.index, how.empty() ? "NOT CAUGHT" : how.substr(0, how.find('\n')));
    std::fflush(stdout);
    INFO(fault.name << ": " << fault.breaks);
    CHECK(how != "");
    CHECK(caught.result.died_of != SIGALRM);  // it took too long, for whatever reason
    CHECK(caught.result.died_of != SIGKILL);
    CHECK(explore({.seed = caught.seed, .first = caught.result.index}).violation == "");
  }
}

}  // namespace
}  // namespace dskvs::test::schedule
