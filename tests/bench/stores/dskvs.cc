// dskvs through its C ABI, and nothing else of it.
#include "stores/dskvs_store.h"

#include <vector>

namespace bench {
namespace {

class DskvsSession : public Session {
 public:
  DskvsSession(dskvs_t store, size_t value_size) : store_(store), buffer_(value_size + 1) {}

  void put(std::string_view key, std::string_view value) override {
    expect_dskvs(dskvs_put(store_, key.data(), key.size(), value.data(), value.size()), "put");
  }

  std::string_view get_copied(std::string_view key) override {
    size_t size = 0;
    int32_t status =
        dskvs_get_into(store_, key.data(), key.size(), buffer_.data(), buffer_.size(), &size);
    if (status == DSKVS_NOT_FOUND) return {};
    expect_dskvs(status, "get_into");
    return {buffer_.data(), size};
  }

  bool get_pinned(std::string_view key, uint64_t* digest) override {
    const void* value = nullptr;
    size_t size = 0;
    int32_t status = dskvs_get(store_, key.data(), key.size(), &value, &size);
    if (status == DSKVS_NOT_FOUND) return false;
    expect_dskvs(status, "get");
    look_at(value, size, digest);
    dskvs_release(value);
    return true;
  }

  bool erase(std::string_view key) override {
    int32_t status = dskvs_delete(store_, key.data(), key.size());
    if (status == DSKVS_NOT_FOUND) return false;
    expect_dskvs(status, "delete");
    return true;
  }

  uint64_t get_all(std::string_view collection, uint64_t* digest) override {
    dskvs_list* list = nullptr;
    expect_dskvs(dskvs_get_all(store_, collection.data(), collection.size(), &list), "get_all");
    const char* member = nullptr;
    const void* value = nullptr;
    size_t member_size = 0, value_size = 0;
    uint64_t count = 0;
    while (dskvs_list_next(list, &member, &member_size, &value, &value_size) == DSKVS_OK) {
      look_at(value, value_size, digest);
      ++count;
    }
    dskvs_list_free(list);
    return count;
  }

  void delete_all(std::string_view collection) override {
    expect_dskvs(dskvs_delete_all(store_, collection.data(), collection.size(), nullptr),
                 "delete_all");
  }

 private:
  dskvs_t store_;
  std::vector<char> buffer_;
};

class DskvsStore : public Store {
 public:
  DskvsStore(const StoreConfig& config, uint64_t sync_interval_ms)
      : value_size_(config.value_size) {
    dskvs_options options = DSKVS_OPTIONS_INIT;
    options.sync_interval_ms = sync_interval_ms;
    expect_dskvs(dskvs_open(config.directory.c_str(), &options, &handle_), "open");
  }
  ~DskvsStore() override { expect_dskvs(dskvs_close(handle_), "close"); }

  std::unique_ptr<Session> session() override {
    return std::make_unique<DskvsSession>(handle_, value_size_);
  }

  void sync() override { expect_dskvs(dskvs_sync(handle_, DSKVS_FOREVER), "sync"); }

  std::optional<Figures> figures() override {
    dskvs_stats_t stats = dskvs_stats_of(handle_);
    return Figures{stats.bytes_written, stats.memory_bytes, stats.written_lag_us,
                   stats.durable_lag_us};
  }

  dskvs_t handle() const { return handle_; }

 private:
  size_t value_size_;
  dskvs_t handle_ = 0;
};

std::unique_ptr<Store> open_default(const StoreConfig& config) {
  constexpr dskvs_options kDefaults = DSKVS_OPTIONS_INIT;
  return std::make_unique<DskvsStore>(config, kDefaults.sync_interval_ms);
}

std::unique_ptr<Store> open_nosync(const StoreConfig& config) {
  return std::make_unique<DskvsStore>(config, 0);
}

}  // namespace

dskvs_t dskvs_handle_of(const Store& store) {
  return static_cast<const DskvsStore&>(store).handle();
}

extern const StoreKind kDskvsStore;
const StoreKind kDskvsStore = {"dskvs", "defaults", kPersists | kPins | kScans, open_default};

extern const StoreKind kDskvsNosyncStore;
const StoreKind kDskvsNosyncStore = {"dskvs-nosync",
                                     "sync_interval_ms=0: to see what syncing costs",
                                     kPersists | kPins | kScans, open_nosync};

}  // namespace bench
