// The door: checks arguments, finds the store, and calls it. No logic of its own. dskvs.h says what
// each function means.
#include <dskvs/dskvs.h>

#include "handles.h"
#include "world.h"

#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

// Entries, each with one reference, and a cursor.
struct dskvs_list {
  dskvs_list() = default;
  dskvs_list(const dskvs_list&) = delete;
  dskvs_list& operator=(const dskvs_list&) = delete;
  ~dskvs_list() {
    for (size_t i = 0; i < entries.size(); i++) {
      if (i + 8 < entries.size()) __builtin_prefetch(entries[i + 8], 1);
      entries[i]->unpin();
    }
  }

  std::vector<dskvs::Entry*> entries;
  size_t next = 0;
};

namespace dskvs {
namespace {

// Clears what a call puts out, before anything can fail. Each output is followed by its name; the
// status is about the first that is NULL.
template <typename T, typename... More>
Status outputs(T* output, const char* name, More... more) noexcept {
  Status status = Status::kOk;
  if constexpr (sizeof...(more) != 0) status = outputs(more...);
  if (output == nullptr) return fail(Status::kArgument, "{} is NULL", name);
  *output = T{};
  return status;
}

// A section keeps the persister and, when bags are full, writers waiting: what takes long is done
// outside.
constexpr size_t kCopiedInSectionMax = size_t{64} << 10;

// Everything passes through here: nothing is thrown across the ABI.
template <typename Body>
int32_t guarded(Status outputs, Body&& body) noexcept {
  try {
    if (!reclaimer::register_thread()) {
      return static_cast<int32_t>(fail(Status::kMemory, "no memory for the calling thread"));
    }
    return static_cast<int32_t>(outputs == Status::kOk ? body() : outputs);
  } catch (const std::bad_alloc&) {
    return static_cast<int32_t>(fail(Status::kMemory, "out of memory"));
  } catch (const std::exception& e) {
    return static_cast<int32_t>(fail(Status::kInternal, "{}", e.what()));
  } catch (...) {
    return static_cast<int32_t>(fail(Status::kInternal, "an unknown exception"));
  }
}

// Likewise, for what works on files: of failures that it overcame, who succeeds says nothing. Nor
// of those of calls that a progress callback made.
template <typename Body>
int32_t guarded_io(Status outputs, Body&& body) noexcept {
  char before[kErrorTextSizeMax + 1];
  std::strcpy(before, last_error());
  const int32_t status = guarded(outputs, body);
  if (status == DSKVS_OK) set_last_error(before);
  return status;
}

// Likewise, for writers.
template <typename Body>
int32_t guarded_write(Body&& body) noexcept {
  return guarded(Status::kOk, [&] {
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

Status check_given(const void* pointer, const char* what) noexcept {
  return pointer != nullptr ? Status::kOk : fail(Status::kArgument, "{} is NULL", what);
}

Status check_name(const char* name, size_t size) noexcept {
  Status status = check_bytes(name, size, "collection");
  return status == Status::kOk ? check_collection({name, size}) : status;
}

// Calls `body(const HashedKey&)` when the key is one.
template <typename Body>
Status with_key(const char* text, size_t size, Body&& body) {
  Key key;
  Status status = check_bytes(text, size, "key");
  if (status == Status::kOk) status = parse_key({text, size}, &key);
  return status == Status::kOk ? body(HashedKey(key)) : status;
}

// Calls `body(const Options&)` when these are some.
template <typename Body>
Status with_options(const char* path, const dskvs_options* options, Body&& body) {
  Options parsed;
  Status status = check_given(path, "path");
  if (status == Status::kOk) status = parse_options(options, &parsed);
  return status == Status::kOk ? body(parsed) : status;
}

// Calls `body(Store&)` in a section.
template <typename Body>
Status with_store(dskvs_t handle, Body&& body) {
  ReadSection section;
  Store* store;
  Status status = look_up(handle, &store);
  if (status != Status::kOk) return status;
  if constexpr (std::is_void_v<decltype(body(*store))>) {
    body(*store);
    return status;
  } else {
    return body(*store);
  }
}

// Calls `body(Entry&)` in a section, if there is one of this key.
template <typename Body>
Status with_entry(dskvs_t handle, const char* text, size_t size, Body&& body) {
  return with_key(text, size, [&](const HashedKey& key) {
    return with_store(handle, [&](Store& store) {
      Entry* entry = store.find(key);
      return entry != nullptr ? body(*entry) : Status::kNotFound;
    });
  });
}

// Calls `body(Store&)` outside of sections, and keeps the store from being destroyed.
template <typename Body>
Status with_pinned_store(dskvs_t handle, Body&& body) {
  auto unpin = [](Store* store) { store->unpin(); };
  std::unique_ptr<Store, decltype(unpin)> pinned;
  Status status = with_store(handle, [&](Store& store) {
    store.pin();
    pinned.reset(&store);
  });
  return status == Status::kOk ? body(*pinned) : status;
}

// Hands out the list that `fill(std::vector<Entry*>*)` makes, when it returns kOk or `or_else`.
template <typename Fill>
Status make_list(dskvs_list** list, Fill&& fill, Status or_else = Status::kOk) {
  auto made = std::make_unique<dskvs_list>();
  Status status = fill(&made->entries);
  bool good = status == Status::kOk || status == or_else;
  if (list != nullptr && good) *list = made.release();
  return status;
}

// Calls `body(Store&)` in a section when the store accepts a change of so many bytes.
template <typename Body>
Status with_room(dskvs_t handle, Change change, uint64_t bytes, Body&& body) {
  bool room = false;
  Status status;
  do {
    status = with_store(handle, [&](Store& store) {
      room = store.has_room(change, bytes);
      return room ? body(store) : Status::kOk;
    });
    if (room || status != Status::kOk) return status;
    // The persister is behind, or the disk is full. Waited for outside of sections.
    status =
        with_pinned_store(handle, [&](Store& store) { return store.wait_for_room(change, bytes); });
  } while (status == Status::kOk);
  return status;
}

Status put(dskvs_t handle, const char* text, size_t size, Condition condition, const void* value,
           size_t value_size) {
  return with_key(text, size, [&](const HashedKey& key) {
    Status status = check_bytes(value, value_size, "value");
    if (status != Status::kOk) return status;
    // Before the value is copied: a caller who holds no store learns so at once.
    status = with_store(handle, [&](Store& store) { store.prefetch(key); });
    if (status != Status::kOk) return status;
    Entry* entry = Entry::make(key.member, value_size);
    if (entry == nullptr) {
      return fail(Status::kMemory, "no memory for a value of {} bytes", value_size);
    }
    if (value_size != 0) std::memcpy(entry->value(), value, value_size);
    status = with_room(handle, Change::kPut, size + value_size,
                       [&](Store& store) { return store.put(key, entry, condition); });
    if (status != Status::kOk) entry->unpin();
    return status;
  });
}

Status remove(dskvs_t handle, const char* text, size_t size, Condition condition) {
  return with_key(text, size, [&](const HashedKey& key) {
    return with_room(handle, Change::kRemoval, size,
                     [&](Store& store) { return store.remove(key, condition); });
  });
}

}  // namespace
}  // namespace dskvs

using namespace dskvs;

// ---- Open and close.

int32_t dskvs_options_init(dskvs_options* options, size_t size) {
  return guarded(Status::kOk, [&] { return default_options(options, size); });
}

int32_t dskvs_open(const char* path, const dskvs_options* options, dskvs_t* store) {
  return guarded_io(outputs(store, "store"), [&] {
    return with_options(path, options, [&](const Options& parsed) {
      std::unique_ptr<Store> opened;
      Status status = Store::open(path, parsed, world(), &opened);
      if (status != Status::kOk) return status;
      status = add_handle(opened, store);
      if (status == Status::kOk) return status;
      KeptFailure kept(status);
      (void)opened->close();  // its persister may run already
      return kept.again();
    });
  });
}

int32_t dskvs_close(dskvs_t store) {
  return guarded_io(Status::kOk, [&] {
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
  return guarded(outputs(value, "value", value_size, "value_size"), [&] {
    return with_entry(store, key, key_size, [&](Entry& entry) {
      entry.pin();
      *value = entry.value();
      *value_size = entry.value_size();
      return Status::kOk;
    });
  });
}

void dskvs_release(const void* value) {
  if (value != nullptr) Entry::of_value(value)->unpin();
}

int32_t dskvs_get_into(dskvs_t store, const char* key, size_t key_size, void* buffer,
                       size_t capacity, size_t* value_size) {
  return guarded(outputs(value_size, "value_size"), [&] {
    Status status = check_bytes(buffer, capacity, "buffer");
    if (status != Status::kOk) return status;
    Entry* large = nullptr;
    status = with_entry(store, key, key_size, [&](Entry& entry) {
      size_t size = entry.value_size();
      *value_size = size;
      if (size > capacity) {
        return fail(Status::kBuffer, "the value has {} bytes, the buffer {}", size, capacity);
      }
      if (size > kCopiedInSectionMax) {
        entry.pin();
        large = &entry;
      } else if (size != 0) {
        std::memcpy(buffer, entry.value(), size);
      }
      return Status::kOk;
    });
    if (large == nullptr) return status;
    std::memcpy(buffer, large->value(), large->value_size());
    large->unpin();
    return status;
  });
}

int32_t dskvs_contains(dskvs_t store, const char* key, size_t key_size) {
  return guarded(Status::kOk, [&] {
    return with_entry(store, key, key_size, [](Entry&) { return Status::kOk; });
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
  return guarded(outputs(list, "list"), [&] {
    Status status = check_name(collection, collection_size);
    if (status != Status::kOk) return status;
    return make_list(list, [&](std::vector<Entry*>* entries) {
      // Room is made outside of sections.
      for (uint64_t count = 0;;) {
        Status copied = with_store(store, [&](Store& open) {
          open.get_all({collection, collection_size}, entries->data(), entries->size(), &count);
        });
        const bool all = copied == Status::kOk && count <= entries->size();
        entries->resize(all ? count : 0);  // nothing in it was pinned if it is not all
        if (all || copied != Status::kOk) return copied;
        entries->resize(count + count / 8);
      }
    });
  });
}

int32_t dskvs_delete_all(dskvs_t store, const char* collection, size_t collection_size,
                         uint64_t* removed) {
  uint64_t unasked;
  if (removed == nullptr) removed = &unasked;
  *removed = 0;
  return guarded_write([&] {
    Status status = check_name(collection, collection_size);
    if (status != Status::kOk) return status;
    return with_store(store, [&](Store& open) {
      return open.drop({collection, collection_size}, removed);
    });
  });
}

int32_t dskvs_collections(dskvs_t store, dskvs_list** list) {
  return guarded(outputs(list, "list"), [&] {
    return make_list(list, [&](std::vector<Entry*>* entries) {
      return with_pinned_store(store, [&](Store& open) {
        open.collections(entries);
        return Status::kOk;
      });
    });
  });
}

int32_t dskvs_count(dskvs_t store, const char* collection, size_t collection_size,
                    uint64_t* members) {
  return guarded(outputs(members, "members"), [&] {
    bool all = collection == nullptr && collection_size == 0;
    Status status = all ? Status::kOk : check_name(collection, collection_size);
    if (status != Status::kOk) return status;
    return with_store(store, [&](Store& open) {
      *members = all ? open.count() : open.count({collection, collection_size});
    });
  });
}

// ---- Lists.

uint64_t dskvs_list_size(const dskvs_list* list) {
  return list == nullptr ? 0 : list->entries.size();
}

int32_t dskvs_list_next(dskvs_list* list, const char** member, size_t* member_size,
                        const void** value, size_t* value_size) {
  const Status cleared = outputs(member, "member", member_size, "member_size", value, "value",
                                 value_size, "value_size");
  return guarded(cleared, [&] {
    Status status = check_given(list, "list");
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
  return guarded(outputs(used, "used"), [&] {
    Status status = check_given(list, "list");
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
  return guarded(outputs(mark, "mark"),
                 [&] { return with_store(store, [&](Store& open) { *mark = open.mark(); }); });
}

int32_t dskvs_wait(dskvs_t store, uint64_t mark, int32_t level, uint64_t timeout_ms) {
  return guarded(Status::kOk, [&] {
    if (level != DSKVS_WRITTEN && level != DSKVS_DURABLE) {
      return fail(Status::kArgument, "level is {}; DSKVS_WRITTEN or DSKVS_DURABLE", level);
    }
    return with_pinned_store(
        store, [&](Store& open) { return open.wait(mark, static_cast<Level>(level), timeout_ms); });
  });
}

int32_t dskvs_sync(dskvs_t store, uint64_t timeout_ms) {
  return guarded(Status::kOk, [&] {
    return with_pinned_store(store, [&](Store& open) { return open.sync(timeout_ms); });
  });
}

int32_t dskvs_stats(dskvs_t store, dskvs_stats_t* stats) {
  const bool sized = stats != nullptr && is_struct_size(stats->size);
  dskvs_stats_t all = DSKVS_STATS_INIT;
  const int32_t status = guarded(check_given(stats, "stats"), [&] {
    if (!sized) return fail(Status::kArgument, "stats.size is {}", stats->size);
    return with_store(store, [&](Store& open) { open.stats(&all); });
  });
  if (!sized) return status;
  all.size = stats->size;
  std::memset(stats, 0, all.size);
  std::memcpy(stats, &all, std::min<uint64_t>(all.size, sizeof all));
  return status;
}

int32_t dskvs_compact(dskvs_t store) {
  return guarded_io(Status::kOk, [&] {
    return with_pinned_store(store, [](Store& open) { return open.compact(); });
  });
}

int32_t dskvs_backup(dskvs_t store, const char* path) {
  return guarded_io(check_given(path, "path"), [&] {
    return with_pinned_store(store, [&](Store& open) { return open.backup(path); });
  });
}

int32_t dskvs_verify(const char* path, const dskvs_options* options, dskvs_list** damage) {
  if (damage != nullptr) *damage = nullptr;
  return guarded_io(Status::kOk, [&] {
    return with_options(path, options, [&](const Options& parsed) {
      const auto fill = [&](std::vector<Entry*>* entries) {
        return verify_store(path, parsed, world(), entries);
      };
      return make_list(damage, fill, Status::kCorrupt);
    });
  });
}

int32_t dskvs_salvage(const char* path, const char* target, const dskvs_options* options,
                      dskvs_list** damage) {
  if (damage != nullptr) *damage = nullptr;
  return guarded_io(check_given(target, "target"), [&] {
    return with_options(path, options, [&](const Options& parsed) {
      return make_list(damage, [&](std::vector<Entry*>* entries) {
        return salvage_store(path, target, parsed, world(), entries);
      });
    });
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
