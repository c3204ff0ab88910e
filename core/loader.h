// Builds the memory wing from what recovery reads.
#pragma once

#include "disk/recovery.h"
#include "memory/epoch.h"
#include "persister.h"

#include <deque>
#include <vector>

namespace dskvs {

// One thread, and nobody else in the catalog. Frames are kept until their commit comes; then they
// take effect, and are kept on, by reference, until a later commit says that they were durable.
class Loader final : public RecoverySink {
 public:
  Loader(Catalog& catalog, TableFigures& figures) : catalog_(catalog), figures_(figures) {}
  ~Loader() override;

  Status put(std::string_view key, uint64_t value_size, void** value) override;
  Status remove(std::string_view key) override;
  Status drop(std::string_view collection) override;
  Status commit(const CommitInfo& info) override;
  void discard() override;

  // After the last frame. What was recovered above `durable_epoch` goes to `unsettled`.
  Status finish(uint64_t durable_epoch, Epochs& epochs, Unsettled* unsettled);

 private:
  struct Change {
    Collection* collection;  // of a drop: a holder of its name, outside the catalog
    Entry* entry;            // nullptr: the collection is dropped
    bool tombstone;
  };
  struct Batch {
    uint64_t last_epoch;
    std::vector<Change> changes;
  };

  Status add_change(std::string_view key, uint64_t value_size, bool tombstone, Entry** entry);
  void reserve_change();
  Status collection_of(std::string_view name, Collection** collection);
  Status apply(const Change& change, uint32_t home);
  void apply_drop(std::string_view name);
  void settle(uint64_t durable_epoch);
  static void forget(const Change& change) noexcept;
  void take_out_empty(Epochs& epochs);
  Status add_removal(const Change& change, Epochs& epochs, Unsettled* unsettled);

  Catalog& catalog_;
  TableFigures& figures_;
  std::vector<Change> pending_;
  std::deque<Batch> undurable_;
  Totals totals_;
};

// Frees all entries and collections. Nobody else may be in the catalog.
void clear_catalog(Catalog& catalog) noexcept;

}  // namespace dskvs
