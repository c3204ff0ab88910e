// Goal: the limits hold under concurrency and at their edges, and nothing is lost when one is met.
// Method: threads put until the store refuses, and every accepted entry is looked for; colliding
// keys are made for the table's hash (XXH3) as it would be without its seed; values and keys of the
// largest sizes go through put, get and a reopen. DSKVS_BIG=1 adds a value of 2^32+1 bytes.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "door.h"
#include "support/seed.h"

using namespace dskvs::test;

TEST_CASE("memory_bytes_max refuses under concurrency, loses nothing, and has room after deletes") {
  dskvs_options options = default_options();
  options.memory_bytes_max = 8 << 20;
  TempStore store(options);
  constexpr int kThreads = 4;
  std::vector<std::vector<string>> accepted(kThreads);
  std::atomic<int> wrong{0};
  auto fill = [&](size_t self) {
    for (int i = 0; i < 100000; i++) {
      string key = "t" + std::to_string(self) + "/" + std::to_string(i);
      int32_t status = put(store, key, key + string(static_cast<size_t>(i % 2000), 'v'));
      if (status == DSKVS_OK) accepted[self].push_back(key);
      if (status == DSKVS_ERR_FULL) return;
      if (status != DSKVS_OK) wrong++;
    }
    wrong++;  // it never was full
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; i++) threads.emplace_back(fill, i);
  for (std::thread& thread : threads) thread.join();
  REQUIRE(wrong == 0);

  dskvs_stats_t full = stats(store);
  REQUIRE(full.memory_bytes <= options.memory_bytes_max + options.memory_bytes_max / 100);
  REQUIRE(full.value_bytes >= options.memory_bytes_max / 2);
  size_t entries = 0;
  for (const auto& keys : accepted) {
    entries += keys.size();
    for (const string& key : keys) {
      Pinned value(store, key);
      REQUIRE(value.status == DSKVS_OK);
      REQUIRE(value.view().substr(0, key.size()) == key);
    }
  }
  REQUIRE(full.entries == entries);

  // What is refused leaves nothing, of new collections neither.
  for (int i = 0; i < 10'000; i++) {
    REQUIRE(put(store, "new" + std::to_string(i) + "/x", string(1 << 20, 'v')) == DSKVS_ERR_FULL);
  }
  REQUIRE(stats(store).memory_bytes == full.memory_bytes);

  // A refused put leaves the old value; one that needs no more room is taken.
  const auto filler = std::find_if(accepted.begin(), accepted.end(),
                                   [](const auto& keys) { return !keys.empty(); });
  REQUIRE(filler != accepted.end());  // not each thread, perhaps: one may have filled all
  const string& some = filler->back();
  string before = *get(store, some);
  REQUIRE(put(store, some, string(16 << 20, 'v')) == DSKVS_ERR_FULL);
  REQUIRE(get(store, some) == before);
  REQUIRE(put(store, some, "") == DSKVS_OK);

  for (size_t i = 0; i < kThreads; i++) {
    string name = "t" + std::to_string(i);
    REQUIRE(dskvs_delete_all(store, name.data(), name.size(), nullptr) == DSKVS_OK);
  }
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  for (int i = 0; i < 100; i++)
    REQUIRE(put(store, "room/" + std::to_string(i), string(20000, 'v')) == DSKVS_OK);
}

TEST_CASE("a cache at memory_bytes_max goes on, though each entry has a collection of its own") {
  dskvs_options options = default_options();
  options.memory_bytes_max = 8 << 20;
  TempStore store(options);
  const string value(40, 'v');
  const auto old_key = [](uint32_t i) { return "old/" + std::to_string(i); };
  uint32_t filled = 0;
  while (put(store, old_key(filled), value) == DSKVS_OK) filled++;
  uint32_t accepted = 0;
  for (uint32_t i = 0; i < filled; i++) {
    REQUIRE(remove(store, old_key(i)) == DSKVS_OK);
    const string key = "new" + std::to_string(i) + "/member";
    const int32_t status = put(store, key, value);
    REQUIRE((status == DSKVS_OK || status == DSKVS_ERR_FULL));
    if (status == DSKVS_OK) accepted++;
    if (status == DSKVS_OK) REQUIRE(remove(store, key) == DSKVS_OK);
  }
  // What was removed is freed a little later.
  REQUIRE(accepted > filled / 10);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (put(store, "big/value", string(6 << 20, 'v')) != DSKVS_OK) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  REQUIRE(stats(store).entries == 1);
}

TEST_CASE("Ten million keys, and a hundred thousand collections, come back") {
  constexpr bool kSanitizer = kAddressSanitizer || kThreadSanitizer;
  constexpr uint32_t kKeys = kSanitizer ? 100'000 : 10'000'000;
  constexpr uint32_t kCollections = kSanitizer ? 1'000 : 100'000;
  const auto key_of = [](uint32_t i) {
    return std::to_string(i % kCollections) + "/" + std::to_string(i);
  };
  TempStore store;
  uint32_t wrong = 0;
  for (uint32_t i = 0; i < kKeys; i++) {
    const string key = key_of(i);
    if (put(store, key, std::string_view(key).substr(0, i % 8)) != DSKVS_OK) wrong++;
  }
  REQUIRE(wrong == 0);
  store.reopen();
  REQUIRE(stats(store).collections == kCollections);
  REQUIRE(stats(store).entries == kKeys);
  for (uint32_t i = 0; i < kKeys; i++) {
    const string key = key_of(i);
    Pinned value(store, key);
    if (value.status != DSKVS_OK || value.view() != key.substr(0, i % 8)) wrong++;
  }
  REQUIRE(wrong == 0);
}

TEST_CASE("A store that is larger than memory_bytes_max still opens, and takes deletes") {
  TempStore store;
  for (int i = 0; i < 100; i++)
    REQUIRE(put(store, "a/" + std::to_string(i), string(20000, 'v')) == DSKVS_OK);
  dskvs_options options = default_options();
  options.memory_bytes_max = 1 << 20;
  store.reopen(options);
  REQUIRE(count(store, "a") == 100);
  REQUIRE(put(store, "a/more", "v") == DSKVS_ERR_FULL);
  REQUIRE(remove(store, "a/0") == DSKVS_OK);
  REQUIRE(dskvs_delete_all(store, "a", 1, nullptr) == DSKVS_OK);
}

namespace {

// The least of three times, in seconds, that putting and finding all of `members` takes.
double seconds_for(const std::vector<string>& members) {
  double least = 1e9;
  for (int time = 0; time < 3; time++) {
    TempDir dir(TempDir::fast_base());
    dskvs_t store = 0;
    REQUIRE(dskvs_open((dir / "store").c_str(), nullptr, &store) == DSKVS_OK);
    size_t found = 0;
    auto begin = std::chrono::steady_clock::now();
    for (const string& member : members) found += put(store, "flood/" + member, "v") == DSKVS_OK;
    for (const string& member : members) found += contains(store, "flood/" + member) == DSKVS_OK;
    std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    REQUIRE(found == 2 * members.size());
    REQUIRE(dskvs_close(store) == DSKVS_OK);
    least = std::min(least, taken.count());
  }
  return least;
}

// Members of 8 bytes, of which those bits of an unseeded hash that `mask` names are 0. The hash is
// of the member, or of the whole key.
std::vector<string> colliding(uint64_t mask, bool whole_key, size_t wanted, uint64_t seed) {
  std::vector<string> members;
  char key[] = "flood/12345678";
  char* hashed = whole_key ? key : key + 6;
  const size_t hashed_size = whole_key ? 14 : 8;
  for (uint64_t number = seed; members.size() < wanted; number++) {
    std::memcpy(key + 6, &number, sizeof number);
    if ((XXH3_64bits(hashed, hashed_size) & mask) == 0) members.emplace_back(key + 6, 8);
  }
  return members;
}

}  // namespace

TEST_CASE("Keys that collide for an unseeded hash cost about what any keys cost") {
  uint64_t seed = announce_seed("limits");
  constexpr size_t kKeys = 4000;
  double usual = seconds_for(colliding(0, false, kKeys, seed));
  for (uint64_t mask : {uint64_t{0xfff}, uint64_t{0xfff} << 52}) {
    for (bool whole_key : {false, true}) {
      double flooded = seconds_for(colliding(mask, whole_key, kKeys, seed));
      INFO("usual " << usual << " s, flooded " << flooded << " s");
      CHECK(flooded < 8 * usual);
    }
  }
}

TEST_CASE("Thousands of the longest keys, which differ in their last byte or first") {
  TempStore store;
  constexpr size_t kKeys = 256;
  auto key_of = [](size_t i, bool first) {
    string key(DSKVS_KEY_SIZE_MAX, 'k');
    key[100] = '/';
    key[first ? 0 : key.size() - 1] = static_cast<char>(i);
    return key;
  };
  for (size_t i = 0; i < kKeys; i++) {
    if (i == '/') continue;
    REQUIRE(put(store, key_of(i, false), "last" + std::to_string(i)) == DSKVS_OK);
    REQUIRE(put(store, key_of(i, true), "first" + std::to_string(i)) == DSKVS_OK);
  }
  store.reopen();
  for (size_t i = 0; i < kKeys; i++) {
    if (i == '/' || i == 'k') continue;
    REQUIRE(get(store, key_of(i, false)) == "last" + std::to_string(i));
    REQUIRE(get(store, key_of(i, true)) == "first" + std::to_string(i));
  }
}

TEST_CASE("A value beyond 4 GiB") {
  if (std::getenv("DSKVS_BIG") == nullptr) {
    std::printf("limits: skipped the value of 2^32+1 bytes (DSKVS_BIG=1 runs it)\n");
    return;
  }
  const uint64_t size = (uint64_t{1} << 32) + 1;
  TempStore store;
  auto stamp = [](char* bytes, uint64_t at) { std::memcpy(bytes + at, &at, sizeof at); };
  {
    std::unique_ptr<char[]> bytes(new char[size]());
    for (uint64_t at = 0; at + 8 <= size; at += 4099) stamp(bytes.get(), at);
    REQUIRE(dskvs_put(store, "big/value", 9, bytes.get(), size) == DSKVS_OK);
  }
  for (int time = 0; time < 2; time++) {
    Pinned value(store, "big/value");
    REQUIRE(value.status == DSKVS_OK);
    REQUIRE(value.size == size);
    uint64_t wrong = 0;
    for (uint64_t at = 0; at + 8 <= size; at += 4099)
      wrong += std::memcmp(static_cast<const char*>(value.data) + at, &at, sizeof at) != 0;
    REQUIRE(wrong == 0);
    if (time == 0) store.reopen();
  }
}
