// The second: a map of collections, each a standard map behind a reader-writer lock.
#include <mutex>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "store.h"
#include "stores/text_hash.h"

namespace bench {
namespace {

using Value = std::shared_ptr<const std::string>;

struct Collection {
  std::shared_mutex mutex;
  std::unordered_map<std::string, Value, TextHash, std::equal_to<>> members;
};

class Catalog {
 public:
  std::shared_ptr<Collection> find(std::string_view name) {
    std::shared_lock guard(mutex_);
    auto found = collections_.find(name);
    return found == collections_.end() ? nullptr : found->second;
  }

  std::shared_ptr<Collection> find_or_add(std::string_view name) {
    if (auto found = find(name)) return found;
    std::unique_lock guard(mutex_);
    auto& collection = collections_[std::string(name)];
    if (collection == nullptr) collection = std::make_shared<Collection>();
    return collection;
  }

  void remove(std::string_view name) {
    std::shared_ptr<Collection> removed;  // destroyed after the lock is given back
    std::unique_lock guard(mutex_);
    auto found = collections_.find(name);
    if (found == collections_.end()) return;
    removed = std::move(found->second);
    collections_.erase(found);
    guard.unlock();
  }

 private:
  std::shared_mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<Collection>, TextHash, std::equal_to<>>
      collections_;
};

struct Key {
  explicit Key(std::string_view key)
      : collection(key.substr(0, key.find('/'))), member(key.substr(collection.size() + 1)) {}
  std::string_view collection;
  std::string_view member;
};

class TwoLevelSession : public Session {
 public:
  explicit TwoLevelSession(Catalog* catalog) : catalog_(catalog) {}

  void put(std::string_view key, std::string_view value) override {
    Key parts(key);
    Value fresh = std::make_shared<const std::string>(value);
    auto collection = catalog_->find_or_add(parts.collection);
    std::unique_lock guard(collection->mutex);
    auto found = collection->members.find(parts.member);
    if (found != collection->members.end()) {
      found->second.swap(fresh);
    } else {
      collection->members.emplace(parts.member, std::move(fresh));
    }
    guard.unlock();
  }

  std::string_view get_copied(std::string_view key) override {
    Value value = find(key);
    if (value == nullptr) return {};
    copy_.assign(*value);
    return copy_;
  }

  bool get_pinned(std::string_view key, uint64_t* digest) override {
    Value value = find(key);
    if (value == nullptr) return false;
    look_at(value->data(), value->size(), digest);
    return true;
  }

  bool erase(std::string_view key) override {
    Key parts(key);
    auto collection = catalog_->find(parts.collection);
    if (collection == nullptr) return false;
    std::unique_lock guard(collection->mutex);
    auto found = collection->members.find(parts.member);
    if (found == collection->members.end()) return false;
    collection->members.erase(found);
    return true;
  }

  uint64_t get_all(std::string_view name, uint64_t* digest) override {
    auto collection = catalog_->find(name);
    if (collection == nullptr) return 0;
    std::vector<Value> snapshot;
    {
      std::shared_lock guard(collection->mutex);
      snapshot.reserve(collection->members.size());
      for (const auto& [member, value] : collection->members) snapshot.push_back(value);
    }
    for (const Value& value : snapshot) look_at(value->data(), value->size(), digest);
    return snapshot.size();
  }

  void delete_all(std::string_view name) override { catalog_->remove(name); }

 private:
  Value find(std::string_view key) {
    Key parts(key);
    auto collection = catalog_->find(parts.collection);
    if (collection == nullptr) return nullptr;
    std::shared_lock guard(collection->mutex);
    auto found = collection->members.find(parts.member);
    return found == collection->members.end() ? nullptr : found->second;
  }

  Catalog* catalog_;
  std::string copy_;
};

class TwoLevelStore : public Store {
 public:
  std::unique_ptr<Session> session() override {
    return std::make_unique<TwoLevelSession>(&catalog_);
  }

 private:
  Catalog catalog_;
};

}  // namespace

extern const StoreKind kTwoLevelStore;
const StoreKind kTwoLevelStore = {
    "two-level", "unordered_map of unordered_maps, a shared_mutex a collection; memory only",
    kPins | kScans,
    [](const StoreConfig&) -> std::unique_ptr<Store> { return std::make_unique<TwoLevelStore>(); }};

}  // namespace bench
