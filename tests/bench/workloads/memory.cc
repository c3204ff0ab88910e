// W5 and its relatives: what an entry costs in memory beyond its key and value, what a collection
// costs, and whether memory stays in hand while sizes change for a long time.
#include <malloc.h>

#include <algorithm>
#include <atomic>

#include "workloads/common.h"

namespace bench {
namespace {

constexpr size_t kThreads = 2;

double per(double bytes, uint64_t count) { return bytes / double(count); }

// What the harness itself touches for the first time in a load, its code among it, is no store's.
void load_null(uint64_t entries, uint64_t collections, const Values& values, size_t value_size) {
  std::unique_ptr<Store> store =
      find_store_kind("null")->open({{}, entries, value_size, entries * value_size});
  {
    Team team(*store, kThreads);
    load(team, entries, collections, values, value_size);
  }
  malloc_trim(0);  // nor is what it has freed there for the store's taking
}

void measure_entries(Cell& cell, uint64_t entries, uint64_t collections, const char* unit) {
  constexpr size_t kValueSize = 100;
  Values values(kValueSize);
  load_null(entries, collections, values, kValueSize);
  uint64_t before = resident_bytes();
  std::unique_ptr<Store> store = cell.open(entries, kValueSize);
  if (int server = store->server_pid(); server != 0) before += resident_bytes(server);
  {
    Team team(*store, kThreads);
    load(team, entries, collections, values, kValueSize);
  }  // gives the harness' own keys back before memory is measured
  store->sync();
  sleep_until_ns(now_ns() + 300'000'000);  // what the store frees in the background is free by then
  double grown = double(resident_bytes_of(*store)) - double(before);
  cell.results.figure(fmt::format("overhead_per_{}_bytes", unit),
                      per(grown, entries) - double(kKeySize + kValueSize));
  if (auto figures = store->figures()) {
    cell.results.figure(
        fmt::format("own_overhead_per_{}_bytes", unit),
        per(double(figures->memory_bytes), entries) - double(kKeySize + kValueSize));
  }
}

// Overwrites entries with values of 10 to 2,000 bytes for as long as it is told.
class Churn {
 public:
  explicit Churn(Cell* cell)
      : cell_(*cell),
        entries_(cell->scaled(kEntries)),
        before_(resident_bytes()),
        store_(cell->open(entries_, kSizeMax, entries_ * (kKeySize + kSizeMax / 2))),
        team_(*store_, kThreads) {
    if (int server = store_->server_pid(); server != 0) before_ += resident_bytes(server);
    for (size_t thread = 0; thread < kThreads; ++thread) {
      Slice slice(entries_, kThreads, thread);
      keys_.emplace_back(in_order(slice.first, slice.size()), 1000);
      sizes_.emplace_back(slice.size());
    }
  }

  void measure() {
    double seconds = cell_.phase_seconds(60);
    begin_ns_ = now_ns();
    std::jthread sampler([this](std::stop_token stop) {
      for (uint64_t at_ns = begin_ns_; !stop.stop_requested(); at_ns += 500'000'000) {
        sleep_until_ns(at_ns);
        sample();
      }
    });
    team_.run([&](size_t thread, Session& session) { churn(thread, session, seconds); });
    sampler.request_stop();
    sampler.join();
    report();
  }

 private:
  static constexpr uint64_t kEntries = 200'000;
  static constexpr size_t kSizeMin = 10, kSizeMax = 2000;

  void churn(size_t thread, Session& session, double seconds) {
    const Keys& keys = keys_[thread];
    std::vector<uint16_t>& sizes = sizes_[thread];
    Random random(23 + thread);
    auto put = [&](size_t i) {
      auto size = uint16_t(kSizeMin + random.below(kSizeMax - kSizeMin + 1));
      session.put(keys[i], values_.get(i, size));
      live_bytes_ += int64_t(size) - int64_t(sizes[i]);
      sizes[i] = size;
    };
    for (size_t i = 0; i < keys.size(); ++i) put(i);
    loaded_.fetch_add(1);
    calls_ += repeat_for(seconds, keys.size(), [&](size_t) { put(random.below(keys.size())); });
  }

  double now_s() const { return double(now_ns() - begin_ns_) / 1e9; }
  double resident() const { return double(resident_bytes_of(*store_)) - double(before_); }
  double live() const { return double(live_bytes_.load()) + double(entries_ * kKeySize); }

  void sample() {
    if (loaded_.load() < kThreads) return;
    ratios_.push_back(resident() / live());
    cell_.results.point("resident_bytes", now_s(), resident());
    cell_.results.point("live_bytes", now_s(), live());
    if (auto figures = store_->figures()) {
      cell_.results.point("own_bytes", now_s(), double(figures->memory_bytes));
    }
  }

  void report() {
    cell_.results.figure("put.rate", double(calls_) / now_s());
    if (!ratios_.empty()) {
      size_t early = ratios_.size() / 10;
      cell_.results.figure("resident_per_live_byte.early", ratios_[early]);
      cell_.results.figure("resident_per_live_byte.late", ratios_.back());
      cell_.results.figure("resident_per_live_byte.most", *std::ranges::max_element(ratios_));
    }
    team_.run([this](size_t thread, Session& session) {
      const Keys& keys = keys_[thread];
      for (size_t i = 0; i < keys.size(); ++i) expect_found(session.erase(keys[i]));
    });
    store_->sync();
    sleep_until_ns(now_ns() + 1'000'000'000);  // the time that a background thread has to tidy up
    cell_.results.figure("resident_when_empty_bytes", resident());
  }

  Cell& cell_;
  uint64_t entries_;
  Values values_{kSizeMax};
  uint64_t before_;
  std::unique_ptr<Store> store_;
  Team team_;
  std::vector<Keys> keys_;
  std::vector<std::vector<uint16_t>> sizes_;
  std::atomic<int64_t> live_bytes_ = 0;
  std::atomic<uint64_t> calls_ = 0;
  std::atomic<size_t> loaded_ = 0;
  std::vector<double> ratios_;
  uint64_t begin_ns_ = 0;
};

}  // namespace

extern const Workload kMemory;
const Workload kMemory = {
    .name = "W5",
    .text = "memory of an entry of W2 beyond key and value",
    .abilities = 0,
    .remote = true,
    .dskvs_only = false,
    .by_default = true,
    .stages = kOneStage,
    .run = [](Cell& cell) { measure_entries(cell, cell.scaled(1'000'000), 1000, "entry"); }};

extern const Workload kCollectionsMemory;
const Workload kCollectionsMemory = {.name = "collections",
                                     .text = "memory of 100,000 collections of one member",
                                     .abilities = 0,
                                     .remote = true,
                                     .dskvs_only = false,
                                     .by_default = true,
                                     .stages = kOneStage,
                                     .run = [](Cell& cell) {
                                       uint64_t count = cell.scaled(100'000);
                                       measure_entries(cell, count, count, "collection");
                                     }};

extern const Workload kFragmentation;
const Workload kFragmentation = {
    .name = "fragmentation",
    .text = "200,000 values overwritten with other sizes for a minute, or --seconds",
    .abilities = 0,
    .remote = true,
    .dskvs_only = false,
    .by_default = false,
    .stages = kOneStage,
    .run = [](Cell& cell) { Churn(&cell).measure(); }};

}  // namespace bench
