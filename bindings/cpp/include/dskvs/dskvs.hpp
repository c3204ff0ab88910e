// dskvs.hpp: dskvs for C++17 and later. Header-only, over dskvs.h alone, whose conventions hold
// here too; what is said there is not repeated.
//
//     dskvs::Store store("music");
//     store.put("artist/daft_punk", "house");
//     if (auto genre = store.get("artist/daft_punk")) std::cout << genre->view() << '\n';
//     for (auto [member, value] : store.get_all("artist")) ...
//
// Errors are thrown as dskvs::Error; expected outcomes (not found, conflict, timeout) are results.
#pragma once

#include <dskvs/dskvs.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
#if __has_include(<version>)
#include <version>
#endif
#ifdef __cpp_lib_span
#include <span>
#endif

namespace dskvs {

class Error : public std::runtime_error {
 public:
  explicit Error(std::int32_t status)
      : std::runtime_error(std::string(dskvs_status_name(status)) + ": " + dskvs_last_error()),
        status_(status) {}

  std::int32_t status() const noexcept { return status_; }

 private:
  std::int32_t status_;
};

namespace detail {

// Throws for an error; returns whether the call was done, or else met an expected outcome.
inline bool done(std::int32_t status) {
  if (status < 0) throw Error(status);
  return status == DSKVS_OK;
}

}  // namespace detail

inline dskvs_options default_options() noexcept { return DSKVS_OPTIONS_INIT; }

// A pinned value: immutable, and valid as long as this object, also after the key was overwritten
// or deleted and after the store was closed.
class Value {
 public:
  // Takes over what dskvs_get() handed out.
  Value(const void* data, std::size_t size) noexcept : data_(data), size_(size) {}
  Value(Value&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Value& operator=(Value&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Value() { dskvs_release(data_); }

  const void* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  std::string_view view() const noexcept { return {static_cast<const char*>(data_), size_}; }
  operator std::string_view() const noexcept { return view(); }
#ifdef __cpp_lib_span
  std::span<const std::byte> bytes() const noexcept {
    return {static_cast<const std::byte*>(data_), size_};
  }
#endif

 private:
  const void* data_;
  std::size_t size_;
};

// What a list holds at its cursor. Valid as long as the list.
struct Pair {
  std::string_view member;
  std::string_view value;
};

// The pairs of a collection as they were at one instant. An input range: it is gone through once.
class List {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Pair;
    using difference_type = std::ptrdiff_t;
    using pointer = const Pair*;
    using reference = const Pair&;

    Iterator() noexcept = default;
    reference operator*() const noexcept { return pair_; }
    pointer operator->() const noexcept { return &pair_; }
    Iterator& operator++() {
      advance();
      return *this;
    }
    void operator++(int) { advance(); }
    // Equal when both are at the end; no two others are compared.
    bool operator==(const Iterator& other) const noexcept { return list_ == other.list_; }
    bool operator!=(const Iterator& other) const noexcept { return list_ != other.list_; }

   private:
    friend class List;
    explicit Iterator(dskvs_list* list) : list_(list) { advance(); }

    void advance() {
      const char* member = nullptr;
      const void* value = nullptr;
      std::size_t member_size = 0;
      std::size_t value_size = 0;
      if (detail::done(dskvs_list_next(list_, &member, &member_size, &value, &value_size))) {
        pair_ = {{member, member_size}, {static_cast<const char*>(value), value_size}};
      } else {
        list_ = nullptr;
      }
    }

    dskvs_list* list_ = nullptr;
    Pair pair_;
  };

  // Takes over a list that dskvs.h handed out.
  explicit List(dskvs_list* list) noexcept : list_(list) {}
  List(List&& other) noexcept : list_(std::exchange(other.list_, nullptr)) {}
  List& operator=(List&& other) noexcept {
    std::swap(list_, other.list_);
    return *this;
  }
  ~List() { dskvs_list_free(list_); }

  std::uint64_t size() const noexcept { return dskvs_list_size(list_); }
  Iterator begin() { return Iterator(list_); }
  Iterator end() noexcept { return {}; }

 private:
  dskvs_list* list_;
};

struct CollectionSize {
  std::string name;
  std::uint64_t members;
};

// An open store. Safe to use from any thread, but for moving, closing and
// destroying it.
class Store {
 public:
  explicit Store(const std::string& path) {
    detail::done(dskvs_open(path.c_str(), nullptr, &store_));
  }
  Store(const std::string& path, const dskvs_options& options) {
    detail::done(dskvs_open(path.c_str(), &options, &store_));
  }
  Store(Store&& other) noexcept : store_(std::exchange(other.store_, 0)) {}
  Store& operator=(Store&& other) noexcept {
    std::swap(store_, other.store_);
    return *this;
  }
  // Closes. What fails then is lost to the caller: call close() to be told.
  ~Store() {
    if (store_ != 0) dskvs_close(store_);
  }

  void close() { detail::done(dskvs_close(std::exchange(store_, 0))); }
  dskvs_t handle() const noexcept { return store_; }

  // ---- One key

  void put(std::string_view key, std::string_view value) { put(key, value.data(), value.size()); }
  void put(std::string_view key, const void* value, std::size_t size) {
    detail::done(dskvs_put(store_, key.data(), key.size(), value, size));
  }

  std::optional<Value> get(std::string_view key) const {
    const void* value = nullptr;
    std::size_t size = 0;
    if (!detail::done(dskvs_get(store_, key.data(), key.size(), &value, &size))) return {};
    return Value(value, size);
  }

  // Copies into `buffer` and returns the value's size; nothing is copied when that is above
  // `capacity`.
  std::optional<std::size_t> get_into(std::string_view key, void* buffer,
                                      std::size_t capacity) const {
    std::size_t size = 0;
    std::int32_t status = dskvs_get_into(store_, key.data(), key.size(), buffer, capacity, &size);
    if (status == DSKVS_ERR_BUFFER) return size;
    if (!detail::done(status)) return {};
    return size;
  }

  bool contains(std::string_view key) const {
    return detail::done(dskvs_contains(store_, key.data(), key.size()));
  }

  // Whether there was something to remove.
  bool erase(std::string_view key) {
    return detail::done(dskvs_delete(store_, key.data(), key.size()));
  }

  // Only while the key's entry is the one that `held` was got from; empty: while it is absent.
  // False: it is another one.
  bool put_if(std::string_view key, const std::optional<Value>& held, std::string_view value) {
    return detail::done(dskvs_put_if(store_, key.data(), key.size(), held ? held->data() : nullptr,
                                     value.data(), value.size()));
  }
  bool erase_if(std::string_view key, const Value& held) {
    return detail::done(dskvs_delete_if(store_, key.data(), key.size(), held.data()));
  }

  // ---- One collection

  List get_all(std::string_view collection) const {
    dskvs_list* list = nullptr;
    detail::done(dskvs_get_all(store_, collection.data(), collection.size(), &list));
    return List(list);
  }

  // How many members there were.
  std::uint64_t erase_all(std::string_view collection) {
    std::uint64_t removed = 0;
    detail::done(dskvs_delete_all(store_, collection.data(), collection.size(), &removed));
    return removed;
  }

  std::vector<CollectionSize> collections() const {
    dskvs_list* raw = nullptr;
    detail::done(dskvs_collections(store_, &raw));
    List list(raw);
    std::vector<CollectionSize> all;
    all.reserve(static_cast<std::size_t>(list.size()));
    for (const Pair& pair : list) {
      std::uint64_t members = 0;
      for (std::size_t i = pair.value.size(); i-- > 0;)
        members = members << 8 | static_cast<unsigned char>(pair.value[i]);
      all.push_back({std::string(pair.member), members});
    }
    return all;
  }

  // Of the whole store.
  std::uint64_t count() const { return count(nullptr, 0); }
  // Members of a collection. An empty name is none, as everywhere: it does not mean the store.
  std::uint64_t count(std::string_view collection) const {
    return count(collection.empty() ? "" : collection.data(), collection.size());
  }

  // ---- The disk

  std::uint64_t mark() const {
    std::uint64_t epoch = 0;
    detail::done(dskvs_mark(store_, &epoch));
    return epoch;
  }
  // False: not within the time.
  bool wait(std::uint64_t epoch, std::int32_t level,
            std::uint64_t timeout_ms = DSKVS_FOREVER) const {
    return detail::done(dskvs_wait(store_, epoch, level, timeout_ms));
  }
  bool sync(std::uint64_t timeout_ms = DSKVS_FOREVER) {
    return detail::done(dskvs_sync(store_, timeout_ms));
  }
  dskvs_stats_t stats() const {
    dskvs_stats_t figures = DSKVS_STATS_INIT;
    detail::done(dskvs_stats(store_, &figures));
    return figures;
  }
  void compact() { detail::done(dskvs_compact(store_)); }
  void backup(const std::string& path) const { detail::done(dskvs_backup(store_, path.c_str())); }

 private:
  std::uint64_t count(const char* collection, std::size_t size) const {
    std::uint64_t members = 0;
    detail::done(dskvs_count(store_, collection, size, &members));
    return members;
  }

  dskvs_t store_ = 0;
};

struct Damage {
  std::string file;
  std::string what;

  static std::vector<Damage> all_of(List list) {
    std::vector<Damage> all;
    for (const Pair& pair : list)
      all.push_back({std::string(pair.member), std::string(pair.value)});
    return all;
  }
};

// All damage in the store at `path`; empty when it is intact.
inline std::vector<Damage> verify(const std::string& path, const dskvs_options* options = nullptr) {
  dskvs_list* list = nullptr;
  std::int32_t status = dskvs_verify(path.c_str(), options, &list);
  if (status != DSKVS_ERR_CORRUPT) detail::done(status);
  return Damage::all_of(List(list));
}

// Rescues what is intact into a new store at `target`; returns the damage.
inline std::vector<Damage> salvage(const std::string& path, const std::string& target,
                                   const dskvs_options* options = nullptr) {
  dskvs_list* list = nullptr;
  detail::done(dskvs_salvage(path.c_str(), target.c_str(), options, &list));
  return Damage::all_of(List(list));
}

}  // namespace dskvs
