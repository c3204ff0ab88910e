// Goal: however the threads of a store and its clients interleave, answers and crashes are as
// promised, and nobody waits for ever.
// Method: see scheduler.h, scenario.h and explore.h. Random runs, a number of them or for a time.
//
//   schedule_explorer [--runs N] [--seconds N] [--seed S] [--only I]
//
// A violation names its run: --seed S --only I is the same again, alone.
#include <fmt/format.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "schedule/explore.h"
#include "support/seed.h"

int main(int count, char** words) {
  using namespace dskvs::test;
  uint64_t runs = 4'000;
  uint64_t only = UINT64_MAX;
  schedule::Batch batch{announce_seed("schedule_explorer")};
  const struct {
    const char* name;
    uint64_t* value;
  } known[] = {
      {"--runs", &runs}, {"--seconds", &batch.seconds}, {"--seed", &batch.seed}, {"--only", &only}};
  for (int i = 1; i < count; i += 2) {
    bool found = false;
    for (const auto& argument : known) {
      if (i + 1 == count || std::strcmp(words[i], argument.name) != 0) continue;
      *argument.value = std::strtoull(words[i + 1], nullptr, 10);
      found = true;
    }
    if (found) continue;
    fmt::print("usage: schedule_explorer [--runs N] [--seconds N] [--seed S] [--only I]\n");
    return 2;
  }
  if (only != UINT64_MAX) batch.first = only;
  batch.count = only != UINT64_MAX ? 1 : batch.seconds != 0 ? UINT64_MAX : runs;
  const schedule::Result result = schedule::explore(batch);
  fmt::print("seed {}: {}\n", batch.seed, result.statistics.text());
  if (result.violation.empty()) return 0;
  fmt::print("VIOLATION (--seed {} --only {}): {}\n", batch.seed, result.index, result.violation);
  return 1;
}
