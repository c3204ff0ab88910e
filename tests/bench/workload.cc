#include "workload.h"

#include <algorithm>
#include <filesystem>

#include "keys.h"

namespace bench {

extern const Workload kSeedTable, kSeedTableLatency, kSmall, kHotCollection, kReopenSmall,
    kReopenLarge, kMemory, kCollectionsMemory, kFragmentation, kOverwrite, kHotKeys, kCollections,
    kGrowth, kLag, kSizes, kLookup;

static const Workload* const kWorkloads[] = {&kSeedTable,
                                             &kSeedTableLatency,
                                             &kSmall,
                                             &kHotCollection,
                                             &kReopenSmall,
                                             &kReopenLarge,
                                             &kMemory,
                                             &kOverwrite,
                                             &kCollections,
                                             &kGrowth,
                                             &kLag,
                                             &kHotKeys,
                                             &kCollectionsMemory,
                                             &kSizes,
                                             &kLookup,
                                             &kFragmentation};

std::span<const Workload* const> workloads() { return kWorkloads; }

const Workload* find_workload(std::string_view name) {
  for (const Workload* workload : kWorkloads) {
    if (workload->name == name) return workload;
  }
  return nullptr;
}

bool Workload::takes(const StoreKind& kind) const {
  if (dskvs_only && !kind.is_dskvs()) return false;
  if (!remote && kind.can(kRemote)) return false;
  return kind.can(abilities);
}

uint64_t Cell::scaled(uint64_t count, uint64_t least) const {
  return std::max(std::min(least, count), uint64_t(double(count) * scale));
}

double Cell::phase_seconds(double usual) const {
  return seconds > 0 ? seconds : usual * std::min(1.0, scale);
}

std::unique_ptr<Store> Cell::open(uint64_t entries, uint64_t value_size) const {
  return open(entries, value_size, entries * (kKeySize + value_size));
}

std::unique_ptr<Store> Cell::open(uint64_t entries, uint64_t value_size,
                                  uint64_t data_bytes) const {
  std::filesystem::create_directories(store_directory());
  return kind->open({store_directory(), entries, value_size, data_bytes});
}

}  // namespace bench
