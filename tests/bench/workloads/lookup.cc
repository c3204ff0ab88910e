// What one call through the C ABI costs when everything is in the processor's caches: one thread,
// 1,000 entries of 100 bytes. The difference to the same lookups inside the core is the price of
// the ABI: handle, arguments, guard.
#include <array>

#include "stores/dskvs_store.h"
#include "workloads/common.h"
#include "workloads/core_lookup.h"

namespace bench {
namespace {

constexpr uint64_t kEntries = 1000;
constexpr size_t kValueSize = 100;

template <typename Op>
void cost(Cell& cell, const char* name, Op op) {
  uint64_t begin_ns = now_ns();
  uint64_t calls = repeat_for(cell.phase_seconds(1), kEntries, op);
  cell.results.figure(fmt::format("{}_ns", name), double(now_ns() - begin_ns) / double(calls));
}

void run(Cell& cell) {
  std::unique_ptr<Store> store = cell.open(kEntries, kValueSize);
  dskvs_t handle = dskvs_handle_of(*store);
  Keys keys(in_order(0, kEntries), 10);
  Values values(kValueSize);
  for (size_t i = 0; i < kEntries; ++i) {
    expect_dskvs(
        dskvs_put(handle, keys[i].data(), kKeySize, values.get(i, kValueSize).data(), kValueSize),
        "put");
  }
  store->sync();

  std::array<char, kValueSize> buffer;
  cost(cell, "contains", [&](size_t i) {
    expect_dskvs(dskvs_contains(handle, keys[i].data(), kKeySize), "contains");
  });
  cost(cell, "get_into", [&](size_t i) {
    size_t size = 0;
    expect_dskvs(
        dskvs_get_into(handle, keys[i].data(), kKeySize, buffer.data(), buffer.size(), &size),
        "get_into");
  });
  cost(cell, "get_and_release", [&](size_t i) {
    const void* value = nullptr;
    size_t size = 0;
    expect_dskvs(dskvs_get(handle, keys[i].data(), kKeySize, &value, &size), "get");
    dskvs_release(value);
  });
  cost(cell, "put", [&](size_t i) {
    expect_dskvs(
        dskvs_put(handle, keys[i].data(), kKeySize, values.get(i, kValueSize).data(), kValueSize),
        "put");
  });

  CoreCosts core =
      time_core_lookups(cell.directory + "/core", keys, kValueSize, cell.phase_seconds(1));
  cell.results.figure("core_contains_ns", core.contains_ns);
  cell.results.figure("core_get_into_ns", core.get_into_ns);
  cell.results.figure("core_get_and_release_ns", core.get_and_release_ns);
}

}  // namespace

extern const Workload kLookup;
const Workload kLookup = {.name = "lookup",
                          .text = "one call through the C ABI, everything in cache",
                          .abilities = 0,
                          .remote = false,
                          .dskvs_only = true,
                          .by_default = true,
                          .stages = kOneStage,
                          .run = run};

}  // namespace bench
