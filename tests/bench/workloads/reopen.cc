// W4: open a store that another process has filled, and read every value once in an order of
// chance: with its files in the page cache, and after they were dropped from it.
#include "workloads/common.h"

namespace bench {
namespace {

constexpr size_t kThreads = 2;
constexpr std::string_view kStages[] = {"prepare", "warm", "cold"};

// As before each stage, but the building of keys and a first reading lie between: a host takes
// back within seconds what is free, and handing out 2 GB again takes it longer than any open.
void warm_for(uint64_t entries, size_t value_size) {
  warm_free_memory(3 * entries * value_size);  // page cache, values, and the rest
}

void prepare(Cell& cell, uint64_t entries, size_t value_size) {
  std::unique_ptr<Store> store = cell.open(entries, value_size);
  {
    Team team(*store, kThreads);
    load(team, entries, 1000, Values(value_size), value_size);
  }
  store->sync();
}

void read_all(Cell& cell, uint64_t entries, size_t value_size) {
  Random random(17);
  Indices order = shuffled(in_order(0, entries), &random);
  std::vector<Keys> keys;
  for (size_t thread = 0; thread < kThreads; ++thread) {
    Slice slice(entries, kThreads, thread);
    keys.emplace_back(
        Indices(order.begin() + ptrdiff_t(slice.first), order.begin() + ptrdiff_t(slice.limit)),
        1000);
  }

  if (cell.stage == "cold") forget_cached(cell.directory);
  warm_for(entries, value_size);
  uint64_t begin_ns = now_ns();
  std::unique_ptr<Store> store = cell.open(entries, value_size);
  double open_s = double(now_ns() - begin_ns) / 1e9;
  cell.results.figure(fmt::format("{}.open_s", cell.stage), open_s);
  if (cell.kind->can(kRemote)) return;  // reading through the socket would measure the socket

  Team team(*store, kThreads);
  double read_s = team.run([&](size_t thread, Session& session) {
    const Keys& mine = keys[thread];
    for (size_t i = 0; i < mine.size(); ++i) {
      expect_value(session.get_copied(mine[i]), value_size);
    }
  });
  cell.results.figure(fmt::format("{}.open_and_read_s", cell.stage), open_s + read_s);
}

// How fast the disk hands over the same bytes to a program that only reads them, file by file.
void measure_sequential_read(Cell& cell, uint64_t entries, size_t value_size) {
  forget_cached(cell.directory);
  warm_for(entries, value_size);
  uint64_t begin_ns = now_ns();
  uint64_t bytes = read_files(cell.store_directory());
  double seconds = double(now_ns() - begin_ns) / 1e9;
  cell.results.figure("cold.sequential_read_s", seconds);
  cell.results.figure("cold.sequential_read_bytes", double(bytes));
}

void run(Cell& cell, uint64_t entries, size_t value_size) {
  entries = cell.scaled(entries);
  if (cell.stage == "prepare") {
    prepare(cell, entries, value_size);
    cell.results.figure("disk_bytes", double(disk_bytes(cell.store_directory())));
    return;
  }
  if (cell.stage == "cold" && cell.kind->is_dskvs())
    measure_sequential_read(cell, entries, value_size);
  read_all(cell, entries, value_size);
}

}  // namespace

extern const Workload kReopenSmall;
const Workload kReopenSmall = {.name = "W4-small",
                               .text = "reopen 1 M entries of 100 bytes and read them all",
                               .abilities = kPersists,
                               .remote = true,
                               .dskvs_only = false,
                               .by_default = true,
                               .stages = kStages,
                               .run = [](Cell& cell) { run(cell, 1'000'000, 100); }};

extern const Workload kReopenLarge;
const Workload kReopenLarge = {.name = "W4-large",
                               .text = "reopen 100,000 entries of 10,000 bytes and read them all",
                               .abilities = kPersists,
                               .remote = true,
                               .dskvs_only = false,
                               .by_default = true,
                               .stages = kStages,
                               .run = [](Cell& cell) { run(cell, 100'000, 10'000); }};

}  // namespace bench
