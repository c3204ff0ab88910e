// Goal: whatever fails while a log is read, checked or rescued, the answer is that failure or the
// whole truth, never a part of it; salvage reads on behind what cannot be read.
// Method: every call to the disk fails in turn, blocks are made unreadable one by one, sinks
// refuse, callers cancel, there is no thread to be had, files are not what the directory said.

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <map>
#include <set>

#include "disk/segment_reader.h"
#include "support/catch.h"
#include "support/crafted_segment.h"
#include "support/log_disk.h"
#include "support/temp_dir.h"

namespace dskvs::test {
namespace {

constexpr size_t kMegabyte = size_t{1} << 20;

std::string bytes_of(size_t size, uint64_t seed) {
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>((seed = seed * 6364136223846793005u + 1) >> 56);
  return bytes;
}

// What a log holds, and all values that a key ever had.
struct Log {
  SimFileSystem files;
  std::unique_ptr<Directory> directory = open_locked(files, kLogPath);
  LogClient client;
  std::map<std::string, std::set<std::string>> ever;

  explicit Log(uint64_t segment_bytes) : client(*directory, segment_bytes) {}
  void put(const std::string& key, const std::string& value) {
    client.put(key, value);
    ever[key].insert(value);
    REQUIRE(client.write() == Status::kOk);
  }
  Contents contents() const { return client.at(client.accepted()); }
  bool only_holds_what_was_put(const Contents& found) const {
    return std::all_of(found.begin(), found.end(), [&](const auto& entry) {
      const auto values = ever.find(entry.first);
      return values != ever.end() && values->second.contains(entry.second);
    });
  }
};

// Three segments, of small and large values, all durable and known to be.
struct SmallLog : Log {
  SmallLog() : Log(600'000) {
    for (uint64_t i = 0; client.writer->segment() < 3; ++i) {
      put("a/" + std::to_string(i), bytes_of(i % 5 == 0 ? 280'000 : 3000 * (i % 5), i));
    }
    REQUIRE(client.writer->close() == Status::kOk);
  }
};

// One segment that a second thread reads ahead.
struct LargeLog : Log {
  explicit LargeLog(size_t bytes) : Log(uint64_t{1} << 30) {
    for (uint64_t i = 0; i < bytes / kMegabyte; ++i) {
      client.put("a/" + std::to_string(i), bytes_of(i % 3 == 0 ? 50'000 : kMegabyte, i));
    }
    REQUIRE(client.write() == Status::kOk);
    client.put("b/last", "last");
    REQUIRE(client.write_and_sync() == Status::kOk);
    client.put("b/tail", "tail");
    REQUIRE(client.write() == Status::kOk);
  }
};

// One byte of what was durable is wrong.
SimDisk damaged(const Log& log, uint64_t segment, size_t at) {
  std::vector<uint8_t> bytes = log.files.disk().read_file(path_of(segment));
  bytes.at(at) ^= 1;
  return with_file(log.files.disk(), path_of(segment), bytes);
}

// A directory whose files answer reads as `read` says.
class Altered : public PassingDirectory {
 public:
  using Read = std::function<Status(File&, uint64_t offset, void*, size_t, size_t* got)>;
  Altered(Directory& inner, Read read) : PassingDirectory(inner), read_(std::move(read)) {}
  Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override {
    class AlteredFile : public PassingFile {
     public:
      AlteredFile(std::unique_ptr<File> inner, const Read& read)
          : PassingFile(std::move(inner)), read_(read) {}
      Status read(uint64_t offset, void* buffer, size_t size, size_t* got) override {
        return read_(*inner_, offset, buffer, size, got);
      }

     private:
      const Read& read_;
    };
    const Status status = inner_.open_file(name, mode, file);
    if (status == Status::kOk) *file = std::make_unique<AlteredFile>(std::move(*file), read_);
    return status;
  }

 private:
  const Read read_;
};

// Refuses at one call.
class FailingSink : public MapSink {
 public:
  explicit FailingSink(uint64_t fail_at) : left_(fail_at) {}
  Status add(FrameType type, std::string_view key, uint64_t value_size, void** value) override {
    return refuses() ? refusal() : MapSink::add(type, key, value_size, value);
  }
  Status commit(uint64_t last_epoch) override {
    return refuses() ? refusal() : MapSink::commit(last_epoch);
  }

 private:
  bool refuses() { return left_-- == 0; }
  static Status refusal() { return fail(Status::kFull, "refused"); }
  uint64_t left_;
};

// Cancels at one call.
struct Canceller {
  uint64_t left;
  bool cancelled = false;
  static int32_t call(void* context, uint64_t done, uint64_t total) {
    auto* self = static_cast<Canceller*>(context);
    REQUIRE(done <= total);
    self->cancelled = self->left-- == 0;
    return self->cancelled ? 1 : 0;
  }
};

// No thread can be started while one lives: none has room for such a stack.
class NoThreads {
 public:
  NoThreads() {
    ::pthread_getattr_default_np(&before_);
    pthread_attr_t huge;
    ::pthread_attr_init(&huge);
    ::pthread_attr_setstacksize(&huge, size_t{1} << 47);
    REQUIRE(::pthread_setattr_default_np(&huge) == 0);
    ::pthread_attr_destroy(&huge);
  }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;
  ~NoThreads() {
    ::pthread_setattr_default_np(&before_);
    ::pthread_attr_destroy(&before_);
  }

 private:
  pthread_attr_t before_;
};

// Runs `read` on a copy of the disk, again and again, each time with another call that fails once,
// or from then on. Returns how often it was not kOk; what it returns then is kIo.
uint64_t fail_each_call(const SimDisk& disk, bool sticky,
                        const std::function<Status(Directory&)>& read) {
  uint64_t failed = 0;
  for (uint64_t call = 0;; ++call) {
    SimFileSystem files(disk);
    const auto directory = open_read_only(files);
    files.set_fault({.call = files.calls() + call, .error = SimError::kEio, .sticky = sticky});
    const Status status = read(*directory);
    if (files.faults_raised() == 0) return failed;
    INFO("call " << call << ": " << last_error());
    REQUIRE((status == Status::kOk || status == Status::kIo));
    failed += status == Status::kIo;
  }
}

}  // namespace

TEST_CASE("verify finds all of the damage, or says that it could not read") {
  const SmallLog log;
  SimFileSystem intact(log.files.disk());
  std::vector<Damage> found{{SegmentName(1).text, 0, "as an attempt before it saw it"}};
  REQUIRE(verify(*open_read_only(intact), {}, &found) == Status::kOk);
  REQUIRE(found.empty());
  for (const auto& [segment, at] : std::map<uint64_t, size_t>{{1, 20}, {2, 9000}, {3, 4100}}) {
    const SimDisk disk = damaged(log, segment, at);
    const std::vector<Damage> all = verify_disk(disk);
    REQUIRE(all.size() == 1);
    for (const bool sticky : {false, true}) {
      const uint64_t failed = fail_each_call(disk, sticky, [&](Directory& directory) {
        std::vector<Damage> damage;
        const Status status = verify(directory, {}, &damage);
        if (status == Status::kOk) REQUIRE(damage == all);
        return status;
      });
      REQUIRE(failed > 20);
    }
  }
}

TEST_CASE("whatever fails behind a damaged place, verify finds all of the damage or says so") {
  // Two large values, side by side, and the only large ones: behind them the log is read on.
  const LargeLog log(3 * kMegabyte);
  SimDisk disk = damaged(log, 1, kSegmentStart + 50'000 + kMegabyte / 2);
  std::vector<uint8_t> bytes = disk.read_file(path_of(1));
  bytes.at(kSegmentStart + 50'000 + 3 * kMegabyte / 2) ^= 1;
  disk = with_file(disk, path_of(1), bytes);
  const std::vector<Damage> all = verify_disk(disk);
  REQUIRE_FALSE(all.empty());
  Contents rest = log.contents();
  REQUIRE(rest.erase("a/1") + rest.erase("a/2") == 2);
  REQUIRE(salvage_disk(disk).contents == rest);
  for (const bool sticky : {false, true}) {
    const uint64_t failed = fail_each_call(disk, sticky, [&](Directory& directory) {
      std::vector<Damage> damage;
      const Status status = verify(directory, {}, &damage);
      if (status == Status::kOk) REQUIRE(damage == all);
      return status;
    });
    REQUIRE(failed > 20);
  }
}

TEST_CASE("where no header tells whose a log is, an intact commit does") {
  CraftedSegment segment;
  segment.put("a/1", "one");
  segment.commit();
  const size_t first_commit = segment.bytes.size() - kCommitFrameBytes;
  segment.put("a/2", "two");
  CommitPayload payload = segment.next_commit();
  payload.durable_epoch = 1;  // so that what stands before it is no torn tail
  segment.commit(payload);
  const size_t second_commit = segment.bytes.size() - kCommitFrameBytes;
  segment.bytes[0] ^= 1;
  const auto disk_with = [&](const std::vector<size_t>& flipped) {
    std::vector<uint8_t> bytes = segment.bytes;
    for (const size_t at : flipped) bytes[at] ^= 1;
    SimDisk disk;
    disk.make_directory(kLogPath);
    disk.plant_file(path_of(1), bytes);
    return disk;
  };
  constexpr size_t kCheck = 8;  // of the commit's own header
  const Contents both{{"a/1", "one"}, {"a/2", "two"}};
  REQUIRE(salvage_disk(disk_with({})).contents == both);
  REQUIRE(salvage_disk(disk_with({first_commit + kCheck})).contents == both);
  REQUIRE(salvage_disk(disk_with({first_commit + 40})).contents == both);
  REQUIRE(salvage_disk(disk_with({first_commit + kCheck, second_commit + 40})).contents.empty());

  const std::vector<Damage> all = verify_disk(disk_with({}));
  REQUIRE(all == std::vector<Damage>{{SegmentName(1).text, 0, "the segment's header is wrong"}});
  for (const bool sticky : {false, true}) {
    const uint64_t failed = fail_each_call(disk_with({}), sticky, [&](Directory& directory) {
      std::vector<Damage> damage;
      const Status status = verify(directory, {}, &damage);
      if (status == Status::kOk) REQUIRE(damage == all);
      return status;
    });
    REQUIRE(failed > 10);
  }

  // Cut since its size was asked for: before the first commit that it is searched for.
  SimFileSystem files(disk_with({}));
  const auto inner = open_read_only(files);
  Altered cut(*inner, [](File& file, uint64_t offset, void* buffer, size_t size, size_t* got) {
    const Status status = file.read(offset, buffer, size, got);
    *got = std::min<uint64_t>(*got, std::max<uint64_t>(offset, kSegmentStart) - offset);
    return status;
  });
  REQUIRE(salvage_all(cut).status == Status::kIo);
}

TEST_CASE("a block that has become short is as one that cannot be read") {
  const SmallLog log;
  constexpr uint64_t kShort = 10 * kBlockBytes;
  SimFileSystem files(log.files.disk());
  const auto inner = open_read_only(files);
  Altered directory(*inner,
                    [](File& file, uint64_t offset, void* buffer, size_t size, size_t* got) {
                      if (size > kBlockBytes) return fail(Status::kIo, "too much at once");
                      const Status status = file.read(offset, buffer, size, got);
                      if (offset == kShort) *got = 10;
                      return status;
                    });
  const Salvaged found = salvage_all(directory);
  REQUIRE(found.status == Status::kOk);
  REQUIRE(log.only_holds_what_was_put(found.contents));
  REQUIRE(found.contents.size() + 6 >= log.contents().size());  // two values touch a block
  for (uint64_t id = 1; id <= 2; ++id) {                        // the third is shorter
    const Damage listed{SegmentName(id).text, kShort, "4096 bytes cannot be read"};
    REQUIRE(std::count(found.damage.begin(), found.damage.end(), listed) == 1);
  }
}

TEST_CASE("a read that fails once takes nothing from what salvage rescues") {
  const SmallLog log;
  const SimDisk disk = damaged(log, 2, 5000);
  const Salvaged whole = salvage_disk(disk);
  REQUIRE(whole.contents.size() + 1 == log.contents().size());
  fail_each_call(disk, false, [&](Directory& directory) {
    const Salvaged found = salvage_all(directory);
    if (found.status == Status::kOk) {
      REQUIRE(found.contents == whole.contents);
      REQUIRE(found.damage == whole.damage);
    }
    return found.status;
  });
  const uint64_t failed = fail_each_call(disk, true, [&](Directory& directory) {
    const Salvaged found = salvage_all(directory);
    REQUIRE(log.only_holds_what_was_put(found.contents));
    return found.status;
  });
  REQUIRE(failed > 20);
}

TEST_CASE("salvage reads on behind blocks that cannot be read, and lists them") {
  const SmallLog log;
  const Contents all = log.contents();
  for (uint64_t id = 1; id <= 3; ++id) {
    const uint64_t bytes = log.files.disk().file_size(path_of(id));
    for (uint64_t block = 0; block < bytes; block += 3 * kBlockBytes) {
      SimFileSystem files(log.files.disk());
      const auto inner = open_read_only(files);
      BadSectors directory(*inner, SegmentName(id).text, block, block + 100);
      INFO("segment " << id << " block " << block);
      REQUIRE(recover_all(directory).status == Status::kIo);
      std::vector<Damage> damage;
      REQUIRE(verify(directory, {}, &damage) == Status::kIo);
      const Salvaged found = salvage_all(directory);
      REQUIRE(found.status == Status::kOk);
      REQUIRE(log.only_holds_what_was_put(found.contents));
      REQUIRE(found.contents.size() + 3 >= all.size());  // 3000 B values: three touch a block
      if (block == 0) REQUIRE(found.contents == all);    // only a header
      const Damage listed{
          SegmentName(id).text, block,
          std::to_string(std::min(kBlockBytes, bytes - block)) + " bytes cannot be read"};
      REQUIRE(std::count(found.damage.begin(), found.damage.end(), listed) == 1);
      REQUIRE(std::is_sorted(found.damage.begin(), found.damage.end()));
    }
  }
}

TEST_CASE("unreadable places that touch are one; a disk that reads nothing is an error") {
  const SmallLog log;
  SimFileSystem files(log.files.disk());
  const auto inner = open_read_only(files);
  BadSectors some(*inner, SegmentName(2).text, 8192, 8192 + 3 * kBlockBytes);
  const Salvaged found = salvage_all(some);
  REQUIRE(found.status == Status::kOk);
  const Damage listed{SegmentName(2).text, 8192, "12288 bytes cannot be read"};
  REQUIRE(std::count(found.damage.begin(), found.damage.end(), listed) == 1);
  BadSectors beside(some, SegmentName(2).text, 40'960, 40'961);
  BadSectors more(beside, SegmentName(1).text, 4096, 4097);
  const Salvaged less = salvage_all(more);
  REQUIRE(less.status == Status::kOk);
  const auto unreadable = std::count_if(
      less.damage.begin(), less.damage.end(),
      [](const Damage& place) { return place.kind.find("cannot be read") != std::string::npos; });
  REQUIRE(unreadable == 3);
  REQUIRE(std::is_sorted(less.damage.begin(), less.damage.end()));
  BadSectors none(*inner, "", 0, UINT64_MAX);
  REQUIRE(salvage_all(none).status == Status::kIo);
  BadSectors frames(*inner, "", kSegmentStart, UINT64_MAX);
  BadSectors all_of_one(frames, SegmentName(1).text, 0, UINT64_MAX);
  REQUIRE(salvage_all(all_of_one).status == Status::kIo);
  const std::string first = "nothing was rescued; first at '" + std::string(SegmentName(1).text);
  REQUIRE(std::string(last_error()).find(first + "', offset 0") != std::string::npos);
  BadSectors headers(*inner, "", 0, kSegmentStart);
  REQUIRE(salvage_all(headers).status == Status::kOk);
}

TEST_CASE("a block that a second thread fails to read is an error, and is passed over by salvage") {
  const LargeLog log(9 * kMegabyte);
  SimFileSystem files(log.files.disk());
  const auto inner = open_read_only(files);
  const uint64_t bytes = log.files.disk().file_size(path_of(1));
  for (const uint64_t block : {bytes / 4 / kBlockBytes * kBlockBytes, bytes - kBlockBytes}) {
    BadSectors directory(*inner, SegmentName(1).text, block, block + 1);
    REQUIRE(recover_all(directory).status == Status::kIo);
    REQUIRE(std::string(last_error()) == "bad sector");
    const Salvaged found = salvage_all(directory);
    REQUIRE(found.status == Status::kOk);
    REQUIRE(found.contents.size() + 2 >= log.contents().size());
    for (const auto& [key, value] : found.contents) REQUIRE(log.contents().at(key) == value);
  }
}

TEST_CASE("without a thread to read ahead, a log is read all the same") {
  const LargeLog log(6 * kMegabyte);
  const NoThreads none;
  const Recovered found = recover_disk(log.files.disk());
  REQUIRE(found.status == Status::kOk);
  REQUIRE(found.contents == log.contents());
  REQUIRE(salvage_disk(log.files.disk()).contents == log.contents());
  for (const uint64_t block : {uint64_t{kMegabyte}, uint64_t{4 * kMegabyte}}) {
    SimFileSystem files(log.files.disk());
    const auto inner = open_read_only(files);
    BadSectors directory(*inner, SegmentName(1).text, block, block + 1);
    REQUIRE(recover_all(directory).status == Status::kIo);
    REQUIRE(salvage_all(directory).status == Status::kOk);
  }
}

// Files that are too short for a thread, with values too large for the buffer.
struct LongValues {
  std::vector<CraftedSegment> segments;
  SimDisk disk;

  LongValues(uint64_t count, size_t value_bytes) {
    disk.make_directory(kLogPath);
    for (uint64_t id = 1; id <= count; ++id) {
      segments.push_back(id == 1 ? CraftedSegment() : CraftedSegment(segments.back(), id));
      segments.back().put("a/" + std::to_string(id), bytes_of(value_bytes, id));
      segments.back().commit();
      disk.plant_file(path_of(id), segments.back().bytes);
    }
  }
};

TEST_CASE("a value that is read straight to its place may fail there too") {
  const LongValues log(4, 3 * kMegabyte);
  SimFileSystem files(log.disk);
  const auto inner = open_read_only(files);
  REQUIRE(recover_all(*inner).contents.size() == 4);
  BadSectors bad(*inner, SegmentName(1).text, 2 * kMegabyte, 2 * kMegabyte + 1);
  REQUIRE(recover_all(bad).status == Status::kIo);
  REQUIRE(std::string(last_error()) == "bad sector");
  const Salvaged rescued = salvage_all(bad);
  REQUIRE(rescued.status == Status::kOk);
  REQUIRE(rescued.contents.size() == 3);
  // Cancelled within the second segment's value.
  Canceller canceller{0};
  MapSink sink;
  LogPosition position;
  RecoveryReport report;
  REQUIRE(recover(*inner, {Canceller::call, &canceller}, sink, &position, &report) ==
          Status::kCancelled);
  REQUIRE(sink.contents.size() == 1);
}

// Whatever changes in the byte at `at`, or is cut there, at any of its reads.
void require_error_or_damage(const LongValues& log, size_t value_bytes, uint64_t at, bool cut) {
  std::set<Status> recovered;
  std::set<Status> rescued;
  for (uint64_t right_reads = 0; right_reads < 16; ++right_reads) {
    SimFileSystem files(log.disk);
    const auto inner = open_read_only(files);
    uint64_t reads = 0;
    Altered directory(*inner,
                      [&](File& file, uint64_t offset, void* buffer, size_t size, size_t* got) {
                        const Status status = file.read(offset, buffer, size, got);
                        const bool there = offset <= at && offset + *got > at;
                        if (status != Status::kOk || !there || reads++ < right_reads) return status;
                        static_cast<uint8_t*>(buffer)[at - offset] ^= 1;
                        if (cut) *got = at - offset;
                        return status;
                      });
    const Recovered found = recover_all(directory);
    recovered.insert(found.status);
    if (found.status == Status::kOk) REQUIRE(found.contents.size() == 2);
    reads = 0;
    MapSink sink;
    std::vector<Damage> damage;
    rescued.insert(salvage(directory, {}, sink, &damage));
    for (const auto& [key, value] : sink.contents) {
      REQUIRE(value == bytes_of(value_bytes, uint64_t(key.back() - '0')));
    }
  }
  REQUIRE(recovered == std::set{Status::kOk, cut ? Status::kIo : Status::kCorrupt});
  REQUIRE(rescued == std::set{Status::kOk, Status::kIo});
}

TEST_CASE("a file that is cut, or changes, between two reads is an error or damage") {
  constexpr size_t kValueBytes = kMegabyte + 200'000;
  constexpr uint64_t kPadding = kSegmentStart + kFrameHeaderBytes + 3 + kValueBytes;
  static_assert(kPadding % 8 != 0);
  const LongValues log(2, kValueBytes);
  for (const bool cut : {false, true}) {
    for (const uint64_t at : {uint64_t{kMegabyte + 100'000}, kPadding}) {
      CAPTURE(cut, at);
      require_error_or_damage(log, kValueBytes, at, cut);
    }
  }
}

TEST_CASE("a commit behind the cut that cannot be read is an error, not the end") {
  // Its header is the last that the first read brings; the rest of it comes with the next.
  CraftedSegment segment;
  segment.put("a/b", std::string(kMegabyte - 24 - frame_bytes(3, 0), 'v'));
  REQUIRE(segment.bytes.size() == kSegmentStart + kMegabyte - 24);
  segment.commit();
  segment.bytes[kSegmentStart] ^= 1;
  segment.bytes.resize(segment.bytes.size() + kMegabyte);
  SimDisk disk;
  disk.make_directory(kLogPath);
  disk.plant_file(path_of(1), segment.bytes);
  REQUIRE(recover_disk(disk).report.highest_epoch_seen == 1);
  SimFileSystem files(disk);
  const auto inner = open_read_only(files);
  const uint64_t next_read = kSegmentStart + kMegabyte;
  BadSectors directory(*inner, SegmentName(1).text, next_read, next_read + 1);
  REQUIRE(recover_all(directory).status == Status::kIo);
}

TEST_CASE("what the sink answers ends the reading") {
  Log log(100'000);
  log.put("a/1", bytes_of(300'000, 1));
  log.client.accept({{FrameType::kPut, "a/2", "two"},
                     {FrameType::kRemove, "a/1", {}},
                     {FrameType::kDrop, "c", {}},
                     {FrameType::kPut, "b/1", ""}});
  REQUIRE(log.client.write() == Status::kOk);
  log.put("b/2", bytes_of(300'000, 2));
  REQUIRE(log.client.writer->close() == Status::kOk);
  // As it is, and with the middle one's commit damaged, which salvage takes as given.
  const std::vector<uint8_t> middle = log.files.disk().read_file(path_of(2));
  size_t commit = kSegmentStart;
  while (middle[commit + 12] != 4 || middle[commit + 16] != kCommitPayloadBytes) commit += 8;
  for (const SimDisk& disk : {log.files.disk(), damaged(log, 2, commit + 40)}) {
    const bool intact = recover_disk(disk).status == Status::kOk;
    uint64_t refusals = 0;
    for (uint64_t at = 0;; ++at) {
      SimFileSystem files(disk);
      const auto directory = open_read_only(files);
      FailingSink sink(at);
      std::vector<Damage> damage;
      const Status status = salvage(*directory, {}, sink, &damage);
      if (intact) {
        FailingSink again(at);
        LogPosition position;
        RecoveryReport report;
        REQUIRE(recover(*directory, {}, again, &position, &report) == status);
        REQUIRE(again.contents == sink.contents);
      }
      if (status == Status::kOk) {
        REQUIRE(sink.contents == log.contents());
        break;
      }
      REQUIRE(status == Status::kFull);
      REQUIRE(std::string(last_error()) == "refused");
      ++refusals;
    }
    REQUIRE(refusals >= 9);  // six frames and three commits
  }
}

TEST_CASE("reading, checking and rescuing can be cancelled at every call back") {
  LargeLog log(33 * kMegabyte);
  const SimDisk bad = damaged(log, 1, 20 * kMegabyte);
  std::vector<Damage> damage;
  const std::vector<std::function<Status(Directory&, const Progress&)>> readers = {
      [](Directory& directory, const Progress& progress) {
        MapSink sink;
        LogPosition position;
        RecoveryReport report;
        return recover(directory, progress, sink, &position, &report);
      },
      [&](Directory& directory, const Progress& progress) {
        return verify(directory, progress, &damage);
      },
      [](Directory& directory, const Progress& progress) {
        return salvage_all(directory, progress).status;
      }};
  for (const SimDisk& disk : {log.files.disk(), bad}) {
    SimFileSystem files(disk);
    const auto directory = open_read_only(files);
    for (const auto& reader : readers) {
      const Status undisturbed = reader(*directory, {});
      uint64_t calls = 0;
      for (;; ++calls) {
        Canceller canceller{calls};
        const Status status = reader(*directory, {Canceller::call, &canceller});
        if (!canceller.cancelled) {
          REQUIRE(status == undisturbed);
          break;
        }
        REQUIRE(status == Status::kCancelled);
      }
      REQUIRE(calls >= 3);
    }
  }
}

TEST_CASE("a segment that is no file is refused as one that is none") {
  TempDir temp;
  const std::string path = temp / "store";
  const auto directory = open_locked(posix_file_system(), path.c_str());
  const std::string segment = path + "/" + SegmentName(1).text;
  REQUIRE(::symlink("/dev/zero", segment.c_str()) == 0);
  REQUIRE(recover_all(*directory).status == Status::kCorrupt);
  std::vector<Damage> damage;
  REQUIRE(verify(*directory, {}, &damage) == Status::kOk);
  REQUIRE(damage == std::vector<Damage>{{SegmentName(1).text, 0, "it is no regular file"}});
}

TEST_CASE("a directory that changes is read again, not taken for a damaged one") {
  // Its second listing differs from its first.
  class Changing : public PassingDirectory {
   public:
    Changing(Directory& inner, std::function<Status()> change)
        : PassingDirectory(inner), change_(std::move(change)) {}
    Status each_name(const std::function<Status(const char* name)>& visit) override {
      const bool second = ++lists_ == 2;
      if (second && !stale) REQUIRE(change_() == Status::kOk);
      if (second && failing) return fail(Status::kIo, "no list");
      if (!second || !stale) return inner_.each_name(visit);
      std::vector<std::string> names;
      const auto note = [&](const char* name) {
        names.emplace_back(name);
        return Status::kOk;
      };
      Status status = inner_.each_name(note);
      REQUIRE(change_() == Status::kOk);
      for (const std::string& name : names) {
        if (status == Status::kOk) status = visit(name.c_str());
      }
      return status;
    }
    bool failing = false;
    bool stale = false;  // the change comes just behind the listing

   private:
    std::function<Status()> change_;
    int lists_ = 0;
  };
  const SmallLog log;
  const SimDisk disk = damaged(log, 2, 5000);
  const auto status_when = [&](auto change, bool failing = false, bool stale = false) {
    SimFileSystem files(disk);
    const auto inner = open_read_only(files);
    Changing directory(*inner, [&] { return change(*inner); });
    directory.failing = failing;
    directory.stale = stale;
    return recover_all(directory).status;
  };
  const auto create = [](Directory& directory, uint64_t id) {
    std::unique_ptr<File> file;
    return directory.open_file(SegmentName(id).text, FileMode::kCreate, &file);
  };
  REQUIRE(status_when([](Directory&) { return Status::kOk; }) == Status::kCorrupt);
  REQUIRE(status_when([](Directory&) { return Status::kOk; }, true) == Status::kCorrupt);
  REQUIRE(status_when([](Directory& d) { return d.unlink(SegmentName(1).text); }) ==
          Status::kNotFound);
  REQUIRE(status_when([](Directory& d) { return d.unlink(SegmentName(1).text); }, false, true) ==
          Status::kNotFound);
  REQUIRE(status_when([&](Directory& d) { return create(d, 4); }) == Status::kNotFound);
  REQUIRE(status_when([&](Directory& d) {
            const Status status = d.unlink(SegmentName(1).text);
            return status == Status::kOk ? create(d, 4) : status;
          }) == Status::kNotFound);
  REQUIRE(status_when([&](Directory& d) {  // another file of the same name
            const Status status = d.unlink(SegmentName(1).text);
            return status == Status::kOk ? create(d, 1) : status;
          }) == Status::kNotFound);
}

TEST_CASE("holes are passed over, and what lies behind them is found") {
  TempDir temp;
  const std::string path = temp / "store";
  const auto directory = open_locked(posix_file_system(), path.c_str());
  const std::string file = path + "/" + SegmentName(1).text;
  // A damaged frame, a hole, and frames behind it; then the same with no header.
  constexpr size_t kFar = 64 * kMegabyte;
  CraftedSegment segment;
  segment.put("a/1", "one");
  segment.commit();
  const size_t bad_at = segment.bytes.size();
  segment.put("a/2", "two");
  segment.bytes.resize(kFar);
  segment.put("a/3", "three");
  segment.commit();
  segment.commit();
  segment.bytes[bad_at] ^= 1;
  for (const bool headless : {false, true}) {
    {
      std::ofstream out(file, std::ios::binary);
      const char* bytes = reinterpret_cast<const char*>(segment.bytes.data());
      out.write(bytes, bad_at + 40);
      out.seekp(kFar);
      out.write(bytes + kFar, std::streamsize(segment.bytes.size() - kFar));
      if (headless) out.seekp(0).write("x", 1);
    }
    struct stat info;
    REQUIRE(::stat(file.c_str(), &info) == 0);
    if (info.st_blocks * 512 > off_t(kFar)) WARN("there are no holes on this file system");
    const Recovered found = recover_all(*directory);
    if (!headless) {
      REQUIRE(found.status == Status::kOk);
      REQUIRE(found.report.recovered_epoch == 1);
      REQUIRE(found.report.highest_epoch_seen == 3);
    }
    const Salvaged rescued = salvage_all(*directory);
    REQUIRE(rescued.status == Status::kOk);
    REQUIRE(rescued.contents.at("a/1") == "one");
    REQUIRE(rescued.contents.count("a/2") == 0);
  }
}

// Says to the byte where anything but zeros comes next.
class Exact : public PassingDirectory {
 public:
  using PassingDirectory::PassingDirectory;
  Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override {
    class ExactFile : public PassingFile {
     public:
      using PassingFile::PassingFile;
      uint64_t next_data(uint64_t offset) override {
        std::vector<uint8_t> bytes(8 * kMegabyte);
        size_t got = 0;
        REQUIRE(inner_->read(offset, bytes.data(), bytes.size(), &got) == Status::kOk);
        const auto end = bytes.begin() + ptrdiff_t(got);
        return offset +
               uint64_t(std::find_if(bytes.begin(), end, [](uint8_t byte) { return byte != 0; }) -
                        bytes.begin());
      }
    };
    const Status status = inner_.open_file(name, mode, file);
    if (status == Status::kOk) *file = std::make_unique<ExactFile>(std::move(*file));
    return status;
  }
};

TEST_CASE("a hole may end anywhere, and the frame that begins there is found") {
  CraftedSegment before;
  before.commit();
  before.bytes.resize(4 * kMegabyte);  // more than is read at once
  before.batch_start = before.bytes.size();
  for (uint64_t i = 0;; ++i) {
    CraftedSegment segment = before;
    segment.put("a/1", std::to_string(i));
    if (segment.bytes[before.bytes.size()] != 0) continue;  // one whose checksum ends with zeros
    segment.commit();
    SimDisk disk;
    disk.make_directory(kLogPath);
    disk.plant_file(path_of(1), segment.bytes);
    SimFileSystem files(disk);
    const auto inner = open_read_only(files);
    Exact directory(*inner);
    const Recovered found = recover_all(directory);
    REQUIRE(found.report.recovered_epoch == 1);
    REQUIRE(found.report.highest_epoch_seen == 2);
    break;
  }
}

TEST_CASE("a hole may begin inside a header, where what the reader has buffered ends") {
  // The header's last bytes, a value's size that is zero, are the hole.
  CraftedSegment segment;
  segment.bytes.resize(kSegmentStart + kMegabyte - 16);
  const uint64_t at = segment.bytes.size();
  segment.add(FrameType::kRemove, "a/1", 0, "");
  SimDisk disk;
  disk.make_directory(kLogPath);
  disk.plant_file(path_of(1), segment.bytes);
  SimFileSystem files(disk);
  const auto inner = open_read_only(files);
  Exact directory(*inner);
  std::unique_ptr<File> file;
  REQUIRE(directory.open_file(SegmentName(1).text, FileMode::kRead, &file) == Status::kOk);
  ProgressMeter meter({}, 0);
  SegmentReader reader(meter);
  reader.open(std::move(file), FrameSeed(segment.header.store_id, 1), kSegmentStart,
              segment.bytes.size());
  Frame frame;
  REQUIRE(reader.next(&frame) == Status::kOk);  // fills the buffer
  REQUIRE(frame.what == Next::kBad);
  reader.seek(kSegmentStart + 8);
  REQUIRE(reader.find_header(false) == Status::kOk);
  REQUIRE(reader.offset() == at);
}

}  // namespace dskvs::test
