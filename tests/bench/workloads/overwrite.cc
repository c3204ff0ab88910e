// W6: two threads overwrite 100,000 entries of 1,000 bytes, for ten seconds; what it does to the
// disk. And the hot keys: one thread overwrites 100 keys as fast as it can.
#include <algorithm>
#include <atomic>

#include "workloads/common.h"

namespace bench {
namespace {

struct Shape {
  uint64_t entries;
  size_t value_size;
  size_t threads;
  double seconds;
};

class Overwrite {
 public:
  Overwrite(Cell* cell, const Shape& shape)
      : cell_(*cell),
        shape_(shape),
        values_(shape.value_size),
        store_(cell->open(shape.entries, shape.value_size)),
        team_(*store_, shape.threads),
        histograms_(shape.threads) {
    Random random(29);
    for (size_t thread = 0; thread < shape.threads; ++thread) {
      keys_.emplace_back(uniform(shape.entries, kWalk, &random), 10);
    }
  }

  void measure() {
    load(team_, shape_.entries, 10, values_, shape_.value_size);
    store_->sync();
    uint64_t sent_before = bytes_sent_by(*store_);
    auto figures_before = store_->figures();
    begin_ns_ = now_ns();

    std::jthread sampler([this](std::stop_token stop) { watch(stop); });
    double seconds = team_.run([this](size_t thread, Session& session) { put(thread, session); });
    sampler.request_stop();
    sampler.join();
    uint64_t put_ns = now_ns();
    store_->sync();

    Results& results = cell_.results;
    results.figure("put.rate", double(calls_) / seconds);
    results.figure("sync_s", double(now_ns() - put_ns) / 1e9);
    if (!cell_.kind->can(kPersists)) return report_latencies();
    double user_bytes = double(calls_) * double(kKeySize + shape_.value_size);
    double sent = double(bytes_sent_by(*store_) - sent_before);
    results.figure("sent_per_user_byte", sent / user_bytes);
    if (auto figures = store_->figures()) {
      double logged = double(figures->bytes_written - figures_before->bytes_written);
      results.figure("logged_per_user_byte", logged / user_bytes);
      results.figure("user_per_logged_byte", user_bytes / logged);
      results.figure("written_lag.max_us", written_lag_max_us_);
      results.figure("durable_lag.max_us", durable_lag_max_us_);
    }
    results.figure("disk.max_bytes", disk_max_bytes_);
    results.figure("disk.end_bytes", double(disk_bytes(cell_.store_directory())));
    results.figure("live_bytes", double(shape_.entries * (kKeySize + shape_.value_size)));
    report_latencies();
  }

 private:
  static constexpr uint64_t kWalk = 1'000'000;

  void put(size_t thread, Session& session) {
    const Keys& keys = keys_[thread];
    Histogram& histogram = histograms_[thread];
    uint64_t end_ns = begin_ns_ + uint64_t(cell_.phase_seconds(shape_.seconds) * 1e9);
    uint64_t calls = 0;
    Laps laps;
    while (laps.last_ns() < end_ns) {
      session.put(keys[calls % kWalk], values_.get(calls, shape_.value_size));
      histogram.add(laps.lap());
      ++calls;
    }
    calls_ += calls;
  }

  void watch(const std::stop_token& stop) {
    for (uint64_t at_ns = begin_ns_; !stop.stop_requested(); at_ns += 50'000'000) {
      sleep_until_ns(at_ns);
      double at_s = double(now_ns() - begin_ns_) / 1e9;
      if (auto figures = store_->figures()) {
        written_lag_max_us_ = std::max(written_lag_max_us_, double(figures->written_lag_us));
        durable_lag_max_us_ = std::max(durable_lag_max_us_, double(figures->durable_lag_us));
        cell_.results.point("written_lag_us", at_s, double(figures->written_lag_us));
        cell_.results.point("durable_lag_us", at_s, double(figures->durable_lag_us));
      }
      auto disk = double(disk_bytes(cell_.store_directory()));
      disk_max_bytes_ = std::max(disk_max_bytes_, disk);
      cell_.results.point("disk_bytes", at_s, disk);
    }
  }

  void report_latencies() {
    Histogram all;
    for (const Histogram& histogram : histograms_) all.add(histogram);
    cell_.results.latencies("put", all);
  }

  Cell& cell_;
  Shape shape_;
  Values values_;
  std::unique_ptr<Store> store_;
  Team team_;
  std::vector<Keys> keys_;
  std::vector<Histogram> histograms_;
  std::atomic<uint64_t> calls_ = 0;
  double written_lag_max_us_ = 0;
  double durable_lag_max_us_ = 0;
  double disk_max_bytes_ = 0;
  uint64_t begin_ns_ = 0;
};

}  // namespace

extern const Workload kOverwrite;
const Workload kOverwrite = {
    .name = "W6",
    .text = "100,000 entries of 1,000 bytes overwritten by 2 threads for 10 s",
    .abilities = 0,
    .remote = true,
    .dskvs_only = false,
    .by_default = true,
    .stages = kOneStage,
    .run = [](Cell& cell) {
      Overwrite(&cell, {cell.scaled(100'000), 1000, 2, 10}).measure();
    }};

extern const Workload kHotKeys;
const Workload kHotKeys = {.name = "hot-keys",
                           .text = "100 entries of 100 bytes overwritten by 1 thread for 5 s",
                           .abilities = kPersists,
                           .remote = true,
                           .dskvs_only = false,
                           .by_default = true,
                           .stages = kOneStage,
                           .run = [](Cell& cell) {
                             Overwrite(&cell, {100, 100, 1, 5}).measure();
                           }};

}  // namespace bench
