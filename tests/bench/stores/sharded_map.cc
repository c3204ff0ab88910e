// The first design that comes to mind: 64 standard maps, each behind a reader-writer lock.
#include <array>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "store.h"
#include "stores/text_hash.h"

namespace bench {
namespace {

struct alignas(64) Shard {
  std::shared_mutex mutex;
  std::unordered_map<std::string, std::string, TextHash, std::equal_to<>> map;
};

class ShardedMap {
 public:
  Shard& shard(std::string_view key) { return shards_[(TextHash()(key) >> 48) % shards_.size()]; }

 private:
  std::array<Shard, 64> shards_;
};

class ShardedSession : public Session {
 public:
  explicit ShardedSession(ShardedMap* map) : map_(map) {}

  void put(std::string_view key, std::string_view value) override {
    Shard& shard = map_->shard(key);
    std::unique_lock guard(shard.mutex);
    auto found = shard.map.find(key);
    if (found != shard.map.end()) {
      found->second.assign(value);
    } else {
      shard.map.emplace(key, value);
    }
  }

  std::string_view get_copied(std::string_view key) override {
    bool found = read(key, [&](const std::string& value) { copy_.assign(value); });
    return found ? std::string_view(copy_) : std::string_view();
  }

  bool get_pinned(std::string_view key, uint64_t* digest) override {
    return read(key,
                [&](const std::string& value) { look_at(value.data(), value.size(), digest); });
  }

  bool erase(std::string_view key) override {
    Shard& shard = map_->shard(key);
    std::unique_lock guard(shard.mutex);
    auto found = shard.map.find(key);
    if (found == shard.map.end()) return false;
    shard.map.erase(found);
    return true;
  }

 private:
  template <typename Visit>
  bool read(std::string_view key, Visit visit) {
    Shard& shard = map_->shard(key);
    std::shared_lock guard(shard.mutex);
    auto found = shard.map.find(key);
    if (found == shard.map.end()) return false;
    visit(found->second);
    return true;
  }

  ShardedMap* map_;
  std::string copy_;
};

class ShardedStore : public Store {
 public:
  std::unique_ptr<Session> session() override { return std::make_unique<ShardedSession>(&map_); }

 private:
  ShardedMap map_;
};

}  // namespace

extern const StoreKind kShardedMapStore;
const StoreKind kShardedMapStore = {
    "sharded-map", "64 unordered_maps of strings, a shared_mutex each; memory only", kPins,
    [](const StoreConfig&) -> std::unique_ptr<Store> { return std::make_unique<ShardedStore>(); }};

}  // namespace bench
