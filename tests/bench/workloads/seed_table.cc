// W1, the original's own table: 10 threads, 2,048 keys of one collection, values of 10,000 bytes.
// Each thread has its own part of the keys. Rates are taken without a clock in the loop; W1-latency
// runs the same calls once more and times each of them.
#include "workloads/common.h"

namespace bench {
namespace {

constexpr size_t kThreads = 10;
constexpr uint64_t kEntries = 2048;
constexpr size_t kValueSize = 10'000;

class SeedTable {
 public:
  explicit SeedTable(Cell* cell)
      : cell_(*cell),
        entries_(cell->scaled(kEntries, 2 * kThreads)),
        store_(cell->open(entries_, kValueSize)),
        team_(*store_, kThreads) {
    Random random(3);
    for (size_t thread = 0; thread < kThreads; ++thread) {
      Slice slice(entries_, kThreads, thread);
      keys_.emplace_back(shuffled(in_order(slice.first, slice.size()), &random), 1);
    }
  }

  void measure_rates() {
    rate("put_first", entries_, fill());
    rate_of_repeats("put_rewrite", [this](Session& session, const Keys& keys, size_t i) {
      session.put(keys[i], values_.get(i + 1, kValueSize));
    });
    if (cell_.kind->can(kPins)) {
      rate_of_repeats("get_pinned", [](Session& session, const Keys& keys, size_t i) {
        uint64_t digest = 0;
        expect_found(session.get_pinned(keys[i], &digest));
        use(digest);
      });
    }
    rate_of_repeats("get_copied", [](Session& session, const Keys& keys, size_t i) {
      expect_value(session.get_copied(keys[i]), kValueSize);
    });
    measure_rounds();
  }

  void measure_latencies() {
    latencies("put_first", 1, [this](Session& session, const Keys& keys, size_t i) {
      session.put(keys[i], values_.get(i, kValueSize));
    });
    latencies("put_rewrite", kLatencyRounds, [this](Session& session, const Keys& keys, size_t i) {
      session.put(keys[i], values_.get(i + 1, kValueSize));
    });
    if (cell_.kind->can(kPins)) {
      latencies("get_pinned", kLatencyRounds, [](Session& session, const Keys& keys, size_t i) {
        uint64_t digest = 0;
        expect_found(session.get_pinned(keys[i], &digest));
        use(digest);
      });
    }
    latencies("get_copied", kLatencyRounds, [](Session& session, const Keys& keys, size_t i) {
      expect_value(session.get_copied(keys[i]), kValueSize);
    });
    latencies("delete", 1, [](Session& session, const Keys& keys, size_t i) {
      expect_found(session.erase(keys[i]));
    });
  }

 private:
  static constexpr int kLatencyRounds = 20;

  void rate(const char* name, uint64_t calls, double seconds) {
    cell_.results.figure(fmt::format("{}.rate", name), double(calls) / seconds);
  }

  double fill() {
    return team_.run([this](size_t thread, Session& session) {
      const Keys& keys = keys_[thread];
      for (size_t i = 0; i < keys.size(); ++i) session.put(keys[i], values_.get(i, kValueSize));
    });
  }

  double erase_all() {
    return team_.run([this](size_t thread, Session& session) {
      const Keys& keys = keys_[thread];
      for (size_t i = 0; i < keys.size(); ++i) expect_found(session.erase(keys[i]));
    });
  }

  template <typename Op>
  void rate_of_repeats(const char* name, Op op) {
    std::atomic<uint64_t> calls = 0;
    double seconds = team_.run([&](size_t thread, Session& session) {
      const Keys& keys = keys_[thread];
      calls +=
          repeat_for(cell_.phase_seconds(1), keys.size(), [&](size_t i) { op(session, keys, i); });
    });
    rate(name, calls, seconds);
  }

  // Deleting and putting anew, in turn, until either has had its time.
  void measure_rounds() {
    double erasing = 0, filling = 0;
    uint64_t rounds = 0;
    do {
      erasing += erase_all();
      filling += fill();
      ++rounds;
    } while (erasing + filling < 2 * cell_.phase_seconds(1));
    rate("delete", rounds * entries_, erasing);
    rate("put_again", rounds * entries_, filling);
  }

  template <typename Op>
  void latencies(const char* name, int rounds, Op op) {
    std::vector<Histogram> histograms(kThreads);
    team_.run([&](size_t thread, Session& session) {
      const Keys& keys = keys_[thread];
      Histogram& histogram = histograms[thread];
      Laps laps;
      for (int round = 0; round < rounds; ++round) {
        for (size_t i = 0; i < keys.size(); ++i) {
          op(session, keys, i);
          histogram.add(laps.lap());
        }
      }
    });
    Histogram all;
    for (const Histogram& histogram : histograms) all.add(histogram);
    cell_.results.latencies(name, all);
  }

  Cell& cell_;
  uint64_t entries_;
  Values values_{kValueSize};
  std::vector<Keys> keys_;
  std::unique_ptr<Store> store_;
  Team team_;
};

}  // namespace

extern const Workload kSeedTable;
const Workload kSeedTable = {
    .name = "W1",
    .text = "the seed's table: 10 threads, 2,048 keys, values of 10,000 bytes",
    .abilities = 0,
    .remote = true,
    .dskvs_only = false,
    .by_default = true,
    .stages = kOneStage,
    .run = [](Cell& cell) { SeedTable(&cell).measure_rates(); }};

extern const Workload kSeedTableLatency;
const Workload kSeedTableLatency = {
    .name = "W1-latency",
    .text = "the same, every call timed",
    .abilities = 0,
    .remote = true,
    .dskvs_only = false,
    .by_default = true,
    .stages = kOneStage,
    .run = [](Cell& cell) { SeedTable(&cell).measure_latencies(); }};

}  // namespace bench
