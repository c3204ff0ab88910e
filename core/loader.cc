#include "loader.h"

namespace dskvs {
namespace {

Status no_memory() noexcept { return fail(Status::kMemory, "no memory to load the store"); }

// nullptr: no memory.
Collection* find_or_make(Catalog& catalog, TableFigures& figures, std::string_view name,
                         uint64_t hash) noexcept {
  Collection* found = catalog.find(hash, name);
  if (found != nullptr) return found;
  Collection* made = Collection::make(name, figures);
  if (made == nullptr) return nullptr;
  (void)catalog.update(hash, name, true, [&](Collection* current, auto&& replace) {
    found = current != nullptr ? current : made;
    if (current == nullptr) replace(made);
    return Status::kOk;
  });
  if (found != made) Collection::free(made);
  return found;
}

}  // namespace

static_assert(kSegmentIdMax < Entry::kDirty);

// ---- Frames, on any thread.

RecoverySink& Loader::begin_segment(uint64_t segment_id) {
  return segments_.emplace_back(*this, segment_id);
}

Status Loader::Segment::add(FrameType type, std::string_view key, uint64_t value_size,
                            void** value) {
  Collection* collection = nullptr;
  if (type != FrameType::kDrop) {
    const size_t slash = key.find('/');  // there is one, or the frame would not have been read
    const std::string_view name = key.substr(0, slash);
    if (!reclaimer::register_thread()) return no_memory();
    reclaimer::prepare_to_retire();
    const ReadSection section;
    // It may stay empty in the end; finish() takes it out again.
    collection = find_or_make(loader_.catalog_, loader_.figures_, name, KeyHash{}(name));
    if (collection == nullptr) return no_memory();
    key.remove_prefix(slash + 1);
  }
  EntryReference entry(Entry::make(key, value_size));
  if (entry == nullptr) {
    return fail(Status::kMemory, "no memory to load a value of {} bytes", value_size);
  }
  *value = entry->value();
  pending_.push_back({type, collection, std::move(entry), KeyHash{}(key)});
  return Status::kOk;
}

Status Loader::Segment::commit(uint64_t last_epoch) {
  batches_.push_back({last_epoch, std::exchange(pending_, {})});
  return Status::kOk;
}

// ---- Segments, in their order.

Status Loader::end_segment() {
  Segment& segment = segments_.front();
  for (; !segment.batches_.empty(); segment.batches_.pop_front()) {
    Status status = apply(segment.batches_.front(), segment.id_);
    if (status != Status::kOk) return status;
  }
  segments_.pop_front();
  return Status::kOk;
}

Status Loader::apply(Batch& batch, uint32_t home) {
  constexpr size_t kAhead = 12;
  std::vector<Change>& changes = batch.changes;
  const bool undurable = batch.last_epoch > durable_epoch_;
  for (size_t i = 0; i < changes.size(); i++) {
    if (i + kAhead < changes.size() && changes[i + kAhead].collection != nullptr) {
      const Change& later = changes[i + kAhead];
      __builtin_prefetch(later.entry.get(), 1);
      later.collection->members().prefetch(later.hash);
    }
    Status status = apply(changes[i], home, undurable);
    if (status != Status::kOk) return status;
  }
  reclaimer::reclaim_if_due();
  if (undurable) undurable_.push_back(std::move(batch));
  return Status::kOk;
}

// A put gives its reference to the table, unless the change `keeps_entry`.
Status Loader::apply(Change& change, uint32_t home, bool keeps_entry) {
  if (change.type == FrameType::kDrop) {
    apply_drop(change);
    return Status::kOk;
  }
  const bool put = change.type == FrameType::kPut;
  reclaimer::prepare_to_retire();
  const ReadSection section;  // or another store, going quiet, frees what is retired here too soon
  Status status = change.collection->members().update(
      change.hash, change.entry->key(), put, [&](Entry* current, auto&& replace) {
        replace(put ? change.entry.get() : nullptr);
        if (put) {
          if (keeps_entry) change.entry->pin();
          change.entry->set_home(home);
          totals_.add(totals_of(*change.collection, *change.entry));
        }
        if (current != nullptr) {
          totals_.add(totals_of(*change.collection, *current), -1);
          reclaimer::retire(current, current->bytes(),
                            [](void* entry) noexcept { static_cast<Entry*>(entry)->unpin(); });
        }
        return Status::kOk;
      });
  if (status != Status::kOk) return no_memory();
  if (put && !keeps_entry) (void)change.entry.release();
  return Status::kOk;
}

void Loader::apply_drop(const Change& change) {
  Collection* collection;
  {
    ReadSection section;
    collection = catalog_.find(change.hash, change.entry->key());
  }
  if (collection == nullptr) return;
  collection->members().take_all([&](Entry* entry) {
    totals_.add(totals_of(*collection, *entry), -1);
    entry->unpin();
  });
}

// ---- The end.

Status Loader::finish(Epochs& epochs, DirtyChunks* removals) {
  epochs.add_totals(totals_);
  take_out_empty(epochs);
  for (Batch& batch : undurable_) {
    for (Change& change : batch.changes) {
      Status status = Status::kOk;
      if (change.type == FrameType::kDrop) {
        status = add_drop(change, epochs);
      } else if (change.type == FrameType::kRemove) {
        status = add_removal(change, epochs, removals);
      } else {
        change.entry->set_home(Entry::kNowhere);
      }
      if (status != Status::kOk) return status;
    }
  }
  undurable_.clear();
  return Status::kOk;
}

// Collections without members leave the catalog; tombstones may still need their names.
void Loader::take_out_empty(Epochs& epochs) {
  uint64_t cursor = 0;
  do {
    const ReadSection section;
    Collection* empty[Catalog::kPartNodesMax];
    uint32_t count = 0;
    (void)catalog_.visit_part(&cursor, [&](Collection* collection) {
      if (collection->members().count() == 0) empty[count++] = collection;
      return Status::kOk;
    });
    for (uint32_t i = 0; i < count; i++) epochs.end_if_empty(catalog_, *empty[i]);
  } while (cursor != 0);
}

Status Loader::add_drop(const Change& change, Epochs& epochs) {
  Collection* dropped = Collection::make(change.entry->key(), figures_);
  if (dropped == nullptr) return no_memory();
  dropped->dropped_epoch.store(epochs.open() - 1, std::memory_order_relaxed);
  epochs.note_ended(*dropped);
  return Status::kOk;
}

Status Loader::add_removal(Change& change, Epochs& epochs, DirtyChunks* removals) {
  DirtyChunk* chunk = removals->last();
  if (chunk == nullptr || chunk->count == DirtyChunk::kRecords) {
    chunk = epochs.take_chunk();
    if (chunk == nullptr) return no_memory();
    chunk->count = 0;
    removals->push_last(chunk);
  }
  DirtyRecord& record = chunk->records[chunk->count++];
  record.collection = change.collection;
  record.word.store(reinterpret_cast<uintptr_t>(change.entry.release()) | DirtyRecord::kTombstone,
                    std::memory_order_relaxed);
  return Status::kOk;
}

void clear_catalog(Catalog& catalog) noexcept {
  catalog.take_all([](Collection* collection) {
    collection->members().take_all([](Entry* entry) { entry->unpin(); });
    Collection::free(collection);
  });
}

}  // namespace dskvs
