// Runs a store on the simulated file system, stops at every call that reaches the disk, and looks
// at every state that a crash there could leave: what comes back must be C(R) for one R, no less
// than what had been reported, no more than what had been accepted. From some of these states it
// goes on: opens for writing, repeats what was lost, and crashes again inside that.
#pragma once

#include <atomic>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "crash/history.h"
#include "crash/subject.h"
#include "support/sim_file_system.h"

namespace dskvs::test {

// A promise that was broken; the text says which, where, and how to see it again.
class Violation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Counts different values among many, in little memory, within half a percent.
class DistinctCounter {
 public:
  void add(uint64_t hash);
  uint64_t estimate() const;

 private:
  static constexpr unsigned kIndexBits = 16;
  std::atomic<uint8_t> ranks_[1 << kIndexBits] = {};
};

struct Statistics {
  std::atomic<uint64_t> scripts = 0;
  std::atomic<uint64_t> visited = 0;    // crash states, again and again
  std::atomic<uint64_t> recovered = 0;  // different ones of the same process, each recovered
  std::atomic<uint64_t> reopened = 0;   // and opened by the whole store
  std::atomic<uint64_t> second = 0;     // of `recovered`: crashes after a crash
  std::atomic<uint64_t> third = 0;      // and after that
  std::atomic<uint64_t> faults = 0;     // calls that were made to fail
  DistinctCounter distinct;             // of `recovered`, over all

  std::string text() const;
};

struct ExplorerOptions {
  uint64_t seed = 1;
  unsigned depth = 3;  // crashes in a row
  // Of the different states that a process leaves, one in so many is gone on from; at most so many.
  uint64_t go_on_every[3] = {8, 32, 0};
  uint64_t go_on_max[3] = {12, 4, 0};
  PowerCutPlan power_cut;
  // Crashes at every call; else only where the script ends, before and after it is made to heal.
  bool crash_everywhere = true;
  // Other threads write while the persister is at work: one call to the disk in so many is when.
  uint64_t interleave_every = 8;
};

class Explorer {
 public:
  Explorer(const ExplorerOptions& options, Statistics& statistics)
      : options_(options), statistics_(statistics), random_(options.seed) {}

  // Runs `script` on an empty disk, and all crashes in it. Returns how many calls failed on
  // purpose. Throws Violation.
  uint64_t run(const std::vector<Operation>& script);
  // How many calls to the file system the script makes, undisturbed.
  uint64_t calls_of(const std::vector<Operation>& script);

 private:
  friend class Process;

  // What was reported to the user: a crash must not go behind it.
  struct Floors {
    uint64_t written = 0;
    uint64_t durable = 0;
  };
  // A disk to go on from.
  struct Branch {
    SimDisk disk;
    History history;
    Floors floors;
    std::vector<Operation> script;
    unsigned crashes = 0;
    std::string trail;
    uint64_t highest_accepted;
  };

  void go_on_from(const SimDisk& disk, const History& history, Floors floors, uint64_t recovered,
                  unsigned crashes, const std::string& trail, uint64_t highest_accepted);

  const ExplorerOptions options_;
  Statistics& statistics_;
  std::mt19937_64 random_;
  std::vector<Branch> branches_;
};

// What recovery finds on a disk, without a store around it: cheap.
struct Recovered {
  Status status = Status::kOk;
  std::string error;
  uint64_t epoch = 0;
  uint64_t highest_seen = 0;
  Model model;
};
Recovered recover_model(const SimDisk& disk);

}  // namespace dskvs::test
