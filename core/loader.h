// Builds the memory wing from what recovery reads.
#pragma once

#include "disk/recovery.h"
#include "memory/epoch.h"

#include <deque>
#include <memory>
#include <utility>
#include <vector>

namespace dskvs {

// Two stages. Each segment's frames become entries, without an order among segments: a Segment
// keeps them, batch by batch, as changes to collections. Segments may do so at the same time: they
// share the catalog alone, look into it in ReadSections, and only add to it. Then, one segment
// after another and on one thread, the changes are made in the collections, which nobody else is
// in.
class Loader final : public SegmentedSink {
 public:
  // REQUIRES: a reclaimer::register_thread() of this thread that did not fail.
  Loader(Catalog& catalog, TableFigures& figures) : catalog_(catalog), figures_(figures) {}

  void begin(uint64_t durable_epoch) override { durable_epoch_ = durable_epoch; }
  RecoverySink& begin_segment(uint64_t segment_id) override;
  Status end_segment() override;

  // After the last segment. Of what was recovered above the durable epoch the puts have
  // Entry::kNowhere as their home, dropped collections are in the Epochs' list of the ended, and
  // the tombstones go to `removals`.
  Status finish(Epochs& epochs, DirtyChunks* removals);

 private:
  struct Unpin {
    void operator()(Entry* entry) const noexcept { entry->unpin(); }
  };
  using EntryReference = std::unique_ptr<Entry, Unpin>;
  struct Change {
    FrameType type;
    Collection* collection;  // kDrop: nullptr; the entry's key names it
    EntryReference entry;
    uint64_t hash;  // of the entry's key
  };
  struct Batch {
    uint64_t last_epoch;
    std::vector<Change> changes;
  };

  // What one segment committed.
  struct Segment final : RecoverySink {
    Segment(Loader& loader, uint64_t id) : loader_(loader), id_(static_cast<uint32_t>(id)) {}

    Status add(FrameType type, std::string_view key, uint64_t value_size, void** value) override;
    Status commit(uint64_t last_epoch) override;

    Loader& loader_;
    const uint32_t id_;
    std::vector<Change> pending_;  // since the last commit
    std::deque<Batch> batches_;
  };

  Status apply(Batch& batch, uint32_t home);
  Status apply(Change& change, uint32_t home, bool keeps_entry);
  void apply_drop(const Change& change);
  void take_out_empty(Epochs& epochs);
  Status add_drop(const Change& change, Epochs& epochs);
  Status add_removal(Change& change, Epochs& epochs, DirtyChunks* removals);

  Catalog& catalog_;
  TableFigures& figures_;
  uint64_t durable_epoch_ = 0;
  std::deque<Segment> segments_;  // that have not taken effect
  std::deque<Batch> undurable_;   // that have, by reference; oldest first
  Totals totals_;
};

// Frees all entries and collections. Nobody else may be in the catalog.
void clear_catalog(Catalog& catalog) noexcept;

}  // namespace dskvs
