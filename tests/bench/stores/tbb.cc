#include <tbb/concurrent_hash_map.h>

#include "store.h"
#include "stores/text_hash.h"

namespace bench {
namespace {

struct Compare {
  using is_transparent = void;
  size_t hash(std::string_view text) const { return TextHash()(text); }
  bool equal(std::string_view a, std::string_view b) const { return a == b; }
};

using Map = tbb::concurrent_hash_map<std::string, std::string, Compare>;

class TbbSession : public Session {
 public:
  explicit TbbSession(Map* map) : map_(map) {}

  void put(std::string_view key, std::string_view value) override {
    Map::accessor entry;
    map_->insert(entry, key);
    entry->second.assign(value);
  }

  std::string_view get_copied(std::string_view key) override {
    Map::const_accessor entry;
    if (!map_->find(entry, key)) return {};
    copy_.assign(entry->second);
    return copy_;
  }

  bool get_pinned(std::string_view key, uint64_t* digest) override {
    Map::const_accessor entry;
    if (!map_->find(entry, key)) return false;
    look_at(entry->second.data(), entry->second.size(), digest);
    return true;
  }

  bool erase(std::string_view key) override { return map_->erase(key); }

 private:
  Map* map_;
  std::string copy_;
};

class TbbStore : public Store {
 public:
  std::unique_ptr<Session> session() override { return std::make_unique<TbbSession>(&map_); }

 private:
  Map map_;
};

}  // namespace

extern const StoreKind kTbbStore;
const StoreKind kTbbStore = {
    "tbb", "concurrent_hash_map of strings; memory only", kPins,
    [](const StoreConfig&) -> std::unique_ptr<Store> { return std::make_unique<TbbStore>(); }};

}  // namespace bench
