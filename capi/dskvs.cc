// The door: checks arguments, finds the store, and calls it. No logic of its own. dskvs.h says what
// each function means.
#include <dskvs/dskvs.h>

#include "handles.h"
#include "list.h"

#include <exception>
#include <memory>
#include <new>

namespace dskvs {
namespace {

// Before anything can fail.
template <typename... T>
void clear(T*... outputs) noexcept {
  ((outputs == nullptr ? void() : void(*outputs = T{})), ...);
}

// Everything passes through here: nothing is thrown across the ABI.
template <typename Body>
int32_t guarded(Body&& body) noexcept {
  try {
    if (!reclaimer::register_thread()) {
      return static_cast<int32_t>(fail(Status::kMemory, "no memory for the calling thread"));
    }
    return static_cast<int32_t>(body());
  } catch (const std::bad_alloc&) {
    return static_cast<int32_t>(fail(Status::kMemory, "out of memory"));
  } catch (const std::exception& e) {
    return static_cast<int32_t>(fail(Status::kInternal, "{}", e.what()));
  } catch (...) {
    return static_cast<int32_t>(fail(Status::kInternal, "an unknown exception"));
  }
}

// Likewise, for writers.
template <typename Body>
int32_t guarded_write(Body&& body) noexcept {
  return guarded([&] {
    reclaimer::prepare_to_retire();
    Status status = body();
    reclaimer::reclaim_if_due();
    return status;
  });
}

Status check_bytes(const void* bytes, size_t size, const char* what) noexcept {
  if (bytes != nullptr || size == 0) return Status::kOk;
  return fail(Status::kArgument, "{} is NULL with a size of {}", what, size);
}

Status check_output(const void* output, const char* what) noexcept {
  return output != nullptr ? Status::kOk : fail(Status::kArgument, "{} is NULL", what);
}

Status check_key(const char* text, size_t size, Key* key) noexcept {
  Status status = check_bytes(text, size, "key");
  return status == Status::kOk ? parse_key({text, size}, key) : status;
}

Status check_name(const char* name, size_t size) noexcept {
  Status status = check_bytes(name, size, "collection");
  return status == Status::kOk ? check_collection({name, size}) : status;
}

// Calls `body(const HashedKey&)` when the key is one.
template <typename Body>
Status with_key(const char* text, size_t size, Body&& body) {
  Key key;
  Status status = check_key(text, size, &key);
  return status == Status::kOk ? body(HashedKey(key)) : status;
}

// Calls `body(Store&)` in a section.
template <typename Body>
Status with_store(dskvs_t handle, Body&& body) {
  ReadSection section;
  Store* store;
  Status status = look_up(handle, &store);
  return status == Status::kOk ? body(*store) : status;
}

// Calls `body(Store&)` outside of sections, and keeps the store from being destroyed.
template <typename Body>
Status with_pinned_store(dskvs_t handle, Body&& body) {
  auto unpin = [](Store* store) { store->unpin(); };
  std::unique_ptr<Store, decltype(unpin)> pinned;
  Status status = with_store(handle, [&](Store& store) {
    store.pin();
    pinned.reset(&store);
    return Status::kOk;
  });
  return status == Status::kOk ? body(*pinned) : status;
}

Status make_entry(const Key& key, const void* value, size_t value_size, Entry** entry) noexcept {
  *entry = Entry::make(key.member, value_size);
  if (*entry == nullptr) {
    return fail(Status::kMemory, "no memory for a value of {} bytes", value_size);
  }
  if (value_size != 0) std::memcpy((*entry)->value(), value, value_size);
  return Status::kOk;
}

// Waits outside of sections while the persister is behind.
Status put_when_there_is_room(dskvs_t handle, const HashedKey& key, Entry* entry,
                              Condition condition) {
  for (;;) {
    bool room = true;
    Status status = with_store(handle, [&](Store& store) {
      room = store.has_room();
      return room ? store.put(key, entry, condition) : Status::kOk;
    });
    if (room) return status;
    status = with_pinned_store(handle, [](Store& open) { return open.wait_for_room(); });
    if (status != Status::kOk) return status;
  }
}

Status put(dskvs_t handle, const char* text, size_t size, Condition condition, const void* value,
           size_t value_size) {
  Key key;
  Status status = check_key(text, size, &key);
  if (status == Status::kOk) status = check_bytes(value, value_size, "value");
  if (status != Status::kOk) return status;
  HashedKey hashed(key);
  // Before the value is copied: a caller who holds no store learns so at once.
  status = with_store(handle, [&](Store& store) {
    store.prefetch(hashed);
    return Status::kOk;
  });
  Entry* entry = nullptr;
  if (status == Status::kOk) status = make_entry(key, value, value_size, &entry);
  if (status != Status::kOk) return status;
  status = put_when_there_is_room(handle, hashed, entry, condition);
  if (status != Status::kOk) entry->unpin();
  return status;
}

Status remove(dskvs_t handle, const char* text, size_t size, Condition condition) {
  return with_key(text, size, [&](const HashedKey& key) {
    return with_store(handle, [&](Store& store) { return store.remove(key, condition); });
  });
}

Status get_all(dskvs_t handle, std::string_view collection, dskvs_list& list) {
  uint64_t count = 0;
  do {
    list.entries.resize(count + count / 8);
    Status status = with_store(handle, [&](Store& store) {
      store.get_all(collection, list.entries.data(), list.entries.size(), &count);
      return Status::kOk;
    });
    if (status != Status::kOk || count > list.entries.size()) {
      list.entries.clear();  // nothing in it was pinned
    }
    if (status != Status::kOk) return status;
  } while (count > list.entries.size());
  list.entries.resize(count);
  return Status::kOk;
}

}  // namespace
}  // namespace dskvs

using namespace dskvs;

// ---- Open and close.

int32_t dskvs_options_init(dskvs_options* options, size_t size) {
  return guarded([&] { return default_options(options, size); });
}

int32_t dskvs_open(const char* path, const dskvs_options* options, dskvs_t* store) {
  clear(store);
  return guarded([&] {
    Status status = check_output(store, "store");
    if (status == Status::kOk) status = check_output(path, "path");
    Options parsed;
    if (status == Status::kOk) status = parse_options(options, &parsed);
    std::unique_ptr<Store> opened;
    if (status == Status::kOk) {
      status = Store::open(path, parsed, real_environment(), &opened);
    }
    if (status != Status::kOk) return status;
    status = add_handle(opened, store);
    if (status == Status::kOk) return status;
    KeptFailure kept(status);
    (void)opened->close();  // its persister may run already
    return kept.again();
  });
}

int32_t dskvs_close(dskvs_t store) {
  return guarded([&] {
    std::unique_ptr<Store> closing;
    Status status = remove_handle(store, &closing);
    if (status != Status::kOk) return status;
    status = closing->close();
    closing.reset();
    reclaimer::reclaim_all();
    return status;
  });
}

// ---- One key.

int32_t dskvs_put(dskvs_t store, const char* key, size_t key_size, const void* value,
                  size_t value_size) {
  return guarded_write([&] { return put(store, key, key_size, std::nullopt, value, value_size); });
}

int32_t dskvs_put_if(dskvs_t store, const char* key, size_t key_size, const void* held,
                     const void* value, size_t value_size) {
  return guarded_write([&] { return put(store, key, key_size, held, value, value_size); });
}

int32_t dskvs_get(dskvs_t store, const char* key, size_t key_size, const void** value,
                  size_t* value_size) {
  clear(value, value_size);
  return guarded([&] {
    Status status = check_output(value, "value");
    if (status == Status::kOk) status = check_output(value_size, "value_size");
    if (status != Status::kOk) return status;
    return with_key(key, key_size, [&](const HashedKey& hashed) {
      return with_store(store, [&](Store& open) {
        Entry* entry = open.find(hashed);
        if (entry == nullptr) return Status::kNotFound;
        entry->pin();
        *value = entry->value();
        *value_size = entry->value_size();
        return Status::kOk;
      });
    });
  });
}

void dskvs_release(const void* value) {
  if (value != nullptr) Entry::of_value(value)->unpin();
}

int32_t dskvs_get_into(dskvs_t store, const char* key, size_t key_size, void* buffer,
                       size_t capacity, size_t* value_size) {
  clear(value_size);
  return guarded([&] {
    Status status = check_output(value_size, "value_size");
    if (status == Status::kOk) status = check_bytes(buffer, capacity, "buffer");
    if (status != Status::kOk) return status;
    return with_key(key, key_size, [&](const HashedKey& hashed) {
      return with_store(store, [&](Store& open) {
        Entry* entry = open.find(hashed);
        if (entry == nullptr) return Status::kNotFound;
        size_t size = entry->value_size();
        *value_size = size;
        if (size > capacity) {
          return fail(Status::kBuffer, "the value has {} bytes, the buffer {}", size, capacity);
        }
        if (size != 0) std::memcpy(buffer, entry->value(), size);
        return Status::kOk;
      });
    });
  });
}

int32_t dskvs_contains(dskvs_t store, const char* key, size_t key_size) {
  return guarded([&] {
    return with_key(key, key_size, [&](const HashedKey& hashed) {
      return with_store(store, [&](Store& open) {
        return open.find(hashed) != nullptr ? Status::kOk : Status::kNotFound;
      });
    });
  });
}

int32_t dskvs_delete(dskvs_t store, const char* key, size_t key_size) {
  return guarded_write([&] { return dskvs::remove(store, key, key_size, std::nullopt); });
}

int32_t dskvs_delete_if(dskvs_t store, const char* key, size_t key_size, const void* held) {
  return guarded_write([&] { return dskvs::remove(store, key, key_size, held); });
}

// ---- One collection.

int32_t dskvs_get_all(dskvs_t store, const char* collection, size_t collection_size,
                      dskvs_list** list) {
  clear(list);
  return guarded([&] {
    Status status = check_output(list, "list");
    if (status == Status::kOk) status = check_name(collection, collection_size);
    if (status != Status::kOk) return status;
    auto made = std::make_unique<dskvs_list>();
    status = get_all(store, {collection, collection_size}, *made);
    if (status == Status::kOk) *list = made.release();
    return status;
  });
}

int32_t dskvs_delete_all(dskvs_t store, const char* collection, size_t collection_size,
                         uint64_t* removed) {
  clear(removed);
  return guarded_write([&] {
    uint64_t count = 0;
    Status status = check_name(collection, collection_size);
    if (status != Status::kOk) return status;
    status = with_store(store, [&](Store& open) {
      return open.drop({collection, collection_size}, &count);
    });
    if (removed != nullptr) *removed = count;
    return status;
  });
}

int32_t dskvs_collections(dskvs_t store, dskvs_list** list) {
  clear(list);
  return guarded([&] {
    Status status = check_output(list, "list");
    if (status != Status::kOk) return status;
    auto made = std::make_unique<dskvs_list>();
    status = with_store(store, [&](Store& open) {
      open.collections(&made->entries);
      return Status::kOk;
    });
    if (status == Status::kOk) *list = made.release();
    return status;
  });
}

int32_t dskvs_count(dskvs_t store, const char* collection, size_t collection_size,
                    uint64_t* members) {
  clear(members);
  return guarded([&] {
    Status status = check_output(members, "members");
    bool all = collection == nullptr && collection_size == 0;
    if (status == Status::kOk && !all) status = check_name(collection, collection_size);
    if (status != Status::kOk) return status;
    return with_store(store, [&](Store& open) {
      *members = all ? open.count() : open.count({collection, collection_size});
      return Status::kOk;
    });
  });
}

// ---- Lists.

uint64_t dskvs_list_size(const dskvs_list* list) {
  return list == nullptr ? 0 : list->entries.size();
}

int32_t dskvs_list_next(dskvs_list* list, const char** member, size_t* member_size,
                        const void** value, size_t* value_size) {
  clear(member, member_size, value, value_size);
  return guarded([&] {
    Status status = check_output(list, "list");
    if (status == Status::kOk) status = check_output(member, "member");
    if (status == Status::kOk) status = check_output(member_size, "member_size");
    if (status == Status::kOk) status = check_output(value, "value");
    if (status == Status::kOk) status = check_output(value_size, "value_size");
    if (status != Status::kOk) return status;
    if (list->next == list->entries.size()) return Status::kNotFound;
    constexpr size_t kAhead = 8;
    if (list->next + kAhead < list->entries.size()) {
      __builtin_prefetch(list->entries[list->next + kAhead]);
    }
    Entry* entry = list->entries[list->next++];
    *member = entry->key().data();
    *member_size = entry->member_size();
    *value = entry->value();
    *value_size = entry->value_size();
    return Status::kOk;
  });
}

int32_t dskvs_list_read(dskvs_list* list, void* buffer, size_t capacity, size_t* used) {
  clear(used);
  return guarded([&] {
    Status status = check_output(list, "list");
    if (status == Status::kOk) status = check_output(used, "used");
    if (status == Status::kOk) status = check_bytes(buffer, capacity, "buffer");
    if (status != Status::kOk) return status;
    if (list->next == list->entries.size()) return Status::kNotFound;
    auto* to = static_cast<char*>(buffer);
    for (; list->next < list->entries.size(); list->next++) {
      const Entry& entry = *list->entries[list->next];
      auto member_size = static_cast<uint32_t>(entry.member_size());
      uint64_t value_size = entry.value_size();
      uint64_t bytes = sizeof member_size + sizeof value_size + member_size + value_size;
      if (bytes > capacity - *used) {
        if (*used != 0) return Status::kOk;
        *used = bytes;
        return fail(Status::kBuffer, "the record has {} bytes, the buffer {}", bytes, capacity);
      }
      std::memcpy(to, &member_size, sizeof member_size);
      std::memcpy(to += sizeof member_size, &value_size, sizeof value_size);
      std::memcpy(to += sizeof value_size, entry.key().data(), member_size);
      std::memcpy(to += member_size, entry.value(), value_size);
      to += value_size;
      *used += bytes;
    }
    return Status::kOk;
  });
}

void dskvs_list_free(dskvs_list* list) { delete list; }

// ---- The disk.

int32_t dskvs_mark(dskvs_t store, uint64_t* mark) {
  clear(mark);
  return guarded([&] {
    Status status = check_output(mark, "mark");
    if (status != Status::kOk) return status;
    return with_store(store, [&](Store& open) {
      *mark = open.mark();
      return Status::kOk;
    });
  });
}

int32_t dskvs_wait(dskvs_t store, uint64_t mark, int32_t level, uint64_t timeout_ms) {
  return guarded([&] {
    if (level != DSKVS_WRITTEN && level != DSKVS_DURABLE) {
      return fail(Status::kArgument, "level is {}; DSKVS_WRITTEN or DSKVS_DURABLE", level);
    }
    return with_pinned_store(
        store, [&](Store& open) { return open.wait(mark, static_cast<Level>(level), timeout_ms); });
  });
}

int32_t dskvs_sync(dskvs_t store, uint64_t timeout_ms) {
  return guarded(
      [&] { return with_pinned_store(store, [&](Store& open) { return open.sync(timeout_ms); }); });
}

int32_t dskvs_stats(dskvs_t store, dskvs_stats_t* stats) {
  const bool sized = stats != nullptr && is_struct_size(stats->size);
  dskvs_stats_t all = DSKVS_STATS_INIT;
  const int32_t status = guarded([&] {
    if (stats == nullptr) return check_output(stats, "stats");
    if (!sized) return fail(Status::kArgument, "stats.size is {}", stats->size);
    return with_store(store, [&](Store& open) {
      open.stats(&all);
      return Status::kOk;
    });
  });
  if (!sized) return status;
  all.size = stats->size;
  std::memset(stats, 0, all.size);
  std::memcpy(stats, &all, std::min<uint64_t>(all.size, sizeof all));
  return status;
}

int32_t dskvs_compact(dskvs_t store) {
  return guarded(
      [&] { return with_pinned_store(store, [&](Store& open) { return open.compact(); }); });
}

int32_t dskvs_backup(dskvs_t store, const char* path) {
  return guarded([&] {
    Status status = check_output(path, "path");
    if (status != Status::kOk) return status;
    return with_pinned_store(store, [&](Store& open) { return open.backup(path); });
  });
}

int32_t dskvs_verify(const char* path, const dskvs_options* options, dskvs_list** damage) {
  clear(damage);
  return guarded([&] {
    Status status = check_output(path, "path");
    Options parsed;
    if (status == Status::kOk) status = parse_options(options, &parsed);
    if (status != Status::kOk) return status;
    auto made = std::make_unique<dskvs_list>();
    status = verify_store(path, parsed, real_environment(), &made->entries);
    bool found = status == Status::kOk || status == Status::kCorrupt;
    if (damage != nullptr && found) *damage = made.release();
    return status;
  });
}

int32_t dskvs_salvage(const char* path, const char* target, const dskvs_options* options,
                      dskvs_list** damage) {
  clear(damage);
  return guarded([&] {
    Status status = check_output(path, "path");
    if (status == Status::kOk) status = check_output(target, "target");
    Options parsed;
    if (status == Status::kOk) status = parse_options(options, &parsed);
    if (status != Status::kOk) return status;
    auto made = std::make_unique<dskvs_list>();
    status = salvage_store(path, target, parsed, real_environment(), &made->entries);
    if (damage != nullptr && status == Status::kOk) *damage = made.release();
    return status;
  });
}

// ---- Words.

#define DSKVS_TEXT_OF(number) #number
#define DSKVS_TEXT(number) DSKVS_TEXT_OF(number)

const char* dskvs_version(void) {
  return DSKVS_TEXT(DSKVS_VERSION_MAJOR) "." DSKVS_TEXT(DSKVS_VERSION_MINOR) "." DSKVS_TEXT(
      DSKVS_VERSION_PATCH);
}

const char* dskvs_abi_version(void) { return "0"; }

const char* dskvs_status_name(int32_t status) { return status_name(status); }

const char* dskvs_last_error(void) { return last_error(); }
