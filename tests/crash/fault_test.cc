// Goal: whatever a call to the disk answers, the store serves from memory, reports nothing durable
// that is not, catches up by itself once the disk is well, and survives a crash at any point of it.
// Method: for each of some scripts, each call to the file system in turn fails with each error that
// it can have, once and for ever; the process is judged at the end of the script, where it crashes,
// and after the disk has healed. DSKVS_FAULT_RUNS sets how many runs, at least.
#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "crash/explorer.h"
#include "crash/scripts.h"
#include "support/catch.h"
#include "support/core_seed.h"

namespace dskvs::test {
namespace {

constexpr uint32_t kValueBytesMax = 6'000;  // larger ones leave very many states

ExplorerOptions options_of(uint64_t seed) {
  ExplorerOptions options;
  options.seed = seed;
  options.crash_everywhere = false;
  options.depth = 2;
  options.go_on_every[0] = 16;
  options.go_on_max[0] = 1;
  options.power_cut.exhaustive_max = 8;
  options.power_cut.random_subsets = 4;
  options.interleave_every = 0;
  return options;
}

// The script with a fault at a call that it makes, counted from its first.
Script with_fault(Script script, uint64_t call, SimError error, bool sticky) {
  const uint64_t which = static_cast<uint64_t>(error) + (sticky ? kSticky : 0);
  script.insert(script.begin(), {Verb::kFault, static_cast<uint32_t>(call), 0, which});
  return script;
}

// One script after another, each by one thread, which tries all calls and errors.
class Campaign {
 public:
  Campaign(uint64_t seed, uint64_t wanted) : seed_(seed), wanted_(wanted) {}

  void run() {
    std::thread beside([this] { work(); });
    work();
    beside.join();
  }

  uint64_t runs() const { return runs_; }
  std::string violation() const { return violation_; }
  std::string text() const { return statistics_.text(); }

 private:
  void work() {
    try {
      while (runs_ < wanted_ && !broken_) try_script(next_++);
    } catch (const Violation& violation) {
      std::lock_guard guard(mutex_);
      if (!broken_.exchange(true)) violation_ = violation.what();
    }
  }

  void try_script(uint64_t number) {
    Script script = random_script(seed_ + number);
    std::erase_if(script, [](const Operation& operation) {
      return operation.verb == Verb::kFault || operation.verb == Verb::kHeal;
    });
    for (Operation& operation : script) {
      operation.value_size = std::min<uint32_t>(operation.value_size, kValueBytesMax);
    }
    const uint64_t calls = Explorer(options_of(seed_), statistics_).calls_of(script);
    for (uint64_t call = 0; call < calls && !broken_; ++call) {
      for (SimError error : kSimErrors) {
        for (bool sticky : {false, true}) {
          Explorer explorer(options_of(seed_ + call), statistics_);
          // Where the call cannot have this error, it was no run.
          runs_ += explorer.run(with_fault(script, call, error, sticky)) != 0 ? 1 : 0;
        }
      }
    }
  }

  const uint64_t seed_;
  const uint64_t wanted_;
  Statistics statistics_;
  std::atomic<uint64_t> next_ = 0;
  std::atomic<uint64_t> runs_ = 0;
  std::atomic<bool> broken_ = false;
  std::mutex mutex_;  // guards:
  std::string violation_;
};

TEST_CASE("every call to the disk fails in every way, and nothing that was promised is lost") {
  const uint64_t seed = announce_core_seed("fault_test");
  Campaign campaign(seed, rounds("DSKVS_FAULT_RUNS", 50'000));
  campaign.run();
  INFO("seed " << seed);
  REQUIRE(campaign.violation() == "");
  fmt::print("{} runs with a failed call; {}; 0 violations\n", campaign.runs(), campaign.text());
}

}  // namespace
}  // namespace dskvs::test
