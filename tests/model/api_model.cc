#include "model/api_model.h"

#include <dskvs/dskvs.h>

#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace dskvs::test {
namespace {

using Members = std::map<std::string, std::string>;

class Run {
 public:
  Run(const std::string& path, const Choice& choose, const Between& between)
      : path_(path), choose_(choose), between_(between) {
    open();
  }
  ~Run() {
    for (const Held& held : held_) dskvs_release(held.value);
    dskvs_close(store_);
  }

  uint64_t all() {
    using Call = void (Run::*)();
    // Frequent calls stand here more than once.
    static constexpr Call kCalls[] = {
        &Run::put,    &Run::put,      &Run::put,       &Run::put,         &Run::get,
        &Run::get,    &Run::get_into, &Run::remove,    &Run::remove,      &Run::put_if,
        &Run::put_if, &Run::count,    &Run::remove_if, &Run::get_all,     &Run::delete_all,
        &Run::hold,   &Run::check,    &Run::reopen,    &Run::collections, &Run::sync,
        &Run::compact};
    uint32_t call;
    while (choose_(std::size(kCalls), &call)) {
      between_(store_);
      (this->*kCalls[call])();
      calls_++;
    }
    reopen();
    check();
    return calls_;
  }

 private:
  struct Held {
    const void* value;
    std::string key;
    std::string bytes;
  };

  void open() {
    dskvs_options options = DSKVS_OPTIONS_INIT;
    options.sync_interval_ms = 5;
    expect("open", dskvs_open(path_.c_str(), &options, &store_), DSKVS_OK);
  }

  uint32_t number(uint32_t bound) {
    uint32_t n = 0;
    return choose_(bound, &n) ? n : 0;
  }
  std::string name() { return std::string(1 + number(3), static_cast<char>('a' + number(4))); }
  // A few members, of all sizes, so that keys meet again.
  std::string member() {
    static constexpr size_t kSizes[] = {1, 2, 8, 9, 40, 300};
    std::string text(kSizes[number(6)], static_cast<char>(number(5) * 61));
    text[0] = static_cast<char>(number(40));
    return text;
  }
  std::string value() {
    static constexpr size_t kSizes[] = {0, 1, 7, 8, 100, 511, 512, 513, 4096, 20'000};
    return std::string(kSizes[number(10)], static_cast<char>(++values_));
  }

  void expect(const char* call, int32_t status, int32_t expected) {
    if (status == expected) return;
    throw Mismatch(std::string(call) + " returned " + dskvs_status_name(status) + " (" +
                   dskvs_last_error() + "), not " + dskvs_status_name(expected) + ", at call " +
                   std::to_string(calls_));
  }
  void require(const char* what, bool holds) {
    if (!holds) throw Mismatch(std::string(what) + ", at call " + std::to_string(calls_));
  }

  std::string* find(const std::string& collection, const std::string& key_member) {
    auto c = model_.find(collection);
    if (c == model_.end()) return nullptr;
    auto m = c->second.find(key_member);
    return m == c->second.end() ? nullptr : &m->second;
  }
  void erase(const std::string& collection, const std::string& key_member) {
    model_[collection].erase(key_member);
    if (model_[collection].empty()) model_.erase(collection);
  }

  void put() {
    std::string c = name(), m = member(), v = value(), key = c + "/" + m;
    expect("put", dskvs_put(store_, key.data(), key.size(), v.data(), v.size()), DSKVS_OK);
    model_[c][m] = v;
  }

  void get() {
    std::string c = name(), m = member(), key = c + "/" + m;
    const void* value;
    size_t size;
    const std::string* expected = find(c, m);
    expect("get", dskvs_get(store_, key.data(), key.size(), &value, &size),
           expected != nullptr ? DSKVS_OK : DSKVS_NOT_FOUND);
    if (expected == nullptr) return require("get of nothing gives nothing", value == nullptr);
    bool equal = *expected == std::string(static_cast<const char*>(value), size);
    dskvs_release(value);
    require("get gives the value", equal);
  }

  void get_into() {
    std::string c = name(), m = member(), key = c + "/" + m;
    const std::string* expected = find(c, m);
    std::vector<char> buffer(number(600));
    size_t size;
    int32_t status =
        dskvs_get_into(store_, key.data(), key.size(), buffer.data(), buffer.size(), &size);
    if (expected == nullptr) return expect("get_into", status, DSKVS_NOT_FOUND);
    require("get_into gives the size", size == expected->size());
    expect("get_into", status, size <= buffer.size() ? DSKVS_OK : DSKVS_ERR_BUFFER);
    if (size > buffer.size()) return;
    require("get_into gives the value", *expected == std::string(buffer.data(), size));
  }

  void remove() {
    std::string c = name(), m = member(), key = c + "/" + m;
    bool there = find(c, m) != nullptr;
    expect("delete", dskvs_delete(store_, key.data(), key.size()),
           there ? DSKVS_OK : DSKVS_NOT_FOUND);
    if (there) erase(c, m);
  }

  // Keeps a value pinned, to be the condition of a later call.
  void hold() {
    if (held_.size() == 8) {
      dskvs_release(held_.front().value);
      held_.erase(held_.begin());
    }
    std::string c = name(), m = member(), key = c + "/" + m;
    const void* value;
    size_t size;
    const std::string* expected = find(c, m);
    if (dskvs_get(store_, key.data(), key.size(), &value, &size) != DSKVS_OK) return;
    require("get gives what is there", expected != nullptr);
    held_.push_back({value, key, *expected});
  }

  // A held value, the key that it was of, and whether it is the current one.
  std::pair<const void*, std::string> condition(bool* current) {
    if (held_.empty() || number(3) == 0) {
      std::string c = name(), m = member();
      *current = find(c, m) == nullptr;
      return {nullptr, c + "/" + m};
    }
    const Held& held = held_[number(static_cast<uint32_t>(held_.size()))];
    const void* now = nullptr;
    size_t size;
    *current = dskvs_get(store_, held.key.data(), held.key.size(), &now, &size) == DSKVS_OK &&
               now == held.value;
    dskvs_release(now);
    return {held.value, held.key};
  }

  void put_if() {
    bool current;
    auto [held, key] = condition(&current);
    std::string v = value();
    expect("put_if", dskvs_put_if(store_, key.data(), key.size(), held, v.data(), v.size()),
           current ? DSKVS_OK : DSKVS_CONFLICT);
    size_t slash = key.find('/');
    if (current) model_[key.substr(0, slash)][key.substr(slash + 1)] = v;
  }

  void remove_if() {
    bool current;
    auto [held, key] = condition(&current);
    size_t slash = key.find('/');
    int32_t expected = current ? DSKVS_OK : DSKVS_CONFLICT;
    if (held == nullptr) expected = current ? DSKVS_NOT_FOUND : DSKVS_CONFLICT;
    expect("delete_if", dskvs_delete_if(store_, key.data(), key.size(), held), expected);
    if (expected == DSKVS_OK) erase(key.substr(0, slash), key.substr(slash + 1));
  }

  Members members_of(const std::string& collection) {
    dskvs_list* list;
    expect("get_all", dskvs_get_all(store_, collection.data(), collection.size(), &list), DSKVS_OK);
    Members members;
    const char* m;
    const void* v;
    size_t m_size, v_size;
    while (dskvs_list_next(list, &m, &m_size, &v, &v_size) == DSKVS_OK) {
      members.emplace(std::string(m, m_size), std::string(static_cast<const char*>(v), v_size));
    }
    bool whole = members.size() == dskvs_list_size(list);
    dskvs_list_free(list);
    require("get_all names each member once", whole);
    return members;
  }

  void get_all() {
    std::string c = name();
    auto expected = model_.find(c);
    require("get_all gives the collection",
            members_of(c) == (expected == model_.end() ? Members() : expected->second));
  }

  void delete_all() {
    if (number(4) != 0) return;  // or the store stays empty
    std::string c = name();
    uint64_t removed;
    expect("delete_all", dskvs_delete_all(store_, c.data(), c.size(), &removed), DSKVS_OK);
    auto expected = model_.find(c);
    require("delete_all counts",
            removed == (expected == model_.end() ? 0 : expected->second.size()));
    model_.erase(c);
  }

  void count() {
    std::string c = name();
    uint64_t members;
    expect("count", dskvs_count(store_, c.data(), c.size(), &members), DSKVS_OK);
    auto expected = model_.find(c);
    require("count", members == (expected == model_.end() ? 0 : expected->second.size()));
  }

  void collections() {
    dskvs_list* list;
    expect("collections", dskvs_collections(store_, &list), DSKVS_OK);
    std::map<std::string, uint64_t> counts, expected;
    const char* c;
    const void* v;
    size_t c_size, v_size;
    while (dskvs_list_next(list, &c, &c_size, &v, &v_size) == DSKVS_OK) {
      uint64_t n = 0;
      for (size_t i = v_size; i-- > 0;) n = n << 8 | static_cast<const unsigned char*>(v)[i];
      counts[std::string(c, c_size)] = n;
    }
    dskvs_list_free(list);
    for (const auto& [collection, members] : model_) expected[collection] = members.size();
    require("collections", counts == expected);
  }

  void check() {
    if (number(4) != 0) return;
    dskvs_stats_t stats = DSKVS_STATS_INIT;
    expect("stats", dskvs_stats(store_, &stats), DSKVS_OK);
    uint64_t entries = 0, key_bytes = 0, value_bytes = 0;
    for (const auto& [collection, members] : model_) {
      require("get_all gives each collection", members_of(collection) == members);
      for (const auto& [m, v] : members) {
        entries++;
        key_bytes += collection.size() + 1 + m.size();
        value_bytes += v.size();
      }
    }
    require("stats.collections", stats.collections == model_.size());
    require("stats.entries", stats.entries == entries);
    require("stats.key_bytes", stats.key_bytes == key_bytes);
    require("stats.value_bytes", stats.value_bytes == value_bytes);
    for (const Held& held : held_) {
      require("a pinned value stays as it was",
              held.bytes == std::string(static_cast<const char*>(held.value), held.bytes.size()));
    }
  }

  void reopen() {
    if (number(8) != 0) return;
    expect("close", dskvs_close(store_), DSKVS_OK);
    expect("verify", dskvs_verify(path_.c_str(), nullptr, nullptr), DSKVS_OK);
    open();
  }

  void sync() {
    if (number(4) == 0) expect("sync", dskvs_sync(store_, DSKVS_FOREVER), DSKVS_OK);
  }

  void compact() {
    if (number(8) == 0) expect("compact", dskvs_compact(store_), DSKVS_OK);
  }

  const std::string path_;
  const Choice& choose_;
  const Between& between_;
  dskvs_t store_ = 0;
  std::map<std::string, Members> model_;
  std::vector<Held> held_;
  uint64_t calls_ = 0;
  uint32_t values_ = 0;
};

}  // namespace

uint64_t run_against_model(const std::string& path, const Choice& choose, const Between& between) {
  return Run(path, choose, between).all();
}

}  // namespace dskvs::test
