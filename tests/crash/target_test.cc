// Goal: a copy never takes or damages a store that came into its target meanwhile, and what is left
// of it is no store. A backup is all of the store, whatever becomes of its log meanwhile.
// Method: on the simulated file system, a store is made, closed, and left in the target at the one
// moment that a lock does not cover: after the target was found empty, before it is locked. Copies
// are interrupted and made to fail at every call. While a segment is copied, the log is cleaned.
#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "crash/subject.h"
#include "disk/recovery.h"
#include "disk/store_directory.h"
#include "loader.h"
#include "store.h"
#include "store_copy.h"
#include "support/catch.h"
#include "support/in_order.h"
#include "support/passing_directory.h"
#include "support/temp_dir.h"

namespace dskvs::test {
namespace {

constexpr const char* kTarget = "/target";
constexpr Operation kOurs{Verb::kPut, 1, 500, 1};
constexpr Operation kTheirs{Verb::kPut, 2, 500, 2};

void make_store(FileSystem& files, const char* path, const Operation& put) {
  Subject subject(files, path);
  REQUIRE(subject.open() == Status::kOk);
  REQUIRE(subject.apply(put) == Status::kOk);
  REQUIRE(subject.close() == Status::kOk);
}

class IntrudedDirectory : public Directory {
 public:
  IntrudedDirectory(SimFileSystem& files, std::unique_ptr<Directory> inner)
      : files_(files), inner_(std::move(inner)) {}

  Status each_name(const std::function<Status(const char* name)>& visit) override {
    return inner_->each_name(visit);
  }
  Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override {
    return inner_->open_file(name, mode, file);
  }
  Status unlink(const char* name) override { return inner_->unlink(name); }
  Status sync() override { return inner_->sync(); }
  Status sync_entry() override { return inner_->sync_entry(); }
  Status lock(const char* name) override {
    make_store(files_, kTarget, kTheirs);
    return inner_->lock(name);
  }
  const std::string& path() const override { return inner_->path(); }

 private:
  SimFileSystem& files_;
  const std::unique_ptr<Directory> inner_;
};

// No segment can be unlinked.
class StubbornDirectory : public PassingDirectory {
 public:
  explicit StubbornDirectory(std::unique_ptr<Directory> inner)
      : PassingDirectory(*inner), owned_(std::move(inner)) {}
  Status unlink(const char* name) override {
    uint64_t id;
    return parse_segment_name(name, &id) ? fail(Status::kIo, "stays") : inner_.unlink(name);
  }

 private:
  const std::unique_ptr<Directory> owned_;
};

// The target is an IntrudedDirectory, or a StubbornDirectory.
class OtherTarget : public FileSystem {
 public:
  OtherTarget(SimFileSystem& files, bool intruded) : files_(files), intruded_(intruded) {}

  Status open_directory(const char* path, Presence presence, const char* marker,
                        std::unique_ptr<Directory>* directory) override {
    const Status status = files_.open_directory(path, presence, marker, directory);
    if (status == Status::kOk && std::string(path) == kTarget) {
      if (intruded_) {
        *directory = std::make_unique<IntrudedDirectory>(files_, std::move(*directory));
      } else {
        *directory = std::make_unique<StubbornDirectory>(std::move(*directory));
      }
    }
    return status;
  }

 private:
  SimFileSystem& files_;
  const bool intruded_;
};

// Keeps the disk as it is at each call, from one on.
class DisksAtCalls : public SimObserver {
 public:
  void before(const SimCall& call, const SimDisk& disk) override {
    if (call.number >= from) disks.push_back(disk);
  }
  void after(const SimCall&, Status, const SimDisk&) override {}

  uint64_t from = 0;
  std::vector<SimDisk> disks;
};

class StillClock : public Clock {
 public:
  uint64_t now_us() noexcept override { return 1; }
  uint64_t thread_cpu_us() noexcept override { return 1; }
};

TEST_CASE("A store that appears in the target of a copy before its lock is refused, and stays") {
  SimFileSystem files;
  OtherTarget intruded(files, true);
  StillClock clock;
  const Environment environment{
      intruded, clock, [](void* bytes, size_t size) noexcept { std::memset(bytes, 7, size); },
      true};
  make_store(files, kStorePath, kOurs);
  SECTION("salvage") {
    REQUIRE(salvage_store(kStorePath, kTarget, {}, environment, nullptr) == Status::kPath);
  }
  for (const bool read_only : {false, true}) {
    DYNAMIC_SECTION("backup of a store opened " << (read_only ? "read-only" : "for writing")) {
      Options options;
      options.read_only = read_only;
      std::unique_ptr<Store> store;
      REQUIRE(Store::open(kStorePath, options, environment, &store) == Status::kOk);
      REQUIRE(store->backup(kTarget) == Status::kPath);
      store->begin_close();
      REQUIRE(store->close() == Status::kOk);
    }
  }
  Subject theirs(files, kTarget);
  REQUIRE(theirs.open() == Status::kOk);
  REQUIRE(theirs.contents() == Model{{key_of(kTheirs), value_of(kTheirs)}});
  REQUIRE(theirs.close() == Status::kOk);
}

// Opens what may be a store; kOk: with that many entries.
Status open_target(const SimDisk& disk, uint64_t* entries) {
  SimFileSystem files(disk);
  StillClock clock;
  const Environment environment{
      files, clock, [](void* bytes, size_t size) noexcept { std::memset(bytes, 7, size); }, true};
  Options options;
  options.presence = Presence::kMustExist;
  std::unique_ptr<Store> store;
  const Status status = Store::open(kTarget, options, environment, &store);
  if (status != Status::kOk) return status;
  dskvs_stats_t stats = DSKVS_STATS_INIT;
  store->stats(&stats);
  *entries = stats.entries;
  store->begin_close();
  return store->close();
}

// Calls `begins` before each segment is begun in the target.
class WatchedTarget : public FileSystem {
 public:
  explicit WatchedTarget(SimFileSystem& files) : files_(files) {}

  Status open_directory(const char* path, Presence presence, const char* marker,
                        std::unique_ptr<Directory>* directory) override {
    class WatchedDirectory : public PassingDirectory {
     public:
      WatchedDirectory(std::unique_ptr<Directory> inner, WatchedTarget& target)
          : PassingDirectory(*inner), owned_(std::move(inner)), target_(target) {}
      Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override {
        uint64_t id;
        const bool is_new = mode == FileMode::kCreate && parse_segment_name(name, &id);
        if (is_new && target_.begins) target_.begins();
        return inner_.open_file(name, mode, file);
      }

     private:
      const std::unique_ptr<Directory> owned_;
      WatchedTarget& target_;
    };
    const Status status = files_.open_directory(path, presence, marker, directory);
    if (status == Status::kOk && std::string(path) == kTarget) {
      *directory = std::make_unique<WatchedDirectory>(std::move(*directory), *this);
    }
    return status;
  }

  std::function<void()> begins;

 private:
  SimFileSystem& files_;
};

TEST_CASE("A backup is all of the store as it began, though all of its log is cleaned meanwhile") {
  constexpr uint32_t kEntries = 20;
  SimFileSystem files;
  WatchedTarget target(files);
  Subject subject(target);
  REQUIRE(subject.open() == Status::kOk);
  uint64_t value = 0;
  const auto put_all = [&] {
    for (uint32_t key = 0; key < kEntries; ++key) {
      CHECK(subject.apply({Verb::kPut, key, 3'000, ++value}) == Status::kOk);
      CHECK(subject.apply({Verb::kSync}) == Status::kOk);
    }
  };
  const auto segments = [&] {
    std::vector<std::string> paths = files.disk().files(kStorePath);
    std::erase_if(paths, [](const std::string& path) { return !path.ends_with(".dskvs"); });
    return paths;
  };
  const auto are_there = [&](const std::vector<std::string>& paths) {
    return std::ranges::count_if(paths,
                                 [&](const auto& path) { return files.disk().has_file(path); });
  };
  put_all();
  const Model model = subject.contents();
  const std::vector<std::string> copied = segments();
  const auto count = std::ssize(copied);
  REQUIRE(count > 3);
  std::vector<std::string> later;  // that were of use while it was copied, and are not any more
  ptrdiff_t copies = 0;
  target.begins = [&] {
    ++copies;
    put_all();
    CHECK(subject.apply({Verb::kCompact}) == Status::kOk);  // nothing before it is of use
    CHECK(are_there(copied) == count);
    CHECK(are_there(later) == 0);
    later = segments();
    std::erase_if(later, [&](const std::string& path) { return std::ranges::count(copied, path); });
  };
  REQUIRE(subject.backup(kTarget) == Status::kOk);
  target.begins = nullptr;
  CHECK(copies == count);
  // What it was kept for goes by itself, before the persister goes to sleep for long.
  for (int steps = 0; subject.step(false) || subject.pause_us() == 0; ++steps) {
    REQUIRE(steps < 1'000);
  }
  CHECK(are_there(copied) == 0);
  REQUIRE(subject.close() == Status::kOk);
  Subject copy(files, kTarget);
  REQUIRE(copy.open() == Status::kOk);
  CHECK((copy.contents() == model));
  CHECK(copy.marks().lost == 0);
  REQUIRE(copy.close() == Status::kOk);
}

TEST_CASE("What cannot be unlinked of a copy that failed does not keep the rest, but the mark") {
  SimFileSystem files;
  {
    NewStore target;
    REQUIRE(target.open(files, kTarget) == Status::kOk);
    for (const uint64_t id : {1, 2, 3}) {
      std::unique_ptr<File> file;
      REQUIRE(target.directory().open_file(SegmentName(id).text, FileMode::kCreate, &file) ==
              Status::kOk);
    }
    files.set_fault({files.calls() + 1, SimError::kEio, false});  // after the list
  }
  REQUIRE(files.faults_raised() == 1);
  const std::vector<std::string> left = files.disk().files(kTarget);
  REQUIRE(left.size() == 3);  // the one, the mark and the lock
  Subject subject(files, kTarget);
  REQUIRE(subject.open() == Status::kPath);
  StillClock clock;
  const Environment environment{
      files, clock, [](void* bytes, size_t size) noexcept { std::memset(bytes, 7, size); }, true};
  REQUIRE(verify_store(kTarget, {}, environment, nullptr) == Status::kPath);
  REQUIRE(salvage_store(kTarget, "/rescued", {}, environment, nullptr) == Status::kPath);
  REQUIRE(files.disk().files("/rescued").empty());
}

TEST_CASE("What a crash leaves of a copy is refused, or is all of it") {
  constexpr uint32_t kEntries = 10;
  SimFileSystem files;
  {
    Subject subject(files, kStorePath);
    REQUIRE(subject.open() == Status::kOk);
    for (uint32_t key = 0; key < kEntries; ++key) {
      REQUIRE(subject.apply({Verb::kPut, key, 3000, key}) == Status::kOk);
      REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
    }
    REQUIRE(subject.close() == Status::kOk);
  }
  StillClock clock;
  const Environment environment{
      files, clock, [](void* bytes, size_t size) noexcept { std::memset(bytes, 7, size); }, true};
  DisksAtCalls calls;
  bool succeeds = true;
  const auto back_up = [&](bool read_only) {
    Options options;
    options.read_only = read_only;
    std::unique_ptr<Store> store;
    REQUIRE(Store::open(kStorePath, options, environment, &store) == Status::kOk);
    files.set_observer(&calls);
    REQUIRE(store->backup(kTarget) == Status::kOk);
    files.set_observer(nullptr);
    store->begin_close();
    REQUIRE(store->close() == Status::kOk);
  };
  SECTION("salvage") {
    files.set_observer(&calls);
    REQUIRE(salvage_store(kStorePath, kTarget, {}, environment, nullptr) == Status::kOk);
    files.set_observer(nullptr);
  }
  SECTION("backup") { back_up(false); }
  OtherTarget stubborn(files, false);
  for (const bool stays : {false, true}) {
    DYNAMIC_SECTION("a backup that fails at some call"
                    << (stays ? ", and what it wrote stays" : "")) {
      succeeds = false;
      const Environment environment_then{stays ? static_cast<FileSystem&>(stubborn) : files, clock,
                                         environment.random, true};
      bool all_failed = false;
      for (uint64_t call = 0; !all_failed; ++call) {
        std::unique_ptr<Store> store;
        REQUIRE(Store::open(kStorePath, {}, environment_then, &store) == Status::kOk);
        const uint64_t failing_call = files.calls() + call;
        files.set_fault({failing_call, SimError::kEio, false});
        calls.from = failing_call;  // before it, all is as without a fault
        files.set_observer(&calls);
        const Status status = store->backup(kTarget);
        files.set_observer(nullptr);
        all_failed = status == Status::kOk && files.calls() <= failing_call;
        files.clear_fault();
        store->begin_close();
        (void)store->close();
        calls.disks.push_back(files.disk());
        if (status != Status::kOk && !stays && !files.disk().files(kTarget).empty()) {
          uint64_t entries = 0;  // it may be whole, and marked no more
          REQUIRE(open_target(files.disk(), &entries) == Status::kOk);
          REQUIRE(entries == kEntries);
        }
        for (const std::string& path : files.disk().files(kTarget)) files.remove(path);
      }
    }
  }
  SECTION("backup of a store opened read-only") { back_up(true); }
  calls.disks.push_back(files.disk());
  uint64_t refused = 0;
  uint64_t whole = 0;
  std::mt19937_64 random(1);
  const auto check = [&](const SimDisk& disk) {
    uint64_t entries = 0;
    const Status status = open_target(disk, &entries);
    // With its lock alone it is empty, as a store that is created is at first.
    REQUIRE((status != Status::kOk || entries == 0 || entries == kEntries));
    refused += status != Status::kOk ? 1 : 0;
    whole += status == Status::kOk && entries == kEntries ? 1 : 0;
    return true;
  };
  for (const SimDisk& disk : calls.disks) {
    check(disk.after_kill());
    for_each_power_cut(disk, {.exhaustive_max = 6, .random_subsets = 4}, random, check);
  }
  REQUIRE(refused > 10);
  REQUIRE(whole > 0);
  if (!succeeds) return;
  refused = whole = 0;
  for_each_power_cut(files.disk(), {.exhaustive_max = 6, .random_subsets = 4}, random, check);
  REQUIRE(refused == 0);
  REQUIRE(whole > 0);
}

// Takes no value.
class SizesSink : public RecoverySink {
 public:
  Status add(FrameType, std::string_view key, uint64_t value_size, void** value) override {
    *value = nullptr;
    sizes[std::string(key)] = value_size;
    return Status::kOk;
  }
  Status commit(uint64_t) override { return Status::kOk; }

  std::map<std::string, uint64_t> sizes;
};

TEST_CASE("What is rescued may be more than a segment holds") {
  constexpr uint64_t kValueBytes = uint64_t{30} << 20;  // of pages that nobody touched
  constexpr int kCollections = 10;
  REQUIRE(reclaimer::register_thread());
  const TempDir temp;
  NewStore target;
  REQUIRE(target.open(posix_file_system(), (temp / "target").c_str()) == Status::kOk);
  StillClock clock;
  const Environment environment{
      posix_file_system(), clock,
      [](void* bytes, size_t size) noexcept { std::memset(bytes, 7, size); }, true};
  TableFigures figures;
  Catalog catalog(figures);
  std::map<std::string, uint64_t> sizes;
  {
    Loader loader(catalog, figures);
    loader.begin(1);
    RecoverySink& rescued = loader.begin_segment(0);
    for (int i = 0; i < kCollections; ++i) {
      const std::string key = std::to_string(i) + "/member";
      void* value;
      REQUIRE(rescued.add(FrameType::kPut, key, kValueBytes, &value) == Status::kOk);
      sizes[key] = kValueBytes;
    }
    REQUIRE(rescued.commit(1) == Status::kOk);
    REQUIRE(loader.end_segment() == Status::kOk);
  }
  REQUIRE(write_copy(catalog, target.directory(), environment) == Status::kOk);
  clear_catalog(catalog);
  SizesSink found;
  LogPosition position;
  RecoveryReport report;
  REQUIRE(recover(target.directory(), {}, found, &position, &report) == Status::kOk);
  REQUIRE(found.sizes == sizes);
  REQUIRE(position.durable_epoch == position.recovered_epoch);
  REQUIRE(position.chain.size() == 2);
  REQUIRE(position.chain[0].bytes <= (uint64_t{256} << 20) + kValueBytes);
  REQUIRE(target.keep() == Status::kOk);
}

}  // namespace
}  // namespace dskvs::test
