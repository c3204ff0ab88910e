#include "runner.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>

#include "fail.h"
#include "machine.h"
#include "report.h"

extern char** environ;

namespace bench {
namespace {

constexpr uint64_t kStageSecondsMax = 1800;
constexpr double kWarmBytes = double(uint64_t{6} << 30);  // what the largest cells take

// A directory for one cell; it goes when the cell is done.
class CellDirectory {
 public:
  explicit CellDirectory(const std::string& parent) : path_(parent + "/dskvs-bench-XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) {
      fail("cannot make a directory in {}: {}", parent, strerror(errno));
    }
  }
  ~CellDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  CellDirectory(const CellDirectory&) = delete;
  CellDirectory& operator=(const CellDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string result_file() const { return path_ + "/result"; }

 private:
  std::string path_;
};

pid_t spawn(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = -1;
  int code = posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, arguments.data(), environ);
  if (code != 0) fail("cannot start a process: {}", strerror(code));
  return child;
}

// True when the process ended well; ends it when it takes too long.
bool wait_for(pid_t child) {
  uint64_t end_ns = now_ns() + kStageSecondsMax * 1'000'000'000;
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (now_ns() > end_ns) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      break;
    }
    usleep(10'000);
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool run_stages(const Plan& plan, const StoreKind& store, const Workload& workload,
                Results* results) {
  CellDirectory directory(plan.directory);
  for (std::string_view stage : workload.stages) {
    ::sync();  // nobody pays for what the one before left to be written
    warm_free_memory(uint64_t(kWarmBytes * plan.scale));
    pid_t child = spawn({"dskvs_bench", "cell", std::string(store.name), std::string(workload.name),
                         std::string(stage), directory.path(), fmt::format("{}", plan.scale),
                         fmt::format("{}", plan.seconds), directory.result_file()});
    if (!wait_for(child)) return false;
    results->load(directory.result_file());
    std::filesystem::remove(directory.result_file());
  }
  return true;
}

}  // namespace

int run_plan(const Plan& plan) {
  Report report(plan);
  int failures = 0;
  for (int repeat = 0; repeat < plan.repeats; ++repeat) {
    for (const Workload* workload : plan.workloads) {
      for (const StoreKind* store : plan.stores) {
        if (!workload->takes(*store)) continue;
        uint64_t begin_ns = now_ns();
        Results results;
        bool ok = run_stages(plan, *store, *workload, &results);
        if (!ok) ++failures;
        double seconds = double(now_ns() - begin_ns) / 1e9;
        fmt::print(stderr, "{} of {}  {:<14}{:<14}{:6.1f} s{}\n", repeat + 1, plan.repeats,
                   workload->name, store->name, seconds, ok ? "" : "  FAILED");
        report.add(*workload, *store, repeat, ok, results);
      }
    }
  }
  report.print();
  return failures;
}

void run_cell(const std::vector<std::string>& arguments) {
  if (arguments.size() != 7) fail("cell: seven arguments are expected");
  const StoreKind* store = find_store_kind(arguments[0]);
  const Workload* workload = find_workload(arguments[1]);
  if (store == nullptr || workload == nullptr) fail("cell: no such store or workload");
  Cell cell{.kind = store,
            .directory = arguments[3],
            .stage = arguments[2],
            .scale = std::stod(arguments[4]),
            .seconds = std::stod(arguments[5]),
            .results = {}};
  workload->run(cell);
  cell.results.save(arguments[6]);
}

}  // namespace bench
