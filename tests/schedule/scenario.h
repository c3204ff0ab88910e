// What a run does: a few clients that call a store at the same time, behind a past. All of it
// follows from the seed.
#pragma once

#include <memory>
#include <vector>

#include "schedule/history.h"
#include "support/sim_file_system.h"

namespace dskvs::test::schedule {

// The disk as it was at an instant, in the middle of a write perhaps.
struct Snapshot {
  uint64_t at;
  bool synced;  // as a kill leaves it, it is no other than the one before
  SimDisk disk;
};

struct Run {
  Contents before{};
  bool before_is_durable = false;
  bool closes_early = false;
  Calls calls;
  std::vector<Snapshot> snapshots;
  SimDisk closed;
  Status opened = Status::kOk;
  Status closing = Status::kOk;  // what close() said
};

class Scenario {
 public:
  explicit Scenario(uint64_t seed);
  ~Scenario();

  // As the body of a schedule. Where the store is closed while clients still call, some calls are
  // not made.
  void play(Run* run);

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

// What a store on this disk holds, or why it does not open.
Status read_back(const SimDisk& disk, Contents* contents);

// So that runs do not depend on those before them. Once: no thread of one makes a slot of the
// reclaimer.
void prepare_process();
// Before each: nothing waits to be freed.
void settle_process();

}  // namespace dskvs::test::schedule
