// What is measured. A workload has one or more stages; each runs in a process of its own, one after
// another, in the same directory.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "results.h"
#include "store.h"

namespace bench {

// One stage of one workload on one store, once.
struct Cell {
  const StoreKind* kind;
  std::string directory;  // empty at the first stage
  std::string_view stage;
  double scale = 1;    // shrinks counts and times; only at 1 is it the real workload
  double seconds = 0;  // of each timed phase; 0: the workload's own
  Results results;

  uint64_t scaled(uint64_t count, uint64_t least = 64) const;
  double phase_seconds(double usual) const;

  std::string store_directory() const { return directory + "/store"; }
  std::unique_ptr<Store> open(uint64_t entries, uint64_t value_size) const;
  std::unique_ptr<Store> open(uint64_t entries, uint64_t value_size, uint64_t data_bytes) const;
};

struct Workload {
  std::string_view name;
  std::string_view text;  // for the list
  unsigned abilities;     // what a store needs to take part
  bool remote;            // whether a store behind a socket can take part in reasonable time
  bool dskvs_only;        // asks what only dskvs can answer
  bool by_default;        // part of a run that names no workloads
  std::span<const std::string_view> stages;
  void (*run)(Cell& cell);

  bool takes(const StoreKind& kind) const;
};

std::span<const Workload* const> workloads();
const Workload* find_workload(std::string_view name);

inline constexpr std::string_view kOneStage[] = {"run"};

}  // namespace bench
