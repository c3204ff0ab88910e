#include "loader.h"

#include "key.h"

#include <algorithm>

namespace dskvs {

Loader::~Loader() {
  discard();
  settle(kNeverEnded);
}

void Loader::forget(const Change& change) noexcept {
  if (change.entry != nullptr) {
    change.entry->unpin();
  } else {
    Collection::free(change.collection);
  }
}

// ---- Frames.

Status Loader::put(std::string_view key, uint64_t value_size, void** value) {
  Entry* entry;
  Status status = add_change(key, value_size, false, &entry);
  if (status == Status::kOk) *value = entry->value();
  return status;
}

Status Loader::remove(std::string_view key) {
  Entry* entry;
  return add_change(key, 0, true, &entry);
}

Status Loader::drop(std::string_view name) {
  reserve_change();
  Collection* holder = Collection::make(name, figures_);
  if (holder == nullptr) return fail(Status::kMemory, "no memory to load the store");
  pending_.push_back({holder, nullptr, false});
  return Status::kOk;
}

Status Loader::add_change(std::string_view text, uint64_t value_size, bool tombstone,
                          Entry** entry) {
  Key key;
  Status status = parse_key(text, &key);
  if (status != Status::kOk) return status;
  Collection* collection;
  status = collection_of(key.collection, &collection);
  if (status != Status::kOk) return status;
  reserve_change();
  *entry = Entry::make(key.member, value_size);
  if (*entry == nullptr) {
    return fail(Status::kMemory, "no memory to load a value of {} bytes", value_size);
  }
  pending_.push_back({collection, *entry, tombstone});
  return Status::kOk;
}

// What is made next is added without throwing: it belongs to nobody until then.
void Loader::reserve_change() {
  if (pending_.size() == pending_.capacity())
    pending_.reserve(std::max<size_t>(64, 2 * pending_.size()));
}

// A collection may stay empty in the end; finish() takes it out again.
Status Loader::collection_of(std::string_view name, Collection** collection) {
  uint64_t hash = KeyHash{}(name);
  *collection = catalog_.find(hash, name);
  if (*collection != nullptr) return Status::kOk;
  if (!reclaimer::prepare_to_retire()) return fail(Status::kMemory, "no memory to load the store");
  Collection* made = Collection::make(name, figures_);
  if (made == nullptr) return fail(Status::kMemory, "no memory to load the store");
  Status status = catalog_.update(hash, name, true, [&](Collection*, Collection** next) {
    *next = made;
    return Status::kOk;
  });
  if (status != Status::kOk) {
    Collection::free(made);
    return fail(status, "no memory to load the store");
  }
  *collection = made;
  return Status::kOk;
}

// ---- Commits.

Status Loader::commit(const CommitInfo& info) {
  settle(info.durable_epoch);
  for (const Change& change : pending_) {
    Status status = apply(change, static_cast<uint32_t>(info.segment_id));
    if (status != Status::kOk) return status;
  }
  reclaimer::reclaim_if_due();
  if (info.last_epoch <= info.durable_epoch) {
    discard();
  } else {
    undurable_.push_back({info.last_epoch, {}});
    undurable_.back().changes.swap(pending_);
  }
  return Status::kOk;
}

void Loader::discard() {
  for (const Change& change : pending_) forget(change);
  pending_.clear();
}

Status Loader::apply(const Change& change, uint32_t home) {
  if (change.entry == nullptr) {
    apply_drop(change.collection->key());
    return Status::kOk;
  }
  if (!reclaimer::prepare_to_retire()) return fail(Status::kMemory, "no memory to load the store");
  std::string_view member = change.entry->key();
  Status status = change.collection->members().update(
      KeyHash{}(member), member, !change.tombstone, [&](Entry* current, Entry** next) {
        *next = change.tombstone ? nullptr : change.entry;
        int64_t key_bytes =
            static_cast<int64_t>(change.collection->key().size() + 1 + member.size());
        if (*next != nullptr) {
          change.entry->pin();
          change.entry->set_home(home);
          totals_ += {.entries = 1,
                      .key_bytes = key_bytes,
                      .value_bytes = static_cast<int64_t>(change.entry->value_size()),
                      .entry_bytes = static_cast<int64_t>(change.entry->bytes())};
        }
        if (current != nullptr) {
          totals_ += {.entries = -1,
                      .key_bytes = -key_bytes,
                      .value_bytes = -static_cast<int64_t>(current->value_size()),
                      .entry_bytes = -static_cast<int64_t>(current->bytes())};
          reclaimer::retire(current, current->bytes(),
                            [](void* entry) noexcept { static_cast<Entry*>(entry)->unpin(); });
        }
        return Status::kOk;
      });
  return status == Status::kOk ? status : fail(status, "no memory to load the store");
}

void Loader::apply_drop(std::string_view name) {
  Collection* collection = catalog_.find(KeyHash{}(name), name);
  if (collection == nullptr) return;
  uint64_t cursor = 0;
  do {
    collection->members().take_part(&cursor, [&](Entry* entry) {
      totals_ += {.entries = -1,
                  .key_bytes = -static_cast<int64_t>(name.size() + 1 + entry->member_size()),
                  .value_bytes = -static_cast<int64_t>(entry->value_size()),
                  .entry_bytes = -static_cast<int64_t>(entry->bytes())};
      entry->unpin();
    });
  } while (cursor != 0);
  collection->members().clear();
}

// Forgets the changes that are durable.
void Loader::settle(uint64_t durable_epoch) {
  while (!undurable_.empty() && undurable_.front().last_epoch <= durable_epoch) {
    for (const Change& change : undurable_.front().changes) forget(change);
    undurable_.pop_front();
  }
}

// ---- The end.

Status Loader::finish(uint64_t durable_epoch, Epochs& epochs, Unsettled* unsettled) {
  settle(durable_epoch);
  epochs.add_totals(totals_);
  uint64_t last_epoch = epochs.open() - 1;
  unsettled->any = last_epoch > durable_epoch;
  take_out_empty(epochs);
  Status status = Status::kOk;
  for (Batch& batch : undurable_) {
    for (Change& change : batch.changes) {
      if (change.entry == nullptr) {
        change.collection->dropped_epoch.store(last_epoch, std::memory_order_relaxed);
        epochs.note_ended(*change.collection);
      } else if (change.tombstone) {
        if (status == Status::kOk) status = add_removal(change, epochs, unsettled);
        if (status != Status::kOk) change.entry->unpin();
      } else {
        change.entry->set_home(Entry::kNowhere);
        change.entry->unpin();
      }
    }
  }
  undurable_.clear();
  return status;
}

// Collections without members leave the catalog; tombstones may still need their names.
void Loader::take_out_empty(Epochs& epochs) {
  uint64_t cursor = 0;
  do {
    Collection* empty[Catalog::kPartNodesMax];
    uint32_t count = 0;
    (void)catalog_.visit_part(&cursor, [&](Collection* collection) {
      if (collection->members().count() == 0) empty[count++] = collection;
      return Status::kOk;
    });
    for (uint32_t i = 0; i < count; i++) {
      std::string_view name = empty[i]->key();
      (void)catalog_.update(KeyHash{}(name), name, false, [](Collection*, Collection** next) {
        *next = nullptr;
        return Status::kOk;
      });
      epochs.note_ended(*empty[i]);
    }
  } while (cursor != 0);
}

Status Loader::add_removal(const Change& change, Epochs& epochs, Unsettled* unsettled) {
  DirtyChunk* chunk = unsettled->removals;
  if (chunk == nullptr || chunk->count == DirtyChunk::kRecords) {
    chunk = epochs.take_chunk();
    if (chunk == nullptr) return fail(Status::kMemory, "no memory to load the store");
    chunk->count = 0;
    chunk->next = unsettled->removals;
    unsettled->removals = chunk;
  }
  DirtyRecord& record = chunk->records[chunk->count++];
  record.collection = change.collection;
  record.word.store(reinterpret_cast<uintptr_t>(change.entry) | DirtyRecord::kTombstone,
                    std::memory_order_relaxed);
  return Status::kOk;
}

void clear_catalog(Catalog& catalog) noexcept {
  uint64_t catalog_cursor = 0;
  do {
    catalog.take_part(&catalog_cursor, [](Collection* collection) {
      uint64_t cursor = 0;
      do {
        collection->members().take_part(&cursor, [](Entry* entry) { entry->unpin(); });
      } while (cursor != 0);
      Collection::free(collection);
    });
  } while (catalog_cursor != 0);
  catalog.clear();
}

}  // namespace dskvs
