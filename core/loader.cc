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

// Of the collection that a removal is in.
std::string_view name_in(const Entry& removal) noexcept {
  return {removal.value(), removal.value_size()};
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
  std::string_view name;
  if (type != FrameType::kDrop) {
    const size_t slash = key.find('/');  // there is one, or the frame would not have been read
    name = key.substr(0, slash);
    key.remove_prefix(slash + 1);
    const uint64_t hash = KeyHash{}(name);
    if (!reclaimer::register_thread()) return no_memory();
    reclaimer::prepare_to_retire();
    const ReadSection section;
    // What a put makes may stay empty in the end; finish() frees it again.
    collection = type == FrameType::kPut
                     ? find_or_make(loader_.catalog_, loader_.figures_, name, hash)
                     : loader_.catalog_.find(hash, name);
    if (collection == nullptr && type == FrameType::kPut) return no_memory();
  }
  const bool removal = type == FrameType::kRemove;
  EntryReference entry(Entry::make(key, removal ? name.size() : value_size));
  if (entry == nullptr) {
    return fail(Status::kMemory, "no memory to load a value of {} bytes", value_size);
  }
  *value = entry->value();
  if (removal) std::memcpy(entry->value(), name.data(), name.size());
  changes_.push_back({type, collection, std::move(entry), KeyHash{}(key)});
  ++pending_;
  return Status::kOk;
}

Status Loader::Segment::commit(uint64_t last_epoch) {
  batches_.push_back({last_epoch, std::exchange(pending_, 0)});
  return Status::kOk;
}

// ---- Segments, in their order.

Status Loader::end_segment() {
  Segment& segment = segments_.front();
  for (; !segment.batches_.empty(); segment.batches_.pop_front()) {
    Status status = apply(segment.batches_.front(), segment);
    if (status != Status::kOk) return status;
  }
  segments_.pop_front();
  return Status::kOk;
}

Status Loader::apply(const Batch& batch, Segment& segment) {
  constexpr size_t kAhead = 12;
  Queue<Change>& changes = segment.changes_;
  const bool undurable = batch.last_epoch > durable_epoch_;
  for (uint64_t left = batch.changes; left != 0; --left) {
    if (kAhead < changes.size() && changes[kAhead].collection != nullptr) {
      const Change& later = changes[kAhead];
      __builtin_prefetch(later.entry.get(), 1);
      later.collection->members().prefetch(later.hash);
    }
    Status status = apply(changes.front(), segment.id_, undurable);
    if (status != Status::kOk) return status;
    if (undurable) keep(changes.front());
    changes.pop_front();
  }
  reclaimer::reclaim_if_due();
  return Status::kOk;
}

// A put gives its reference to the table, unless the change `keeps_entry`.
Status Loader::apply(Change& change, uint32_t home, bool keeps_entry) {
  if (change.type == FrameType::kDrop) {
    apply_drop(change);
    return Status::kOk;
  }
  const bool put = change.type == FrameType::kPut;
  // An earlier segment, read at the same time, may have made it since.
  if (change.collection == nullptr) change.collection = find(name_in(*change.entry));
  if (change.collection == nullptr) return Status::kOk;
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

void Loader::keep(Change& change) {
  Queue<EntryReference>& kept = change.type == FrameType::kPut      ? puts_
                                : change.type == FrameType::kRemove ? removals_
                                                                    : drops_;
  kept.push_back(std::move(change.entry));
}

Collection* Loader::find(std::string_view name) noexcept {
  const ReadSection section;
  return catalog_.find(KeyHash{}(name), name);
}

void Loader::apply_drop(const Change& change) {
  Collection* const collection = find(change.entry->key());
  if (collection == nullptr) return;
  collection->members().take_all([&](Entry* entry) {
    totals_.add(totals_of(*collection, *entry), -1);
    entry->unpin();
  });
}

// ---- The end.

// The order among removals, and among drops, does not matter: what of them is written again stands
// in front of all puts.
Status Loader::finish(Epochs& epochs, DirtyChunks* removals) {
  epochs.add_totals(totals_);
  free_empty();
  for (; !puts_.empty(); puts_.pop_front()) puts_.front()->set_home(Entry::kNowhere);
  for (; !removals_.empty(); removals_.pop_front()) {
    Status status = add_removal(removals_.front(), epochs, removals);
    if (status != Status::kOk) return status;
  }
  for (; !drops_.empty(); drops_.pop_front()) {
    Status status = add_drop(*drops_.front(), epochs);
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

// Collections without members. All changes were made, so nothing refers to them any more.
void Loader::free_empty() {
  uint64_t cursor = 0;
  do {
    const ReadSection section;
    Collection* part[Catalog::kPartNodesMax];
    const uint32_t size = catalog_.copy_part(&cursor, part);
    for (uint32_t i = 0; i < size; i++) {
      if (part[i]->members().count() != 0) continue;
      const std::string_view name = part[i]->key();
      (void)catalog_.update(KeyHash{}(name), name, false, [&](Collection*, auto&& replace) {
        replace(nullptr);
        return Status::kOk;
      });
      part[i]->members().take_all([](Entry*) {});
      Collection::free(part[i]);
    }
  } while (cursor != 0);
}

Status Loader::add_drop(const Entry& drop, Epochs& epochs) {
  Collection* dropped = Collection::make(drop.key(), figures_);
  if (dropped == nullptr) return no_memory();
  dropped->dropped_epoch.store(epochs.open() - 1, std::memory_order_relaxed);
  epochs.note_ended(*dropped);
  return Status::kOk;
}

Status Loader::add_removal(EntryReference& removal, Epochs& epochs, DirtyChunks* removals) {
  Collection* const collection = find_or_end(name_in(*removal), epochs);
  if (collection == nullptr) return no_memory();
  DirtyChunk* chunk = removals->last();
  if (chunk == nullptr || chunk->count == DirtyChunk::kRecords) {
    chunk = epochs.take_chunk();
    if (chunk == nullptr) return no_memory();
    chunk->count = 0;
    removals->push_last(chunk);
  }
  DirtyRecord& record = chunk->records[chunk->count++];
  record.collection = collection;
  record.word.store(reinterpret_cast<uintptr_t>(removal.release()) | DirtyRecord::kTombstone,
                    std::memory_order_relaxed);
  return Status::kOk;
}

// Where there is no such collection, one that has ended lends its name. There may be several of
// one name. nullptr: no memory.
Collection* Loader::find_or_end(std::string_view name, Epochs& epochs) noexcept {
  if (Collection* const found = find(name); found != nullptr) return found;
  Collection*& last = ended_[KeyHash{}(name) % ended_.size()];
  if (last != nullptr && last->key() == name) return last;
  Collection* const made = Collection::make(name, figures_);
  if (made == nullptr) return nullptr;
  epochs.note_ended(*made);
  return last = made;
}

void clear_catalog(Catalog& catalog) noexcept {
  catalog.take_all([](Collection* collection) {
    collection->members().take_all([](Entry* entry) { entry->unpin(); });
    Collection::free(collection);
  });
}

}  // namespace dskvs
