// The C API's handles, owned, with errors as Failure.
#pragma once

#include <dskvs/dskvs.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dskvs::cli {

// A pinned value.
class Value {
 public:
  Value(const void* bytes, size_t size) : bytes_(bytes), size_(size) {}
  Value(Value&& other) noexcept
      : bytes_(std::exchange(other.bytes_, nullptr)), size_(other.size_) {}
  Value& operator=(Value&&) = delete;
  ~Value() { dskvs_release(bytes_); }

  std::string_view bytes() const { return {static_cast<const char*>(bytes_), size_}; }

 private:
  const void* bytes_;
  size_t size_;
};

// The pairs of a dskvs_list, which pins them, in the order of their names.
class SortedList {
 public:
  struct Item {
    std::string_view name;
    std::string_view value;
  };

  explicit SortedList(dskvs_list* list);
  SortedList(SortedList&& other) noexcept
      : list_(std::exchange(other.list_, nullptr)), items_(std::move(other.items_)) {}
  SortedList& operator=(SortedList&&) = delete;
  ~SortedList() { dskvs_list_free(list_); }

  const std::vector<Item>& items() const { return items_; }

 private:
  dskvs_list* list_;
  std::vector<Item> items_;
};

// Throws Failure when `key` breaks a rule of keys: what needs no store to be known.
void expect_key(std::string_view key);

enum class Create : uint64_t { kMustExist = 0, kMayCreate = 1, kMustBeNew = 2 };

class Store {
 public:
  // One instant of the store, which another process may have open. Shows progress when it is long.
  static Store open_to_read(const char* path);
  static Store open_to_write(const char* path, Create create);

  Store(Store&& other) noexcept : handle_(std::exchange(other.handle_, 0)) {}
  Store& operator=(Store&&) = delete;
  ~Store() {
    if (handle_ != 0) dskvs_close(handle_);
  }

  dskvs_t handle() const { return handle_; }

  void put(std::string_view key, std::string_view value);
  SortedList collections() const;
  SortedList get_all(std::string_view collection) const;
  dskvs_stats_t stats() const;

  // Waits until everything is durable.
  void sync();
  void close();

 private:
  explicit Store(dskvs_t handle) : handle_(handle) {}
  static Store open(const char* path, dskvs_options options);

  dskvs_t handle_;
};

// The member count that dskvs_collections() gives as a value.
uint64_t member_count(std::string_view value);

}  // namespace dskvs::cli
