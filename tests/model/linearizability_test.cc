// Goal: each call takes effect at one instant, get_all and delete_all on the whole collection.
// Method: threads call on one small collection, whatever the scheduler makes of it, while the
// persister runs; each call is recorded with its begin, its end and its answer, and the history is
// checked. Histories that are not linearizable show that the check can fail.
#include <dskvs/dskvs.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "model/linearizability.h"
#include "support/catch.h"
#include "support/seed.h"
#include "support/temp_dir.h"

using namespace dskvs::test;

namespace {

constexpr int kThreads = 3;
#ifdef __SANITIZE_THREAD__
constexpr uint64_t kCallsInCi = 1'000'000;
#else
constexpr uint64_t kCallsInCi = 10'000'000;
#endif
constexpr int kCallsPerRound = 1'000;  // a thread

uint64_t now_ns() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

std::string key_of(const std::string& collection, uint32_t key) {
  return collection + "/" + static_cast<char>('0' + key);
}

void make_call(dskvs_t store, const std::string& collection, Call* call) {
  const std::string key = key_of(collection, call->key);
  switch (call->kind) {
    case CallKind::kPut:
      dskvs_put(store, key.data(), key.size(), &call->value, sizeof call->value);
      break;
    case CallKind::kPutIfAbsent:
      call->succeeded = dskvs_put_if(store, key.data(), key.size(), nullptr, &call->value,
                                     sizeof call->value) == DSKVS_OK;
      break;
    case CallKind::kGet: {
      size_t size;
      if (dskvs_get_into(store, key.data(), key.size(), &call->value, sizeof call->value, &size) !=
          DSKVS_OK) {
        call->value = 0;
      }
      break;
    }
    case CallKind::kDelete:
      call->succeeded = dskvs_delete(store, key.data(), key.size()) == DSKVS_OK;
      break;
    case CallKind::kGetAll: {
      dskvs_list* list = nullptr;
      if (dskvs_get_all(store, collection.data(), collection.size(), &list) != DSKVS_OK) break;
      const char* member;
      const void* value;
      size_t member_size, value_size;
      while (dskvs_list_next(list, &member, &member_size, &value, &value_size) == DSKVS_OK) {
        call->all[static_cast<size_t>(member[0] - '0')] = *static_cast<const uint32_t*>(value);
      }
      dskvs_list_free(list);
      break;
    }
    case CallKind::kDeleteAll: {
      uint64_t removed = 0;
      dskvs_delete_all(store, collection.data(), collection.size(), &removed);
      call->value = static_cast<uint32_t>(removed);
      break;
    }
  }
}

CallKind choose_kind(std::mt19937_64& random) {
  uint64_t n = random() % 100;
  if (n < 35) return CallKind::kPut;
  if (n < 45) return CallKind::kPutIfAbsent;
  if (n < 75) return CallKind::kGet;
  if (n < 90) return CallKind::kDelete;
  return n < 96 ? CallKind::kGetAll : CallKind::kDeleteAll;
}

std::vector<std::vector<Call>> record_round(dskvs_t store, const std::string& collection,
                                            uint64_t seed, std::atomic<uint32_t>& next_value) {
  std::vector<std::vector<Call>> histories(kThreads);
  std::atomic<int> ready{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; t++) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(seed * kThreads + static_cast<uint64_t>(t));
      auto& history = histories[static_cast<size_t>(t)];
      history.reserve(kCallsPerRound);
      std::atomic<int> begun{0};
      ready++;
      while (ready < kThreads) std::this_thread::yield();
      for (int i = 0; i < kCallsPerRound; i++) {
        Call call{};
        call.kind = choose_kind(random);
        call.key = static_cast<uint8_t>(random() % kKeys);
        bool puts = call.kind == CallKind::kPut || call.kind == CallKind::kPutIfAbsent;
        if (puts) call.value = next_value.fetch_add(1, std::memory_order_relaxed);
        if (call.kind == CallKind::kGetAll || call.kind == CallKind::kDeleteAll) call.key = 0;
        call.begin_ns = now_ns();
        // Or the processor reads memory before it reads the clock. (No fence: TSan knows none.)
        begun.exchange(i, std::memory_order_seq_cst);
        make_call(store, collection, &call);
        call.end_ns = now_ns();
        history.push_back(call);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  return histories;
}

}  // namespace

TEST_CASE("recorded histories are linearizable") {
  const uint64_t seed = announce_seed("linearizability_test");
  const uint64_t calls = rounds("DSKVS_LINEARIZABILITY_CALLS", kCallsInCi);
  TempDir dir;
  dskvs_t store;
  REQUIRE(dskvs_open((dir / "store").c_str(), nullptr, &store) == DSKVS_OK);
  std::atomic<uint32_t> next_value{1};
  Contents contents{};
  for (uint64_t round = 0; round * kThreads * kCallsPerRound < calls; round++) {
    auto histories = record_round(store, "c", seed + round, next_value);
    INFO("seed " << seed + round);
    REQUIRE(is_linearizable(histories, &contents));
    // The next round begins with what is there now, which is one of the possible ends.
    for (uint32_t key = 0; key < kKeys; key++) {
      Call get{};
      get.kind = CallKind::kGet;
      get.key = static_cast<uint8_t>(key);
      make_call(store, "c", &get);
      contents[key] = get.value;
    }
  }
  CHECK(dskvs_close(store) == DSKVS_OK);
}

// The persister takes a collection out of the catalog when its last member is gone: a put that
// comes at that moment goes to it or to its successor, and never to what nobody finds.
TEST_CASE("a put is not lost because its collection ends") {
  const uint64_t calls = rounds("DSKVS_LINEARIZABILITY_CALLS", kCallsInCi) / 10;
  TempDir dir;
  dskvs_t store;
  REQUIRE(dskvs_open((dir / "store").c_str(), nullptr, &store) == DSKVS_OK);
  std::atomic<uint64_t> lost{0};
  std::vector<std::thread> threads;
  for (const std::string collection : {"a", "b"}) {
    threads.emplace_back([&lost, store, calls, key = collection + "/m"] {
      for (uint64_t call = 0; call < calls; call += 6) {
        dskvs_put(store, key.data(), key.size(), "v", 1);
        lost += dskvs_contains(store, key.data(), key.size()) != DSKVS_OK;
        lost += dskvs_delete(store, key.data(), key.size()) != DSKVS_OK;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(lost == 0);
  CHECK(dskvs_close(store) == DSKVS_OK);
}

TEST_CASE("the check refuses what no order explains") {
  auto call = [](CallKind kind, uint32_t value, uint64_t begin_ns, uint64_t end_ns) {
    Call made{};
    made.kind = kind;
    made.value = value;
    made.begin_ns = begin_ns;
    made.end_ns = end_ns;
    return made;
  };
  SECTION("an old value after a new one was seen") {
    Contents contents{};
    CHECK_FALSE(is_linearizable({{call(CallKind::kPut, 1, 0, 1), call(CallKind::kPut, 2, 2, 9)},
                                 {call(CallKind::kGet, 2, 3, 4), call(CallKind::kGet, 1, 5, 6)}},
                                &contents));
  }
  SECTION("a put that nobody can see") {
    Contents contents{};
    CHECK_FALSE(is_linearizable({{call(CallKind::kPut, 1, 0, 1)}, {call(CallKind::kGet, 0, 2, 3)}},
                                &contents));
  }
  SECTION("half of what another thread did in order") {
    Contents contents{};
    Call second = call(CallKind::kPut, 2, 2, 3);
    second.key = 1;
    Call all = call(CallKind::kGetAll, 0, 0, 9);
    all.all = {0, 2, 0, 0};
    CHECK_FALSE(is_linearizable({{call(CallKind::kPut, 1, 0, 1), second}, {all}}, &contents));
  }
  SECTION("calls that overlap may change places") {
    Contents contents{};
    CHECK(is_linearizable({{call(CallKind::kPut, 1, 0, 5)},
                           {call(CallKind::kGet, 0, 1, 2), call(CallKind::kGet, 1, 3, 4)}},
                          &contents));
  }
}
