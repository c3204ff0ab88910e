#include "schedule/scenario.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <thread>

#include "hash.h"
#include "schedule/scheduler.h"
#include "store.h"
#include "support/sim_environment.h"

namespace dskvs::test::schedule {
namespace {

using Random = std::mt19937_64;

constexpr const char* kStorePath = "/store";
constexpr LogShape kShapes[] = {kSmallLog,
                                {.segment_bytes_min = 12'000,
                                 .slack_bytes = 48'000,
                                 .rescue_parts_min = 1,
                                 .part_look_bytes = 16 << 10},
                                {.segment_bytes_min = 12'000,
                                 .slack_bytes = 32'000,
                                 .rescue_parts_min = 1,
                                 .part_look_bytes = 16 << 10}};

// A value is a number, the lower bits of which say how large it is.
constexpr uint32_t kSizes[] = {8, 40, 600, 1700, 5000, 9000, 20'000, 30'000};
constexpr uint32_t kSizeClasses = std::size(kSizes);

std::string bytes_of(uint32_t value) {
  std::string bytes(kSizes[value % kSizeClasses], static_cast<char>('a' + value % 23));
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

// 0: no client ever put it.
uint32_t value_of(const Entry& entry) {
  uint32_t value = 0;
  if (entry.value_size() < sizeof value) return UINT32_MAX;
  std::memcpy(&value, entry.value(), sizeof value);
  const std::string bytes = bytes_of(value);
  const bool whole = bytes == std::string_view(entry.value(), entry.value_size());
  return whole ? value : UINT32_MAX;
}

std::string name_of(uint8_t collection) {
  return std::string(1, static_cast<char>('a' + collection));
}

struct NamedKey {
  explicit NamedKey(const Call& call)
      : text(name_of(call.collection) + "/m" + std::to_string(call.member)) {
    (void)parse_key(text, &key);
  }
  std::string text;
  Key key;
};

class ScheduledClock : public Clock {
 public:
  uint64_t now_us() noexcept override { return simulated_us(); }
  uint64_t thread_cpu_us() noexcept override { return simulated_us(); }
};

constexpr int kLooks = 8;
constexpr uint64_t kWrittenUsMax = 1'000'000;

class Client {
 public:
  Client(Store& store, const std::atomic<bool>& closing) : store_(store), closing_(closing) {}

  // False: the store is being closed, and the call was not made.
  bool make(Call& call) {
    if (!reclaimer::register_thread()) std::abort();
    const uint64_t begin = next_instant();
    if (!answer(call)) return false;
    call.begin = begin;
    call.end = next_instant();
    return true;
  }

 private:
  bool answer(Call& call) {
    switch (call.kind) {
      case CallKind::kPut:
      case CallKind::kPutIfAbsent:
        return put(call);
      case CallKind::kGet:
        return in_section([&] {
          const Entry* entry = store_.find(HashedKey(NamedKey(call).key));
          for (int i = 0; i < kLooks; ++i) schedule_point();  // it is looked at for a while
          call.status = entry == nullptr ? Status::kNotFound : Status::kOk;
          call.value = entry == nullptr ? 0 : value_of(*entry);
        });
      case CallKind::kDelete:
        return in_section([&] { call.status = store_.remove(HashedKey(NamedKey(call).key), {}); });
      case CallKind::kDeleteAll:
        return in_section([&] {
          uint64_t removed = 0;
          call.status = store_.drop(name_of(call.collection), &removed);
          call.value = static_cast<uint32_t>(removed);
        });
      case CallKind::kGetAll:
        return get_all(call);
      case CallKind::kWritten:
        return wait(call, Level::kWritten, DSKVS_FOREVER);
      case CallKind::kDurable:
        return wait(call, Level::kDurable, DSKVS_FOREVER);
      case CallKind::kPoll:
        return wait(call, Level::kWritten, 0);
      case CallKind::kSync:
        return pinned([&] { call.status = store_.sync(DSKVS_FOREVER); });
      case CallKind::kCompact:
        return pinned([&] { call.status = store_.compact(); });
    }
    return false;
  }

  bool put(Call& call) {
    Status room = Status::kOk;
    if (!pinned([&] {
          room = store_.has_room(Change::kPut, 0) ? Status::kOk
                                                  : store_.wait_for_room(Change::kPut, 0);
        })) {
      return false;
    }
    if (room == Status::kClosed) return false;
    const NamedKey key(call);
    const std::string bytes = bytes_of(call.value);
    Entry* entry = Entry::make(key.key.member, bytes.size());
    std::memcpy(entry->value(), bytes.data(), bytes.size());
    const Condition condition =
        call.kind == CallKind::kPut ? Condition() : Condition(static_cast<const void*>(nullptr));
    call.status = Status::kClosed;
    const bool made =
        in_section([&] { call.status = store_.put(HashedKey(key.key), entry, condition); });
    if (call.status != Status::kOk) entry->unpin();
    return made;
  }

  bool get_all(Call& call) {
    Entry* entries[kMembers];
    uint64_t count = 0;
    if (!in_section([&] { store_.get_all(name_of(call.collection), entries, kMembers, &count); })) {
      return false;
    }
    for (uint64_t i = 0; i < std::min<uint64_t>(count, kMembers); ++i) {
      uint32_t& got = call.all[static_cast<size_t>(entries[i]->key()[1] - '0')];
      if (got != 0) call.status = Status::kInternal;  // twice
      got = value_of(*entries[i]);
      entries[i]->unpin();
    }
    if (count > kMembers) call.status = Status::kInternal;
    return true;
  }

  bool wait(Call& call, Level level, uint64_t timeout_ms) {
    const uint64_t idle_us = idle_time_us();
    const bool made = pinned([&] { call.status = store_.wait(store_.mark(), level, timeout_ms); });
    // What is written does not wait for what is synced.
    if (level == Level::kWritten && idle_time_us() - idle_us > kWrittenUsMax) {
      schedule_violated("written late: everybody slept over it");
    }
    return made;
  }

  // As the C API does it: who is in a section, or has a pin, keeps the store.
  template <typename Body>
  bool in_section(Body&& body) {
    reclaimer::prepare_to_retire();
    {
      const ReadSection section;
      if (closing_.load()) return false;
      body();
    }
    reclaimer::reclaim_if_due();
    return true;
  }
  template <typename Body>
  bool pinned(Body&& body) {
    if (!in_section([&] { store_.pin(); })) return false;
    body();
    store_.unpin();
    return true;
  }

  Store& store_;
  const std::atomic<bool>& closing_;
};

// What a run is made of, each kind of call as often as it comes.
struct Mix {
  std::vector<CallKind> kinds;
  uint64_t calls_max = 6;  // of a client
  uint32_t collections = 1;
  uint32_t members = kMembers;
  uint32_t smallest = 0;  // of the sizes of values
  uint32_t largest = kSizeClasses - 1;
  bool syncs = true;  // by itself
};

Call random_call(Random& random, const Mix& mix, uint32_t serial) {
  Call call{mix.kinds[random() % mix.kinds.size()]};
  call.collection = static_cast<uint8_t>(random() % mix.collections);
  call.member = static_cast<uint8_t>(random() % mix.members);
  const uint64_t size = mix.smallest + random() % (mix.largest - mix.smallest + 1);
  if (call.kind <= CallKind::kPutIfAbsent) {
    call.value = serial * kSizeClasses + static_cast<uint32_t>(size);
  }
  return call;
}

// Calls that have much to do with each other, or any.
Mix random_mix(Random& random) {
  using enum CallKind;
  Mix mix;
  const bool even = random() % 2 == 0;
  mix.collections = static_cast<uint32_t>(1 + random() % kCollections);
  switch (random() % 6) {
    case 0:  // the log becomes full
      mix.kinds = {kPut, kPut, kPut, kWritten, even ? kPut : kDelete};
      mix.calls_max = 12;
      mix.smallest = 3;
      mix.syncs = random() % 4 == 0;
      return mix;
    case 1:  // a collection is dropped while it is written, and written again
      mix.kinds = {kPut, kDeleteAll, kCompact, even ? kPut : kGetAll};
      return mix;
    case 2:  // keys and collections end and begin
      mix.kinds = {kPut, kDelete, kDelete, even ? kGet : kGetAll, even ? kWritten : kPutIfAbsent};
      mix.members = static_cast<uint32_t>(1 + random() % 2);
      mix.collections = 1;
      return mix;
    case 3:  // who looks on tells apart what happens at the same time
      mix.kinds = {kPut, kPut, kGet, even ? kGetAll : kDelete};
      if (random() % 4 == 0) mix.kinds.push_back(kDeleteAll);
      mix.calls_max = 10;
      mix.members = 2;
      mix.collections = static_cast<uint32_t>(1 + random() % 2);
      mix.largest = 1;
      return mix;
    default:
      break;
  }
  while (mix.kinds.empty()) {
    for (uint32_t kind = 0; kind < kCallKinds; ++kind) {
      mix.kinds.insert(mix.kinds.end(), random() % 2 == 0 ? 0 : 1 + random() % 3,
                       static_cast<CallKind>(kind));
    }
  }
  mix.largest = static_cast<uint32_t>(random() % kSizeClasses);
  return mix;
}

// ---- The past.

struct Past {
  SimDisk disk;
  Contents contents{};
  bool durable = true;
};

// Calls of one client, with steps of the persister between, and then a close or a kill.
Past make_past(uint64_t number) {
  Past past;
  Random random(number);
  SimFileSystem files;
  SimClock clock(1);
  const Environment environment{files, clock, fixed_random, true,
                                kShapes[number % std::size(kShapes)]};
  Options options;
  options.sync_interval_ms = random() % 2 == 0 ? 0 : 100;
  std::unique_ptr<Store> store;
  if (Store::open(kStorePath, options, environment, &store) != Status::kOk) std::abort();
  const std::atomic<bool> closing{false};
  Client client(*store, closing);
  using enum CallKind;
  const Mix mix{.kinds = {kPut, kPut, kPut, kDelete, kSync, kDeleteAll},
                .collections = kCollections,
                .largest = static_cast<uint32_t>(1 + random() % 6)};
  // So that it is a store whatever a power cut takes.
  for (const CallKind kind : {kPut, kDeleteAll, kSync}) {
    Call call{kind};
    (void)client.make(call);
  }
  uint32_t serial = 0;
  const uint64_t calls = number % 8 == 0 ? 0 : random() % 64;
  for (uint64_t i = 0; i < calls; ++i) {
    Call call = random_call(random, mix, ++serial);
    if (call.kind != kDeleteAll || random() % 4 == 0) (void)client.make(call);
    for (uint64_t steps = random() % 4; steps != 0; --steps) store->step(random() % 2 == 0);
  }
  const bool killed = random() % 3 == 0;
  if (killed) past.disk = files.disk().after_kill();
  store->begin_close();
  (void)store->close();
  if (!killed) past.disk = files.disk();
  store.reset();
  past.durable = !killed;
  if (read_back(past.disk, &past.contents) != Status::kOk) std::abort();
  return past;
}

const Past& past(uint64_t number) {
  static std::map<uint64_t, Past> made;
  const auto found = made.find(number);
  return found != made.end() ? found->second
                             : made.emplace(number, make_past(number)).first->second;
}

// As one more client: all is written soon, though nobody does anything more, and all can be got.
void look_at_all(Store& store, const std::atomic<bool>& closing, Calls* calls) {
  calls->emplace_back();
  Client client(store, closing);
  calls->back().push_back({CallKind::kWritten});
  (void)client.make(calls->back().back());
  for (uint8_t collection = 0; collection < kCollections; ++collection) {
    calls->back().push_back({CallKind::kGetAll, collection});
    (void)client.make(calls->back().back());
  }
}

// ---- What a crash may leave.

// Takes snapshots at some of the calls that change the disk: before one, behind it, within a write.
class Photographer : public SimObserver {
 public:
  Photographer(uint64_t seed, std::vector<Snapshot>* snapshots)
      : random_(seed), snapshots_(snapshots) {}

  void before(const SimCall& call, const SimDisk& disk) override {
    if (call.op != SimOp::kWrite || !wanted()) return;
    constexpr uint64_t kUnitBytes = 512;
    uint64_t countdown = random_() % 8;
    for_each_kill(disk, call, kUnitBytes, [&](const SimDisk& killed) {
      if (countdown-- != 0) return true;
      snapshots_->push_back({next_instant(), false, killed});
      return false;
    });
  }
  void after(const SimCall& call, Status /*status*/, const SimDisk& disk) override {
    const bool syncs = call.op == SimOp::kSync || call.op == SimOp::kSyncDirectory;
    const bool changes =
        call.op == SimOp::kWrite || call.op == SimOp::kUnlink || call.op == SimOp::kCreate;
    if ((syncs || changes) && wanted()) snapshots_->push_back({next_instant(), syncs, disk});
  }

 private:
  bool wanted() { return snapshots_->size() < kSnapshotsMax && random_() % 2 == 0; }

  static constexpr size_t kSnapshotsMax = 32;
  Random random_;
  std::vector<Snapshot>* const snapshots_;
};

}  // namespace

// ---- The run.

struct Scenario::Inside {
  explicit Inside(uint64_t seed) : random(seed), photographer_seed(random()) {
    number = random() % kPasts;
    shape = kShapes[number % std::size(kShapes)];
    constexpr uint64_t kIntervalsMs[] = {0, 0, 1, 100, 10'000, 10'000};
    options.sync_interval_ms = kIntervalsMs[random() % std::size(kIntervalsMs)];
    if (random() % 4 == 0) options.dirty_bytes_max = kDirtyBytesMin;
    closes_early = random() % 8 == 0;
    const Mix mix = random_mix(random);
    if (!mix.syncs) options.sync_interval_ms = 0;
    uint32_t serial = 1000;
    calls.resize(2 + random() % 2);
    for (auto& client : calls) {
      for (uint64_t left = 1 + random() % mix.calls_max; left != 0; --left) {
        client.push_back(random_call(random, mix, ++serial));
      }
    }
  }

  static constexpr uint64_t kPasts = 512;

  Random random;
  const uint64_t photographer_seed;
  uint64_t number;
  LogShape shape;
  Options options;
  bool closes_early;
  Calls calls;
};

Scenario::Scenario(uint64_t seed) : inside_(std::make_unique<Inside>(seed)) {
  (void)past(inside_->number);
}
Scenario::~Scenario() = default;

void Scenario::play(Run* run) {
  const Past& before = past(inside_->number);
  run->before = before.contents;
  run->before_is_durable = before.durable;
  run->closes_early = inside_->closes_early;
  run->calls = inside_->calls;
  SimFileSystem files(before.disk);
  Photographer photographer(inside_->photographer_seed, &run->snapshots);
  files.set_observer(&photographer);
  ScheduledClock clock;
  const Environment environment{files, clock, fixed_random, false, inside_->shape};
  std::unique_ptr<Store> store;
  run->opened = Store::open(kStorePath, inside_->options, environment, &store);
  if (run->opened != Status::kOk) return;
  std::atomic<bool> closing{false};
  std::vector<std::thread> clients;
  for (auto& client : run->calls) {
    clients.emplace_back([&client, &store, &closing] {
      Client caller(*store, closing);
      for (Call& call : client) {
        if (!caller.make(call)) return;
      }
    });
  }
  const auto join = [&] {
    for (std::thread& client : clients) client.join();
  };
  if (inside_->closes_early) {
    for (uint64_t points = inside_->random() % 512; points != 0; --points) schedule_point();
    closing.store(true);
    reclaimer::wait_for_readers();
  } else {
    join();
    look_at_all(*store, closing, &run->calls);
  }
  store->begin_close();
  run->closing = store->close();
  if (inside_->closes_early) join();
  store.reset();
  run->closed = files.disk();
}

Status read_back(const SimDisk& disk, Contents* contents) {
  SimFileSystem files(disk);
  SimClock clock(1);
  const Environment environment{files, clock, fixed_random, true, kSmallLog};
  Options options;
  options.read_only = true;
  options.presence = Presence::kMustExist;
  std::unique_ptr<Store> store;
  const Status status = Store::open(kStorePath, options, environment, &store);
  if (status != Status::kOk) return status;
  const std::atomic<bool> closing{false};
  Calls calls;
  look_at_all(*store, closing, &calls);
  for (uint32_t i = 0; i < kCollections; ++i) {
    const Call& got = calls[0][1 + i];
    if (got.status != Status::kOk) return Status::kInternal;
    (*contents)[i] = got.all;
  }
  return store->close();
}

void settle_process() { reclaimer::reclaim_all(); }

void prepare_process() {
  hash_seed = 1;
  constexpr int kThreads = 32;
  std::atomic<int> registered{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      if (!reclaimer::register_thread()) std::abort();
      registered++;
      while (registered != kThreads) std::this_thread::yield();
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (!reclaimer::register_thread()) std::abort();
}

}  // namespace dskvs::test::schedule
