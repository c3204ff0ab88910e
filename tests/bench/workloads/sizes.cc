// Throughput by the size of the value: two threads, at most 64 MiB of values of each size.
#include <algorithm>
#include <atomic>

#include "workloads/common.h"

namespace bench {
namespace {

constexpr size_t kThreads = 2;

void measure(Cell& cell, size_t value_size) {
  uint64_t entries =
      std::min(cell.scaled(100'000), std::max<uint64_t>((64u << 20) / value_size, kThreads));
  Values values(value_size);
  std::unique_ptr<Store> store = cell.open(entries, value_size);
  Team team(*store, kThreads);
  load(team, entries, 10, values, value_size);

  Random random(31);
  std::vector<Keys> keys;
  for (size_t thread = 0; thread < kThreads; ++thread) {
    keys.emplace_back(uniform(entries, 100'000, &random), 10);
  }
  auto rate = [&](const char* name, auto op) {
    std::atomic<uint64_t> calls = 0;
    double seconds = team.run([&](size_t thread, Session& session) {
      calls += repeat_for(cell.phase_seconds(0.5), keys[thread].size(),
                          [&](size_t i) { op(session, keys[thread][i], i); });
    });
    cell.results.figure(fmt::format("{}/{}.rate", name, value_size), double(calls) / seconds);
  };
  rate("put_rewrite", [&](Session& session, std::string_view key, size_t i) {
    session.put(key, values.get(i, value_size));
  });
  rate("get_copied", [&](Session& session, std::string_view key, size_t) {
    expect_value(session.get_copied(key), value_size);
  });
}

}  // namespace

// Each size in a process and a directory of its own.
static constexpr std::string_view kStages[] = {"10", "100", "1000", "10000", "100000", "1000000"};

extern const Workload kSizes;
const Workload kSizes = {.name = "sizes",
                         .text = "rewriting and reading, by the size of the value",
                         .abilities = 0,
                         .remote = true,
                         .dskvs_only = false,
                         .by_default = true,
                         .stages = kStages,
                         .run = [](Cell& cell) {
                           cell.directory += "/" + std::string(cell.stage);
                           measure(cell, std::stoul(std::string(cell.stage)));
                         }};

}  // namespace bench
