// W2 and W3: a million entries with keys of 16 bytes and values of 100, in 1,000 collections and in
// a single one: loading, reading, reading and writing.
#include <atomic>

#include "workloads/common.h"

namespace bench {
namespace {

constexpr uint64_t kEntries = 1'000'000;
constexpr size_t kValueSize = 100;
constexpr size_t kLoadThreads = 2;

// One thread's walk through the store: which keys, and which of the calls are puts.
struct Walk {
  Keys keys;
  std::vector<char> puts;
};

class Small {
 public:
  Small(Cell* cell, uint64_t collections)
      : cell_(*cell),
        entries_(cell->scaled(kEntries)),
        collections_(std::min(collections, entries_)),
        store_(cell->open(entries_, kValueSize)),
        zipf_(entries_, 0.99) {}

  void measure(std::span<const size_t> thread_counts) {
    {
      Team team(*store_, kLoadThreads);
      double seconds = load(team, entries_, collections_, values_, kValueSize);
      cell_.results.figure("load/2.rate", double(entries_) / seconds);
    }
    store_->sync();
    for (size_t threads : thread_counts) {
      Team team(*store_, threads);
      measure(team, "get_uniform", false, 0);
      measure(team, "get_zipf", true, 0);
      measure(team, "95_5", false, 0.05);
      measure(team, "50_50", false, 0.5);
    }
  }

 private:
  void measure(Team& team, const char* name, bool by_zipf, double put_share) {
    std::vector<Walk> walks(team.size());
    for (Walk& walk : walks) walk = make_walk(team.size(), by_zipf, put_share);
    std::atomic<uint64_t> calls = 0;
    double seconds = team.run([&](size_t thread, Session& session) {
      const Walk& walk = walks[thread];
      calls += repeat_for(cell_.phase_seconds(1), walk.keys.size(), [&](size_t i) {
        if (walk.puts[i] != 0) {
          session.put(walk.keys[i], values_.get(i, kValueSize));
        } else {
          expect_value(session.get_copied(walk.keys[i]), kValueSize);
        }
      });
    });
    cell_.results.figure(fmt::format("{}/{}.rate", name, team.size()), double(calls) / seconds);
  }

  Walk make_walk(size_t threads, bool by_zipf, double put_share) {
    uint64_t length = std::min<uint64_t>(entries_, 2 * kEntries / threads);
    Indices indices = by_zipf ? zipf_.draw(length, &random_) : uniform(entries_, length, &random_);
    Walk walk{Keys(indices, collections_), std::vector<char>(length)};
    for (char& put : walk.puts) put = random_.fraction() < put_share;
    return walk;
  }

  Cell& cell_;
  uint64_t entries_;
  uint64_t collections_;
  Random random_{5};
  Values values_{kValueSize};
  std::unique_ptr<Store> store_;
  Zipf zipf_;
};

}  // namespace

extern const Workload kSmall;
const Workload kSmall = {.name = "W2",
                         .text = "1 M entries of 16 + 100 bytes in 1,000 collections",
                         .abilities = 0,
                         .remote = true,
                         .dskvs_only = false,
                         .by_default = true,
                         .stages = kOneStage,
                         .run = [](Cell& cell) {
                           constexpr size_t kThreads[] = {1, 2, 10};
                           Small(&cell, 1000).measure(kThreads);
                         }};

extern const Workload kHotCollection;
const Workload kHotCollection = {.name = "W3",
                                 .text = "W2 in a single collection",
                                 .abilities = 0,
                                 .remote = true,
                                 .dskvs_only = false,
                                 .by_default = true,
                                 .stages = kOneStage,
                                 .run = [](Cell& cell) {
                                   constexpr size_t kThreads[] = {2};
                                   Small(&cell, 1).measure(kThreads);
                                 }};

}  // namespace bench
