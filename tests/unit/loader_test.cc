// Goal: a log whose segments are read several at once becomes the same store as one that is read
// frame by frame, and fails with the same words.
// Method: random sessions write logs of many small segments on the simulated disk: overwrites,
// removals and drops across segments, values from nothing to more than a read buffer, a tail that
// is not durable. Each is recovered in order into a std::map, and by the Loader, one to eight
// segments at once; and again with every segment damaged, missing or unreadable in turn. Reads wait
// for each other, so that segments that are not read at the same time are noticed.
#include "loader.h"

#include "environment.h"
#include "memory/graveyard.h"
#include "memory/sweep.h"
#include "store.h"
#include "support/core_seed.h"
#include "support/log_disk.h"
#include "support/passing_directory.h"
#include "support/sim_environment.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <thread>

namespace dskvs::test {
namespace {

constexpr uint64_t kSegmentBytes = 12'000;

struct Loaded {
  Status status = Status::kOk;
  std::string text;
  Contents contents;
  std::map<std::string, uint32_t> homes;
  std::set<std::string> removed;  // above the durable epoch, and not put again
  Totals totals;
  LogPosition position;
  RecoveryReport report;
};

// As a store does it.
Loaded load(Directory& directory, uint32_t segments_at_once, const Progress& progress = {}) {
  REQUIRE(reclaimer::register_thread());
  TableFigures figures;
  Catalog catalog(figures);
  Loaded loaded;
  {
    Loader loader(catalog, figures);
    loaded.status =
        recover(directory, progress, &loader, segments_at_once, &loaded.position, &loaded.report);
    if (loaded.status == Status::kOk) {
      auto epochs =
          std::make_unique<Epochs>(steady_clock(), loaded.position.recovered_epoch + 1, 0);
      DirtyChunks found;
      REQUIRE(loader.finish(*epochs, &found) == Status::kOk);
      loaded.totals = epochs->totals();
      Sweep sweep;
      for (sweep.begin(); sweep.active();) {
        (void)sweep.advance(catalog, [&](Collection& collection, Entry* entry) {
          std::string key = std::string(collection.key()) + "/" + std::string(entry->key());
          loaded.contents[key] = {entry->value(), entry->value_size()};
          loaded.homes[key] = entry->home();
          return Status::kOk;
        });
      }
      Graveyard graveyard;
      RetainedRemovals removals(*epochs);
      while (DirtyChunk* chunk = found.pop_first()) {
        for (uint32_t i = 0; i < chunk->count; i++) {
          const DirtyRecord& record = chunk->records[i];
          const Entry* entry = DirtyRecord::entry(record.word.load());
          loaded.removed.insert(std::string(record.collection->key()) + "/" +
                                std::string(entry->key()));
        }
        removals.add(chunk, loaded.position.recovered_epoch);
      }
      graveyard.add(epochs->take_ended(kNeverEnded - 1));
    } else {
      loaded.text = last_error();
    }
  }
  reclaimer::reclaim_all();
  clear_catalog(catalog);
  return loaded;
}

std::string random_value(std::mt19937_64& random) {
  static constexpr size_t kSizes[] = {0, 1, 100, 511, 4096, 9000, 300'000, 1'300'000};
  const uint64_t choice = random() % 100;
  const size_t size = choice < 90 ? random() % 600 : kSizes[random() % std::size(kSizes)];
  std::string value(size, static_cast<char>(random()));
  for (size_t i = 0; i < size; i += 64) value[i] = static_cast<char>(random());
  return value;
}

Operation random_operation(std::mt19937_64& random) {
  const std::string collection(1, static_cast<char>('a' + random() % 5));
  const std::string key = collection + "/" + std::to_string(random() % 40);
  const uint64_t choice = random() % 100;
  if (choice < 75) return {FrameType::kPut, key, random_value(random)};
  if (choice < 97) return {FrameType::kRemove, key, {}};
  return {FrameType::kDrop, collection, {}};
}

// A log of some dozen segments, the last epochs of which may not be durable.
void write_log(SimFileSystem& files, std::mt19937_64& random) {
  const auto directory = open_locked(files, kLogPath);
  LogClient client(*directory, kSegmentBytes);
  REQUIRE(client.recovered.status == Status::kOk);
  for (uint64_t epochs = 20 + random() % 120; epochs != 0; epochs--) {
    std::vector<Operation> operations;
    for (uint64_t n = 1 + random() % 12; n != 0; n--)
      operations.push_back(random_operation(random));
    client.accept(std::move(operations));
    REQUIRE(client.write() == Status::kOk);
    if (random() % 8 == 0) REQUIRE(client.writer->sync() == Status::kOk);
  }
}

// Where each key's newest put stands, as far as it is durable.
std::map<std::string, uint64_t> last_epochs(const std::vector<Batch>& batches) {
  std::map<std::string, uint64_t> epochs;
  for (const Batch& batch : batches) {
    for (const Operation& operation : batch.operations) epochs[operation.key] = batch.last_epoch;
  }
  return epochs;
}

void require_same(const Recovered& in_order, const Loaded& loaded) {
  REQUIRE(loaded.status == in_order.status);
  if (in_order.status != Status::kOk) return;
  REQUIRE(loaded.contents == in_order.contents);
  REQUIRE(loaded.position.recovered_epoch == in_order.position.recovered_epoch);
  REQUIRE(loaded.position.durable_epoch == in_order.position.durable_epoch);
  REQUIRE(loaded.report.frames_cut == in_order.report.frames_cut);

  const uint64_t durable = in_order.position.durable_epoch;
  int64_t key_bytes = 0;
  int64_t value_bytes = 0;
  const auto epochs = last_epochs(in_order.batches);
  for (const auto& [key, value] : loaded.contents) {
    key_bytes += static_cast<int64_t>(key.size());
    value_bytes += static_cast<int64_t>(value.size());
    REQUIRE((loaded.homes.at(key) == Entry::kNowhere) == (epochs.at(key) > durable));
  }
  REQUIRE(loaded.totals.entries == static_cast<int64_t>(loaded.contents.size()));
  REQUIRE(loaded.totals.key_bytes == key_bytes);
  REQUIRE(loaded.totals.value_bytes == value_bytes);

  std::set<std::string> removed;
  for (const Batch& batch : in_order.batches) {
    if (batch.last_epoch <= durable) continue;
    for (const Operation& operation : batch.operations) {
      if (operation.type == FrameType::kRemove) removed.insert(operation.key);
    }
  }
  REQUIRE(loaded.removed == removed);
}

}  // namespace

TEST_CASE("segments read at once become what they are one by one") {
  std::mt19937_64 random(announce_core_seed("loader_test"));
  const uint64_t all_rounds = rounds("DSKVS_LOADER_ROUNDS", 12);
  uint64_t segments = 0;
  for (uint64_t round = 0; round < all_rounds; round++) {
    SimFileSystem files;
    for (uint64_t sessions = 1 + random() % 3; sessions != 0; sessions--) write_log(files, random);
    const auto directory = open_read_only(files);
    const Recovered in_order = recover_all(*directory);
    INFO(last_error());
    REQUIRE(in_order.status == Status::kOk);
    segments += in_order.position.chain.size();
    for (uint32_t segments_at_once : {1u, 2u, 3u, 8u}) {
      require_same(in_order, load(*directory, segments_at_once));
    }
  }
  REQUIRE(segments > 5 * all_rounds);
}

TEST_CASE("another store that frees what it can frees nothing that is being loaded") {
  std::mt19937_64 random(announce_core_seed("loader_test, freeing"));
  SimFileSystem files;
  write_log(files, random);
  const auto directory = open_read_only(files);
  const Recovered in_order = recover_all(*directory);
  std::atomic<bool> done{false};
  std::thread other([&] {
    while (!done) reclaimer::reclaim_all();
  });
  for (int round = 0; round < 12; round++) {  // fewer see nothing
    require_same(in_order, load(*directory, 2));
  }
  done = true;
  other.join();
}

TEST_CASE("no more segments are read at once than it is said") {
  class Counting : public SegmentedSink {
   public:
    void begin(uint64_t) override {}
    RecoverySink& begin_segment(uint64_t) override {
      most = std::max(most, ++now);
      return sinks.emplace_back();
    }
    Status end_segment() override {
      --now;
      return Status::kOk;
    }
    uint32_t now = 0;
    uint32_t most = 0;

   private:
    std::deque<MapSink> sinks;  // a sink stays where it is
  };
  std::mt19937_64 random(announce_core_seed("loader_test, at once"));
  SimFileSystem files;
  size_t segments = 0;
  while (segments <= 5) {
    write_log(files, random);
    segments = recover_all(*open_read_only(files)).position.chain.size();
  }
  for (const uint32_t at_once : {1u, 2u, 5u}) {
    Counting sink;
    LogPosition position;
    RecoveryReport report;
    REQUIRE(dskvs::recover(*open_read_only(files), {}, &sink, at_once, &position, &report) ==
            Status::kOk);
    REQUIRE(sink.most == at_once);
    REQUIRE(sink.now == 0);
  }
}

// Where those who read segments meet. A read waits until so many segments are being read, which
// takes as many threads, or for some seconds once, when they do not come. The thread that opens the
// log is not waited for, and does not wait.
class Meeting {
 public:
  explicit Meeting(size_t wanted) : wanted_(wanted) {}

  void read(const std::string& segment) {
    std::unique_lock lock(mutex_);
    if (std::this_thread::get_id() == opener_) return;
    segments_.insert(segment);
    most_ = std::max(most_, segments_.size());
    changed_.notify_all();
    const auto over = [&] { return most_ >= wanted_ || given_up_; };
    if (!changed_.wait_for(lock, kPatience, over)) given_up_ = true;
    changed_.notify_all();
  }
  // It is read to its end, or given up.
  void close(const std::string& segment) {
    std::lock_guard guard(mutex_);
    segments_.erase(segment);
  }

  size_t most() const { return most_; }
  bool given_up() const { return given_up_; }

 private:
  static constexpr std::chrono::seconds kPatience{10};

  const size_t wanted_;
  const std::thread::id opener_ = std::this_thread::get_id();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> segments_;  // whose reading has begun
  size_t most_ = 0;
  bool given_up_ = false;
};

class MeetingDirectory : public PassingDirectory {
 public:
  MeetingDirectory(Meeting& meeting, std::unique_ptr<Directory> inner)
      : PassingDirectory(*inner), meeting_(meeting), owned_(std::move(inner)) {}

  Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override {
    class MeetingFile : public PassingFile {
     public:
      MeetingFile(std::unique_ptr<File> inner, Meeting& meeting, std::string name)
          : PassingFile(std::move(inner)), meeting_(meeting), name_(std::move(name)) {}
      ~MeetingFile() override { meeting_.close(name_); }
      Status read(uint64_t offset, void* buffer, size_t size, size_t* got) override {
        meeting_.read(name_);
        return inner_->read(offset, buffer, size, got);
      }

     private:
      Meeting& meeting_;
      const std::string name_;
    };
    const Status status = inner_.open_file(name, mode, file);
    uint64_t id = 0;
    if (status == Status::kOk && mode == FileMode::kRead && parse_segment_name(name, &id)) {
      *file = std::make_unique<MeetingFile>(std::move(*file), meeting_, name);
    }
    return status;
  }

 private:
  Meeting& meeting_;
  const std::unique_ptr<Directory> owned_;
};

class MeetingFiles : public FileSystem {
 public:
  MeetingFiles(SimFileSystem& inner, Meeting& meeting) : inner_(inner), meeting_(meeting) {}
  Status open_directory(const char* path, Presence presence, const char* marker,
                        std::unique_ptr<Directory>* directory) override {
    const Status status = inner_.open_directory(path, presence, marker, directory);
    if (status == Status::kOk) {
      *directory = std::make_unique<MeetingDirectory>(meeting_, std::move(*directory));
    }
    return status;
  }

 private:
  SimFileSystem& inner_;
  Meeting& meeting_;
};

void write_segments(SimFileSystem& files, uint32_t segments) {
  const auto directory = open_locked(files, kLogPath);
  LogClient client(*directory, kSegmentBytes);
  REQUIRE(client.recovered.status == Status::kOk);
  for (uint32_t i = 0; i < segments; ++i) {
    client.writer->rotate_at_next_begin();
    client.put("a/" + std::to_string(i), std::string(1'000, 'x'));
    REQUIRE(client.write_and_sync() == Status::kOk);
  }
  REQUIRE(client.writer->close() == Status::kOk);
}

TEST_CASE("as many segments are read at the same time as are to be, each by a thread of its own") {
  SimFileSystem files;
  write_segments(files, 12);
  for (const uint32_t at_once : {1u, 2u, 5u, 8u}) {
    Meeting meeting(at_once);
    MeetingDirectory directory(meeting, open_read_only(files));
    const Loaded loaded = load(directory, at_once);
    CHECK(loaded.status == Status::kOk);
    CHECK(loaded.contents.size() == 12);
    CHECK_FALSE(meeting.given_up());
    CHECK(meeting.most() == (at_once == 1 ? 0 : at_once));  // one by one: on the opening thread
  }
}

TEST_CASE("a store is opened by as many threads as there are processors, and one more") {
  const uint32_t expected = std::min(std::thread::hardware_concurrency() + 1, 8u);
  SimFileSystem files;
  write_segments(files, 12);
  for (const bool manual_persister : {false, true}) {
    Meeting meeting(expected);
    MeetingFiles meeting_files(files, meeting);
    const Environment environment{meeting_files, steady_clock(), fixed_random, manual_persister};
    Options options;
    options.read_only = true;
    std::unique_ptr<Store> store;
    REQUIRE(Store::open(kLogPath, options, environment, &store) == Status::kOk);
    CHECK(store->count() == 12);
    store->begin_close();
    CHECK(store->close() == Status::kOk);
    CHECK_FALSE(meeting.given_up());
    CHECK(meeting.most() == (manual_persister ? 0 : expected));
  }
}

TEST_CASE("segments read at once fail as they do one by one") {
  std::mt19937_64 random(announce_core_seed("loader_test, damage"));
  SimFileSystem files;
  Recovered intact;
  while (intact.position.chain.size() <= 5) {
    write_log(files, random);
    intact = recover_all(*open_read_only(files));
  }
  for (const SegmentFile& segment : intact.position.chain) {
    for (int kind = 0; kind < 3; kind++) {
      SimDisk disk = files.disk();
      std::vector<uint8_t> bytes = disk.read_file(path_of(segment.id));
      if (kind == 0) bytes[kSegmentStart + random() % (bytes.size() - kSegmentStart)] ^= 4;
      if (kind == 1) bytes.resize(bytes.size() / 2);
      disk.remove_file(path_of(segment.id));
      if (kind != 2) disk.plant_file(path_of(segment.id), bytes);
      SimFileSystem damaged(disk);
      const auto directory = open_read_only(damaged);
      const Recovered in_order = recover_all(*directory);
      const std::string text = last_error();
      const Loaded loaded = load(*directory, 4);
      INFO("segment " << segment.id << ", damage " << kind << ": " << text);
      require_same(in_order, loaded);
      if (in_order.status != Status::kOk) REQUIRE(loaded.text == text);
    }
  }
}

TEST_CASE("a removal reaches what an earlier segment puts, whichever is read first") {
  REQUIRE(reclaimer::register_thread());
  TableFigures figures;
  Catalog catalog(figures);
  {
    Loader loader(catalog, figures);
    loader.begin(2);
    RecoverySink& first = loader.begin_segment(1);
    RecoverySink& second = loader.begin_segment(2);
    void* value = nullptr;
    for (const char* key : {"a/1", "b/1"}) {
      REQUIRE(second.add(FrameType::kRemove, key, 0, &value) == Status::kOk);
    }
    REQUIRE(second.commit(2) == Status::kOk);
    for (const char* key : {"a/1", "a/2"}) {
      REQUIRE(first.add(FrameType::kPut, key, 0, &value) == Status::kOk);
    }
    REQUIRE(first.commit(1) == Status::kOk);
    REQUIRE(loader.end_segment() == Status::kOk);
    REQUIRE(loader.end_segment() == Status::kOk);
    const auto epochs = std::make_unique<Epochs>(steady_clock(), 3, 0);
    DirtyChunks removals;
    REQUIRE(loader.finish(*epochs, &removals) == Status::kOk);
    REQUIRE(removals.empty());
    REQUIRE(epochs->totals().entries == 1);
    REQUIRE_FALSE(epochs->has_ended());
    const ReadSection section;
    REQUIRE(catalog.count() == 1);
    REQUIRE(catalog.find(KeyHash{}("a"), "a")->members().find(KeyHash{}("2"), "2") != nullptr);
  }
  reclaimer::reclaim_all();
  clear_catalog(catalog);
}

TEST_CASE("removals that are not durable keep the names of collections that are gone") {
  static uint64_t left;
  REQUIRE(reclaimer::register_thread());
  // More names than the loader remembers.
  std::set<std::string> keys;
  for (int i = 0; i < 300; i++) keys.insert("gone" + std::to_string(i) + "/1");
  for (const std::string key : {"gone7/2", "here/2"}) keys.insert(key);
  Status status = Status::kMemory;
  uint64_t failures = 0;
  for (uint64_t fail_at = 0; status != Status::kOk; fail_at++) {
    TableFigures figures;
    Catalog catalog(figures);
    {
      Loader loader(catalog, figures);
      loader.begin(0);
      RecoverySink& segment = loader.begin_segment(1);
      void* value = nullptr;
      REQUIRE(segment.add(FrameType::kPut, "here/1", 0, &value) == Status::kOk);
      for (const std::string& key : keys) {  // whose collections are more than a part holds
        REQUIRE(segment.add(FrameType::kPut, key, 0, &value) == Status::kOk);
      }
      for (const std::string& key : keys) {
        REQUIRE(segment.add(FrameType::kRemove, key, 0, &value) == Status::kOk);
      }
      REQUIRE(segment.commit(1) == Status::kOk);
      REQUIRE(loader.end_segment() == Status::kOk);
      const auto epochs = std::make_unique<Epochs>(steady_clock(), 2, 0);
      DirtyChunks found;
      left = fail_at;
      arena_set_fault([](size_t) { return left-- == 0; });
      status = loader.finish(*epochs, &found);
      arena_set_fault(nullptr);
      if (status == Status::kMemory) {
        failures++;
      } else {
        REQUIRE(status == Status::kOk);
        REQUIRE(catalog.count() == 1);
        std::set<std::string> removed;
        for (const DirtyChunk* chunk = found.first(); chunk != nullptr; chunk = chunk->links.next) {
          for (uint32_t i = 0; i < chunk->count; i++) {
            const DirtyRecord& record = chunk->records[i];
            removed.insert(std::string(record.collection->key()) + "/" +
                           std::string(DirtyRecord::entry(record.word.load())->key()));
          }
        }
        REQUIRE(removed == keys);
      }
    }
    reclaimer::reclaim_all();
    clear_catalog(catalog);
  }
  REQUIRE(failures >= 300);
}

TEST_CASE("a progress callback is called on the opening thread, and cancels") {
  std::mt19937_64 random(announce_core_seed("loader_test, progress"));
  SimFileSystem files;
  {
    const auto directory = open_locked(files, kLogPath);
    LogClient client(*directory, kSegmentBytes);
    for (int i = 0; i < 60; i++) {
      client.put("a/" + std::to_string(i), std::string(1'000'000, static_cast<char>(random())));
      REQUIRE(client.write_and_sync() == Status::kOk);
    }
  }
  struct Calls {
    std::thread::id thread = std::this_thread::get_id();
    bool elsewhere = false;
    uint64_t calls = 0;
    uint64_t cancel_at = UINT64_MAX;
    static int32_t call(void* context, uint64_t, uint64_t) {
      auto& self = *static_cast<Calls*>(context);
      if (std::this_thread::get_id() != self.thread) self.elsewhere = true;
      return ++self.calls >= self.cancel_at ? 1 : 0;
    }
  };
  const auto directory = open_read_only(files);
  Calls all;
  REQUIRE(load(*directory, 3, {Calls::call, &all}).status == Status::kOk);
  REQUIRE(all.calls >= 2);
  REQUIRE_FALSE(all.elsewhere);
  for (uint64_t at = 1; at < all.calls; at++) {
    Calls some;
    some.cancel_at = at;
    const Loaded loaded = load(*directory, 3, {Calls::call, &some});
    REQUIRE(loaded.status == Status::kCancelled);
    REQUIRE(loaded.text == "cancelled by the progress callback");
    REQUIRE(some.calls == at);
  }
}

}  // namespace dskvs::test
