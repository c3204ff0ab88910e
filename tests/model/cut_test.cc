// Goal: each epoch's end is a point in one order of all calls: whoever saw a change, and then that
// another one was not there yet, will not find the second without the first after a crash.
// Method: real threads write keys whose versions are numbered, others look and note what they saw,
// and the persister is stepped as fast as it can. Every commit of the log is a state that a crash
// could have left, and each is held against all that was seen. Where a change is about to join an
// epoch, as its first, the clock is asked, which takes its time. DSKVS_CUT_SECONDS says how long.
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "disk/recovery.h"
#include "disk/store_directory.h"
#include "store.h"
#include "support/catch.h"
#include "support/seed.h"
#include "support/sim_environment.h"
#include "support/sim_file_system.h"

namespace dskvs::test {
namespace {

constexpr const char* kPath = "/store";

void dawdle(std::mt19937& random) {
  switch (random() % 8) {
    case 0:
      sched_yield();
      break;
    case 1:
      random.discard(200);
      break;
    default:
      break;
  }
}

class SlowClock : public Clock {
 public:
  uint64_t now_us() noexcept override {
    thread_local std::mt19937 random(static_cast<uint32_t>(now_us_));
    for (int i = 0; i < 4; ++i) dawdle(random);
    return ++now_us_;
  }
  uint64_t thread_cpu_us() noexcept override { return ++now_us_; }

 private:
  std::atomic<uint64_t> now_us_{1'000'000};
};

// How a key's even versions come about; odd ones are put. Each key has one writer.
enum class End { kOverwritten, kRemoved, kDropped };
constexpr uint32_t kKeys = 3;
constexpr std::array<const char*, kKeys> kNames = {"a/x", "a/y", "b/z"};
constexpr std::array<End, kKeys> kEnds = {End::kOverwritten, End::kRemoved, End::kDropped};

bool is_there(uint32_t key, uint64_t version) {
  return version != 0 && (version % 2 == 1 || kEnds[key] == End::kOverwritten);
}

struct Range {
  uint64_t min = 0;
  uint64_t max = 0;
};

struct Sight {
  uint32_t key;
  Range version;
  uint64_t mark;
};

struct Cut {
  uint64_t epoch = 0;
  std::array<Range, kKeys> versions{};
};

// What each commit leaves.
class Cuts final : public SegmentedSink, public RecoverySink {
 public:
  void begin(uint64_t /*durable_epoch*/) override {}
  RecoverySink& begin_segment(uint64_t /*segment_id*/) override { return *this; }
  Status end_segment() override { return Status::kOk; }

  Status add(FrameType type, std::string_view key, uint64_t value_size, void** value) override {
    batch_.push_back({type, std::string(key), std::string(value_size, '\0')});
    *value = batch_.back().value.data();
    return Status::kOk;
  }
  Status commit(uint64_t last_epoch) override {
    for (const Change& change : batch_) {
      for (uint32_t key = 0; key < kKeys; ++key) {
        const bool drops =
            change.type == FrameType::kDrop && change.key == std::string_view(kNames[key], 1);
        if (drops || change.key == kNames[key]) now_[key] = version_of(change.value);
      }
    }
    batch_.clear();
    cuts_.push_back({last_epoch});
    for (uint32_t key = 0; key < kKeys; ++key) {
      const Range before = cuts_.size() == 1 ? Range() : cuts_[cuts_.size() - 2].versions[key];
      const uint64_t v = now_[key];
      // Gone: one of the versions since it was last there.
      cuts_.back().versions[key] =
          v != 0 ? Range{v, v} : Range{before.min + before.min % 2, UINT64_MAX};
    }
    return Status::kOk;
  }

  const std::vector<Cut>& finish() {
    for (uint32_t key = 0; key < kKeys; ++key) {
      uint64_t last = UINT64_MAX;
      for (auto cut = cuts_.rbegin(); cut != cuts_.rend(); ++cut) {
        Range& version = cut->versions[key];
        if (is_there(key, version.min)) {
          last = version.min - 1;
        } else {
          version.max = last;
        }
      }
    }
    return cuts_;
  }

 private:
  struct Change {
    FrameType type;
    std::string key;
    std::string value;
  };
  static uint64_t version_of(const std::string& value) {
    return value.empty() ? 0 : std::stoull(value);
  }

  std::vector<Change> batch_;
  std::array<uint64_t, kKeys> now_{};
  std::vector<Cut> cuts_;
};

class Play {
 public:
  explicit Play(uint64_t seed) : seed_(seed) {
    const Environment environment{files_, clock_, fixed_random, true, {}};
    REQUIRE(Store::open(kPath, {}, environment, &store_) == Status::kOk);
  }

  // For a second, and on until there is enough to compare.
  void run() {
    std::vector<std::thread> threads;
    for (uint32_t key = 0; key < kKeys; ++key) threads.emplace_back([this, key] { write(key); });
    for (uint32_t i = 0; i < kObservers; ++i) threads.emplace_back([this, i] { look(i); });
    std::thread persister([this] {
      prepare_thread();
      while (!stopped_) store_->step(true);
    });
    do {
      std::this_thread::sleep_for(std::chrono::seconds(1));
    } while (store_->mark() < kEpochsMin || seen_ < kSightsMin);
    stopping_ = true;
    for (std::thread& thread : threads) thread.join();
    stopped_ = true;
    persister.join();
    store_->begin_close();
    REQUIRE(store_->close() == Status::kOk);
    store_.reset();
    std::unique_ptr<Directory> directory;
    REQUIRE(open_store_directory(files_, kPath, Presence::kMustExist, &directory) == Status::kOk);
    LogPosition position;
    RecoveryReport report;
    Cuts cuts;
    REQUIRE(recover(*directory, {}, &cuts, 1, &position, &report) == Status::kOk);
    check(cuts.finish());
  }

 private:
  static void prepare_thread() {
    if (!reclaimer::register_thread()) std::abort();
  }
  template <typename Body>
  void in_section(Body&& body) {
    reclaimer::prepare_to_retire();
    {
      const ReadSection section;
      body();
    }
    reclaimer::reclaim_if_due();
  }
  static HashedKey hashed(uint32_t key) {
    Key parsed;
    (void)parse_key(kNames[key], &parsed);
    return HashedKey(parsed);
  }

  void write(uint32_t key) {
    prepare_thread();
    std::mt19937 random(static_cast<uint32_t>(seed_ + key));
    const HashedKey hashed_key = hashed(key);
    for (uint64_t version = 1; !stopping_; ++version) {
      begun_[key] = version;
      in_section([&] { change(key, hashed_key, version); });
      done_[key] = version;
      dawdle(random);
    }
  }

  void change(uint32_t key, const HashedKey& hashed_key, uint64_t version) {
    Status status = Status::kOk;
    uint64_t removed = 0;
    if (is_there(key, version)) {
      const std::string text = std::to_string(version);
      Entry* entry = Entry::make(hashed_key.member, text.size());
      std::memcpy(entry->value(), text.data(), text.size());
      status = store_->put(hashed_key, entry, {});
    } else if (kEnds[key] == End::kRemoved) {
      status = store_->remove(hashed_key, {});
    } else {
      status = store_->drop(hashed_key.collection, &removed);
    }
    if (status != Status::kOk) std::abort();
  }

  void look(uint32_t observer) {
    constexpr size_t kSightsMax = 2'000'000;
    prepare_thread();
    std::mt19937 random(static_cast<uint32_t>(seed_ + kKeys + observer));
    std::vector<Sight>& sights = sights_[observer];
    while (!stopping_ && sights.size() < kSightsMax) {
      const auto key = static_cast<uint32_t>(random() % kKeys);
      const HashedKey hashed_key = hashed(key);
      Range version{done_[key], 0};
      uint64_t seen = 0;
      in_section([&] {
        const Entry* entry = store_->find(hashed_key);
        if (entry != nullptr) seen = std::stoull(std::string(entry->value(), entry->value_size()));
      });
      const uint64_t mark = store_->mark();
      version.max = begun_[key];
      if (seen != 0) {
        impossible_ += seen < version.min || seen > version.max ? 1 : 0;
        version = {seen, seen};
      } else {
        const bool never = kEnds[key] == End::kOverwritten;
        version.min += version.min % 2;
        version.max = never ? 0 : version.max - version.max % 2;
        impossible_ += version.min > version.max ? 1 : 0;
      }
      sights.push_back({key, version, mark});
      seen_++;
      dawdle(random);
    }
  }

  void check(const std::vector<Cut>& cuts) {
    uint64_t pairs = 0;
    uint64_t told_apart = 0;
    uint64_t unmarked = 0;
    for (const auto& sights : sights_) {
      for (size_t i = 0; i < sights.size(); ++i) {
        const Sight& first = sights[i];
        const auto marked = std::partition_point(
            cuts.begin(), cuts.end(), [&](const Cut& cut) { return cut.epoch < first.mark; });
        if (marked != cuts.end() && marked->versions[first.key].max < first.version.min) unmarked++;
        for (size_t j = i + 1; j < std::min(sights.size(), i + 6); ++j, ++pairs) {
          const Sight& second = sights[j];
          const auto later = std::partition_point(cuts.begin(), cuts.end(), [&](const Cut& cut) {
            return cut.versions[second.key].min <= second.version.max;
          });
          if (later == cuts.end()) continue;
          if (later->versions[first.key].max < first.version.min) told_apart++;
        }
      }
    }
    fmt::print("{} commits, {} and {} sights, {} pairs of them; {} versions\n", cuts.size(),
               sights_[0].size(), sights_[1].size(), pairs, fmt::join(begun_, " and "));
    CHECK(impossible_ == 0);
    CHECK(unmarked == 0);
    CHECK(told_apart == 0);
    CHECK(cuts.size() > kEpochsMin / 2);
    CHECK(pairs > kSightsMin);
  }

  static constexpr uint32_t kObservers = 2;
  static constexpr uint64_t kEpochsMin = 200;
  static constexpr uint64_t kSightsMin = 10'000;  // of all observers

  const uint64_t seed_;
  SimFileSystem files_;
  SlowClock clock_;
  std::unique_ptr<Store> store_;
  std::array<std::atomic<uint64_t>, kKeys> begun_{};  // versions
  std::array<std::atomic<uint64_t>, kKeys> done_{};
  std::array<std::vector<Sight>, kObservers> sights_;
  std::atomic<uint64_t> seen_{0};
  std::atomic<uint64_t> impossible_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> stopped_{false};
};

TEST_CASE("no commit is without what somebody saw before what is in it") {
  const uint64_t seed = announce_seed("cut_test");
  const uint64_t seconds = rounds("DSKVS_CUT_SECONDS", 3);
  for (uint64_t second = 0; second < seconds; ++second) Play(seed + second * 16).run();
}

}  // namespace
}  // namespace dskvs::test
