#include <libcuckoo/cuckoohash_map.hh>

#include "store.h"
#include "stores/text_hash.h"

namespace bench {
namespace {

using Map = libcuckoo::cuckoohash_map<std::string, std::string, TextHash, std::equal_to<>>;

class CuckooSession : public Session {
 public:
  explicit CuckooSession(Map* map) : map_(map) {}

  void put(std::string_view key, std::string_view value) override {
    if (map_->update_fn(key, [&](std::string& held) { held.assign(value); })) return;
    map_->insert_or_assign(std::string(key), std::string(value));
  }

  std::string_view get_copied(std::string_view key) override {
    bool found = map_->find_fn(key, [&](const std::string& value) { copy_.assign(value); });
    return found ? std::string_view(copy_) : std::string_view();
  }

  bool get_pinned(std::string_view key, uint64_t* digest) override {
    return map_->find_fn(
        key, [&](const std::string& value) { look_at(value.data(), value.size(), digest); });
  }

  bool erase(std::string_view key) override {
    return map_->erase_fn(key, [](std::string&) { return true; });
  }

 private:
  Map* map_;
  std::string copy_;
};

class CuckooStore : public Store {
 public:
  std::unique_ptr<Session> session() override { return std::make_unique<CuckooSession>(&map_); }

 private:
  Map map_;
};

}  // namespace

extern const StoreKind kCuckooStore;
const StoreKind kCuckooStore = {
    "libcuckoo", "cuckoohash_map of strings; memory only", kPins,
    [](const StoreConfig&) -> std::unique_ptr<Store> { return std::make_unique<CuckooStore>(); }};

}  // namespace bench
