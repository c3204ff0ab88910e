#include "store.h"

#include "failure.h"
#include "progress_bar.h"

#include <algorithm>

namespace dskvs::cli {

SortedList::SortedList(dskvs_list* list) : list_(list) {
  items_.reserve(dskvs_list_size(list));
  const char* name = nullptr;
  size_t name_size = 0;
  const void* value = nullptr;
  size_t value_size = 0;
  while (dskvs_list_next(list, &name, &name_size, &value, &value_size) == DSKVS_OK) {
    items_.push_back({{name, name_size}, {static_cast<const char*>(value), value_size}});
  }
  std::sort(items_.begin(), items_.end(),
            [](const Item& a, const Item& b) { return a.name < b.name; });
}

void expect_key(std::string_view key) {
  // 0 is never a store; a key is checked before the handle is.
  const int32_t status = dskvs_contains(0, key.data(), key.size());
  if (status == DSKVS_ERR_KEY) expect_ok(status);
}

Store Store::open(const char* path, dskvs_options options) {
  ProgressBar bar("open");
  options.progress = ProgressBar::callback;
  options.progress_context = &bar;
  dskvs_t handle = 0;
  expect_ok(dskvs_open(path, &options, &handle));
  return Store(handle);
}

Store Store::open_to_read(const char* path) {
  dskvs_options options = DSKVS_OPTIONS_INIT;
  options.read_only = 1;
  options.create = static_cast<uint64_t>(Create::kMustExist);
  return open(path, options);
}

Store Store::open_to_write(const char* path, Create create) {
  dskvs_options options = DSKVS_OPTIONS_INIT;
  options.create = static_cast<uint64_t>(create);
  return open(path, options);
}

void Store::put(std::string_view key, std::string_view value) {
  expect_ok(dskvs_put(handle_, key.data(), key.size(), value.data(), value.size()));
}

SortedList Store::collections() const {
  dskvs_list* list = nullptr;
  expect_ok(dskvs_collections(handle_, &list));
  return SortedList(list);
}

SortedList Store::get_all(std::string_view collection) const {
  dskvs_list* list = nullptr;
  expect_ok(dskvs_get_all(handle_, collection.data(), collection.size(), &list));
  return SortedList(list);
}

dskvs_stats_t Store::stats() const {
  dskvs_stats_t stats = DSKVS_STATS_INIT;
  expect_ok(dskvs_stats(handle_, &stats));
  return stats;
}

void Store::sync() { expect_ok(dskvs_sync(handle_, DSKVS_FOREVER)); }

void Store::close() { expect_ok(dskvs_close(std::exchange(handle_, 0))); }

uint64_t member_count(std::string_view value) {
  uint64_t count = 0;
  for (size_t i = value.size(); i > 0; --i) {
    count = count << 8 | static_cast<unsigned char>(value[i - 1]);
  }
  return count;
}

}  // namespace dskvs::cli
