// One open store: the two wings and the persister, put together.
#pragma once

#include "disk/recovery.h"
#include "environment.h"
#include "key.h"
#include "memory/epoch.h"
#include "options.h"
#include "persister/persister.h"

#include <memory>
#include <optional>
#include <vector>

namespace dskvs {

// A key with what does not depend on a store, so that it is computed outside of sections.
struct HashedKey : Key {
  explicit HashedKey(const Key& key) noexcept
      : Key(key), collection_hash(KeyHash{}(key.collection)), member_hash(KeyHash{}(key.member)) {}

  uint64_t collection_hash;
  uint64_t member_hash;
};

// The condition of a conditional write: the current entry's value is at this address, or, with
// nullptr, there is none.
using Condition = std::optional<const void*>;

// Threads. The calls of the first group are made inside a ReadSection, writing ones after
// reclaimer::prepare_to_retire(); they do not block, but for the short locks of the memory wing,
// and that of the Reception to wake the persister. Those of the second group may block, and are
// made outside of sections by threads that keep the store from being destroyed by a pin. close() is
// called once, when no section that could see the store is open and no pin is left.
class Store {
 public:
  // kNotFound never; every other status of dskvs_open().
  static Status open(const char* path, const Options& options, const Environment& environment,
                     std::unique_ptr<Store>* store);
  ~Store();

  // ---- In a ReadSection.

  // The current entry; nullptr: there is none. To keep it beyond the section, pin it.
  [[nodiscard]] Entry* find(const HashedKey& key) noexcept;

  // Fetches into the cache what put() will look at first.
  void prefetch(const HashedKey& key) const noexcept;

  // The store takes `entry` when it returns kOk; else it is still the caller's. nullptr: removes
  // the key.
  // kNotFound, of removals only; kConflict, kFull, kMemory, kReadOnly.
  Status put(const HashedKey& key, Entry* entry, Condition condition) noexcept;
  Status remove(const HashedKey& key, Condition condition) noexcept {
    return put(key, nullptr, condition);
  }
  // kReadOnly, kMemory.
  Status drop(std::string_view collection, uint64_t* removed) noexcept;

  // Copies the entries of one instant, pinned, if there is room for all; `*count` says how many.
  void get_all(std::string_view collection, Entry** entries, uint64_t capacity,
               uint64_t* count) noexcept;
  [[nodiscard]] uint64_t count(std::string_view collection) noexcept;
  [[nodiscard]] uint64_t count() const noexcept;

  [[nodiscard]] bool has_room(Change change, uint64_t bytes) const noexcept {
    return persister_->reception().has_room(change, bytes);
  }
  [[nodiscard]] uint64_t mark() const noexcept { return epochs_->newest_change(); }
  void stats(dskvs_stats_t* stats) noexcept;

  void pin() noexcept { pins_.fetch_add(1, std::memory_order_relaxed); }

  // ---- With a pin.

  void unpin() noexcept { pins_.fetch_sub(1, std::memory_order_release); }
  // A made-up entry for each collection: its name, and its count in 8 bytes. Throws bad_alloc.
  void collections(std::vector<Entry*>* entries);
  Status wait_for_room(Change change, uint64_t bytes) noexcept;
  Status wait(uint64_t mark, Level level, uint64_t timeout_ms) noexcept;
  Status sync(uint64_t timeout_ms) noexcept;
  Status compact() noexcept;
  Status backup(const char* path);

  // ---- The end.

  // Makes waiting calls return, and waits for the pins to go.
  void begin_close() noexcept;
  Status close() noexcept;

  // With a manual persister.
  bool step(bool hurry) noexcept { return persister_->step(hurry); }
  uint64_t pause_us() const noexcept {
    return persister_->pause_us(environment_.clock.now_us(), false);
  }

 private:
  Store(const Environment& environment, const Options& options,
        std::unique_ptr<Directory> directory);
  Status load();
  Status copy_log(Directory& target);
  Status check_writable() noexcept;
  // What is not durable yet in a read-only store will not become so: nobody waits for it.
  [[nodiscard]] uint64_t patience_ms(uint64_t timeout_ms) const noexcept {
    return options_.read_only ? 0 : timeout_ms;
  }
  Collection* find(uint64_t hash, std::string_view name) noexcept;
  template <typename Node>
  [[gnu::noinline]] bool settle(Node& node) noexcept;
  template <typename Publish>
  Status put_in(Collection& collection, const HashedKey& key, Entry* entry, Condition condition,
                bool may_insert, bool* first, Publish&& publish) noexcept;
  Status put_in_new(const HashedKey& key, Entry* entry, Condition condition, bool* first) noexcept;
  uint64_t table_bytes() const noexcept;
  Status charge(const Entry* entry, const Entry* old) noexcept;
  Status check_room(int64_t charged_bytes) const noexcept;
  void refund(int64_t bytes) noexcept;

  const Environment environment_;
  const Options options_;
  const std::unique_ptr<Directory> directory_;
  RecoveryReport report_;

  TableFigures catalog_figures_;
  TableFigures collection_figures_;
  Catalog catalog_;
  std::optional<Epochs> epochs_;
  std::optional<Persister> persister_;  // does nothing in a read-only store

  // Bytes of entries, kept and of use while there is a limit: totals() would be a sum over lanes.
  std::atomic<int64_t> charged_bytes_{0};
  std::atomic<uint32_t> pins_{0};
};

// Checks, or rescues, a store that is not open here: see dskvs_verify() and dskvs_salvage().
// `damage` gets a made-up entry for each place.
Status verify_store(const char* path, const Options& options, const Environment& environment,
                    std::vector<Entry*>* damage);
Status salvage_store(const char* path, const char* target, const Options& options,
                     const Environment& environment, std::vector<Entry*>* damage);

}  // namespace dskvs
