// The two levels of maps: names to collections, members to entries.
#pragma once

#include "hash.h"
#include "memory/entry.h"
#include "memory/table.h"

namespace dskvs {

inline constexpr uint64_t kNeverEnded = UINT64_MAX;
inline constexpr uint64_t kEnding = kNeverEnded - 1;  // in an epoch that is not known yet

// One first-level name and its members. One allocation, with the name behind it.
//
// A collection is in the catalog from its first put. It ends, once, when delete_all takes it or the
// persister finds it empty: its table is sealed, a drop joins an epoch, it leaves the catalog, and
// a later put makes another one of the same name. An ended collection waits in the Epochs' list
// until nothing refers to it any more.
class Collection {
 public:
  using Members = Table<Entry, KeyHash>;

  // nullptr: no memory.
  [[nodiscard]] static Collection* make(std::string_view name, TableFigures& figures) noexcept {
    void* memory = arena_allocate(sizeof(Collection) + name.size());
    if (memory == nullptr) return nullptr;
    auto* collection = new (memory) Collection(name.size(), figures);
    figures.memory_bytes.fetch_add(collection->bytes(), std::memory_order_relaxed);
    std::memcpy(reinterpret_cast<char*>(collection + 1), name.data(), name.size());
    return collection;
  }
  // Not the entries: take them out first.
  static void free(Collection* collection) noexcept {
    collection->members_.figures().memory_bytes.fetch_sub(collection->bytes(),
                                                          std::memory_order_relaxed);
    collection->~Collection();
    arena_free(collection);
  }

  std::string_view key() const noexcept {
    return {reinterpret_cast<const char*>(this + 1), name_size_};
  }
  uint64_t value_size() const noexcept { return 0; }
  size_t bytes() const noexcept { return sizeof(Collection) + name_size_; }

  Members& members() noexcept { return members_; }

  // Since it left the catalog: the epoch after which nothing new refers to it, and the next in the
  // list. Guarded by the list.
  uint64_t ended_epoch = kNeverEnded;
  Collection* next_ended = nullptr;

  // The epoch that deleted all members at once; kNeverEnded while none did, kEnding while a call
  // that does is in no epoch yet (see Epochs). Records of this collection in epochs up to it are
  // void. It stands beside the table's root, which readers look at next.
  std::atomic<uint64_t> dropped_epoch{kNeverEnded};

 private:
  Collection(size_t name_size, TableFigures& figures) noexcept
      : members_(figures), name_size_(static_cast<uint16_t>(name_size)) {}

  [[no_unique_address]] Members members_;  // name_size_ stands in its padding
  const uint16_t name_size_;
};

static_assert(sizeof(Collection) == 56);

using Catalog = Table<Collection, KeyHash>;

}  // namespace dskvs
