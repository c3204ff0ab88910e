// W8: one thread puts 10 M new entries of 100 bytes into one collection, each call timed: whether
// the tail shows that tables grow. Then the store is closed, and the thread looks at the clock for
// as long again, alone and with another one beside it, as the persister was: what the machine
// itself does to it, as often as one in 10,000 puts.
#include <algorithm>
#include <atomic>
#include <thread>

#include "workloads/common.h"

namespace bench {
namespace {

constexpr size_t kValueSize = 100;
constexpr double kSecondsMax = 300;  // the slow ones get no further, and the figures say so

std::string decade_name(uint64_t entries) {
  if (entries >= 1'000'000) return fmt::format("put_to_{}M", entries / 1'000'000);
  if (entries >= 1000) return fmt::format("put_to_{}k", entries / 1000);
  return fmt::format("put_to_{}", entries);
}

class Growth {
 public:
  explicit Growth(Cell* cell) : cell_(*cell), entries_(cell->scaled(10'000'000, 10'000)) {}

  void measure() {
    Keys keys(in_order(0, entries_), 1);
    Values values(kValueSize);
    std::unique_ptr<Store> store = cell_.open(entries_, kValueSize);
    std::unique_ptr<Session> session = store->session();

    uint64_t start_ns = now_ns();
    uint64_t limit_ns = start_ns + uint64_t(kSecondsMax * 1e9);
    size_t done = 0;
    Laps laps;
    while (done < entries_ && laps.last_ns() < limit_ns) {
      session->put(keys[done], values.get(done, kValueSize));
      uint64_t lap_ns = laps.lap();
      ++done;
      decade_.add(lap_ns);
      chunk_.add(lap_ns);
      if (done % chunk_size_ != 0 && done != next_decade_) continue;
      if (done % chunk_size_ == 0) end_chunk(done);
      if (done == next_decade_) end_decade(done);
      laps = Laps();  // the book-keeping above is not the store's
    }
    if (done == entries_ && decade_.count() > 0) end_decade(done);
    cell_.results.figure("entries", double(done));
    cell_.results.latencies("put", all_);
    uint64_t took_ns = now_ns() - start_ns;
    session.reset();
    store.reset();
    measure_machine("machine", took_ns);
    measure_busy_machine(took_ns);
  }

 private:
  void measure_busy_machine(uint64_t for_ns) {
    std::atomic<bool> done{false};
    std::thread beside([&] {
      while (!done.load(std::memory_order_relaxed)) (void)now_ns();
    });
    measure_machine("busy_machine", for_ns);
    done = true;
    beside.join();
  }

  void measure_machine(const std::string& name, uint64_t for_ns) {
    Histogram interruptions;
    Laps laps;
    for (uint64_t end_ns = now_ns() + for_ns; laps.last_ns() < end_ns;) {
      interruptions.add(laps.lap());
    }
    double share = double(all_.count()) / 1e4 / double(interruptions.count());
    cell_.results.figure(name + ".p99.99_ns", double(interruptions.quantile(1 - share)));
    cell_.results.figure(name + ".max_ns", double(interruptions.max()));
  }

  void end_chunk(size_t entries) {
    cell_.results.point("p50_ns", double(entries), double(chunk_.quantile(0.5)));
    cell_.results.point("p99.99_ns", double(entries), double(chunk_.quantile(0.9999)));
    cell_.results.point("max_ns", double(entries), double(chunk_.max()));
    chunk_ = Histogram();
  }

  void end_decade(size_t entries) {
    cell_.results.latencies(decade_name(entries), decade_);
    all_.add(decade_);
    decade_ = Histogram();
    next_decade_ *= 10;
  }

  Cell& cell_;
  size_t entries_;
  size_t chunk_size_ = std::max<size_t>(entries_ / 100, 1);
  size_t next_decade_ = 1000;
  Histogram chunk_;
  Histogram decade_;
  Histogram all_;
};

}  // namespace

extern const Workload kGrowth;
const Workload kGrowth = {.name = "W8",
                          .text = "one collection grows from 0 to 10 M entries",
                          .abilities = 0,
                          .remote = false,
                          .dskvs_only = false,
                          .by_default = true,
                          .stages = kOneStage,
                          .run = [](Cell& cell) { Growth(&cell).measure(); }};

}  // namespace bench
