// Runs schedules one after another, each decided by its seed alone, and looks at what came of them:
// that answers can be, that what each crash leaves can be, that a close loses nothing, and that
// nobody waits for ever.
//
// They run in a child process, for after a violation there are threads that nobody can end.
#pragma once

#include <cstdint>
#include <string>

namespace dskvs::test::schedule {

struct Statistics {
  uint64_t runs = 0;
  uint64_t steps = 0;
  uint64_t switches = 0;
  uint64_t kills = 0;       // states that a kill left, recovered and compared
  uint64_t power_cuts = 0;  // likewise
  uint64_t hash = 0;        // of all schedules

  std::string text() const;
};

struct Batch {
  uint64_t seed = 0;
  uint64_t first = 0;
  uint64_t count = 1;
  uint64_t seconds = 0;  // 0: as long as it takes
};

struct Result {
  Statistics statistics;
  uint64_t index = 0;     // of the run that violated something: the same alone finds the same
  std::string violation;  // empty: none
  int died_of = 0;        // a signal
};

Result explore(const Batch& batch);

}  // namespace dskvs::test::schedule
