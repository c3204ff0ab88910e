// Goal: close may race every other call: each finishes or is told that the store is closed, what
// was handed out stays readable, and nothing that was accepted is lost.
// Method: worker threads call everything on whatever handle is published, while the main thread
// opens, lets them at it for a random moment, closes and reopens, one race a round; then every
// accepted write is looked for in the store. Made for ThreadSanitizer. DSKVS_RACES sets the rounds.
#include <atomic>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "door.h"
#include "support/seed.h"

using namespace dskvs::test;

namespace {

class Worker {
 public:
  static constexpr dskvs_t kEnd = UINT64_MAX;
  struct Arena {
    std::atomic<dskvs_t> published{0};  // what to call everything on; kEnd: nothing more
    std::atomic<dskvs_t> entered{0};    // the last one that a worker began with
  };

  Worker(uint64_t seed, int self, const TempDir& dir, Arena& arena)
      : random_(seed), self_(std::to_string(self)), copy_(dir / ("copy" + self_)), arena_(arena) {}

  void run() {
    dskvs_t store = 0;
    for (;;) {
      arena_.published.wait(store);
      store = arena_.published;
      if (store == kEnd) break;
      arena_.entered = store;
      arena_.entered.notify_one();
      uint64_t before = closed;
      while (closed == before) call_something(store);
    }
    dskvs_release(pinned_);
  }

  uint64_t wrong = 0;  // statuses that are neither success nor closed
  uint64_t calls = 0;
  uint64_t closed = 0;    // calls that came too late
  uint64_t accepted = 0;  // the last number put under this worker's own key

 private:
  void check(int32_t status) {
    calls++;
    if (status == DSKVS_ERR_CLOSED) {
      closed++;
    } else if (status < 0) {
      wrong++;
      std::fprintf(stderr, "%s: %s\n", dskvs_status_name(status), dskvs_last_error());
    }
  }

  void call_something(dskvs_t store) {
    string shared = "shared/" + std::to_string(random_() % 16);
    dskvs_list* list = nullptr;
    dskvs_stats_t figures = DSKVS_STATS_INIT;
    uint64_t number = 0;
    size_t size = 0;
    char buffer[64];
    switch (random_() % 16) {
      case 0:
        return put_own(store);
      case 1:
        return check(put(store, shared, string(random_() % 64, 'v')));
      case 2:
        return pin(store, shared);
      case 3:
        return check(dskvs_get_into(store, shared.data(), shared.size(), buffer, 64, &size));
      case 4:
        return check(contains(store, shared));
      case 5:
        return check(remove(store, shared));
      case 6:
        return check(put_if(store, shared, nullptr, "v"));
      case 7:
        return check(remove_if(store, shared, nullptr));
      case 8:
        check(dskvs_get_all(store, "shared", 6, &list));
        if (list != nullptr && drain(list).size() > 16) wrong++;
        return;
      case 9:
        if (random_() % 8 == 0) check(dskvs_delete_all(store, "shared", 6, &number));
        return;
      case 10:
        check(dskvs_collections(store, &list));
        dskvs_list_free(list);
        return;
      case 11:
        return check(dskvs_count(store, "shared", 6, &number));
      case 12:
        return check(dskvs_stats(store, &figures));
      case 13:
        check(dskvs_mark(store, &number));
        return check(dskvs_wait(store, number, random_() % 8 == 0 ? DSKVS_DURABLE : DSKVS_WRITTEN,
                                random_() % 2));
      case 14:
        if (random_() % 8 == 0) check(dskvs_sync(store, DSKVS_FOREVER));
        return;
      case 15:
        if (random_() % 32 == 0) check(dskvs_compact(store));
        if (random_() % 32 == 0) back_up(store);
        return;
    }
  }

  void put_own(dskvs_t store) {
    uint64_t next = accepted + 1;
    string key = "own/" + self_;
    int32_t status = dskvs_put(store, key.data(), key.size(), &next, sizeof next);
    check(status);
    if (status == DSKVS_OK) accepted = next;
  }

  void back_up(dskvs_t store) {
    check(dskvs_backup(store, copy_.c_str()));
    std::error_code ignored;
    std::filesystem::remove_all(copy_, ignored);
  }

  // Holds one value across closes, and reads it before it gives it back.
  void pin(dskvs_t store, const string& key) {
    string_view held(static_cast<const char*>(pinned_), pinned_size_);
    if (held.find_first_not_of('v') != string_view::npos) wrong++;
    dskvs_release(pinned_);
    check(dskvs_get(store, key.data(), key.size(), &pinned_, &pinned_size_));
  }

  std::mt19937_64 random_;
  string self_;
  string copy_;  // where its backups go
  Arena& arena_;
  const void* pinned_ = nullptr;
  size_t pinned_size_ = 0;
};

}  // namespace

TEST_CASE("close races everything") {
  constexpr int kWorkers = 3;
  std::mt19937_64 random(announce_seed("race"));
  const uint64_t kRaces = rounds("DSKVS_RACES", 25'000);
  TempDir dir(TempDir::fast_base());
  const string path = dir / "store";
  Worker::Arena arena;
  std::vector<Worker> workers;
  std::vector<std::thread> threads;
  for (int i = 0; i < kWorkers; i++) workers.emplace_back(random(), i, dir, arena);
  for (Worker& worker : workers) threads.emplace_back(&Worker::run, &worker);

  uint64_t failed = 0;
  for (uint64_t race = 0; race < kRaces; race++) {
    dskvs_t store = 0;
    if (dskvs_open(path.c_str(), nullptr, &store) != DSKVS_OK) {
      std::fprintf(stderr, "open: %s\n", dskvs_last_error());
      failed++;
      break;
    }
    if (race % 16 == 15) (void)dskvs_compact(store);  // or to open it takes longer and longer
    arena.published = store;
    arena.published.notify_all();
    for (dskvs_t seen = arena.entered; seen != store; seen = arena.entered) {
      arena.entered.wait(seen);
    }
    for (uint64_t spins = random() % 20000; spins > 0; spins--) (void)arena.published.load();
    // Closed twice at once in some rounds: one of the two is too late.
    int32_t other = DSKVS_ERR_CLOSED;
    std::thread second;
    if (random() % 16 == 0) second = std::thread([&] { other = dskvs_close(store); });
    int32_t status = dskvs_close(store);
    if (second.joinable()) second.join();
    if (!((status == DSKVS_OK && other == DSKVS_ERR_CLOSED) ||
          (status == DSKVS_ERR_CLOSED && other == DSKVS_OK)))
      failed++;
    if (contains(store, "shared/0") != DSKVS_ERR_CLOSED) failed++;
  }
  arena.published = Worker::kEnd;
  arena.published.notify_all();
  for (std::thread& thread : threads) thread.join();
  REQUIRE(failed == 0);

  dskvs_t store = 0;
  REQUIRE(dskvs_open(path.c_str(), nullptr, &store) == DSKVS_OK);
  uint64_t calls = 0;
  uint64_t closed = 0;
  for (int i = 0; i < kWorkers; i++) {
    const Worker& worker = workers[static_cast<size_t>(i)];
    CHECK(worker.wrong == 0);
    uint64_t last = 0;
    Pinned own(store, "own/" + std::to_string(i));
    if (own.status == DSKVS_OK) std::memcpy(&last, own.data, sizeof last);
    CHECK(last == worker.accepted);
    calls += worker.calls;
    closed += worker.closed;
  }
  CHECK(dskvs_close(store) == DSKVS_OK);
  std::printf("race: %llu races, %llu calls, %llu of them too late\n",
              static_cast<unsigned long long>(kRaces), static_cast<unsigned long long>(calls),
              static_cast<unsigned long long>(closed));
  CHECK(closed > 0);
  CHECK(closed < calls);
}
