// Goal: a table finds what was put in it and nothing else, however it grows: through all sizes of a
// part, and through the splits at which words need other hash bits than they have.
// Method: random puts, replacements and erasures beside a std::map. A key says its own hash, so
// that a few thousand keys can share so many upper bits that they reach any level, or share a slot.
#include "memory/table.h"

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "support/catch.h"
#include "support/seed.h"

namespace dskvs {
namespace {

struct OwnHash {
  uint64_t operator()(std::string_view key) const noexcept {
    uint64_t hash;
    std::memcpy(&hash, key.data(), sizeof hash);
    return hash;
  }
};

class alignas(8) Node {
 public:
  Node(std::string key, uint64_t value_size) : key_(std::move(key)), value_size_(value_size) {}
  std::string_view key() const noexcept { return key_; }
  uint64_t value_size() const noexcept { return value_size_; }

 private:
  std::string key_;
  uint64_t value_size_;
};

using TestTable = Table<Node, OwnHash>;

// Keys whose hashes share `shared_bits` upper bits, and are of few values in the byte that chooses
// the slot.
class Keys {
 public:
  Keys(uint32_t shared_bits, uint32_t slots) : shared_bits_(shared_bits), slots_(slots) {}

  std::string draw(std::mt19937_64& random) {
    const uint64_t slot = random() % slots_ * (256 / slots_);
    const uint64_t hash = (random() >> shared_bits_ & ~uint64_t{0xFF}) | slot;
    std::string key(16, '\0');
    const uint64_t number = random() % 4;  // several keys of one hash
    std::memcpy(key.data(), &hash, 8);
    std::memcpy(key.data() + 8, &number, 8);
    return key;
  }

 private:
  uint32_t shared_bits_;
  uint32_t slots_;
};

class Pair {
 public:
  ~Pair() {
    TableTotals totals;
    CHECK(table_.seal(false, &totals));
    CHECK(totals.count == model_.size());
    uint64_t value_bytes = 0;
    for (const auto& [key, node] : model_) value_bytes += node->value_size();
    CHECK(totals.value_bytes == value_bytes);
    CHECK(totals.key_bytes == 16 * model_.size());
    uint64_t taken = 0;
    table_.take_all([&](Node*) { taken++; });
    CHECK(taken == model_.size());
    CHECK(figures_.memory_bytes.load() == 0);
    CHECK(figures_.occupied.load() == 0);
  }

  void put(const std::string& key, uint64_t value_size) {
    auto node = std::make_unique<Node>(key, value_size);
    exchange(key, node.get());
    model_[key] = std::move(node);
  }

  void erase(const std::string& key) {
    exchange(key, nullptr);
    model_.erase(key);
  }

  const std::string& any_key(std::mt19937_64& random) const {
    std::string from(8, '\0');
    const uint64_t at = random();
    std::memcpy(from.data(), &at, 8);
    auto found = model_.lower_bound(from);
    return found == model_.end() ? model_.begin()->first : found->first;
  }

  void check(const std::vector<std::string>& absent) {
    {
      ReadSection section;
      for (const auto& [key, node] : model_) {
        REQUIRE(table_.find(OwnHash{}(key), key) == node.get());
      }
      for (const std::string& key : absent) {
        if (!model_.contains(key)) REQUIRE(table_.find(OwnHash{}(key), key) == nullptr);
      }
      std::vector<Node*> nodes(model_.size());
      REQUIRE(table_.snapshot(nodes.data(), nodes.size()) == model_.size());
      for (Node* node : nodes) REQUIRE(model_.at(std::string(node->key())).get() == node);
    }
    reclaimer::reclaim_if_due();
  }

  size_t size() const { return model_.size(); }

 private:
  // What is replaced is what the model says. nullptr: by nothing.
  void exchange(const std::string& key, Node* node) {
    REQUIRE(reclaimer::register_thread());
    reclaimer::prepare_to_retire();
    Node* before = nullptr;
    Status status;
    {
      ReadSection section;
      status =
          table_.update(OwnHash{}(key), key, node != nullptr, [&](Node* current, auto&& replace) {
            before = current;
            replace(node);
            return Status::kOk;
          });
    }
    reclaimer::reclaim_if_due();
    REQUIRE(status == Status::kOk);
    auto found = model_.find(key);
    REQUIRE(before == (found == model_.end() ? nullptr : found->second.get()));
  }

  TableFigures figures_;
  TestTable table_{figures_};
  std::map<std::string, std::unique_ptr<Node>> model_;
};

void grow_and_shrink(const Keys& kind, size_t entries, uint64_t seed) {
  std::mt19937_64 random(seed);
  Keys keys = kind;
  Pair pair;
  std::vector<std::string> absent;
  for (int i = 0; i < 1000; ++i) absent.push_back(keys.draw(random));
  // One in eight steps takes something away, one replaces.
  while (pair.size() < entries) {
    const uint64_t step = random() % 8;
    if (step == 0 && pair.size() != 0) {
      pair.erase(pair.any_key(random));
    } else {
      pair.put(step == 1 && pair.size() != 0 ? pair.any_key(random) : keys.draw(random),
               random() % 100);
    }
    if (random() % (entries / 8) == 0) pair.check(absent);
  }
  pair.check(absent);
  while (pair.size() > entries / 16) {
    if (random() % 4 == 0) {
      pair.put(keys.draw(random), 1);
    } else {
      pair.erase(pair.any_key(random));
    }
  }
  pair.check(absent);
}

}  // namespace

TEST_CASE("a small table grows and shrinks") {
  const uint64_t seed = test::announce_seed("small tables");
  for (size_t entries = 8; entries <= 400; entries += 7) {
    grow_and_shrink(Keys(0, 256), entries, seed + entries);
  }
}

TEST_CASE("a table grows through levels whose bits its words do not have") {
  const uint64_t seed = test::announce_seed("deep tables");
  for (uint32_t shared_bits : {0U, 5U, 6U, 7U, 8U, 13U, 14U, 15U}) {
    INFO("hashes share " << shared_bits << " bits");
    grow_and_shrink(Keys(shared_bits, 256), 6'000, seed + shared_bits);
  }
}

TEST_CASE("probing is long where hashes share few slots") {
  const uint64_t seed = test::announce_seed("crowded slots");
  for (uint32_t slots : {1U, 2U, 8U}) {
    grow_and_shrink(Keys(3, slots), 3'000, seed + slots);
  }
}

}  // namespace dskvs
