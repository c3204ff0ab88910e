// Goal: what was handed out stays as it was, also after overwrite, delete, delete_all and close,
// and identities decide conditional writes.
// Method: pin, then do everything to the key and the store, then read what was pinned; counters
// and locks built of put_if and delete_if lose no step under concurrency.
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "door.h"
#include "support/seed.h"

using namespace dskvs::test;

TEST_CASE("Values outlive overwrite, delete, delete_all and the store") {
  string big(300000, 'b');
  TempStore store;
  REQUIRE(put(store, "a/small", "first") == DSKVS_OK);
  REQUIRE(put(store, "a/big", big) == DSKVS_OK);
  REQUIRE(put(store, "a/empty", "") == DSKVS_OK);
  Pinned small(store, "a/small");
  Pinned large(store, "a/big");
  Pinned empty(store, "a/empty");
  auto unchanged = [&] {
    return small.view() == "first" && large.view() == big && empty.view().empty();
  };
  for (int i = 0; i < 1000; i++) {
    REQUIRE(put(store, "a/small", string(static_cast<size_t>(i % 64), 'x')) == DSKVS_OK);
    if (i % 50 == 0) REQUIRE(put(store, "a/big", string(big.size(), 'x')) == DSKVS_OK);
  }
  REQUIRE(unchanged());
  REQUIRE(remove(store, "a/small") == DSKVS_OK);
  REQUIRE(dskvs_delete_all(store, "a", 1, nullptr) == DSKVS_OK);
  REQUIRE(unchanged());
  store.close();
  REQUIRE(unchanged());
  store.open(default_options());
  for (int i = 0; i < 1000; i++) REQUIRE(put(store, "a/" + std::to_string(i), "new") == DSKVS_OK);
  REQUIRE(unchanged());
}

TEST_CASE("A value is given back as often as it was handed out") {
  TempStore store;
  REQUIRE(put(store, "a/b", "value") == DSKVS_OK);
  std::vector<const void*> handed_out(100);
  for (const void*& value : handed_out) {
    size_t size = 0;
    REQUIRE(dskvs_get(store, "a/b", 3, &value, &size) == DSKVS_OK);
    REQUIRE(size == 5);
  }
  REQUIRE(remove(store, "a/b") == DSKVS_OK);
  const void* last = handed_out.back();
  handed_out.pop_back();
  for (const void* value : handed_out) dskvs_release(value);
  REQUIRE(std::memcmp(last, "value", 5) == 0);
  store.close();
  REQUIRE(std::memcmp(last, "value", 5) == 0);
  dskvs_release(last);
  dskvs_release(nullptr);
}

TEST_CASE("Lists show one instant, and outlive the store") {
  TempStore store;
  std::map<string, string> then;
  for (int i = 0; i < 500; i++) {
    string member = std::to_string(i);
    then[member] = "then " + member;
    REQUIRE(put(store, "a/" + member, then[member]) == DSKVS_OK);
  }
  dskvs_list* list = nullptr;
  dskvs_list* names = nullptr;
  REQUIRE(dskvs_get_all(store, "a", 1, &list) == DSKVS_OK);
  REQUIRE(dskvs_collections(store, &names) == DSKVS_OK);
  for (int i = 0; i < 500; i++) REQUIRE(put(store, "a/" + std::to_string(i), "now") == DSKVS_OK);
  REQUIRE(put(store, "a/later", "now") == DSKVS_OK);
  REQUIRE(dskvs_delete_all(store, "a", 1, nullptr) == DSKVS_OK);
  REQUIRE(dskvs_list_size(list) == 500);
  store.close();
  REQUIRE(dskvs_list_size(list) == 500);
  REQUIRE(drain(list) == then);
  REQUIRE(drain(names).count("a") == 1);
}

TEST_CASE("A list ends with NOT_FOUND, again and again, and its size stays what it was") {
  TempStore store;
  REQUIRE(put(store, "a/b", "v") == DSKVS_OK);
  dskvs_list* list = nullptr;
  REQUIRE(dskvs_get_all(store, "a", 1, &list) == DSKVS_OK);
  const char* member = nullptr;
  const void* value = nullptr;
  size_t member_size = 0, value_size = 0, used = 0;
  char buffer[64];
  REQUIRE(dskvs_list_next(list, &member, &member_size, &value, &value_size) == DSKVS_OK);
  string_view first(member, member_size);
  for (int time = 0; time < 3; time++) {
    REQUIRE(dskvs_list_next(list, &member, &member_size, &value, &value_size) == DSKVS_NOT_FOUND);
    REQUIRE(member == nullptr);
    REQUIRE(value_size == 0);
    REQUIRE(dskvs_list_read(list, buffer, sizeof buffer, &used) == DSKVS_NOT_FOUND);
    REQUIRE(used == 0);
    REQUIRE(dskvs_list_size(list) == 1);
  }
  REQUIRE(first == "b");  // pointers live as long as the list
  dskvs_list_free(list);
  dskvs_list_free(nullptr);
  REQUIRE(dskvs_list_size(nullptr) == 0);
}

namespace {

// Reads the records of list_read(): u32 member_size, u64 value_size, member, value.
void unpack(const string& packed, std::map<string, string>* pairs) {
  size_t at = 0;
  while (at < packed.size()) {
    REQUIRE(packed.size() - at >= 12);
    uint64_t sizes[2] = {0, 0};
    for (size_t i = 4; i-- > 0;)
      sizes[0] = sizes[0] << 8 | static_cast<unsigned char>(packed[at + i]);
    for (size_t i = 12; i-- > 4;)
      sizes[1] = sizes[1] << 8 | static_cast<unsigned char>(packed[at + i]);
    at += 12;
    REQUIRE(packed.size() - at >= sizes[0] + sizes[1]);
    REQUIRE(
        pairs->emplace(packed.substr(at, sizes[0]), packed.substr(at + sizes[0], sizes[1])).second);
    at += sizes[0] + sizes[1];
  }
}

}  // namespace

TEST_CASE("list_read packs as many pairs as fit, whatever the buffer's size") {
  TempStore store;
  std::map<string, string> expected;
  for (size_t i = 0; i < 300; i++) {
    string member = "m" + std::to_string(i);
    expected[member] = string(i % 41, 'v');
    REQUIRE(put(store, "a/" + member, expected[member]) == DSKVS_OK);
  }
  for (size_t capacity : {size_t{60}, size_t{61}, size_t{100}, size_t{1000}, size_t{1 << 20}}) {
    CAPTURE(capacity);
    dskvs_list* list = nullptr;
    REQUIRE(dskvs_get_all(store, "a", 1, &list) == DSKVS_OK);
    std::map<string, string> found;
    size_t calls = 0;
    string buffer(capacity, '\0');
    for (size_t used = 0; dskvs_list_read(list, buffer.data(), capacity, &used) == DSKVS_OK;
         calls++) {
      REQUIRE(used > 0);
      REQUIRE(used <= capacity);
      unpack(buffer.substr(0, used), &found);
    }
    REQUIRE(found == expected);
    if (capacity == 1 << 20) REQUIRE(calls == 1);
    dskvs_list_free(list);
  }
}

TEST_CASE("list_read says the size that the next record needs, and mixes with list_next") {
  TempStore store;
  REQUIRE(put(store, "a/member", "value") == DSKVS_OK);
  dskvs_list* list = nullptr;
  REQUIRE(dskvs_get_all(store, "a", 1, &list) == DSKVS_OK);
  const size_t need = 4 + 8 + 6 + 5;
  char buffer[need + 1];
  std::memset(buffer, '#', sizeof buffer);
  size_t used = 0;
  for (size_t capacity : {size_t{0}, size_t{11}, size_t{12}, need - 1}) {
    REQUIRE(dskvs_list_read(list, buffer, capacity, &used) == DSKVS_ERR_BUFFER);
    REQUIRE(used == need);
  }
  REQUIRE(dskvs_list_read(list, nullptr, 0, &used) == DSKVS_ERR_BUFFER);
  REQUIRE(used == need);
  REQUIRE(dskvs_list_read(list, buffer, need, &used) == DSKVS_OK);
  REQUIRE(used == need);
  REQUIRE(buffer[need] == '#');
  dskvs_list_free(list);

  REQUIRE(put(store, "a/other", "value") == DSKVS_OK);
  REQUIRE(dskvs_get_all(store, "a", 1, &list) == DSKVS_OK);
  const char* member = nullptr;
  const void* value = nullptr;
  size_t member_size = 0, value_size = 0;
  REQUIRE(dskvs_list_next(list, &member, &member_size, &value, &value_size) == DSKVS_OK);
  char rest[256];
  REQUIRE(dskvs_list_read(list, rest, sizeof rest, &used) == DSKVS_OK);
  std::map<string, string> found;
  unpack(string(rest, used), &found);
  REQUIRE(found.size() == 1);
  REQUIRE(found.count(string(member, member_size)) == 0);
  dskvs_list_free(list);
}

TEST_CASE("put_if and delete_if compare identities, not bytes") {
  TempStore store;
  REQUIRE(put_if(store, "a/b", nullptr, "one") == DSKVS_OK);
  REQUIRE(put_if(store, "a/b", nullptr, "two") == DSKVS_CONFLICT);
  Pinned one(store, "a/b");
  REQUIRE(put(store, "a/b", "one") == DSKVS_OK);  // equal bytes, another entry
  REQUIRE(put_if(store, "a/b", one.data, "two") == DSKVS_CONFLICT);
  REQUIRE(remove_if(store, "a/b", one.data) == DSKVS_CONFLICT);
  REQUIRE(get(store, "a/b") == "one");
  Pinned again(store, "a/b");
  REQUIRE(put_if(store, "a/b", again.data, "two") == DSKVS_OK);
  REQUIRE(get(store, "a/b") == "two");
  Pinned two(store, "a/b");
  REQUIRE(remove_if(store, "a/b", nullptr) == DSKVS_CONFLICT);
  REQUIRE(remove_if(store, "a/b", two.data) == DSKVS_OK);
  REQUIRE(remove_if(store, "a/b", two.data) == DSKVS_CONFLICT);
  REQUIRE(remove_if(store, "a/b", nullptr) == DSKVS_NOT_FOUND);
  REQUIRE(put_if(store, "a/b", two.data, "three") == DSKVS_CONFLICT);
  REQUIRE(contains(store, "a/b") == DSKVS_NOT_FOUND);

  // Another key's entry is another entry; an empty value has an identity too.
  REQUIRE(put(store, "a/c", "") == DSKVS_OK);
  REQUIRE(put(store, "a/d", "") == DSKVS_OK);
  Pinned c(store, "a/c");
  REQUIRE(put_if(store, "a/d", c.data, "v") == DSKVS_CONFLICT);
  REQUIRE(put_if(store, "a/c", c.data, "v") == DSKVS_OK);
  store.reopen();
  REQUIRE(get_all(store, "a") == std::map<string, string>{{"c", "v"}, {"d", ""}});
}

TEST_CASE("A counter of put_if loses no step under concurrency") {
  const uint64_t kThreads = 4;
  const uint64_t kSteps = rounds("DSKVS_COUNTER_STEPS", 5000);
  TempStore store;
  std::atomic<int> failures{0};
  auto count_up = [&] {
    for (uint64_t step = 0; step < kSteps;) {
      Pinned held(store, "site/visits");
      uint64_t next = 1;
      if (held.status == DSKVS_OK) {
        std::memcpy(&next, held.data, sizeof next);
        next++;
      }
      int32_t status = dskvs_put_if(store, "site/visits", 11, held.data, &next, sizeof next);
      if (status == DSKVS_OK) step++;
      if (status != DSKVS_OK && status != DSKVS_CONFLICT) {
        failures++;
        return;
      }
    }
  };
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < kThreads; i++) threads.emplace_back(count_up);
  for (std::thread& thread : threads) thread.join();
  REQUIRE(failures == 0);
  auto final_value = [&] {
    uint64_t value = 0;
    Pinned visits(store, "site/visits");
    REQUIRE(visits.size == sizeof value);
    std::memcpy(&value, visits.data, sizeof value);
    return value;
  };
  REQUIRE(final_value() == kThreads * kSteps);
  store.reopen();
  REQUIRE(final_value() == kThreads * kSteps);
}

TEST_CASE("A lock of put_if and delete_if admits one at a time") {
  TempStore store;
  const uint64_t kRounds = rounds("DSKVS_LOCK_ROUNDS", 2000);
  std::atomic<int> inside{0};
  std::atomic<int> failures{0};
  auto work = [&](int self) {
    for (uint64_t round = 0; round < kRounds;) {
      if (put_if(store, "lock/it", nullptr, std::to_string(self)) != DSKVS_OK) continue;
      if (inside.fetch_add(1) != 0) failures++;
      Pinned mine(store, "lock/it");
      inside.fetch_sub(1);
      if (remove_if(store, "lock/it", mine.data) != DSKVS_OK) failures++;
      round++;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; i++) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
  REQUIRE(failures == 0);
  REQUIRE(contains(store, "lock/it") == DSKVS_NOT_FOUND);
}

TEST_CASE("Who closes a moment too late is told of the handle that was given") {
  TempDir dir(TempDir::fast_base());
  for (int round = 0; round < 500; round++) {
    dskvs_t store = 0;
    REQUIRE(dskvs_open((dir / "store").c_str(), nullptr, &store) == DSKVS_OK);
    char named[32];
    std::snprintf(named, sizeof named, "%#llx ", static_cast<unsigned long long>(store));
    std::atomic<int> ready{0};
    std::atomic<int> closed{0};
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; i++) {
      threads.emplace_back([&] {
        ready++;
        while (ready < 3) {
        }
        int32_t status = dskvs_close(store);
        closed += status == DSKVS_OK;
        wrong += status != DSKVS_OK && !string(dskvs_last_error()).starts_with(named);
      });
    }
    for (std::thread& thread : threads) thread.join();
    REQUIRE(closed == 1);
    REQUIRE(wrong == 0);
  }
}
