// Builds the memory wing from what recovery reads.
#pragma once

#include "disk/recovery.h"
#include "memory/epoch.h"

#include <array>
#include <deque>
#include <memory>
#include <new>
#include <utility>

namespace dskvs {

// Two stages. Each segment's frames become entries, without an order among segments: a Segment
// keeps them as changes to collections. Segments may do so at the same time: they share the catalog
// alone, look into it in ReadSections, and only add to it. Then, one segment after another and on
// one thread, the changes are made in the collections, which nobody else is in.
//
// A log may hold nothing but the smallest of frames, and memory is to stay a small multiple of its
// bytes. So only puts make collections; a change is given up as soon as it is made, and what it
// stood in serves for what its making takes; and of those above the durable epoch only the entries
// are kept.
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
  // In the arena: what one list gives back, tables and entries take.
  template <typename T>
  struct Allocator {
    using value_type = T;
    Allocator() = default;
    template <typename U>
    explicit(false) Allocator(const Allocator<U>&) noexcept {}
    T* allocate(size_t count) {
      // NOLINTNEXTLINE(bugprone-sizeof-expression): T is a pointer in a queue's own index
      void* memory = arena_allocate(count * sizeof(T));
      if (memory == nullptr) throw std::bad_alloc();
      return static_cast<T*>(memory);
    }
    void deallocate(T* memory, size_t) noexcept { arena_free(memory); }
    bool operator==(const Allocator&) const = default;
  };
  template <typename T>
  using Queue = std::deque<T, Allocator<T>>;

  struct Change {
    FrameType type;
    // kDrop: nullptr; the entry's key names it. kRemove: nullptr while there is none.
    Collection* collection;
    EntryReference entry;  // kRemove: its value is the collection's name
    uint64_t hash;         // of the entry's key
  };
  struct Batch {
    uint64_t last_epoch;
    uint64_t changes;
  };

  // What one segment committed.
  struct Segment final : RecoverySink {
    Segment(Loader& loader, uint64_t id) : loader_(loader), id_(static_cast<uint32_t>(id)) {}

    Status add(FrameType type, std::string_view key, uint64_t value_size, void** value) override;
    Status commit(uint64_t last_epoch) override;

    Loader& loader_;
    const uint32_t id_;
    Queue<Change> changes_;  // of all batches, and then `pending_` more
    Queue<Batch> batches_;
    uint64_t pending_ = 0;  // since the last commit
  };

  Status apply(const Batch& batch, Segment& segment);
  Status apply(Change& change, uint32_t home, bool keeps_entry);
  void keep(Change& change);
  Collection* find(std::string_view name) noexcept;
  void apply_drop(const Change& change);
  void free_empty();
  Status add_drop(const Entry& drop, Epochs& epochs);
  Status add_removal(EntryReference& removal, Epochs& epochs, DirtyChunks* removals);
  Collection* find_or_end(std::string_view name, Epochs& epochs) noexcept;

  Catalog& catalog_;
  TableFigures& figures_;
  uint64_t durable_epoch_ = 0;
  std::deque<Segment> segments_;  // that have not taken effect
  // What has taken effect above the durable epoch.
  Queue<EntryReference> puts_;
  Queue<EntryReference> removals_;
  Queue<EntryReference> drops_;
  std::array<Collection*, 64> ended_{};  // for removals, by the name's hash: the last of each
  Totals totals_;
};

// Frees all entries and collections. Nobody else may be in the catalog.
void clear_catalog(Catalog& catalog) noexcept;

}  // namespace dskvs
