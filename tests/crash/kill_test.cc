// Goal: a process killed at any moment loses nothing that was reported written, and the store comes
// back in one state that existed.
// Method: a child writes into a real store from several threads and acknowledges in shared memory
// what was reported; SIGKILL falls at a random moment, during open, writing, compaction or close;
// the parent reads what is there, read-only or by recovery, and judges it. DSKVS_KILLS sets how
// many.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <random>

#include "crash/writer_process.h"
#include "support/catch.h"
#include "support/seed.h"
#include "support/temp_dir.h"

namespace dskvs::test {
namespace {

// Lets the child live for a random while: often only through its open, at times to its end.
int kill_at_random(int pid, std::mt19937_64& random) {
  const uint64_t span_us = random() % 4 == 0 ? 1'500 : 15'000;
  ::usleep(static_cast<useconds_t>(random() % span_us));
  ::kill(pid, SIGKILL);
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return status;
}

struct Reopened {
  Contents contents;
  uint64_t recovered_epoch;
};

Reopened reopen(const std::string& path, bool read_only, std::mt19937_64& random) {
  dskvs_options options = DSKVS_OPTIONS_INIT;
  options.read_only = read_only ? 1 : 0;
  dskvs_t store = 0;
  const int32_t status = dskvs_open(path.c_str(), &options, &store);
  INFO(dskvs_last_error());
  REQUIRE(status == DSKVS_OK);
  dskvs_stats_t stats = DSKVS_STATS_INIT;
  REQUIRE(dskvs_stats(store, &stats) == DSKVS_OK);
  Reopened reopened{read_contents(store), stats.recovered_epoch};
  if (!read_only && random() % 4 == 0) REQUIRE(dskvs_compact(store) == DSKVS_OK);
  REQUIRE(dskvs_close(store) == DSKVS_OK);
  return reopened;
}

TEST_CASE("kill -9 loses nothing that was reported written") {
  const uint64_t seed = announce_seed("kill_test");
  const uint64_t kills = rounds("DSKVS_KILLS", 2'000);
  constexpr uint64_t kGenerationsPerStore = 50;
  std::mt19937_64 random(seed);
  SharedWriterLog log;
  uint64_t ended = 0, opened = 0, operations = 0, acknowledged = 0;
  for (uint64_t generation = 0; generation < kills;) {
    TempDir directory;
    const std::string path = directory / "store";
    Contents base;
    for (uint64_t i = 0; i < kGenerationsPerStore && generation < kills; ++i, ++generation) {
      log->clear();
      const WriterPlan plan{seed, generation, path};
      const int status = kill_at_random(spawn_writer(plan, *log, false), random);
      if (WIFEXITED(status)) ++ended;
      REQUIRE((WIFSIGNALED(status) || WEXITSTATUS(status) == 0));
      REQUIRE(log->failures == 0);
      if (!std::filesystem::exists(path)) continue;
      opened += log->opened;
      for (const ThreadLog& thread : log->threads) {
        operations += thread.returned;
        acknowledged += std::max(thread.written.load(), thread.durable.load());
      }
      const bool read_only = random() % 2 == 0 && log->opened;
      const Reopened reopened = reopen(path, read_only, random);
      const std::string verdict =
          judge(plan, *log, false, base, reopened.contents, reopened.recovered_epoch);
      INFO("seed " << seed << ", generation " << generation << ", epoch "
                   << reopened.recovered_epoch);
      REQUIRE(verdict == "");
      base = reopened.contents;
    }
  }
  std::printf(
      "%llu kills, of them %llu in an open store and %llu too late; %llu operations, "
      "%llu acknowledged as written; 0 violations\n",
      static_cast<unsigned long long>(kills), static_cast<unsigned long long>(opened),
      static_cast<unsigned long long>(ended), static_cast<unsigned long long>(operations),
      static_cast<unsigned long long>(acknowledged));
  CHECK(acknowledged > 0);
}

}  // namespace
}  // namespace dskvs::test
