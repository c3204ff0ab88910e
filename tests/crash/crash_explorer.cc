// Goal: after a crash at any instant, and another in the recovery from it, the store comes back in
// one state that existed, with all that was reported.
// Method: see explorer.h and support/sim_file_system.h. All short scripts, then random ones until
// the wanted number of distinct crash states is reached, or for a given time.
//
//   crash_explorer [--seconds N] [--states N] [--seed S] [--only I] [--threads N]
//
// A violation names its script's number: --seed S --only I runs it again, alone and just the same.
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "crash/explorer.h"
#include "crash/scripts.h"
#include "support/core_seed.h"

namespace dskvs::test {
namespace {

struct Arguments {
  uint64_t seconds = 0;  // 0: all short scripts, and until `states` is reached
  uint64_t states = 2'500'000;
  uint64_t seed = 0;
  uint64_t only = UINT64_MAX;
  uint64_t threads = 2;
};

class Campaign {
 public:
  explicit Campaign(const Arguments& arguments) : arguments_(arguments) {}

  int run() {
    std::vector<std::thread> threads;
    const bool one = arguments_.only != UINT64_MAX;
    for (uint64_t i = 0; i < (one ? 1 : arguments_.threads); ++i) {
      threads.emplace_back([this] { work(); });
    }
    for (std::thread& thread : threads) thread.join();
    fmt::print("seed {}: {}; {} violations\n", arguments_.seed, statistics_.text(),
               violations_.load());
    const bool enough =
        one || arguments_.seconds != 0 || statistics_.distinct.estimate() >= arguments_.states;
    if (!enough) fmt::print("that is fewer states than were asked for\n");
    return violations_ == 0 && enough ? 0 : 1;
  }

 private:
  void work() {
    if (arguments_.only != UINT64_MAX) return explore(arguments_.only);
    while (violations_ == 0) {
      const uint64_t index = next_++;
      if (over(index)) return;
      explore(index);
    }
  }

  bool over(uint64_t index) const {
    if (arguments_.seconds == 0) {
      return index >= short_script_count() && statistics_.distinct.estimate() >= arguments_.states;
    }
    return std::chrono::steady_clock::now() - start_ > std::chrono::seconds(arguments_.seconds);
  }

  void explore(uint64_t index) {
    ExplorerOptions options;
    options.seed = arguments_.seed ^ (index * 0x9e3779b97f4a7c15u);
    const Script script =
        index < short_script_count() ? short_script(index) : random_script(options.seed);
    if (index % 2 == 1) options.power_cut.unit_bytes = 4096;
    if (arguments_.seconds == 0 && index < short_script_count()) {
      options.depth = 2;
      options.go_on_max[0] = 1;
    }
    try {
      Explorer(options, statistics_).run(script);
    } catch (const Violation& violation) {
      ++violations_;
      std::lock_guard guard(print_);
      fmt::print("VIOLATION (--seed {} --only {}): {}\n", arguments_.seed, index, violation.what());
    }
  }

  const Arguments arguments_;
  Statistics statistics_;
  std::atomic<uint64_t> next_ = 0;
  std::atomic<uint64_t> violations_ = 0;
  std::mutex print_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

bool parse(int count, char** words, Arguments* arguments) {
  for (int i = 1; i + 1 < count; i += 2) {
    const struct {
      const char* name;
      uint64_t* value;
    } known[] = {{"--seconds", &arguments->seconds},
                 {"--states", &arguments->states},
                 {"--seed", &arguments->seed},
                 {"--only", &arguments->only},
                 {"--threads", &arguments->threads}};
    bool found = false;
    for (const auto& argument : known) {
      if (std::strcmp(words[i], argument.name) != 0) continue;
      *argument.value = std::strtoull(words[i + 1], nullptr, 10);
      found = true;
    }
    if (!found) return false;
  }
  return count % 2 == 1;
}

}  // namespace
}  // namespace dskvs::test

int main(int count, char** words) {
  using namespace dskvs::test;
  Arguments arguments;
  arguments.seed = announce_seed("crash_explorer");
  if (!parse(count, words, &arguments)) {
    fmt::print(
        "usage: crash_explorer [--seconds N] [--states N] [--seed S] [--only I] "
        "[--threads N]\n");
    return 2;
  }
  dskvs::hash_seed = arguments.seed;
  return Campaign(arguments).run();
}
