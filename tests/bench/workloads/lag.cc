// W9: how long after a put it is written, and durable. Isolated writes, beside what the device asks
// for a sync of its own; and a steady stream, of which one write in a millisecond is watched.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "stores/dskvs_store.h"
#include "workloads/common.h"

namespace bench {
namespace {

constexpr size_t kValueSize = 1000;
constexpr std::string_view kStages[] = {"isolated", "1000", "10000", "100000"};

void await(dskvs_t store, uint64_t mark, int32_t level) {
  expect_dskvs(dskvs_wait(store, mark, level, DSKVS_FOREVER), "wait");
}

uint64_t mark_of(dskvs_t store) {
  uint64_t mark = 0;
  expect_dskvs(dskvs_mark(store, &mark), "mark");
  return mark;
}

void put(dskvs_t store, std::string_view key, std::string_view value) {
  expect_dskvs(dskvs_put(store, key.data(), key.size(), value.data(), value.size()), "put");
}

void pause(Random* random) { sleep_until_ns(now_ns() + (5 + random->below(46)) * 1'000'000); }

// A block appended to a file of its own, and synced: what the device and its file system ask.
Histogram measure_device(const std::string& path, int rounds) {
  Histogram histogram;
  Random random(37);
  std::array<char, 4096> block{};
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) fail("cannot create {}", path);
  for (int round = 0; round < rounds; ++round) {
    pause(&random);
    Laps laps;
    if (write(fd, block.data(), block.size()) != ssize_t(block.size()) || fdatasync(fd) != 0) {
      fail("cannot write {}", path);
    }
    histogram.add(laps.lap());
  }
  close(fd);
  return histogram;
}

void measure_isolated(Cell& cell) {
  int rounds = int(cell.scaled(200, 5));
  std::unique_ptr<Store> store = cell.open(1000, kValueSize);
  dskvs_t handle = dskvs_handle_of(*store);
  Keys keys(in_order(0, 1000), 10);
  Values values(kValueSize);
  Random random(41);

  cell.results.latencies("device_sync", measure_device(cell.directory + "/probe", rounds));
  Histogram written, durable;
  for (int round = 0; round < rounds; ++round) {
    size_t i = size_t(round) % keys.size();
    pause(&random);
    uint64_t begin_ns = now_ns();
    put(handle, keys[i], values.get(i, kValueSize));
    uint64_t mark = mark_of(handle);
    await(handle, mark, DSKVS_WRITTEN);
    written.add(now_ns() - begin_ns);
    await(handle, mark, DSKVS_DURABLE);
    durable.add(now_ns() - begin_ns);
  }
  cell.results.latencies("isolated.written", written);
  cell.results.latencies("isolated.durable", durable);
}

// Waits, on a thread of its own, for writes to reach a level: for about one in a millisecond, in
// the order in which they were made, so that each kind of moment is met as often as it comes.
class Watcher {
 public:
  Watcher(dskvs_t store, int32_t level, uint64_t begin_ns)
      : store_(store), level_(level), begin_ns_(begin_ns), thread_([this] { work(); }) {}

  // The writer offers each put that it has just made, with the time at which it began.
  void offer(uint64_t put_ns) {
    if (put_ns < next_ns_ || made_.load(std::memory_order_relaxed) - seen_.load() == kRoom) return;
    next_ns_ = put_ns + 1'000'000;
    push({put_ns, mark_of(store_)});
  }

  // Returns when the last write offered has reached the level.
  void finish() {
    while (made_.load() - seen_.load() == kRoom) sleep_until_ns(now_ns() + 1'000'000);
    push({kEnd, 0});
    thread_.join();
  }

  void report(Cell& cell, const std::string& name) const {
    cell.results.latencies(name, lags_);
    for (const auto& [at_s, lag_us] : points_) cell.results.point(name + "_us", at_s, lag_us);
  }

 private:
  struct Write {
    uint64_t put_ns;
    uint64_t mark;
  };
  static constexpr uint64_t kEnd = 0;
  static constexpr uint64_t kRoom = 4096;

  void push(const Write& write) {
    uint64_t made = made_.load(std::memory_order_relaxed);
    writes_[made % kRoom] = write;
    made_.store(made + 1, std::memory_order_release);
    made_.notify_one();
  }

  void work() {
    for (uint64_t seen = 0;; ++seen) {
      made_.wait(seen);
      Write write = writes_[seen % kRoom];
      seen_.store(seen + 1);
      if (write.put_ns == kEnd) return;
      await(store_, write.mark, level_);
      uint64_t lag_ns = now_ns() - write.put_ns;
      lags_.add(lag_ns);
      keep_point(double(write.put_ns - begin_ns_) / 1e9, double(lag_ns) / 1e3);
    }
  }

  // For the picture: the worst of each ten milliseconds.
  void keep_point(double at_s, double lag_us) {
    if (points_.empty() || at_s - points_.back().first > 0.01) {
      points_.emplace_back(at_s, lag_us);
    } else {
      points_.back().second = std::max(points_.back().second, lag_us);
    }
  }

  dskvs_t store_;
  int32_t level_;
  uint64_t begin_ns_;
  uint64_t next_ns_ = 0;
  std::array<Write, kRoom> writes_;
  std::atomic<uint64_t> made_ = 0;  // writes_ below it are the watcher's to read
  std::atomic<uint64_t> seen_ = 0;  // and below this one the writer's to fill again
  Histogram lags_;
  Results::Points points_;
  std::thread thread_;
};

void measure_paced(Cell& cell, uint64_t puts_per_s) {
  constexpr uint64_t kEntries = 100'000;
  std::unique_ptr<Store> store = cell.open(kEntries, kValueSize);
  dskvs_t handle = dskvs_handle_of(*store);
  Random random(43);
  Keys keys(uniform(kEntries, kEntries, &random), 10);
  Values values(kValueSize);

  wake_precisely();
  uint64_t period_ns = 1'000'000'000 / puts_per_s;
  auto puts = uint64_t(cell.phase_seconds(5) * double(puts_per_s));
  uint64_t begin_ns = now_ns();
  Watcher written(handle, DSKVS_WRITTEN, begin_ns);
  Watcher durable(handle, DSKVS_DURABLE, begin_ns);
  double written_max_us = 0, durable_max_us = 0;
  std::jthread sampler([&](std::stop_token stop) {
    for (uint64_t at_ns = begin_ns; !stop.stop_requested(); at_ns += 2'000'000) {
      sleep_until_ns(at_ns);
      dskvs_stats_t stats = dskvs_stats_of(handle);
      written_max_us = std::max(written_max_us, double(stats.written_lag_us));
      durable_max_us = std::max(durable_max_us, double(stats.durable_lag_us));
    }
  });

  Histogram calls;
  uint64_t late_max_ns = 0;
  for (uint64_t i = 0; i < puts; ++i) {
    uint64_t due_ns = begin_ns + i * period_ns;
    uint64_t put_ns = now_ns();
    if (put_ns < due_ns) {
      sleep_until_ns(due_ns);
      put_ns = now_ns();
    }
    late_max_ns = std::max(late_max_ns, put_ns - due_ns);
    put(handle, keys[i % kEntries], values.get(i, kValueSize));
    calls.add(now_ns() - put_ns);
    written.offer(put_ns);
    durable.offer(put_ns);
  }
  double seconds = double(now_ns() - begin_ns) / 1e9;
  written.finish();
  durable.finish();
  sampler.request_stop();
  sampler.join();

  std::string name = fmt::format("{}_per_s", puts_per_s);
  written.report(cell, name + ".written");
  durable.report(cell, name + ".durable");
  cell.results.latencies(name + ".put", calls);
  cell.results.figure(name + ".rate", double(puts) / seconds);
  cell.results.figure(name + ".writer_late_max_us", double(late_max_ns) / 1e3);
  cell.results.figure(name + ".stats_written_max_us", written_max_us);
  cell.results.figure(name + ".stats_durable_max_us", durable_max_us);
}

void run(Cell& cell) {
  cell.directory += fmt::format("/{}", cell.stage);
  if (cell.stage == "isolated") return measure_isolated(cell);
  measure_paced(cell, std::stoul(std::string(cell.stage)));
}

}  // namespace

extern const Workload kLag;
const Workload kLag = {.name = "W9",
                       .text = "time from a put to written and to durable",
                       .abilities = kPersists,
                       .remote = false,
                       .dskvs_only = true,
                       .by_default = true,
                       .stages = kStages,
                       .run = run};

}  // namespace bench
