// W7: get_all and delete_all of a collection of 10,000 values of 100 bytes, in a store that holds
// 20 of them.
#include <algorithm>

#include "workloads/common.h"

namespace bench {
namespace {

constexpr size_t kValueSize = 100;
constexpr uint64_t kCollectionCount = 20;
constexpr int kRounds = 10;

template <typename Op>
Histogram time_each(Op op) {
  Histogram histogram;
  for (uint64_t collection = 0; collection < kCollectionCount; ++collection) {
    std::string name = collection_name(collection);
    Laps laps;
    op(name);
    histogram.add(laps.lap());
  }
  return histogram;
}

void run(Cell& cell) {
  uint64_t members = cell.scaled(10'000);
  std::unique_ptr<Store> store = cell.open(members * kCollectionCount, kValueSize);
  {
    Team team(*store, 2);
    load(team, members * kCollectionCount, kCollectionCount, Values(kValueSize), kValueSize);
  }
  store->sync();
  std::unique_ptr<Session> session = store->session();

  Histogram get_all;
  for (int round = 0; round < kRounds; ++round) {
    get_all.add(time_each([&](const std::string& name) {
      uint64_t digest = 0;
      uint64_t count = session->get_all(name, &digest);
      use(digest);
      if (count != members) fail("get_all found {} of {} members", count, members);
    }));
  }
  cell.results.latencies("get_all", get_all);
  cell.results.latencies("delete_all",
                         time_each([&](const std::string& name) { session->delete_all(name); }));

  uint64_t digest = 0;
  if (session->get_all(collection_name(0), &digest) != 0) fail("delete_all left something");
}

}  // namespace

extern const Workload kCollections;
const Workload kCollections = {.name = "W7",
                               .text = "get_all and delete_all of 10,000 entries of 100 bytes",
                               .abilities = kScans,
                               .remote = false,
                               .dskvs_only = false,
                               .by_default = true,
                               .stages = kOneStage,
                               .run = run};

}  // namespace bench
