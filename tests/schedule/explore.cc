#include "schedule/explore.h"

#include <fmt/format.h>
#include <malloc.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>

#include "schedule/scenario.h"
#include "schedule/scheduler.h"
#include "status.h"

namespace dskvs::test::schedule {
namespace {

// A run takes a few milliseconds; waiting for a processor, or for a lock that the scheduler does
// not know, it takes none.
constexpr uint64_t kRunCpuSecondsMax = 20;
constexpr uint64_t kRunSecondsMax = 300;
constexpr auto kPinSeconds = std::chrono::seconds(2);
constexpr int kViolated = 3;

// What the child tells its parent.
struct Report {
  Statistics statistics;
  uint64_t index = 0;
  char violation[16'384] = {};
};
Report* report = nullptr;
const Run* running = nullptr;

[[noreturn]] void violated(const char* what) {
  std::string text = what;
  if (running != nullptr) {
    text += fmt::format("\n  before: {}\n{}", describe(running->before), describe(running->calls));
  }
  std::strncpy(report->violation, text.c_str(), sizeof report->violation - 1);
  ::_exit(kViolated);
}

void check_crash(const Orders& orders, const SimDisk& disk, Crash crash) {
  const char* const kind = crash.power_cut ? "power cut" : "kill";
  const Status status = read_back(disk, &crash.contents);
  if (status != Status::kOk) {
    violated(
        fmt::format("after a {} at {} the store does not open: {}", kind, crash.at, last_error())
            .c_str());
  }
  if (!orders.can_leave(crash)) {
    violated(fmt::format("a {} at {} left what never was, or less than was reported: {}", kind,
                         crash.at, describe(crash.contents))
                 .c_str());
  }
}

// Some of the states that a power cut may leave. Not before what a kill had left is durable again.
void check_power_cuts(const Orders& orders, const Snapshot& snapshot, std::mt19937_64& random) {
  if (!running->before_is_durable && orders.promised({snapshot.at, true, {}}) == 0) return;
  constexpr PowerCutPlan kPlan{.exhaustive_max = 4, .random_subsets = 4};
  int looked = 0;
  int visited = 0;
  for_each_power_cut(snapshot.disk, kPlan, random, [&](const SimDisk& disk) {
    if (random() % 4 == 0) {
      check_crash(orders, disk, {snapshot.at, true, {}});
      report->statistics.power_cuts++;
      ++looked;
    }
    return looked < 3 && ++visited < 32;
  });
}

void run_one(uint64_t seed) {
  std::mt19937_64 random(seed);
  Scenario scenario(random());
  settle_process();
  Run run;
  running = &run;
  // Memory that was given back does not look as if it were not; the arena sees to its own.
  constexpr int kPattern = 0xA5;
  ::mallopt(M_PERTURB, kPattern);
  const Trace trace = run_schedule(random(), violated, [&] { scenario.play(&run); });
  ::mallopt(M_PERTURB, 0);
  if (run.opened != Status::kOk || run.closing != Status::kOk) {
    violated(fmt::format("open or close failed: {}", last_error()).c_str());
  }
  const Orders orders(run.calls, run.before, run.closes_early);
  if (!orders.answers_can_be()) violated("no order of the calls has these answers");
  Contents contents;
  if (read_back(run.closed, &contents) != Status::kOk || !orders.can_end_with(contents)) {
    violated(fmt::format("after the close there is {}", describe(contents)).c_str());
  }
  for (const Snapshot& snapshot : run.snapshots) {
    if (!snapshot.synced) {
      check_crash(orders, snapshot.disk.after_kill(), {snapshot.at, false, {}});
      report->statistics.kills++;
    }
    if (random() % 8 == 0) check_power_cuts(orders, snapshot, random);
  }
  running = nullptr;
  Statistics& statistics = report->statistics;
  statistics.runs++;
  statistics.steps += trace.steps;
  statistics.switches += trace.switches;
  statistics.hash = statistics.hash * 31 + trace.hash;
}

uint64_t seed_of(uint64_t seed, uint64_t index) { return seed ^ (index * 0x9e3779b97f4a7c15u); }

// SIGPROF or SIGALRM ends a run that does not end.
void limit_run() {
  const itimerval limit{.it_interval = {}, .it_value = {.tv_sec = kRunCpuSecondsMax, .tv_usec = 0}};
  ::setitimer(ITIMER_PROF, &limit, nullptr);
  ::alarm(kRunSecondsMax);
}

// One processor: to hand the baton on is then no more than a switch of threads. Which one, the
// system chooses anew now and then.
void pin(const cpu_set_t& all) {
  (void)::sched_setaffinity(0, sizeof all, &all);
  ::sched_yield();
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<size_t>(::sched_getcpu()), &one);
  (void)::sched_setaffinity(0, sizeof one, &one);
}

void explore_here(const Batch& batch) {
  using std::chrono::steady_clock;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  cpu_set_t all;
  if (::sched_getaffinity(0, sizeof all, &all) != 0) std::abort();
  pin(all);
  prepare_process();
  report->index = batch.first;
  limit_run();
  run_one(seed_of(batch.seed, batch.first));  // what is done once, is done
  report->statistics = {};
  auto pinned = steady_clock::now();
  const auto until = steady_clock::now() + std::chrono::seconds(batch.seconds);
  for (uint64_t i = 0; i < batch.count; ++i) {
    const auto now = steady_clock::now();
    if (batch.seconds != 0 && now >= until) return;
    if (now - pinned > kPinSeconds) {
      pin(all);
      pinned = now;
    }
    report->index = batch.first + i;
    limit_run();
    run_one(seed_of(batch.seed, report->index));
  }
}

}  // namespace

std::string Statistics::text() const {
  return fmt::format("{} schedules, {} steps, {} switches; {} kills and {} power cuts recovered",
                     runs, steps, switches, kills, power_cuts);
}

Result explore(const Batch& batch) {
  void* const shared =
      ::mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) std::abort();
  report = new (shared) Report;
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) std::abort();
  if (child == 0) {
    explore_here(batch);
    ::_exit(0);
  }
  int how = 0;
  if (::waitpid(child, &how, 0) != child) std::abort();
  Result result{report->statistics, report->index, report->violation};
  if (WIFSIGNALED(how)) {
    result.violation = fmt::format("died of signal {}", WTERMSIG(how));
    result.died_of = WTERMSIG(how);
  }
  if (WIFEXITED(how) && WEXITSTATUS(how) != 0 && result.violation.empty()) {
    result.violation = fmt::format("ended with {}", WEXITSTATUS(how));
  }
  ::munmap(shared, sizeof(Report));
  return result;
}

}  // namespace dskvs::test::schedule
