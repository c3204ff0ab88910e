// Goal: on a real file system that is full, puts are refused, and all that was accepted is there
// after the close, deletes too; and deletes make room for puts again.
// Method: a small tmpfs of the test's own (root only; skipped elsewhere); threads that know what of
// their keys was accepted fill it, delete, fill it again.
#include <sys/mount.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "door.h"

using namespace dskvs::test;

namespace {

constexpr int kThreads = 3;

class SmallDisk {
 public:
  SmallDisk() : mounted_(::mount("none", dir_.path().c_str(), "tmpfs", 0, "size=96m") == 0) {}
  ~SmallDisk() {
    if (mounted_) ::umount2(dir_.path().c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  string store() const { return dir_ / "store"; }

 private:
  TempDir dir_;
  const bool mounted_;
};

// One thread's keys: [first, end) are in the store.
struct Keys {
  int thread;
  size_t value_bytes;
  uint64_t first = 0;
  uint64_t end = 0;

  string key(uint64_t i) const { return "t" + std::to_string(thread) + "/" + std::to_string(i); }
  string value(uint64_t i) const {
    string value(value_bytes, static_cast<char>('a' + i % 26));
    std::memcpy(value.data(), &i, sizeof i);
    return value;
  }

  // Until there is no room.
  int32_t fill(dskvs_t store) {
    for (;; ++end) {
      const int32_t status = put(store, key(end), value(end));
      if (status != DSKVS_OK) return status;
    }
  }
  // Up to there, or as far as removals have room.
  int32_t remove_to(dskvs_t store, uint64_t to) {
    for (; first < to; ++first) {
      const int32_t status = dskvs::test::remove(store, key(first));
      if (status != DSKVS_OK) return status;
    }
    return DSKVS_OK;
  }
  bool are_there(dskvs_t store) const {
    for (uint64_t i = 0; i < end; ++i) {
      const Pinned pinned(store, key(i));
      if (pinned.status != (i < first ? DSKVS_NOT_FOUND : DSKVS_OK)) return false;
      if (i >= first && pinned.view() != value(i)) return false;
    }
    return true;
  }
};

template <typename Work>
void on_all(std::vector<Keys>& all, Work&& work) {
  std::vector<std::thread> threads;
  for (Keys& keys : all) threads.emplace_back([&] { work(keys); });
  for (std::thread& thread : threads) thread.join();
}

dskvs_t open(const string& path) {
  dskvs_t store = 0;
  REQUIRE(dskvs_open(path.c_str(), nullptr, &store) == DSKVS_OK);
  return store;
}

TEST_CASE("On a full disk nothing that was accepted is lost, and deletes make room") {
  for (const size_t value_bytes : {100, 10'000, 1'000'000}) {
    CAPTURE(value_bytes);
    const SmallDisk disk;
    if (!disk.mounted()) {
      std::printf("skipped: a tmpfs cannot be mounted (%s)\n", std::strerror(errno));
      return;
    }
    std::vector<Keys> all;
    for (int i = 0; i < kThreads; ++i) all.push_back({.thread = i, .value_bytes = value_bytes});
    dskvs_t store = open(disk.store());
    for (int round = 0; round < 2; ++round) {
      std::atomic<int> refused = 0;
      on_all(all, [&](Keys& keys) { refused += keys.fill(store) == DSKVS_ERR_SPACE ? 1 : 0; });
      CHECK(refused == kThreads);
      uint64_t bytes = 0;
      for (const Keys& keys : all) bytes += (keys.end - keys.first) * value_bytes;
      CHECK(bytes > 20'000'000);
      std::atomic<int> removed = 0;
      on_all(all, [&](Keys& keys) {
        const int32_t status = keys.remove_to(store, keys.first + (keys.end - keys.first) * 3 / 4);
        removed += status == DSKVS_OK || status == DSKVS_ERR_SPACE ? 1 : 0;
      });
      CHECK(removed == kThreads);
      dskvs_stats_t stats = DSKVS_STATS_INIT;
      REQUIRE(dskvs_stats(store, &stats) == DSKVS_OK);
      CHECK(stats.last_error == 0);
      CHECK(stats.heals == 0);
      if (round == 0) {
        REQUIRE(dskvs_close(store) == DSKVS_OK);
        store = open(disk.store());
      }
      for (const Keys& keys : all) REQUIRE(keys.are_there(store));
    }
    REQUIRE(dskvs_close(store) == DSKVS_OK);
    store = open(disk.store());
    for (const Keys& keys : all) REQUIRE(keys.are_there(store));
    REQUIRE(dskvs_close(store) == DSKVS_OK);
  }
}

}  // namespace
