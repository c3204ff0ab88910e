// Goal: mark, wait and sync say what is written and durable, never early, never late; the backlog
// has a limit; copies are stores of one epoch while writers go on; readers beside a writer see a
// state that existed; a failing disk is reported by all who ask, and nothing is lost when it heals;
// what a crash lost is told.
// Method: a writer counts two keys up, one after the other, so that every state that existed has
// them equal or the first one ahead by one: each copy and each read-only open is checked for that.
// The disk fails by RLIMIT_FSIZE; the crash is a copy of an open store, with one byte changed in
// it.
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <random>
#include <thread>
#include <vector>

#include "door.h"
#include "support/read_file.h"
#include "support/seed.h"

using namespace dskvs::test;
using Clock = std::chrono::steady_clock;

namespace {

uint64_t mark(dskvs_t store) {
  uint64_t epoch = 0;
  REQUIRE(dskvs_mark(store, &epoch) == DSKVS_OK);
  return epoch;
}

dskvs_options read_only() {
  dskvs_options options = default_options();
  options.read_only = 1;
  return options;
}

// Counts pair/first and then pair/second up, with ballast of changing size beside them, until it
// goes.
class PairWriter {
 public:
  explicit PairWriter(dskvs_t store) : thread_([this, store] { run(store); }) {}
  ~PairWriter() { stop(); }

  // The number that both keys reached; 0 when a put failed.
  uint64_t stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return failed_ == 0 ? reached_.load() : 0;
  }
  uint64_t reached() const { return reached_; }

 private:
  void run(dskvs_t store) {
    while (!stop_) {
      string number = std::to_string(reached_ + 1);
      failed_ += put(store, "pair/first", number) != DSKVS_OK;
      string ballast(1 + reached_ * 7919 % 20000, 'b');
      failed_ += put(store, "ballast/" + std::to_string(reached_ % 50), ballast) != DSKVS_OK;
      failed_ += put(store, "pair/second", number) != DSKVS_OK;
      reached_++;
    }
  }

  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> failed_{0};
  std::atomic<uint64_t> reached_{0};
  std::thread thread_;
};

// The number of a state that existed; nothing when it is none.
std::optional<uint64_t> pair_of(dskvs_t store) {
  uint64_t first = std::stoull(get(store, "pair/first").value_or("0"));
  uint64_t second = std::stoull(get(store, "pair/second").value_or("0"));
  if (first != second && first != second + 1) return {};
  return second;
}

}  // namespace

TEST_CASE("A mark that was waited for is durable, and stats say so") {
  TempStore store;
  for (int i = 0; i < 20; i++) {
    REQUIRE(put(store, "a/" + std::to_string(i), "v") == DSKVS_OK);
    uint64_t ticket = mark(store);
    REQUIRE(ticket >= 1);
    REQUIRE(dskvs_wait(store, ticket, DSKVS_WRITTEN, DSKVS_FOREVER) == DSKVS_OK);
    REQUIRE(stats(store).written_epoch >= ticket);
    REQUIRE(dskvs_wait(store, ticket, DSKVS_DURABLE, DSKVS_FOREVER) == DSKVS_OK);
    REQUIRE(stats(store).durable_epoch >= ticket);
    REQUIRE(dskvs_wait(store, ticket, DSKVS_DURABLE, 0) == DSKVS_OK);
  }
}

TEST_CASE("Marks never go back, and what is durable was written, and accepted before") {
  TempStore store;
  PairWriter writer(store);
  uint64_t last_mark = 0;
  uint64_t last_durable = 0;
  auto end = Clock::now() + std::chrono::milliseconds(300);
  while (Clock::now() < end) {
    dskvs_stats_t figures = stats(store);
    uint64_t ticket = mark(store);
    REQUIRE(figures.durable_epoch <= figures.written_epoch);
    REQUIRE(figures.written_epoch <= ticket);
    REQUIRE(ticket >= last_mark);
    REQUIRE(figures.durable_epoch >= last_durable);
    last_mark = ticket;
    last_durable = figures.durable_epoch;
  }
  while (writer.reached() == 0) std::this_thread::yield();
  REQUIRE(writer.stop() > 0);
}

TEST_CASE("With sync_interval_ms 0 nothing is synced until someone asks") {
  dskvs_options options = default_options();
  options.sync_interval_ms = 0;
  TempStore store(options);
  REQUIRE(put(store, "a/b", "v") == DSKVS_OK);
  uint64_t ticket = mark(store);
  REQUIRE(dskvs_wait(store, ticket, DSKVS_WRITTEN, DSKVS_FOREVER) == DSKVS_OK);
  REQUIRE(stats(store).durable_epoch < ticket);
  REQUIRE(stats(store).durable_lag_us > 0);
  REQUIRE(dskvs_wait(store, ticket, DSKVS_DURABLE, 0) == DSKVS_TIMEOUT);
  REQUIRE(dskvs_wait(store, ticket, DSKVS_DURABLE, DSKVS_FOREVER) == DSKVS_OK);
  REQUIRE(stats(store).durable_epoch >= ticket);
  REQUIRE(put(store, "a/b", "w") == DSKVS_OK);
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  REQUIRE(stats(store).durable_epoch >= mark(store));
  REQUIRE(stats(store).durable_lag_us == 0);
}

TEST_CASE("A read-only store calls durable what the log says is durable, and no more") {
  dskvs_options options = default_options();
  options.sync_interval_ms = 0;
  TempStore store(options);
  REQUIRE(put(store, "a/b", "synced") == DSKVS_OK);
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  const uint64_t synced = mark(store);
  REQUIRE(put(store, "a/b", "written") == DSKVS_OK);
  REQUIRE(dskvs_wait(store, mark(store), DSKVS_WRITTEN, DSKVS_FOREVER) == DSKVS_OK);

  dskvs_options reading = read_only();
  dskvs_t view = 0;
  REQUIRE(dskvs_open(store.path().c_str(), &reading, &view) == DSKVS_OK);
  REQUIRE(get(view, "a/b") == "written");
  uint64_t ticket = mark(view);
  REQUIRE(ticket > synced);
  REQUIRE(dskvs_wait(view, ticket, DSKVS_WRITTEN, DSKVS_FOREVER) == DSKVS_OK);
  REQUIRE(dskvs_wait(view, synced, DSKVS_DURABLE, 0) == DSKVS_OK);
  REQUIRE(dskvs_wait(view, ticket, DSKVS_DURABLE, 0) == DSKVS_TIMEOUT);
  REQUIRE(dskvs_wait(view, ticket, DSKVS_DURABLE, DSKVS_FOREVER) == DSKVS_TIMEOUT);
  REQUIRE(dskvs_sync(view, DSKVS_FOREVER) == DSKVS_TIMEOUT);
  REQUIRE(dskvs_wait(view, ticket + 1, DSKVS_WRITTEN, 0) == DSKVS_ERR_ARGUMENT);
  dskvs_stats_t figures = stats(view);
  REQUIRE(figures.written_epoch == ticket);
  REQUIRE(figures.durable_epoch == synced);
  REQUIRE(figures.written_lag_us == 0);
  REQUIRE(figures.durable_lag_us > 0);
  REQUIRE(dskvs_close(view) == DSKVS_OK);

  store.close();
  REQUIRE(dskvs_open(store.path().c_str(), &reading, &view) == DSKVS_OK);
  REQUIRE(dskvs_wait(view, mark(view), DSKVS_DURABLE, 0) == DSKVS_OK);
  REQUIRE(dskvs_sync(view, DSKVS_FOREVER) == DSKVS_OK);
  REQUIRE(stats(view).durable_lag_us == 0);
  REQUIRE(dskvs_close(view) == DSKVS_OK);
}

TEST_CASE("disk_bytes is the same for the writer and a reader: the log files and the reserve") {
  TempStore store;
  REQUIRE(put(store, "a/b", string(5000, 'v')) == DSKVS_OK);
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  auto on_disk = [&] {
    uint64_t bytes = 0;
    for (const auto& file : std::filesystem::directory_iterator(store.path()))
      if (file.path().filename() != "dskvs.lock") bytes += file.file_size();
    return bytes;
  };
  auto seen_by_reader = [&] {
    dskvs_options reading = read_only();
    dskvs_t view = 0;
    REQUIRE(dskvs_open(store.path().c_str(), &reading, &view) == DSKVS_OK);
    const uint64_t bytes = stats(view).disk_bytes;
    REQUIRE(dskvs_close(view) == DSKVS_OK);
    return bytes;
  };
  REQUIRE(on_disk() > 1 << 20);
  REQUIRE(stats(store).disk_bytes == on_disk());
  REQUIRE(seen_by_reader() == on_disk());
  store.reopen();
  REQUIRE(stats(store).disk_bytes == on_disk());
  store.close();
  REQUIRE(seen_by_reader() == on_disk());
}

TEST_CASE("What is written and not durable comes back from a kill, many removals and drops of it") {
  dskvs_options options = default_options();
  options.sync_interval_ms = 0;
  TempStore store(options);
  auto name = [](const char* collection, int i) { return collection + std::to_string(i); };
  for (int i = 0; i < 20'000; i++) REQUIRE(put(store, name("big/", i), "v") == DSKVS_OK);
  for (int i = 0; i < 5'000; i++) REQUIRE(put(store, name("gone/", i), "v") == DSKVS_OK);
  for (int i = 0; i < 3'000; i++) REQUIRE(put(store, name("c", i) + "/one", "v") == DSKVS_OK);
  REQUIRE(dskvs_wait(store, mark(store), DSKVS_WRITTEN, DSKVS_FOREVER) == DSKVS_OK);
  for (int i = 0; i < 5'000; i++) REQUIRE(remove(store, name("big/", i)) == DSKVS_OK);
  for (int i = 0; i < 1'500; i++) REQUIRE(remove(store, name("c", i) + "/one") == DSKVS_OK);
  uint64_t removed = 0;
  REQUIRE(dskvs_delete_all(store, "gone", 4, &removed) == DSKVS_OK);
  REQUIRE(removed == 5'000);
  REQUIRE(put(store, "gone/again", "w") == DSKVS_OK);
  REQUIRE(dskvs_wait(store, mark(store), DSKVS_WRITTEN, DSKVS_FOREVER) == DSKVS_OK);
  REQUIRE(stats(store).durable_epoch < mark(store));

  // What a reader sees now is what a kill leaves.
  auto check = [&](dskvs_t opened) {
    REQUIRE(stats(opened).entries == 15'000 + 1'500 + 1);
    REQUIRE(stats(opened).collections == 1 + 1'500 + 1);
    REQUIRE(count(opened, "big") == 15'000);
    REQUIRE(contains(opened, "big/4999") == DSKVS_NOT_FOUND);
    REQUIRE(contains(opened, "big/5000") == DSKVS_OK);
    REQUIRE(contains(opened, "c1499/one") == DSKVS_NOT_FOUND);
    REQUIRE(get(opened, "c1500/one") == "v");
    REQUIRE(get_all(opened, "gone") == std::map<string, string>{{"again", "w"}});
  };
  dskvs_options reading = read_only();
  dskvs_t reader = 0;
  REQUIRE(dskvs_open(store.path().c_str(), &reading, &reader) == DSKVS_OK);
  check(reader);
  REQUIRE(dskvs_close(reader) == DSKVS_OK);
  REQUIRE(dskvs_compact(store) == DSKVS_OK);
  REQUIRE(dskvs_open(store.path().c_str(), &reading, &reader) == DSKVS_OK);
  check(reader);
  REQUIRE(dskvs_close(reader) == DSKVS_OK);
}

TEST_CASE("wait refuses a level that is none and a mark that nobody was given") {
  TempStore store;
  REQUIRE(dskvs_wait(store, 0, DSKVS_DURABLE, DSKVS_FOREVER) == DSKVS_OK);
  REQUIRE(put(store, "a/b", "v") == DSKVS_OK);
  uint64_t ticket = mark(store);
  for (int32_t level : {INT32_MIN, -1, 0, 3, INT32_MAX})
    REQUIRE(dskvs_wait(store, ticket, level, 0) == DSKVS_ERR_ARGUMENT);
  REQUIRE(dskvs_wait(store, UINT64_MAX, DSKVS_WRITTEN, 0) == DSKVS_ERR_ARGUMENT);
  REQUIRE(dskvs_wait(store, ticket + 1000000, DSKVS_WRITTEN, DSKVS_FOREVER) == DSKVS_ERR_ARGUMENT);
}

TEST_CASE("A waiter is told when the store is closed under it, or that it got there") {
  for (int round = 0; round < 50; round++) {
    TempDir dir(TempDir::fast_base());
    dskvs_options options = default_options();
    options.sync_interval_ms = 0;
    dskvs_t store = 0;
    REQUIRE(dskvs_open((dir / "store").c_str(), &options, &store) == DSKVS_OK);
    REQUIRE(put(store, "a/b", "v") == DSKVS_OK);
    uint64_t ticket = mark(store);
    std::vector<std::thread> waiters;
    std::atomic<int> wrong{0};
    for (int i = 0; i < 3; i++) {
      waiters.emplace_back([&] {
        int32_t status = dskvs_wait(store, ticket, DSKVS_DURABLE, DSKVS_FOREVER);
        if (status != DSKVS_OK && status != DSKVS_ERR_CLOSED) wrong++;
      });
    }
    REQUIRE(dskvs_close(store) == DSKVS_OK);
    for (std::thread& waiter : waiters) waiter.join();
    REQUIRE(wrong == 0);
  }
}

TEST_CASE("The backlog keeps to dirty_bytes_max, and writers only wait") {
  dskvs_options options = default_options();
  options.dirty_bytes_max = 1 << 20;
  TempStore store(options);
  constexpr size_t kValue = 10000;
  constexpr int kPuts = 3000;
  std::atomic<bool> done{false};
  std::atomic<int> failed{0};
  std::vector<std::thread> writers;
  for (int self = 0; self < 2; self++) {
    writers.emplace_back([&, self] {
      for (int i = 0; i < kPuts; i++)
        failed += put(store, std::to_string(self) + "/" + std::to_string(i), string(kValue, 'v')) !=
                  DSKVS_OK;
    });
  }
  uint64_t most = 0;
  std::thread watcher([&] {
    while (!done) {
      dskvs_stats_t figures = DSKVS_STATS_INIT;
      failed += dskvs_stats(store, &figures) != DSKVS_OK;
      most = std::max(most, figures.dirty_bytes);
    }
  });
  for (std::thread& writer : writers) writer.join();
  done = true;
  watcher.join();
  REQUIRE(failed == 0);
  REQUIRE(most > 0);
  REQUIRE(most <= options.dirty_bytes_max + options.dirty_bytes_max / 4);
  store.reopen();
  REQUIRE(stats(store).entries == 2 * kPuts);
}

// Two threads overwrite members of a collection, in an order of chance; returns by how much the log
// was over its bound at worst.
uint64_t most_over(dskvs_t store, uint64_t keys, const string& value, uint64_t puts) {
  const uint64_t seed = announce_seed("disk_test, overwriting");
  std::atomic<int64_t> left{static_cast<int64_t>(puts)};
  std::atomic<int> failed{0};
  std::vector<std::thread> writers;
  for (uint64_t i = 0; i < 2; ++i) {
    writers.emplace_back([&, random = std::mt19937_64(seed + i)]() mutable {
      while (left-- > 0) {
        if (put(store, "c/" + std::to_string(random() % keys), value) != DSKVS_OK) failed++;
      }
    });
  }
  uint64_t most_over = 0;
  uint64_t dirty_bytes_max = 0;
  while (left > 0) {
    const dskvs_stats_t now = stats(store);
    const uint64_t bytes_max = 2 * now.live_bytes + (uint64_t{64} << 20);
    most_over = std::max(most_over, now.disk_bytes - std::min(now.disk_bytes, bytes_max));
    dirty_bytes_max = std::max(dirty_bytes_max, now.dirty_bytes_max);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  for (std::thread& writer : writers) writer.join();
  CHECK(failed == 0);
  CHECK(dirty_bytes_max <= uint64_t{256} << 20);
  return most_over;
}

TEST_CASE("Overwritten as fast as memory allows, the log keeps to twice the live data and 64 MiB") {
  TempStore store;
  constexpr uint64_t kKeys = 60'000;
  const string value(4'000, 'v');
  for (uint64_t key = 0; key < kKeys; ++key) {
    REQUIRE(put(store, "c/" + std::to_string(key), value) == DSKVS_OK);
  }
  CHECK(most_over(store, kKeys, value, rounds("DSKVS_OVERWRITES", 400'000)) == 0);
}

// The oldest segments hold what does not change, so that cleaning them gains nothing, and the log
// is full, and synced, nearly all the time.
TEST_CASE("The log keeps to about that, too, where most of the data never changes") {
  TempStore store;
  for (uint64_t key = 0; key < 400; ++key) {
    REQUIRE(put(store, "cold/" + std::to_string(key), string(1'000'000, 'v')) == DSKVS_OK);
  }
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  const uint64_t over =
      most_over(store, 1'000, string(60'000, 'v'), rounds("DSKVS_OVERWRITES", 800'000));
  CHECK(over <= uint64_t{64} << 20);
}

TEST_CASE("A value larger than dirty_bytes_max gets through") {
  dskvs_options options = default_options();
  options.dirty_bytes_max = 65536;
  TempStore store(options);
  for (int i = 0; i < 3; i++)
    REQUIRE(put(store, "a/" + std::to_string(i), string(1 << 20, 'v')) == DSKVS_OK);
  store.reopen();
  REQUIRE(stats(store).value_bytes == 3 << 20);
}

TEST_CASE("A backup while writers run is a store of one epoch, no older than the call") {
  TempStore store;
  PairWriter writer(store);
  for (int i = 0; i < 5; i++) {
    uint64_t before = writer.reached();
    const string path = store.dir() / ("copy" + std::to_string(i));
    int32_t status = dskvs_backup(store, path.c_str());
    INFO(dskvs_last_error());
    REQUIRE(status == DSKVS_OK);
    uint64_t after = writer.reached() + 1;
    REQUIRE(dskvs_verify(path.c_str(), nullptr, nullptr) == DSKVS_OK);
    dskvs_t copy = 0;
    REQUIRE(dskvs_open(path.c_str(), nullptr, &copy) == DSKVS_OK);
    auto number = pair_of(copy);
    REQUIRE(number.has_value());
    REQUIRE(*number >= before);
    REQUIRE(*number <= after);
    REQUIRE(put(copy, "a/b", "its own") == DSKVS_OK);
    REQUIRE(dskvs_close(copy) == DSKVS_OK);
    REQUIRE(contains(store, "a/b") == DSKVS_NOT_FOUND);
    while (writer.reached() < after) std::this_thread::yield();
  }
  REQUIRE(writer.stop() > 0);
}

TEST_CASE("A backup goes into a new or empty directory only, also of a read-only store") {
  TempStore store;
  REQUIRE(put(store, "a/b", "v") == DSKVS_OK);
  std::filesystem::create_directory(store.dir() / "empty");
  std::filesystem::create_directories(store.dir() / "full/of something");
  REQUIRE(dskvs_backup(store, (store.dir() / "empty").c_str()) == DSKVS_OK);
  REQUIRE(dskvs_backup(store, (store.dir() / "empty").c_str()) == DSKVS_ERR_PATH);
  REQUIRE(dskvs_backup(store, (store.dir() / "full").c_str()) == DSKVS_ERR_PATH);
  REQUIRE(dskvs_backup(store, (store.dir() / "missing/parent").c_str()) == DSKVS_ERR_PATH);
  REQUIRE(dskvs_backup(store, store.path().c_str()) == DSKVS_ERR_PATH);

  dskvs_options options = read_only();
  dskvs_t view = 0;
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  REQUIRE(dskvs_open(store.path().c_str(), &options, &view) == DSKVS_OK);
  REQUIRE(dskvs_backup(view, (store.dir() / "of a view").c_str()) == DSKVS_OK);
  REQUIRE(dskvs_close(view) == DSKVS_OK);
  REQUIRE(dskvs_open((store.dir() / "of a view").c_str(), nullptr, &view) == DSKVS_OK);
  REQUIRE(get(view, "a/b") == "v");
  REQUIRE(dskvs_close(view) == DSKVS_OK);
}

TEST_CASE("Read-only processes beside a writer that cleans see a state that existed, unmoved") {
  TempDir dir;
  const string path = dir / "store";
  int go[2];
  REQUIRE(::pipe(go) == 0);
  auto reader = [&] {
    char byte = 0;
    ::close(go[1]);
    if (::read(go[0], &byte, 1) != 0) return 9;
    uint64_t last = 0;
    for (int i = 0; i < 25; i++) {
      dskvs_options options = read_only();
      dskvs_t view = 0;
      if (dskvs_open(path.c_str(), &options, &view) != DSKVS_OK) {
        std::fprintf(stderr, "read-only open: %s\n", dskvs_last_error());
        return 1;
      }
      auto number = pair_of(view);
      if (!number.has_value()) return 2;
      if (*number < last) return 3;
      last = *number;
      if (put(view, "a/b", "v") != DSKVS_ERR_READ_ONLY) return 4;
      uint64_t epoch = 0;
      if (dskvs_mark(view, &epoch) != DSKVS_OK) return 5;
      dskvs_stats_t figures = DSKVS_STATS_INIT;
      if (dskvs_stats(view, &figures) != DSKVS_OK) return 10;
      int32_t durable = figures.durable_epoch >= epoch ? DSKVS_OK : DSKVS_TIMEOUT;
      if (dskvs_wait(view, epoch, DSKVS_WRITTEN, 0) != DSKVS_OK) return 11;
      if (dskvs_wait(view, epoch, DSKVS_DURABLE, DSKVS_FOREVER) != durable) return 6;
      if (pair_of(view) != number) return 7;
      if (dskvs_close(view) != DSKVS_OK) return 8;
    }
    return 0;
  };
  // Forked before this process has a store or a thread: they are processes of their own.
  Child one(reader);
  Child two(reader);
  Child three(reader);
  dskvs_t store = 0;
  REQUIRE(dskvs_open(path.c_str(), nullptr, &store) == DSKVS_OK);
  PairWriter writer(store);
  while (writer.reached() == 0) std::this_thread::yield();
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  ::close(go[1]);
  ::close(go[0]);
  for (int i = 0; i < 3; i++) REQUIRE(dskvs_compact(store) == DSKVS_OK);
  REQUIRE(one.join() == 0);
  REQUIRE(two.join() == 0);
  REQUIRE(three.join() == 0);
  REQUIRE(writer.stop() > 0);
  REQUIRE(dskvs_close(store) == DSKVS_OK);
}

TEST_CASE("Readers need no store to be there for writing, and write nothing") {
  TempStore store;
  REQUIRE(put(store, "a/b", "v") == DSKVS_OK);
  store.close();
  auto state = [&] {
    std::map<string, std::filesystem::file_time_type> found;
    for (const auto& entry : std::filesystem::directory_iterator(store.path()))
      found[entry.path().string()] = entry.last_write_time();
    return found;
  };
  auto before = state();
  for (int i = 0; i < 3; i++) {
    dskvs_options options = read_only();
    dskvs_t one = 0;
    dskvs_t two = 0;
    REQUIRE(dskvs_open(store.path().c_str(), &options, &one) == DSKVS_OK);
    REQUIRE(dskvs_open(store.path().c_str(), &options, &two) == DSKVS_OK);
    REQUIRE(get(one, "a/b") == "v");
    REQUIRE(get(two, "a/b") == "v");
    REQUIRE(dskvs_close(one) == DSKVS_OK);
    REQUIRE(dskvs_close(two) == DSKVS_OK);
  }
  REQUIRE(state() == before);
  store.open(default_options());
}

TEST_CASE("compact leaves nothing on the disk that is overwritten or deleted, and loses nothing") {
  TempStore store;
  std::map<string, string> expected;
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < 200; i++) {
      string member = std::to_string(i);
      expected[member] = string(1000, static_cast<char>('a' + round));
      REQUIRE(put(store, "a/" + member, expected[member]) == DSKVS_OK);
      REQUIRE(put(store, "gone/" + member, expected[member]) == DSKVS_OK);
    }
    REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  }
  REQUIRE(dskvs_delete_all(store, "gone", 4, nullptr) == DSKVS_OK);
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  uint64_t before = stats(store).disk_bytes;
  int32_t status = dskvs_compact(store);
  INFO(dskvs_last_error());
  REQUIRE(status == DSKVS_OK);
  dskvs_stats_t after = stats(store);
  REQUIRE(after.disk_bytes < before);
  REQUIRE(after.disk_bytes <= after.live_bytes + (2 << 20));
  REQUIRE(after.bytes_cleaned >= 200 * 1000);  // the 200 values that are left
  REQUIRE(after.bytes_cleaned <= after.bytes_written);
  REQUIRE(get_all(store, "a") == expected);
  store.reopen();
  REQUIRE(get_all(store, "a") == expected);
  REQUIRE(count(store, "gone") == 0);
}

TEST_CASE("verify finds a good store good, also while it is open and written") {
  TempStore store;
  PairWriter writer(store);
  dskvs_list* damage = nullptr;
  for (int i = 0; i < 10; i++) {
    int32_t status = dskvs_verify(store.path().c_str(), nullptr, &damage);
    INFO(dskvs_last_error());
    REQUIRE(status == DSKVS_OK);
    REQUIRE(dskvs_list_size(damage) == 0);
    dskvs_list_free(damage);
    for (uint64_t before = writer.reached(); writer.reached() == before;) std::this_thread::yield();
  }
  REQUIRE(writer.stop() > 0);
  REQUIRE(dskvs_verify((store.dir() / "missing").c_str(), nullptr, &damage) == DSKVS_ERR_PATH);
  REQUIRE(damage == nullptr);
}

namespace {

struct Watch {
  uint64_t calls = 0;
  uint64_t last = 0;
  uint64_t total = 0;
  bool wrong = false;
  int32_t answer = 0;
  std::thread::id thread;
};

int32_t watch_progress(void* context, uint64_t done, uint64_t total) {
  Watch& watch = *static_cast<Watch*>(context);
  watch.wrong |= done > total || done < watch.last || std::this_thread::get_id() != watch.thread;
  watch.calls++;
  watch.last = done;
  watch.total = total;
  return watch.answer;
}

}  // namespace

TEST_CASE("A long open and verify tell their progress, and can be cancelled") {
  TempDir dir(TempDir::fast_base());
  const string path = dir / "store";
  dskvs_t store = 0;
  REQUIRE(dskvs_open(path.c_str(), nullptr, &store) == DSKVS_OK);
  for (int i = 0; i < 32; i++)
    REQUIRE(put(store, "a/" + std::to_string(i), string(1 << 20, static_cast<char>(i))) ==
            DSKVS_OK);
  REQUIRE(dskvs_close(store) == DSKVS_OK);

  for (int32_t answer : {0, 1, -1}) {
    for (bool verify : {false, true}) {
      CAPTURE(answer, verify);
      Watch watch;
      watch.answer = answer;
      watch.thread = std::this_thread::get_id();
      dskvs_options options = default_options();
      options.progress = watch_progress;
      options.progress_context = &watch;
      dskvs_list* damage = nullptr;
      int32_t status = verify ? dskvs_verify(path.c_str(), &options, &damage)
                              : dskvs_open(path.c_str(), &options, &store);
      REQUIRE(status == (answer == 0 ? DSKVS_OK : DSKVS_ERR_CANCELLED));
      REQUIRE(watch.calls >= 1);
      REQUIRE_FALSE(watch.wrong);
      REQUIRE(watch.total >= 32 << 20);
      if (answer != 0) REQUIRE(watch.calls == 1);
      if (answer != 0 && verify) REQUIRE(damage == nullptr);
      if (answer != 0 && !verify) REQUIRE(store == 0);
      dskvs_list_free(damage);
      if (answer == 0 && !verify) REQUIRE(dskvs_close(store) == DSKVS_OK);
    }
  }
  // A cancelled open has unlocked and lost nothing.
  REQUIRE(dskvs_open(path.c_str(), nullptr, &store) == DSKVS_OK);
  REQUIRE(count(store, "a") == 32);
  REQUIRE(dskvs_close(store) == DSKVS_OK);
}

namespace {

// While this lives, no file of this process can grow: each write to the disk fails.
class FailingDisk {
 public:
  FailingDisk() : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
    rlimit none = before_;
    none.rlim_cur = 0;
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &none) == 0);
  }
  FailingDisk(const FailingDisk&) = delete;
  FailingDisk& operator=(const FailingDisk&) = delete;
  ~FailingDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

}  // namespace

TEST_CASE("A failing disk is told to all who ask, memory serves on, and it heals by itself") {
  TempStore store;
  REQUIRE(put(store, "a/b", "before") == DSKVS_OK);
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  uint64_t ticket = 0;
  {
    FailingDisk failing;
    REQUIRE(put(store, "a/b", "meanwhile") == DSKVS_OK);
    ticket = mark(store);
    REQUIRE(dskvs_wait(store, ticket, DSKVS_WRITTEN, DSKVS_FOREVER) == DSKVS_ERR_IO);
    REQUIRE(dskvs_wait(store, ticket, DSKVS_DURABLE, DSKVS_FOREVER) == DSKVS_ERR_IO);
    REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_ERR_IO);
    REQUIRE(dskvs_compact(store) == DSKVS_ERR_IO);
    REQUIRE(dskvs_backup(store, (store.dir() / "copy").c_str()) == DSKVS_ERR_IO);
    REQUIRE(std::filesystem::is_empty(store.dir() / "copy"));
    dskvs_stats_t figures = stats(store);
    REQUIRE(static_cast<int64_t>(figures.last_error) == DSKVS_ERR_IO);
    REQUIRE(figures.written_epoch < ticket);
    REQUIRE(figures.dirty_bytes > 0);
    REQUIRE(figures.written_lag_us > 0);
    REQUIRE(figures.durable_lag_us >= figures.written_lag_us);
    REQUIRE(figures.heals == 0);
    REQUIRE(get(store, "a/b") == "meanwhile");
    REQUIRE(put(store, "a/c", "too") == DSKVS_OK);
  }
  auto end = Clock::now() + std::chrono::seconds(60);
  while (dskvs_wait(store, ticket, DSKVS_DURABLE, 1000) != DSKVS_OK) {
    REQUIRE(Clock::now() < end);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  dskvs_stats_t figures = stats(store);
  REQUIRE(figures.last_error == 0);
  REQUIRE(figures.heals >= 1);
  store.reopen();
  REQUIRE(get_all(store, "a") == std::map<string, string>{{"b", "meanwhile"}, {"c", "too"}});
}

TEST_CASE("close gives a failing disk up after a time, and says how much is not durable") {
  TempDir dir;
  const string path = dir / "store";
  dskvs_t store = 0;
  REQUIRE(dskvs_open(path.c_str(), nullptr, &store) == DSKVS_OK);
  REQUIRE(put(store, "a/b", "before") == DSKVS_OK);
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  const string durable = std::to_string(mark(store));
  {
    FailingDisk failing;
    REQUIRE(put(store, "a/b", "lost") == DSKVS_OK);
    REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_ERR_IO);
    const string dirty = std::to_string(stats(store).dirty_bytes);
    auto begin = Clock::now();
    REQUIRE(dskvs_close(store) == DSKVS_ERR_IO);
    INFO(dskvs_last_error());
    REQUIRE(string(dskvs_last_error())
                .starts_with("what came after epoch " + durable + " is not durable, " + dirty +
                             " bytes of it not written: "));
    REQUIRE(Clock::now() - begin < std::chrono::seconds(30));
  }
  REQUIRE(dskvs_close(store) == DSKVS_ERR_CLOSED);
  REQUIRE(dskvs_open(path.c_str(), nullptr, &store) == DSKVS_OK);
  REQUIRE(get(store, "a/b") == "before");
  REQUIRE(dskvs_close(store) == DSKVS_OK);
}

TEST_CASE("What a crash lost beyond the recovered epoch is told") {
  dskvs_options options = default_options();
  options.sync_interval_ms = 0;
  TempStore store(options);
  const string copy = store.dir() / "copy";
  for (const char* value : {"the first value", "the second value", "the third value"}) {
    REQUIRE(put(store, "a/b", value) == DSKVS_OK);
    REQUIRE(dskvs_wait(store, mark(store), DSKVS_WRITTEN, DSKVS_FOREVER) == DSKVS_OK);
  }
  std::filesystem::copy(store.path(), copy);
  bool changed = false;
  for (const auto& file : std::filesystem::directory_iterator(copy)) {
    const size_t at = read_file(file.path()).find("the second value");
    if (at == string::npos) continue;
    std::fstream bytes(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(static_cast<std::streamoff>(at));
    bytes.put('T');
    changed = true;
  }
  REQUIRE(changed);
  dskvs_t after = 0;
  REQUIRE(dskvs_open(copy.c_str(), nullptr, &after) == DSKVS_OK);
  REQUIRE(get(after, "a/b") == "the first value");
  dskvs_stats_t figures = stats(after);
  REQUIRE(figures.lost_epochs == 2);
  REQUIRE(figures.frames_cut >= 4);  // a put and a commit of each
  REQUIRE(figures.recovered_epoch < mark(store));
  REQUIRE(dskvs_close(after) == DSKVS_OK);
}
