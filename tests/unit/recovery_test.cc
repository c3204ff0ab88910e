// Goal: recovery yields one state that existed or refuses, whatever stands in the directory; verify
// agrees with it; salvage hands over nothing that was not put.
// Method: a client writes logs of every shape to a simulated disk; the files are then flipped bit
// by bit, cut at every byte, swapped, planted, removed and crafted, and each result is recovered
// and compared with the client's history.

#include "disk/recovery.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>

#include "checksum.h"
#include "support/catch.h"
#include "support/crafted_segment.h"
#include "support/log_disk.h"
#include "support/seed.h"
#include "support/temp_dir.h"

namespace dskvs::test {
namespace {

constexpr const char* kPath = kLogPath;

using Bytes = std::vector<uint8_t>;

std::string value_of(size_t size, uint64_t seed) {
  std::string value(size, '\0');
  std::mt19937_64 random(seed);
  for (char& c : value) c = static_cast<char>(random());
  return value;
}

// A log and everything that was ever accepted into it.
struct History {
  SimFileSystem files;
  std::unique_ptr<Directory> directory = open_locked(files, kPath);
  LogClient client;

  explicit History(uint64_t segment_bytes = 1 << 20) : client(*directory, segment_bytes) {}
  SimDisk disk() const { return files.disk(); }
  Bytes segment(uint64_t id) const { return files.disk().read_file(path_of(id)); }
};

// One segment: epochs 1 and 2 durable and known to be, 3 and 4 written.
struct OneSegment : History {
  uint64_t durable_end = 0;  // of what a later commit records as durable

  OneSegment() {
    client.accept({{FrameType::kPut, "a/1", value_of(700, 1)}, {FrameType::kPut, "b/1", "x"}});
    REQUIRE(client.write() == Status::kOk);
    client.accept({{FrameType::kPut, "a/2", ""}, {FrameType::kRemove, "b/1", {}}});
    REQUIRE(client.write() == Status::kOk);
    durable_end = client.writer->live_segments().back().bytes;
    REQUIRE(client.writer->sync() == Status::kOk);
    client.accept({{FrameType::kDrop, "a", {}}, {FrameType::kPut, "a/3", value_of(50, 3)}});
    REQUIRE(client.write() == Status::kOk);
    client.put("a/4", value_of(1500, 4));
    REQUIRE(client.write() == Status::kOk);
  }
};

// Three segments, the newest with an unsynced tail.
struct ThreeSegments : History {
  ThreeSegments() : History(12 << 10) {
    for (uint64_t i = 0; client.writer->segment() != 3; ++i) {
      client.accept({{FrameType::kPut, "a/" + std::to_string(i), value_of(1000, i)},
                     {FrameType::kPut, "b/x", value_of(i * 10, i)}});
      REQUIRE(client.write() == Status::kOk);
    }
    for (uint64_t i = 0; i < 4; ++i) {
      client.put("c/" + std::to_string(i), value_of(800, i));
      REQUIRE(client.write() == Status::kOk);
      if (i == 1) REQUIRE(client.writer->sync() == Status::kOk);
    }
  }
};

void require_a_state_of(const LogClient& client, const Recovered& found) {
  REQUIRE(found.report.recovered_epoch <= client.accepted());
  REQUIRE(found.contents == client.at(found.report.recovered_epoch));
}

bool message_names(const std::string& what) {
  return std::string(last_error()).find(what) != std::string::npos;
}

}  // namespace

TEST_CASE("every flipped bit is detected") {
  const OneSegment log;
  const SimDisk disk = log.disk();
  const Bytes bytes = log.segment(1);
  REQUIRE(recover_disk(disk).report.recovered_epoch == 4);
  uint64_t flips = 0;
  for (size_t at = 0; at < bytes.size(); ++at) {
    const bool all_bits = at < kSegmentHeaderBytes || bytes[at] != 0;
    for (int bit = 0; bit < 8; bit += all_bits ? 1 : 7) {
      Bytes flipped = bytes;
      flipped[at] = static_cast<uint8_t>(flipped[at] ^ (1u << bit));
      const Recovered found = recover_disk(with_file(disk, path_of(1), std::move(flipped)));
      INFO("byte " << at << " bit " << bit << ": " << last_error());
      if (at < log.durable_end) {
        REQUIRE(found.status == Status::kCorrupt);
        REQUIRE(message_names(SegmentName(1).text));
      } else {
        REQUIRE(found.status == Status::kOk);
        REQUIRE(found.report.recovered_epoch >= 2);
        REQUIRE(found.report.recovered_epoch < 4 + (bytes[at] == 0 ? 1 : 0));
        require_a_state_of(log.client, found);
      }
      ++flips;
    }
  }
  REQUIRE(flips > 30000);
}

TEST_CASE("a head cut at any byte is the state of its last whole commit") {
  const OneSegment log;
  const Bytes bytes = log.segment(1);
  uint64_t last_epoch = 0;
  bool opens = false;  // from the first commit on
  for (size_t size = 0; size <= bytes.size(); ++size) {
    const Recovered found = recover_disk(
        with_file(log.disk(), path_of(1), Bytes(bytes.begin(), bytes.begin() + ptrdiff_t(size))));
    INFO("size " << size << ": " << last_error());
    if (!opens && found.status == Status::kCorrupt) continue;
    opens = true;
    REQUIRE(found.status == Status::kOk);
    REQUIRE(found.report.recovered_epoch >= std::max<uint64_t>(1, last_epoch));
    last_epoch = found.report.recovered_epoch;
    require_a_state_of(log.client, found);
  }
  REQUIRE(last_epoch == 4);
}

TEST_CASE("a tail of zeros, or of anything else, is cut and counted") {
  const OneSegment log;
  const Bytes bytes = log.segment(1);
  for (const uint8_t filler : Bytes{0x00, 0xFF, 0x01, 0x05}) {
    Bytes longer = bytes;
    longer.resize(bytes.size() + 100000, filler);
    const Recovered found = recover_disk(with_file(log.disk(), path_of(1), longer));
    REQUIRE(found.status == Status::kOk);
    REQUIRE(found.report.recovered_epoch == 4);
    REQUIRE(found.report.frames_cut == 1);
    REQUIRE(verify_disk(with_file(log.disk(), path_of(1), longer)).empty());
  }
}

TEST_CASE("what a cut loses is reported") {
  const OneSegment log;
  Bytes bytes = log.segment(1);
  // The first byte behind the durable block belongs to epoch 3; epoch 4's commit stays whole.
  const size_t at = (log.durable_end + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
  bytes[at] ^= 1;
  const Recovered found = recover_disk(with_file(log.disk(), path_of(1), bytes));
  REQUIRE(found.status == Status::kOk);
  REQUIRE(found.report.recovered_epoch == 2);
  REQUIRE(found.report.highest_epoch_seen == 4);
  REQUIRE(found.report.frames_cut == 5);  // a drop and two puts, and the commits of both epochs
}

TEST_CASE("segments before the head are whole or corrupt") {
  const ThreeSegments log;
  REQUIRE(recover_disk(log.disk()).report.recovered_epoch == log.client.accepted());
  for (const uint64_t id : {uint64_t{1}, uint64_t{2}}) {
    const Bytes bytes = log.segment(id);
    for (size_t at = 0; at < bytes.size(); at += 61) {
      Bytes flipped = bytes;
      flipped[at] ^= 4;
      const SimDisk disk = with_file(log.disk(), path_of(id), flipped);
      const Recovered found = recover_disk(disk);
      INFO("segment " << id << " byte " << at << ": " << last_error());
      // The padding behind the last commit holds nothing; a successor begins before it.
      if (found.status == Status::kOk) {
        REQUIRE(bytes.size() - at <= kBlockBytes);
        REQUIRE(found.report.recovered_epoch == log.client.accepted());
      } else {
        REQUIRE(found.status == Status::kCorrupt);
        REQUIRE(message_names(SegmentName(id).text));
        REQUIRE_FALSE(verify_disk(disk).empty());
      }
    }
    Bytes cut(bytes.begin(), bytes.begin() + ptrdiff_t(bytes.size() / 2));
    REQUIRE(recover_disk(with_file(log.disk(), path_of(id), cut)).status == Status::kCorrupt);
    SimDisk without = log.disk();
    without.remove_file(path_of(id));
    REQUIRE(recover_disk(without).status == Status::kCorrupt);
    REQUIRE(message_names(SegmentName(id).text));
    const std::vector<Damage> damage = verify_disk(without);
    REQUIRE(damage.size() == 1);
    REQUIRE(damage[0].file == SegmentName(id).text);
  }
}

TEST_CASE("a segment is bound to its name and its store") {
  const ThreeSegments log;
  SimDisk renamed = log.disk();
  renamed.plant_file(path_of(9), log.segment(2));
  REQUIRE(recover_disk(renamed).status == Status::kCorrupt);
  SimDisk swapped = with_file(log.disk(), path_of(1), log.segment(2));
  REQUIRE(recover_disk(with_file(swapped, path_of(2), log.segment(1))).status == Status::kCorrupt);

  SimFileSystem other_files;
  const auto other = open_locked(other_files, kPath);
  LogPosition position;
  position.store_id = {9, 9, 9};
  position.next_segment_id = 4;
  LogWriter writer(*other, position, 1 << 20);
  REQUIRE(writer.begin(1) == Status::kOk);
  REQUIRE(writer.put("x", "y", "z", 1) == Status::kOk);
  REQUIRE(writer.commit(0) == Status::kOk);
  SimDisk foreign = log.disk();
  foreign.plant_file(path_of(4), other_files.disk().read_file(path_of(4)));
  const Recovered mixed = recover_disk(foreign);  // the newest says whose the log is
  REQUIRE(mixed.status == Status::kCorrupt);
  REQUIRE(message_names("another store"));
  REQUIRE(mixed.report.damage ==
          Damage{SegmentName(1).text, 0, "the segment belongs to another store"});
  REQUIRE_FALSE(verify_disk(foreign).empty());
}

TEST_CASE("a frame is bound to its place") {
  History log;
  for (int i = 0; i < 4; ++i) log.client.put("a/x", "the same every time");
  REQUIRE(log.client.write() == Status::kOk);
  Bytes bytes = log.segment(1);
  const size_t frame = frame_bytes(3, 19);
  std::copy_n(bytes.begin() + ptrdiff_t(kSegmentStart), frame,
              bytes.begin() + ptrdiff_t(kSegmentStart + frame));
  const Recovered found = recover_disk(with_file(log.disk(), path_of(1), bytes));
  REQUIRE(found.status == Status::kOk);
  REQUIRE(found.report.recovered_epoch == 0);
}

TEST_CASE("a later format version is refused, but rot in the version field is corruption") {
  const OneSegment log;
  Bytes bytes = log.segment(1);
  bytes[8] = 2;
  REQUIRE(recover_disk(with_file(log.disk(), path_of(1), bytes)).status == Status::kCorrupt);
  const uint64_t sum = checksum(0x6473'6b76'7348'4452u, bytes.data(), 120);
  std::memcpy(bytes.data() + 120, &sum, sizeof sum);
  REQUIRE(recover_disk(with_file(log.disk(), path_of(1), bytes)).status == Status::kVersion);
  REQUIRE(message_names("version"));
}

TEST_CASE("planted files: torn creations and uncommitted successors are ignored, and reported") {
  const ThreeSegments log;
  const Recovered whole = recover_disk(log.disk());
  for (const size_t size : {size_t{0}, size_t{1}, size_t{128}, size_t{4096}}) {
    SimDisk disk = log.disk();
    disk.plant_file(path_of(4), Bytes(size, 0));
    const Recovered found = recover_disk(disk);
    INFO(last_error());
    REQUIRE(found.status == Status::kOk);
    REQUIRE(found.contents == whole.contents);
    REQUIRE(found.position.next_segment_id == 5);
    REQUIRE(found.position.zombies.size() == 1);
    REQUIRE(found.position.zombies[0].id == 4);
  }
  SimDisk disk = log.disk();
  disk.plant_file(path_of(4), Bytes(4097, 0));  // its header was durable before more was written
  REQUIRE(recover_disk(disk).status == Status::kCorrupt);
}

TEST_CASE("a durable successor's header tells on a head that lost its tail") {
  ThreeSegments log;
  const uint64_t before = log.client.writer->segment();
  while (log.client.writer->segment() == before) {
    log.client.put("d/x", value_of(3000, 1));
    REQUIRE(log.client.write() == Status::kOk);
  }
  const uint64_t newest = log.client.writer->segment();
  // Only its header survived, and its predecessor lost the end that the header continues.
  Bytes header = log.segment(newest);
  header.resize(kSegmentStart);
  SimDisk disk = with_file(log.disk(), path_of(newest), header);
  REQUIRE(recover_disk(disk).status == Status::kOk);
  Bytes cut = log.segment(before);
  cut.resize(cut.size() - 5000);
  REQUIRE(recover_disk(with_file(disk, path_of(before), cut)).status == Status::kCorrupt);
}

TEST_CASE("a log of which nothing is left is missed: the reserve tells that there was one") {
  const ThreeSegments three;
  const OneSegment one;
  for (const History* log :
       {static_cast<const History*>(&three), static_cast<const History*>(&one)}) {
    const SimDisk whole = log->disk();
    REQUIRE(whole.has_file(std::string(kPath) + "/" + kReserveName));
    for (const size_t left : {size_t{4096}, size_t{4095}, size_t{100}, size_t{0}, SIZE_MAX}) {
      INFO(left);
      SimDisk disk = whole;
      std::string newest;
      for (uint64_t id = 1; id <= 3; ++id) {
        if (!whole.has_file(path_of(id))) continue;
        Bytes bytes = whole.read_file(path_of(id));
        disk.remove_file(path_of(id));
        if (left == SIZE_MAX) continue;
        bytes.resize(left);
        disk.plant_file(path_of(id), bytes);
        newest = SegmentName(id).text;
      }
      REQUIRE(recover_disk(disk).status == Status::kCorrupt);
      const bool told = log == &three && left == 4096;  // by the headers, too
      const std::string first_is_missing = std::string(SegmentName(1).text) + "' is missing";
      REQUIRE(message_names(told ? ".dskvs'" : newest.empty() ? first_is_missing : newest));
      REQUIRE(verify_disk(disk).size() == 1);
      REQUIRE(salvage_disk(disk).contents.empty());
      // Without the reserve it is what a crash in the first epoch leaves.
      disk.remove_file(std::string(kPath) + "/" + kReserveName);
      REQUIRE(recover_disk(disk).status == (told ? Status::kCorrupt : Status::kOk));
    }
  }
}

TEST_CASE("the reserve comes with the first epoch that is durable, not before") {
  SimFileSystem files;
  const auto directory = open_locked(files, kPath);
  const std::string reserve = std::string(kPath) + "/" + kReserveName;
  {
    LogClient client(*directory, 1 << 20);
    client.put("a/b", "c");
    REQUIRE(client.write() == Status::kOk);
    REQUIRE_FALSE(files.disk().has_file(reserve));
  }
  LogClient client(*directory, 1 << 20);  // what was only written may still be lost
  client.put("a/b", "d");
  REQUIRE(client.write() == Status::kOk);
  REQUIRE_FALSE(files.disk().has_file(reserve));
  REQUIRE(client.writer->sync() == Status::kOk);
  REQUIRE(files.disk().has_file(reserve));
}

TEST_CASE("identical bytes after a torn end never complete it") {
  // Two sessions write the same batch; the first one's file keeps only parts of it.
  for (size_t keep = kSegmentStart; keep < kSegmentStart + 700; keep += 8) {
    SimDisk torn;
    {
      History first;
      first.client.put("a/x", value_of(600, 7));
      REQUIRE(first.client.write() == Status::kOk);
      Bytes bytes = first.segment(1);
      std::fill(bytes.begin() + ptrdiff_t(keep), bytes.end(), uint8_t{0});
      torn = with_file(first.disk(), path_of(1), bytes);
    }
    SimFileSystem files(torn.after_kill());
    const auto directory = open_locked(files, kPath);
    LogClient client(*directory, 1 << 20);
    REQUIRE(client.recovered.status == Status::kOk);
    client.put("a/x", value_of(600, 7));
    REQUIRE(client.write() == Status::kOk);
    Bytes second = files.disk().read_file(path_of(2));
    second.resize(kSegmentStart);
    const Recovered found = recover_disk(with_file(files.disk(), path_of(2), second));
    REQUIRE(found.status == Status::kOk);
    REQUIRE(found.report.recovered_epoch == client.recovered.report.recovered_epoch);
  }
}

namespace {

Recovered recover_segment(const CraftedSegment& segment) {
  SimDisk disk;
  disk.make_directory(kPath);
  disk.plant_file(path_of(segment.header.segment_id), segment.bytes);
  return recover_disk(disk);
}

}  // namespace

TEST_CASE("lengths beyond the file, and keys that are none, are refused before they are believed") {
  const uint64_t sizes[] = {1,         1000, uint64_t{1} << 32, uint64_t{1} << 62, UINT64_MAX - 40,
                            UINT64_MAX};
  for (const uint64_t size : sizes) {
    CraftedSegment segment;
    segment.commit();
    segment.add(FrameType::kPut, "a/b", size, "");
    const Recovered found = recover_segment(segment);
    REQUIRE(found.status == Status::kOk);
    REQUIRE(found.report.recovered_epoch == 1);
    REQUIRE(found.report.frames_cut == 1);
  }
  // The commit behind the frame fits: only its key can keep the batch from counting.
  const auto epoch_with = [](FrameType type, const std::string& key) {
    CraftedSegment segment;
    segment.add(type, key, 0, "");
    segment.commit();
    return recover_segment(segment).report.recovered_epoch;
  };
  for (const FrameType type : {FrameType::kPut, FrameType::kRemove}) {
    for (const char* key : {"a/b", "a//", "a/b/c"}) REQUIRE(epoch_with(type, key) == 1);
    for (const char* key : {"abc", "/bc", "ab/", "///"}) REQUIRE(epoch_with(type, key) == 0);
  }
  REQUIRE(epoch_with(FrameType::kDrop, "a") == 1);
  for (const char* name : {"a/b", "/"}) REQUIRE(epoch_with(FrameType::kDrop, name) == 0);
}

TEST_CASE("commits that lie are refused") {
  const auto epoch_after = [](auto change) {
    CraftedSegment segment;
    CommitPayload payload = segment.next_commit();
    change(&payload);
    segment.commit(payload);
    const Recovered found = recover_segment(segment);
    REQUIRE(found.status == Status::kOk);
    return found.report.recovered_epoch;
  };
  REQUIRE(epoch_after([](CommitPayload*) {}) == 1);
  REQUIRE(epoch_after([](CommitPayload* p) { p->last_epoch = 5; }) == 5);
  REQUIRE(epoch_after([](CommitPayload* p) { p->first_epoch = 0; }) == 0);
  REQUIRE(epoch_after([](CommitPayload* p) { p->first_epoch = p->last_epoch = 2; }) == 0);
  REQUIRE(epoch_after([](CommitPayload* p) { p->last_epoch = UINT64_MAX; }) == 0);
  REQUIRE(epoch_after([](CommitPayload* p) { p->last_epoch = kEpochMax; }) == 0);
  REQUIRE(epoch_after([](CommitPayload* p) { p->last_epoch = kEpochMax - 1; }) == kEpochMax - 1);
  REQUIRE(epoch_after([](CommitPayload* p) { p->last_epoch = 0; }) == 0);  // as close leaves it
  REQUIRE(epoch_after([](CommitPayload* p) { p->frames = 1; }) == 0);
  REQUIRE(epoch_after([](CommitPayload* p) { p->bytes = 8; }) == 0);
  REQUIRE(epoch_after([](CommitPayload* p) { p->digest = 0; }) == 0);
  REQUIRE(epoch_after([](CommitPayload* p) { p->first_live_segment = 2; }) == 0);
  REQUIRE(epoch_after([](CommitPayload* p) { p->first_live_segment = 0; }) == 0);
  REQUIRE(epoch_after([](CommitPayload* p) { p->store_id = {2}; }) == 0);
}

TEST_CASE("a commit that claims what is not there to be durable is corruption") {
  CraftedSegment segment;
  CommitPayload payload = segment.next_commit();
  payload.durable_epoch = 1;
  segment.commit(payload);
  REQUIRE(recover_segment(segment).status == Status::kCorrupt);
}

TEST_CASE("a sparse file of 1 TiB is refused or cut in no time") {
  constexpr off_t kTebibyte = off_t{1} << 40;
  TempDir temp;
  const std::string path = temp / "store";
  const auto directory = open_locked(posix_file_system(), path.c_str());
  LogClient client(*directory, 1 << 20);
  client.put("a/b", "c");
  REQUIRE(client.write() == Status::kOk);
  const std::string segment = path + "/" + SegmentName(1).text;
  if (::truncate(segment.c_str(), kTebibyte) != 0) {
    WARN("no sparse file of this size can be made here");
    return;
  }
  const auto begin = std::chrono::steady_clock::now();
  const Recovered found = recover_all(*directory);
  INFO(last_error());
  REQUIRE(found.status == Status::kOk);
  REQUIRE(found.report.recovered_epoch == 1);
  std::vector<Damage> damage;
  REQUIRE(verify(*directory, {}, &damage) == Status::kOk);
  REQUIRE(damage.empty());

  // A frame of nearly that size, whose header is right.
  CraftedSegment big;
  big.add(FrameType::kPut, "a/b", uint64_t{1} << 39, "");
  {
    std::ofstream file(segment, std::ios::binary);
    file.write(reinterpret_cast<const char*>(big.bytes.data()), std::streamsize(big.bytes.size()));
  }
  REQUIRE(::truncate(segment.c_str(), kTebibyte) == 0);
  REQUIRE(recover_all(*directory).status == Status::kMemory);

  // Nothing but a hole.
  REQUIRE(::truncate(segment.c_str(), 0) == 0);
  REQUIRE(::truncate(segment.c_str(), kTebibyte) == 0);
  REQUIRE(recover_all(*directory).status == Status::kCorrupt);
  const auto took = std::chrono::steady_clock::now() - begin;
  REQUIRE(took < std::chrono::seconds(3));
}

TEST_CASE("what bears a segment's name and is no file is refused, not followed") {
  TempDir temp;
  const std::string path = temp / "store";
  const auto directory = open_locked(posix_file_system(), path.c_str());
  const std::string segment = path + "/" + SegmentName(1).text;
  REQUIRE(::mkfifo(segment.c_str(), 0600) == 0);
  REQUIRE(recover_all(*directory).status == Status::kCorrupt);
  REQUIRE(::unlink(segment.c_str()) == 0);
  REQUIRE(::symlink("/dev/zero", segment.c_str()) == 0);
  REQUIRE(recover_all(*directory).status == Status::kCorrupt);
  REQUIRE(::unlink(segment.c_str()) == 0);
  REQUIRE(::mkdir(segment.c_str(), 0700) == 0);
  REQUIRE(recover_all(*directory).status == Status::kCorrupt);
  std::vector<Damage> damage;
  REQUIRE(verify(*directory, {}, &damage) == Status::kOk);
  REQUIRE(damage.size() == 1);
}

TEST_CASE("progress is told, and can cancel") {
  History log(64 << 20);
  for (uint64_t i = 0; i < 40; ++i) log.client.put("a/" + std::to_string(i), value_of(1 << 20, i));
  REQUIRE(log.client.write() == Status::kOk);
  struct Calls {
    int left;
    uint64_t done = 0;
    uint64_t total = 0;
    static int32_t call(void* context, uint64_t done, uint64_t total) {
      auto* calls = static_cast<Calls*>(context);
      REQUIRE(done >= calls->done);
      REQUIRE(done <= total);
      calls->done = done;
      calls->total = total;
      return calls->left-- == 0 ? 1 : 0;
    }
  };
  for (int left : {0, 2, 1000}) {
    Calls calls{left};
    MapSink sink;
    LogPosition position;
    RecoveryReport report;
    const Status status = recover(*log.directory, {Calls::call, &calls}, sink, &position, &report);
    REQUIRE(status == (left == 1000 ? Status::kOk : Status::kCancelled));
    if (left == 1000) REQUIRE((calls.done == calls.total && calls.left < 995));
    REQUIRE(calls.total == 2 * log.segment(1).size());  // the newest segment is read twice
  }
  const History nothing;
  Calls calls{1000, 0, 1};
  MapSink sink;
  LogPosition position;
  RecoveryReport report;
  REQUIRE(recover(*nothing.directory, {Calls::call, &calls}, sink, &position, &report) ==
          Status::kOk);
  REQUIRE((calls.left < 1000 && calls.total == 0));
}

TEST_CASE("a read that fails is an I/O error, never the end of the log") {
  History log(64 << 20);
  for (uint64_t i = 0; i < 9; ++i) log.client.put("a/" + std::to_string(i), value_of(600000, i));
  for (uint64_t i = 0; i < 9; ++i) log.client.put("b/" + std::to_string(i), value_of(90000, i));
  REQUIRE(log.client.write_and_sync() == Status::kOk);
  log.client.put("c/d", "e");
  REQUIRE(log.client.write() == Status::kOk);
  uint64_t failed = 0;
  for (uint64_t call = 0;; ++call) {
    SimFileSystem files(log.disk());
    const auto directory = open_read_only(files);
    files.set_fault({.call = files.calls() + call, .error = SimError::kEio, .sticky = false});
    const Recovered found = recover_all(*directory);
    if (files.faults_raised() == 0) {
      REQUIRE(found.status == Status::kOk);
      REQUIRE(found.contents == log.client.at(log.client.accepted()));
      break;
    }
    // What only hints, and what only closes, may fail.
    if (found.status != Status::kOk) {
      REQUIRE(found.status == Status::kIo);
      REQUIRE(std::string(last_error()) != "");
      ++failed;
    } else {
      REQUIRE(found.contents == log.client.at(log.client.accepted()));
    }
  }
  REQUIRE(failed > 12);  // listing, opening, sizes, headers and every megabyte, twice
}

TEST_CASE("a directory that cannot be listed is an I/O error, whatever was expected of it") {
  History log(64 << 20);
  log.client.put("a/b", "c");
  REQUIRE(log.client.write_and_sync() == Status::kOk);
  for (const Presence presence : {Presence::kMustExist, Presence::kMayCreate}) {
    for (uint64_t call = 0, failed = 1; failed != 0; ++call) {
      SimFileSystem files(log.disk());
      files.set_fault({.call = call, .error = SimError::kEio, .sticky = false});
      std::unique_ptr<Directory> directory;
      const Status status = open_store_directory(files, kPath, presence, &directory);
      failed = files.faults_raised();
      REQUIRE(status == (failed != 0 ? Status::kIo : Status::kOk));
      if (failed == 0) REQUIRE(call != 0);
    }
  }
}

TEST_CASE("a file that shrinks while it is read is an I/O error") {
  class Shrinking : public PassingFile {
   public:
    using PassingFile::PassingFile;
    Status read(uint64_t offset, void* buffer, size_t size, size_t* got) override {
      constexpr uint64_t kLeft = 2'500'000;
      if (offset < kLeft) return inner_->read(offset, buffer, std::min(size, kLeft - offset), got);
      *got = 0;
      return Status::kOk;
    }
  };
  class ShrinkingDirectory : public PassingDirectory {
   public:
    using PassingDirectory::PassingDirectory;
    Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override {
      const Status status = inner_.open_file(name, mode, file);
      if (status == Status::kOk) *file = std::make_unique<Shrinking>(std::move(*file));
      return status;
    }
  };
  for (const size_t megabytes : {3, 12}) {  // read alone, and by a thread
    History log(64 << 20);
    for (uint64_t i = 0; i < megabytes; ++i) {
      log.client.put("a/" + std::to_string(i), value_of(1 << 20, i));
    }
    REQUIRE(log.client.write() == Status::kOk);
    ShrinkingDirectory directory(*log.directory);
    REQUIRE(recover_all(directory).status == Status::kIo);
  }
}

TEST_CASE("beside a writer that cleans, a recovery is told to begin again") {
  // Directory whose oldest segment goes away while it is read, as a cleaning writer makes it.
  class Vanishing : public PassingDirectory {
   public:
    Vanishing(Directory& inner, const char* name) : PassingDirectory(inner), name_(name) {}
    Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override {
      if (++opens_ == 3) REQUIRE(inner_.unlink(name_) == Status::kOk);
      return inner_.open_file(name, mode, file);
    }

   private:
    const char* name_;
    int opens_ = 0;
  };
  ThreeSegments log;
  for (const uint64_t id : {uint64_t{1}, uint64_t{2}}) {
    SimFileSystem files(log.disk());
    const auto inner = open_read_only(files);
    const SegmentName name(id);
    Vanishing directory(*inner, name.text);
    REQUIRE(recover_all(directory).status == Status::kNotFound);
  }
}

TEST_CASE(
    "random damage: a state that existed, or a refusal; verify agrees; salvage invents nothing") {
  const uint64_t seed = announce_seed("recovery_test, random damage");
  std::mt19937_64 random(seed);
  const uint64_t rounds_wanted = rounds("DSKVS_DAMAGE_ROUNDS", 3000);
  uint64_t recovered = 0;
  uint64_t refused = 0;
  uint64_t salvaged = 0;
  for (uint64_t round = 0; round < rounds_wanted;) {
    ThreeSegments log;
    std::map<std::string, std::vector<std::string>> ever;
    for (uint64_t e = 0; e <= log.client.accepted(); ++e) {
      for (auto& [key, value] : log.client.at(e)) ever[key].push_back(value);
    }
    for (int i = 0; i < 100; ++i, ++round) {
      SimDisk disk = log.disk();
      const uint64_t places = 1 + random() % 3;
      for (uint64_t p = 0; p < places; ++p) {
        const uint64_t id = 1 + random() % 3;
        if (!disk.has_file(path_of(id))) continue;
        Bytes bytes = disk.read_file(path_of(id));
        const size_t at = bytes.empty() ? 0 : random() % bytes.size();
        switch (random() % 6) {
          case 0:
            bytes.resize(at);
            break;
          case 1:
            std::fill_n(bytes.begin() + ptrdiff_t(at), std::min<size_t>(512, bytes.size() - at),
                        uint8_t{0});
            break;
          case 2:
            bytes.clear();
            break;
          default:
            if (!bytes.empty()) bytes[at] = static_cast<uint8_t>(bytes[at] ^ (1u << random() % 8));
        }
        disk = with_file(disk, path_of(id), bytes);
        if (random() % 40 == 0) disk.remove_file(path_of(id));
      }
      const Recovered found = recover_disk(disk);
      INFO("seed " << seed << " round " << round << ": " << last_error());
      REQUIRE((found.status == Status::kOk || found.status == Status::kCorrupt));
      if (found.status == Status::kOk) {
        ++recovered;
        require_a_state_of(log.client, found);
      } else {
        ++refused;
      }
      std::vector<Damage> damage = verify_disk(disk);
      REQUIRE(damage.empty() == (found.status == Status::kOk));
      SimFileSystem files(disk);
      MapSink sink;
      REQUIRE(salvage(*open_read_only(files), {}, sink, &damage) == Status::kOk);
      for (const auto& [key, value] : sink.contents) {
        const auto& values = ever[key];
        REQUIRE(std::find(values.begin(), values.end(), value) != values.end());
      }
      if (found.status == Status::kOk) {
        for (const auto& [key, value] : found.contents) REQUIRE(sink.contents.count(key) == 1);
      }
      salvaged += sink.contents.size();
    }
  }
  WARN(recovered << " recovered, " << refused << " refused, " << salvaged << " entries salvaged");
  REQUIRE(refused > rounds_wanted / 10);
}

namespace {

// Takes segments on threads of recovery's own and keeps nothing but what signals these block.
class MaskSink final : public SegmentedSink, public RecoverySink {
 public:
  void begin(uint64_t) override {}
  RecoverySink& begin_segment(uint64_t) override { return *this; }
  Status end_segment() override { return Status::kOk; }
  Status add(FrameType, std::string_view, uint64_t value_size, void** value) override {
    thread_local std::string place;
    place.resize(value_size);
    *value = place.data();
    sigset_t blocked;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    if (std::this_thread::get_id() == caller_) return Status::kOk;
    for (const int signal : {SIGINT, SIGTERM, SIGSEGV, SIGCHLD, SIGUSR1, SIGPROF, SIGRTMAX}) {
      (sigismember(&blocked, signal) == 1 ? blocked_ : open_)++;
    }
    return Status::kOk;
  }
  Status commit(uint64_t) override { return Status::kOk; }

  uint64_t blocked() const { return blocked_; }
  uint64_t open() const { return open_; }

 private:
  const std::thread::id caller_ = std::this_thread::get_id();
  std::atomic<uint64_t> blocked_{0};
  std::atomic<uint64_t> open_{0};
};

}  // namespace

TEST_CASE("the threads that read segments take no signal of the host's") {
  const ThreeSegments log;
  MaskSink sink;
  LogPosition position;
  RecoveryReport report;
  REQUIRE(recover(*log.directory, {}, &sink, 2, &position, &report) == Status::kOk);
  REQUIRE(sink.open() == 0);
  REQUIRE(sink.blocked() > 0);
  sigset_t blocked;
  REQUIRE(::pthread_sigmask(SIG_BLOCK, nullptr, &blocked) == 0);
  REQUIRE(sigismember(&blocked, SIGINT) == 0);
}

TEST_CASE("salvage keeps every intact committed entry") {
  const ThreeSegments log;
  const Contents all = log.client.at(log.client.accepted());
  for (const uint64_t id : {uint64_t{1}, uint64_t{2}, uint64_t{3}}) {
    const Bytes bytes = log.segment(id);
    for (size_t at = 0; at < bytes.size(); at += 97) {
      Bytes flipped = bytes;
      flipped[at] ^= 0x10;
      SimFileSystem files(with_file(log.disk(), path_of(id), flipped));
      MapSink sink;
      std::vector<Damage> damage;
      REQUIRE(salvage(*open_read_only(files), {}, sink, &damage) == Status::kOk);
      INFO("segment " << id << " byte " << at);
      // One damaged byte costs one entry, or, in the tail that was never durable, that tail.
      const size_t may_lose = id == 3 ? 2 : 1;
      REQUIRE(sink.contents.size() + may_lose >= all.size());
    }
  }
}

}  // namespace dskvs::test
