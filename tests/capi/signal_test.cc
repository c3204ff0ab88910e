// Goal: the host's signals go to the host's threads: the library's own block all of them, and its
// calls leave the mask of their caller as it is.
// Method: the masks that /proc tells, of the threads with the library's names.
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <set>
#include <sstream>
#include <thread>

#include "door.h"
#include "support/read_file.h"

using namespace dskvs::test;
using Clock = std::chrono::steady_clock;

namespace {

// The rest of the line that begins with `name`, of /proc/.../status.
string field(const string& status, const string& name) {
  std::istringstream lines(status);
  for (string line; std::getline(lines, line);) {
    if (line.starts_with(name + ":\t")) return line.substr(name.size() + 2);
  }
  return "";
}

// A bit for each signal that can be blocked and is not the C library's own.
uint64_t all_signals() {
  uint64_t all = 0;
  for (int signal = 1; signal <= SIGRTMAX; signal++) {
    const bool never = signal == SIGKILL || signal == SIGSTOP;
    if (!never && (signal < 32 || signal >= SIGRTMIN)) all |= uint64_t{1} << (signal - 1);
  }
  return all;
}

std::set<int> blocked_here() {
  sigset_t blocked;
  REQUIRE(::pthread_sigmask(SIG_BLOCK, nullptr, &blocked) == 0);
  std::set<int> signals;
  for (int signal = 1; signal <= SIGRTMAX; signal++) {
    if (sigismember(&blocked, signal) == 1) signals.insert(signal);
  }
  return signals;
}

}  // namespace

TEST_CASE("The library's threads block all signals, and the caller's mask stays") {
  const std::set<int> before = blocked_here();
  TempStore store;
  REQUIRE(put(store, "a/b", "v") == DSKVS_OK);
  REQUIRE(dskvs_compact(store) == DSKVS_OK);  // what is left of the log then goes on a thread
  const std::set<string> expected{"dskvs", "dskvs-disk"};
  std::set<string> names;
  for (auto end = Clock::now() + std::chrono::seconds(60); names != expected;) {
    REQUIRE(Clock::now() < end);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      const string status = read_file(task.path() / "status");
      const string name = field(status, "Name");
      if (!expected.contains(name)) continue;
      INFO(name);
      REQUIRE((~std::stoull(field(status, "SigBlk"), nullptr, 16) & all_signals()) == 0);
      names.insert(name);
    }
  }
  REQUIRE(blocked_here() == before);
  store.close();
  REQUIRE(blocked_here() == before);
}
