// Goal: what the writer commits is what a recovery finds, whatever fails in between, and the files
// that are left are those that the log needs.
// Method: a client that stands in for the persister writes batches to real files and to a simulated
// disk with planted faults; after each step the directory is recovered and compared with what the
// client accepted up to the epoch that the recovery names.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <set>
#include <thread>

#include "support/catch.h"
#include "support/log_client.h"
#include "support/passing_directory.h"
#include "support/seed.h"
#include "support/sim_file_system.h"
#include "support/temp_dir.h"

namespace dskvs::test {
namespace {

constexpr const char* kPath = "/store";
constexpr uint64_t kSegmentBytes = 32 << 10;

std::string value_of(size_t size, unsigned seed) {
  std::string value(size, '\0');
  std::minstd_rand random(seed + 1);
  for (char& c : value) c = static_cast<char>(random());
  return value;
}

void require_recovers(FileSystem& files, const LogClient& client, uint64_t at_least) {
  std::unique_ptr<Directory> directory;
  REQUIRE(files.open_directory(kPath, Presence::kMustExist, kLockName, &directory) == Status::kOk);
  const Recovered found = recover_all(*directory);
  INFO(last_error());
  REQUIRE(found.status == Status::kOk);
  REQUIRE(found.report.recovered_epoch >= at_least);
  REQUIRE(found.report.recovered_epoch <= client.accepted() + 1);
  REQUIRE(found.contents == client.at(found.report.recovered_epoch));
}

// All that was accepted is there, whatever the power loss took.
void require_survives_power_cut(const SimDisk& disk, const LogClient& client) {
  std::mt19937_64 random(1);
  const PowerCutPlan plan{.unit_bytes = 4096, .exhaustive_max = 16, .random_subsets = 8};
  for_each_power_cut(disk, plan, random, [&](const SimDisk& left) {
    SimFileSystem files(left);
    require_recovers(files, client, client.accepted());
    return true;
  });
}

// Of all files but the lock.
uint64_t log_bytes(const SimDisk& disk) {
  uint64_t bytes = 0;
  for (const std::string& path : disk.files(kPath)) bytes += disk.file_size(path);
  return bytes - disk.file_size("/store/dskvs.lock");
}

enum class Errands { kNone, kSameThread };  // done when begun, with effect when finished

struct Simulated {
  SimFileSystem files;
  std::unique_ptr<Directory> directory = open_locked(files, kPath);
  Worker worker{true, [] {}};
  LogClient client;
  LogWriter& writer = *client.writer;

  explicit Simulated(Errands errands = Errands::kNone)
      : client(*directory, kSegmentBytes, errands == Errands::kNone ? nullptr : &worker) {}

  void fail_call(uint64_t after, SimError error = SimError::kEio) {
    files.set_fault({.call = files.calls() + after, .error = error, .sticky = false});
  }
};

}  // namespace

TEST_CASE("what was written is recovered, at every size of key and value") {
  TempDir temp(TempDir::fast_base());
  const std::string path = temp / "store";
  auto directory = open_locked(posix_file_system(), path.c_str());
  REQUIRE(directory != nullptr);
  LogClient client(*directory, uint64_t{1} << 20);
  const size_t sizes[] = {0,      1,      7,      8,      9,       511,           512,
                          513,    4095,   4096,   4097,   16383,   16384,         16385,
                          100000, 262100, 262144, 262145, 1 << 20, (1 << 20) + 1, 3 << 20};
  unsigned i = 0;
  for (size_t size : sizes) {
    client.accept({{FrameType::kPut, "sizes/" + std::to_string(size), value_of(size, ++i)},
                   {FrameType::kPut, "keys/" + std::string(1 + i * 3000, 'k'), value_of(i, i)},
                   {FrameType::kPut, std::string("bytes/\0\n/x", 10), "x"}});
    REQUIRE(client.write() == Status::kOk);
    if (i % 3 == 0) REQUIRE(client.writer->sync() == Status::kOk);
  }
  client.accept({{FrameType::kRemove, "sizes/512", {}}, {FrameType::kDrop, "keys", {}}});
  REQUIRE(client.write() == Status::kOk);
  const Recovered found = recover_all(*directory);
  INFO(last_error());
  REQUIRE(found.status == Status::kOk);
  REQUIRE(found.report.recovered_epoch == client.accepted());
  REQUIRE(found.contents == client.at(client.accepted()));
  REQUIRE(found.contents.size() == std::size(sizes));
  REQUIRE(found.report.frames_cut == 0);
  REQUIRE(found.position.durable_epoch < client.accepted());
}

TEST_CASE("a clean close leaves nothing to be written again") {
  Simulated sim;
  sim.client.put("a/b", "one");
  REQUIRE(sim.client.write() == Status::kOk);
  sim.client.put("a/b", "two");
  REQUIRE(sim.client.write() == Status::kOk);
  REQUIRE(sim.writer.durable_epoch() == 0);
  REQUIRE(sim.writer.close() == Status::kOk);
  REQUIRE(sim.writer.durable_epoch() == 2);
  const Recovered found = recover_all(*sim.directory);
  REQUIRE(found.status == Status::kOk);
  REQUIRE(found.position.durable_epoch == 2);
  REQUIRE(found.position.recovered_epoch == 2);
  REQUIRE(found.position.zombies.empty());
  REQUIRE(found.contents == Contents{{"a/b", "two"}});
}

TEST_CASE("full segments are synced before they get a successor, and unlinked when nothing lives") {
  Simulated sim;
  for (int i = 0; i < 40; ++i) {
    sim.client.put("a/" + std::to_string(i % 4), value_of(5000, static_cast<unsigned>(i)));
    const uint64_t segment = sim.writer.segment();
    const uint64_t written = sim.writer.written_epoch();
    REQUIRE(sim.client.write() == Status::kOk);
    if (segment != 0 && sim.writer.segment() != segment) {
      REQUIRE(sim.writer.durable_epoch() == written);
    }
    require_recovers(sim.files, sim.client, sim.writer.written_epoch());
  }
  REQUIRE(sim.writer.segments() > 4);
  // All that lives is written again; then the segments before it are of no use.
  Contents live = sim.client.at(sim.client.accepted());
  std::vector<Operation> again;
  for (const auto& [key, value] : live) again.push_back({FrameType::kPut, key, value});
  sim.client.accept(again);
  REQUIRE(sim.client.write(sim.writer.segment()) == Status::kOk);
  const uint64_t before = sim.writer.segments();
  sim.writer.pin();
  REQUIRE(sim.writer.sync() == Status::kOk);
  REQUIRE(sim.writer.segments() == before);
  sim.writer.unpin();
  sim.client.put("a/x", "x");
  REQUIRE(sim.client.write_and_sync() == Status::kOk);
  REQUIRE(sim.writer.segments() <= 2);
  REQUIRE(sim.writer.live_segments().front().id + 1 >= sim.writer.segment());
  require_recovers(sim.files, sim.client, sim.writer.written_epoch());
}

namespace {

// Writes all that lives again, into segments that are not those before.
void rewrite(Simulated& sim, uint32_t round) {
  const uint64_t before = sim.writer.segment();
  for (uint32_t key = 0; key < 4; ++key) {
    sim.client.put("a/" + std::to_string(key), value_of(5000, 10 * round + key));
    REQUIRE(sim.client.write() == Status::kOk);
  }
  sim.writer.rotate_at_next_begin();
  sim.client.put("a/b", "x");
  REQUIRE(sim.client.write(before) == Status::kOk);  // and nothing of use stands before that one
  REQUIRE(sim.writer.sync() == Status::kOk);
}

size_t count_files(const Simulated& sim, const std::vector<SegmentFile>& segments) {
  return static_cast<size_t>(
      std::count_if(segments.begin(), segments.end(), [&](const SegmentFile& segment) {
        return sim.files.disk().has_file(std::string(kPath) + "/" + SegmentName(segment.id).text);
      }));
}

}  // namespace

TEST_CASE("while segments are pinned, those that come later go when nothing lives in them") {
  Simulated sim;
  sim.writer.pin();  // of nothing
  rewrite(sim, 1);
  sim.writer.unpin();
  const std::vector<SegmentFile> pinned = sim.writer.live_segments();
  sim.writer.pin();
  for (uint32_t round = 2; round < 20; ++round) {
    rewrite(sim, round);
    REQUIRE(sim.writer.segments() <= pinned.size() + 6);
    REQUIRE(count_files(sim, pinned) == pinned.size());
  }
  sim.writer.unpin();
  REQUIRE(sim.writer.segments() <= 6);
  REQUIRE(count_files(sim, pinned) == 0);
  require_recovers(sim.files, sim.client, sim.writer.written_epoch());
}

TEST_CASE("what is older than the pinned segments goes as well, and pins add up") {
  Simulated sim(Errands::kSameThread);
  const auto unlink_all = [&] {
    while (sim.writer.has_files_to_unlink()) {
      sim.writer.start_unlink();
      REQUIRE(sim.writer.finish_errand() == Status::kOk);
    }
  };
  rewrite(sim, 1);
  const std::vector<SegmentFile> older = sim.writer.live_segments();
  rewrite(sim, 2);
  rewrite(sim, 3);
  REQUIRE(sim.writer.has_files_to_unlink());
  const std::vector<SegmentFile> pinned = sim.writer.live_segments();
  sim.writer.pin();
  sim.writer.start_unlink();
  rewrite(sim, 4);  // meanwhile
  sim.writer.pin();
  rewrite(sim, 5);
  rewrite(sim, 6);
  REQUIRE(sim.writer.finish_errand() == Status::kOk);
  unlink_all();
  REQUIRE(count_files(sim, older) == 0);
  REQUIRE(count_files(sim, pinned) == pinned.size());
  sim.writer.unpin();
  unlink_all();
  REQUIRE(count_files(sim, pinned) == pinned.size());
  sim.writer.unpin();
  unlink_all();
  REQUIRE(count_files(sim, pinned) == 0);
  require_recovers(sim.files, sim.client, sim.writer.written_epoch());
}

TEST_CASE("a full segment is left when there is no errand, or when it is twice as long") {
  for (const bool finish : {true, false}) {
    Simulated sim(Errands::kSameThread);
    while (sim.writer.segment() == 0 || !sim.writer.segment_full()) {
      sim.client.put("a/b", value_of(5000, 1));
      REQUIRE(sim.client.write() == Status::kOk);
    }
    const uint64_t segment = sim.writer.segment();
    REQUIRE(sim.writer.sync(false) == Status::kOk);
    sim.client.put("a/b", value_of(5000, 2));
    REQUIRE(sim.client.write() == Status::kOk);
    CHECK(sim.writer.segment() == segment);
    if (finish) REQUIRE(sim.writer.finish_errand() == Status::kOk);
    uint64_t writes = 0;
    for (; sim.writer.segment() == segment; ++writes) {
      REQUIRE(sim.writer.live_segments().back().bytes < 2 * kSegmentBytes + 10'000);
      sim.client.put("a/b", value_of(5000, 3));
      REQUIRE(sim.client.write() == Status::kOk);
    }
    CHECK((writes == 1) == finish);
    require_recovers(sim.files, sim.client, sim.writer.written_epoch());
  }
}

TEST_CASE("disk_bytes is what the files occupy") {
  for (const bool reserve : {true, false}) {
    Simulated sim;
    if (!reserve) sim.files.set_capacity(1'000'000);
    for (int i = 0; i < 20; ++i) {
      sim.client.put("a/b", value_of(7000, static_cast<unsigned>(i)));
      REQUIRE(sim.client.write_and_sync() == Status::kOk);
    }
    REQUIRE(sim.files.disk().has_file("/store/reserve") == reserve);
    REQUIRE(sim.writer.disk_bytes() == log_bytes(sim.files.disk()));
  }
}

TEST_CASE("a failed write abandons the segment, keeps what was committed, and heals") {
  for (const SimError error : {SimError::kEio, SimError::kEnospc, SimError::kShort}) {
    Simulated sim;
    sim.client.put("a/1", "one");
    REQUIRE(sim.client.write_and_sync() == Status::kOk);
    sim.client.put("a/2", "two");
    REQUIRE(sim.client.write() == Status::kOk);
    sim.client.put("a/3", "three");
    const uint64_t segment = sim.writer.segment();
    sim.files.set_fault({.call = sim.files.calls(), .error = error, .sticky = false});
    const Status status = sim.client.write();
    if (error == SimError::kEnospc) {
      REQUIRE(status == Status::kOk);  // the reserve gave room
    } else {
      REQUIRE(status == Status::kIo);
      REQUIRE(sim.writer.continues_from_durable());
      REQUIRE(sim.writer.written_epoch() == 2);
      REQUIRE(sim.writer.durable_epoch() == 2);  // a sync of the abandoned file saved it
      require_recovers(sim.files, sim.client, 2);
      REQUIRE(sim.client.write() == Status::kOk);
      REQUIRE(sim.writer.segment() > segment);
    }
    REQUIRE(sim.writer.written_epoch() == 3);
    REQUIRE(sim.writer.sync() == Status::kOk);
    require_recovers(sim.files, sim.client, 3);
  }
}

TEST_CASE("a failed sync is never retried on its file") {
  Simulated sim;
  sim.client.put("a/1", "one");
  REQUIRE(sim.client.write() == Status::kOk);
  const uint64_t segment = sim.writer.segment();
  // The padding is one call, the sync the next.
  sim.files.set_fault({.call = sim.files.calls() + 1, .error = SimError::kEio, .sticky = false});
  REQUIRE(sim.writer.sync() == Status::kIo);
  REQUIRE(sim.writer.durable_epoch() == 0);
  REQUIRE(sim.writer.written_epoch() == 1);
  REQUIRE(sim.writer.sync() == Status::kOk);  // there is nothing that could be synced
  REQUIRE(sim.writer.durable_epoch() == 0);
  require_recovers(sim.files, sim.client, 1);
  REQUIRE(sim.client.write_and_sync() == Status::kOk);
  REQUIRE(sim.writer.segment() > segment);
  REQUIRE(sim.writer.durable_epoch() == 1);
  REQUIRE(sim.writer.segments() == 1);
}

TEST_CASE("what a failed sync left in doubt is not durable by the sync of another file") {
  uint64_t failed = 0;
  for (uint64_t call = 0;; ++call) {
    Simulated sim;
    sim.client.put("a/1", "one");
    REQUIRE(sim.client.write() == Status::kOk);
    sim.fail_call(1);  // the sync, behind the padding
    REQUIRE(sim.writer.sync() == Status::kIo);
    sim.client.put("a/2", "two");
    sim.fail_call(call);
    const Status status = sim.client.write();
    if (sim.files.faults_raised() == 1) break;
    failed += status != Status::kOk;
    REQUIRE(sim.writer.durable_epoch() == 0);
    sim.files.clear_fault();
    REQUIRE(sim.client.write_and_sync() == Status::kOk);
    require_survives_power_cut(sim.files.disk(), sim.client);
  }
  REQUIRE(failed >= 4);  // a creation, a header, its sync, a batch
}

TEST_CASE("segments that an abandoned commit called dead are in use again") {
  Simulated sim;
  sim.client.put("a/1", "one");
  REQUIRE(sim.client.write_and_sync() == Status::kOk);
  sim.writer.rotate_at_next_begin();
  sim.client.put("a/1", "two");
  REQUIRE(sim.client.write(2) == Status::kOk);
  REQUIRE(sim.writer.has_dead_segments());
  REQUIRE(sim.writer.segments_in_use().size() == 1);
  sim.fail_call(1);  // the sync, behind the padding
  REQUIRE(sim.writer.sync() == Status::kIo);
  REQUIRE_FALSE(sim.writer.has_dead_segments());
  REQUIRE(sim.writer.segments_in_use().size() == 1);
  REQUIRE(sim.writer.segments_in_use()[0].id == 1);
}

TEST_CASE("a batch that has failed takes nothing more, and has no effect") {
  Simulated sim;
  sim.client.put("a/1", "one");
  REQUIRE(sim.client.write() == Status::kOk);
  REQUIRE(sim.writer.begin(2) == Status::kOk);
  sim.fail_call(0);
  const std::string value = value_of(10'000, 1);
  const auto put = [&] { return sim.writer.put("a", "2", value.data(), value.size()); };
  int puts = 1;
  while (put() == Status::kOk) REQUIRE(++puts < 100);  // until it does not fit into the staging
  REQUIRE(sim.files.faults_raised() == 1);
  for (const Status status :
       {put(), sim.writer.remove("a", "1"), sim.writer.drop("a"), sim.writer.commit(0)}) {
    REQUIRE(status == Status::kIo);
    REQUIRE(std::string(last_error()).find("has failed before") != std::string::npos);
  }
  REQUIRE(sim.writer.written_epoch() == 1);
  REQUIRE(sim.writer.durable_epoch() == 1);
  require_recovers(sim.files, sim.client, 1);
  sim.client.put("a/2", "two");
  REQUIRE(sim.client.write() == Status::kOk);
  require_recovers(sim.files, sim.client, 2);
}

TEST_CASE("a batch may have any number of frames and bytes") {
  Simulated sim;
  // Values that are not copied, and need no padding: two pieces each.
  std::vector<Operation> operations;
  for (int i = 100; i < 400; ++i) {
    operations.push_back(
        {FrameType::kPut, "a/" + std::to_string(i), value_of(16'387, static_cast<unsigned>(i))});
  }
  REQUIRE(frame_bytes(5, 16'387) == kFrameHeaderBytes + 5 + 16'387);
  sim.client.accept(operations);
  REQUIRE(sim.client.write() == Status::kOk);
  require_recovers(sim.files, sim.client, 1);

  // Batches that end anywhere around 512 KiB.
  for (uint64_t less = 0; less < 3 * kCommitFrameBytes; less += 8) {
    operations.clear();
    for (int i = 100; i < 164; ++i) {
      const size_t size = 8192 - kFrameHeaderBytes - 5 - (i == 163 ? less : 0);
      operations.push_back(
          {FrameType::kPut, "b/" + std::to_string(i), std::string(size, static_cast<char>(i))});
    }
    const uint64_t epoch = sim.client.accept(operations);
    REQUIRE(sim.client.write() == Status::kOk);
    REQUIRE(sim.writer.written_epoch() == epoch);
  }
  require_recovers(sim.files, sim.client, sim.client.accepted());
}

TEST_CASE("what is not durable is counted, in the segment in hand") {
  Simulated sim;
  REQUIRE(sim.writer.undurable_bytes() == 0);
  sim.client.put("a/1", "one");
  REQUIRE(sim.client.write() == Status::kOk);
  REQUIRE(sim.writer.undurable_bytes() == frame_bytes(3, 3) + kCommitFrameBytes);
  REQUIRE(sim.writer.sync() == Status::kOk);
  REQUIRE(sim.writer.undurable_bytes() < kBlockBytes);  // padding
  sim.client.put("a/2", "two");
  REQUIRE(sim.client.write() == Status::kOk);
  sim.fail_call(1);
  REQUIRE(sim.writer.sync() == Status::kIo);
  REQUIRE(sim.writer.undurable_bytes() == 0);  // there is none
}

TEST_CASE("a sync pads to the next block, or the one behind it when no frame has room") {
  const std::pair<size_t, uint64_t> sizes[] = {{3949, 8192},
                                               {3957, 12288}};  // 24 and 16 bytes left
  for (const auto& [size, end] : sizes) {
    Simulated sim;
    sim.client.put("a/b", value_of(size, 1));
    REQUIRE(sim.client.write() == Status::kOk);
    REQUIRE(sim.writer.live_segments().back().bytes ==
            kSegmentStart + size + 27 + kCommitFrameBytes);
    REQUIRE(sim.writer.sync() == Status::kOk);
    REQUIRE(sim.writer.live_segments().back().bytes == end);
    REQUIRE(sim.writer.sync() == Status::kOk);  // nothing to do
    REQUIRE(sim.writer.syncs() == 1);
  }
}

TEST_CASE("a sync that is under way counts for what was written before it, and only that") {
  Simulated sim(Errands::kSameThread);
  REQUIRE(sim.writer.sync(false) == Status::kOk);
  REQUIRE_FALSE(sim.writer.has_errand());  // there was nothing to sync
  REQUIRE(sim.writer.finish_errand() == Status::kOk);
  sim.client.put("a/1", "one");
  REQUIRE(sim.client.write() == Status::kOk);
  REQUIRE(sim.writer.sync(false) == Status::kOk);
  REQUIRE(sim.writer.has_errand());
  sim.client.put("a/2", "two");
  REQUIRE(sim.client.write() == Status::kOk);
  REQUIRE(sim.writer.durable_epoch() == 0);
  REQUIRE(sim.writer.finish_errand() == Status::kOk);
  REQUIRE(sim.writer.durable_epoch() == 1);
  REQUIRE(sim.writer.written_epoch() == 2);
  REQUIRE(sim.writer.sync(false) == Status::kOk);
  REQUIRE(sim.writer.finish_errand() == Status::kOk);
  REQUIRE(sim.writer.durable_epoch() == 2);
  REQUIRE(sim.writer.sync(false) == Status::kOk);
  REQUIRE_FALSE(sim.writer.has_errand());
  require_survives_power_cut(sim.files.disk(), sim.client);
}

TEST_CASE("close reports the sync that failed, whoever made it") {
  for (const bool under_way : {false, true}) {
    Simulated sim(Errands::kSameThread);
    sim.client.put("a/1", "one");
    REQUIRE(sim.client.write() == Status::kOk);
    sim.fail_call(1);  // behind the padding
    if (under_way) REQUIRE(sim.writer.sync(false) == Status::kOk);
    REQUIRE(sim.writer.close() == Status::kIo);
    REQUIRE(sim.files.faults_raised() == 1);
    REQUIRE(sim.writer.durable_epoch() == 0);
    require_recovers(sim.files, sim.client, 1);
  }
}

TEST_CASE("a sync waits for the one that is under way, and fails with it") {
  Simulated sim(Errands::kSameThread);
  sim.client.put("a/1", "one");
  REQUIRE(sim.client.write() == Status::kOk);
  sim.fail_call(1);  // behind the padding
  REQUIRE(sim.writer.sync(false) == Status::kOk);
  REQUIRE(sim.writer.sync() == Status::kIo);
  REQUIRE_FALSE(sim.writer.has_errand());
  REQUIRE(sim.writer.continues_from_durable());
  REQUIRE(sim.writer.durable_epoch() == 0);
  REQUIRE(sim.client.write_and_sync() == Status::kOk);
  require_survives_power_cut(sim.files.disk(), sim.client);
}

TEST_CASE("a sync that cannot even begin abandons the segment") {
  Simulated sim(Errands::kSameThread);
  sim.client.put("a/1", "one");
  REQUIRE(sim.client.write() == Status::kOk);
  sim.files.set_fault({.call = sim.files.calls(), .error = SimError::kEio, .sticky = true});
  REQUIRE(sim.writer.sync(false) == Status::kIo);
  REQUIRE_FALSE(sim.writer.has_errand());
  REQUIRE(sim.writer.continues_from_durable());
  sim.files.clear_fault();
  REQUIRE(sim.client.write_and_sync() == Status::kOk);
  REQUIRE(sim.writer.durable_epoch() == 1);
  require_survives_power_cut(sim.files.disk(), sim.client);
}

TEST_CASE(
    "files of no use are unlinked one by one, again where it failed, not where they are gone") {
  Simulated sim(Errands::kSameThread);
  while (sim.writer.segment() < 4) {
    sim.client.put("a/x", value_of(9000, 1));
    REQUIRE(sim.client.write() == Status::kOk);
  }
  sim.client.put("a/x", "x");  // all that lives
  REQUIRE(sim.client.write(4) == Status::kOk);
  REQUIRE(sim.writer.sync() == Status::kOk);
  const auto unlink_one = [&] {
    REQUIRE(sim.writer.has_files_to_unlink());
    sim.writer.start_unlink();
    REQUIRE(sim.writer.has_errand());
    REQUIRE(sim.writer.finish_errand() == Status::kOk);
  };
  const uint64_t files = sim.writer.segments();
  REQUIRE(files == 4);
  REQUIRE(sim.directory->unlink(SegmentName(1).text) == Status::kOk);  // by somebody else
  unlink_one();
  REQUIRE(sim.writer.segments() == 3);
  sim.fail_call(0);
  unlink_one();
  REQUIRE(sim.writer.segments() == 3);
  unlink_one();
  REQUIRE(sim.writer.segments() == 2);
  REQUIRE_FALSE(sim.writer.has_files_to_unlink());  // until something new happens
  sim.client.put("a/y", "y");
  REQUIRE(sim.client.write_and_sync() == Status::kOk);
  unlink_one();
  REQUIRE(sim.writer.segments() == 1);
  REQUIRE(sim.files.disk().has_file("/store/0000000000000004.dskvs"));
  REQUIRE_FALSE(sim.files.disk().has_file("/store/0000000000000002.dskvs"));
  require_recovers(sim.files, sim.client, sim.client.accepted());
}

TEST_CASE("a writer that goes while an errand is under way waits for it") {
  Simulated sim(Errands::kSameThread);
  sim.client.put("a/1", "one");
  REQUIRE(sim.client.write() == Status::kOk);
  REQUIRE(sim.writer.sync(false) == Status::kOk);
  sim.client.writer.reset();
  require_survives_power_cut(sim.files.disk(), sim.client);

  // On a thread of its own, and a disk that takes its time.
  struct Sync {
    std::atomic<bool> slow = false;
    std::atomic<bool> ended = false;
  };
  class SlowDirectory : public PassingDirectory {
   public:
    SlowDirectory(Directory& inner, Sync& sync) : PassingDirectory(inner), sync_(sync) {}
    Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override {
      class SlowFile : public PassingFile {
       public:
        SlowFile(std::unique_ptr<File> inner, Sync& sync)
            : PassingFile(std::move(inner)), sync_(sync) {}
        Status write(uint64_t offset, std::span<const Piece> pieces) override {
          return inner_->write(offset, pieces);
        }
        Status sync() override {
          Sync& sync = sync_;
          if (sync.slow) std::this_thread::sleep_for(std::chrono::milliseconds(100));
          sync.ended = true;
          return Status::kOk;
        }

       private:
        Sync& sync_;
      };
      const Status status = inner_.open_file(name, mode, file);
      if (status == Status::kOk) *file = std::make_unique<SlowFile>(std::move(*file), sync_);
      return status;
    }

   private:
    Sync& sync_;
  };
  SimFileSystem files;
  const auto inner = open_locked(files, kPath);
  Sync sync;
  SlowDirectory directory(*inner, sync);
  Worker worker(false, [] {});
  LogClient client(directory, kSegmentBytes, &worker);
  client.put("a/1", "one");
  REQUIRE(client.write() == Status::kOk);
  sync.slow = true;
  sync.ended = false;
  REQUIRE(client.writer->sync(false) == Status::kOk);
  client.writer.reset();
  REQUIRE(sync.ended);
}

TEST_CASE("syncs that fail for ever do not fill the disk") {
  Simulated sim;
  for (int i = 0; i < 30; ++i) {
    sim.client.put("a/b", value_of(100, static_cast<unsigned>(i)));
    REQUIRE(sim.client.write() == Status::kOk);
    sim.files.set_fault({.call = sim.files.calls() + 1, .error = SimError::kEio, .sticky = false});
    REQUIRE(sim.writer.sync() == Status::kIo);
    REQUIRE(sim.writer.segments() <= 2);
    require_recovers(sim.files, sim.client, sim.writer.written_epoch());
  }
}

TEST_CASE("when segment numbers end nothing is written any more") {
  SimFileSystem files;
  const auto directory = open_locked(files, kPath);
  LogPosition position;
  position.store_id = {1};
  position.next_segment_id = 0x7fff'ffff;
  LogWriter writer(*directory, position, kSegmentBytes);
  REQUIRE(writer.begin(1) == Status::kOk);
  REQUIRE(writer.put("a", "b", "c", 1) == Status::kOk);
  REQUIRE(writer.commit(0) == Status::kOk);
  writer.rotate_at_next_begin();
  REQUIRE(writer.begin(2) == Status::kIo);
  REQUIRE(writer.durable_epoch() == 1);
  REQUIRE(recover_all(*directory).contents == Contents{{"a/b", "c"}});
}

TEST_CASE("a full disk: the reserve lets a little more through, and comes back") {
  Simulated sim;
  sim.client.put("a/1", value_of(9000, 1));
  REQUIRE(sim.client.write_and_sync() == Status::kOk);
  REQUIRE(sim.files.disk().has_file("/store/reserve"));
  sim.files.set_capacity(sim.files.disk().live_bytes() + 100);
  sim.client.put("a/2", value_of(9000, 2));
  REQUIRE(sim.client.write() == Status::kOk);
  REQUIRE_FALSE(sim.files.disk().has_file("/store/reserve"));
  sim.files.set_capacity(sim.files.disk().live_bytes() + 4096);
  sim.client.put("a/3", value_of(90000, 3));
  REQUIRE(sim.client.write() == Status::kSpace);
  REQUIRE(sim.writer.durable_epoch() == 2);
  const uint64_t files = sim.writer.segments();
  for (int i = 0; i < 5; ++i) REQUIRE(sim.client.write() == Status::kSpace);
  REQUIRE(sim.writer.segments() == files);
  require_recovers(sim.files, sim.client, 2);
  sim.files.set_capacity(UINT64_MAX);
  REQUIRE(sim.client.write_and_sync() == Status::kOk);
  REQUIRE(sim.files.disk().has_file("/store/reserve"));
  require_recovers(sim.files, sim.client, 3);
}

TEST_CASE("the room on the disk falls with what is written, and is looked at with each sync") {
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  Simulated sim;
  CHECK(sim.writer.room_bytes() == UINT64_MAX);  // nobody told
  sim.client.put("a/1", value_of(9000, 1));
  REQUIRE(sim.client.write_and_sync() == Status::kOk);
  CHECK(sim.writer.room_bytes() == UINT64_MAX);
  REQUIRE(sim.files.disk().has_file("/store/reserve"));

  const uint64_t used_bytes = sim.files.disk().live_bytes();
  sim.files.set_capacity(used_bytes + 8 * kMiB);
  sim.writer.look_for_room();
  CHECK(sim.writer.room_bytes() == 8 * kMiB + kMiB - kMiB / 2);  // the reserve, and what is spared
  sim.client.put("a/2", value_of(90'000, 2));
  REQUIRE(sim.client.write() == Status::kOk);
  const uint64_t written_bytes = sim.files.disk().live_bytes() - used_bytes;
  CHECK(sim.writer.room_bytes() == 8 * kMiB + kMiB / 2 - written_bytes);
  sim.files.set_capacity(used_bytes + 4 * kMiB);  // others take some
  CHECK(sim.writer.room_bytes() == 8 * kMiB + kMiB / 2 - written_bytes);
  REQUIRE(sim.writer.sync() == Status::kOk);
  const uint64_t synced_bytes = sim.files.disk().live_bytes() - used_bytes;
  CHECK(sim.writer.room_bytes() == 4 * kMiB + kMiB / 2 - synced_bytes);
  sim.files.set_capacity(used_bytes);
  sim.writer.look_for_room();
  CHECK(sim.writer.room_bytes() == kMiB / 2);
  sim.client.put("a/3", value_of(90'000, 3));
  REQUIRE(sim.client.write() == Status::kOk);
  REQUIRE_FALSE(sim.files.disk().has_file("/store/reserve"));
  sim.files.set_capacity(sim.files.disk().live_bytes() + 100);
  sim.writer.look_for_room();
  CHECK(sim.writer.room_bytes() == 0);
  sim.client.put("a/4", value_of(90'000, 4));
  REQUIRE(sim.client.write() == Status::kSpace);
  sim.files.set_capacity(sim.files.disk().live_bytes() + 4 * kMiB);
  const uint64_t before_bytes = sim.files.disk().live_bytes();
  REQUIRE(sim.client.write() == Status::kOk);  // to a new segment, with a new reserve
  REQUIRE(sim.files.disk().has_file("/store/reserve"));
  CHECK(sim.writer.room_bytes() ==
        4 * kMiB + kMiB / 2 - (sim.files.disk().live_bytes() - before_bytes));
}

TEST_CASE("a reserve that is too small is replaced, and where it cannot be, all else goes on") {
  SimDisk disk;
  {
    Simulated sim;
    sim.client.put("a/1", "one");
    REQUIRE(sim.client.write() == Status::kOk);
    REQUIRE(sim.writer.close() == Status::kOk);
    disk = sim.files.disk();
    disk.remove_file("/store/reserve");
    disk.plant_file("/store/reserve", std::vector<uint8_t>(10));
  }
  std::set<size_t> sizes;
  bool failed = true;
  for (uint64_t call = 0; failed; ++call) {
    SimFileSystem files(disk);
    const auto directory = open_locked(files, kPath);
    LogClient client(*directory, kSegmentBytes);
    client.put("a/2", "two");
    files.set_fault({.call = files.calls() + call, .error = SimError::kEio, .sticky = false});
    if (client.write() == Status::kOk && files.disk().has_file("/store/reserve")) {
      sizes.insert(files.disk().file_size("/store/reserve"));
    }
    failed = files.faults_raised() != 0;
    files.clear_fault();
    REQUIRE(client.write_and_sync() == Status::kOk);
    require_survives_power_cut(files.disk(), client);
  }
  REQUIRE(sizes == std::set<size_t>{10, size_t{1} << 20});
}

TEST_CASE("a reserve that cannot be looked at is left alone") {
  class Guarded : public PassingDirectory {
   public:
    using PassingDirectory::PassingDirectory;
    Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override {
      if (std::string_view(name) != kReserveName) return inner_.open_file(name, mode, file);
      ++asked;
      return fail(Status::kIo, "it cannot be looked at");
    }
    int asked = 0;
  };
  SimFileSystem files;
  const auto inner = open_locked(files, kPath);
  Guarded directory(*inner);
  LogClient client(directory, kSegmentBytes);
  for (const char* value : {"one", "two", "three"}) {
    client.put("a/b", value);
    REQUIRE(client.write_and_sync() == Status::kOk);
  }
  REQUIRE(directory.asked == 1);  // by the constructor
}

TEST_CASE("on a full disk, what a kill left half written gives its room, or the reserve does") {
  enum { kNothing, kReserve, kHalfWritten };  // is not unlinked
  for (const auto stays : {kNothing, kReserve, kHalfWritten}) {
    SimFileSystem files;
    {
      const auto directory = open_locked(files, kPath);
      LogClient client(*directory, kSegmentBytes);
      for (const char* key : {"a/1", "a/2"}) {
        client.put(key, "value");
        REQUIRE(client.write_and_sync() == Status::kOk);
      }
      client.writer->rotate_at_next_begin();
      REQUIRE(client.writer->begin(3) == Status::kOk);
      const std::string value = value_of(1 << 20, 1);
      REQUIRE(client.writer->put("a", "3", value.data(), value.size()) == Status::kOk);
      REQUIRE(client.writer->put("a", "4", value.data(), 600'000) == Status::kOk);
    }
    const std::string half_written = "/store/" + std::string(SegmentName(2).text);
    REQUIRE(files.disk().has_file(half_written));
    const auto directory = open_locked(files, kPath);
    LogClient client(*directory, kSegmentBytes);
    REQUIRE(client.recovered.position.zombies.size() == 1);
    files.set_capacity(files.disk().live_bytes());
    // The creation of a file and its header come before them.
    const uint64_t call = stays == kReserve ? 2 : 3;
    if (stays != kNothing) {
      files.set_fault({.call = files.calls() + call, .error = SimError::kEio, .sticky = false});
    }
    client.put("a/3", "three");
    REQUIRE(client.write() == Status::kOk);
    REQUIRE(files.faults_raised() == (stays == kNothing ? 0 : 1));
    REQUIRE(files.disk().has_file(half_written) == (stays == kHalfWritten));
    require_recovers(files, client, 3);
  }
}

TEST_CASE("a fault at any call, once or for good, loses nothing that was promised") {
  const uint64_t seed = announce_seed("log_writer_test, faults");
  uint64_t runs = 0;
  for (const SimError error : kSimErrors) {
    for (const bool sticky : {false, true}) {
      for (uint64_t call = 0;; ++call) {
        std::mt19937_64 random(seed);
        Simulated sim;
        const uint64_t first_call = sim.files.calls();
        sim.files.set_fault({.call = first_call + call, .error = error, .sticky = sticky});
        for (int i = 0; i < 12; ++i) {
          sim.client.accept({{FrameType::kPut, "a/" + std::to_string(random() % 3),
                              value_of(random() % 6000, static_cast<unsigned>(i))},
                             {FrameType::kPut, "b/x", value_of(9000, static_cast<unsigned>(i))},
                             {FrameType::kRemove, "a/" + std::to_string(random() % 3), {}}});
          const uint64_t written = sim.writer.written_epoch();
          const Status status = sim.client.write();
          REQUIRE(sim.writer.written_epoch() ==
                  (status == Status::kOk ? sim.client.accepted() : written));
          if (random() % 3 == 0 && sim.writer.sync() != Status::kOk) {
            REQUIRE(sim.writer.continues_from_durable());
          }
        }
        const uint64_t raised = sim.files.faults_raised();
        const uint64_t written = sim.writer.written_epoch();
        sim.files.clear_fault();
        require_recovers(sim.files, sim.client, written);
        REQUIRE(sim.client.write_and_sync() == Status::kOk);
        REQUIRE(sim.writer.durable_epoch() == sim.client.accepted());
        require_survives_power_cut(sim.files.disk(), sim.client);
        require_recovers(sim.files, sim.client, sim.client.accepted());
        ++runs;
        if (raised == 0 && call > 20) break;
      }
    }
  }
  WARN(runs << " runs with a fault");
  REQUIRE(runs > 300);
}

TEST_CASE("after a clean or unclean end the next session continues") {
  const uint64_t seed = announce_seed("log_writer_test, sessions");
  std::mt19937_64 random(seed);
  SimFileSystem files;
  uint64_t written = 0;
  Contents expected;
  for (int session = 0; session < 60; ++session) {
    const auto directory = open_locked(files, kPath);
    REQUIRE(directory != nullptr);
    LogClient client(*directory, kSegmentBytes);
    INFO("session " << session << ": " << last_error());
    REQUIRE(client.recovered.status == Status::kOk);
    REQUIRE(client.recovered.contents == expected);
    REQUIRE(client.recovered.report.recovered_epoch >= written);
    const uint64_t batches = random() % 12;
    for (uint64_t i = 0; i < batches; ++i) {
      client.put("a/" + std::to_string(random() % 20), value_of(random() % 9000, unsigned(i)));
      if (random() % 8 == 0) client.accept({{FrameType::kDrop, "a", {}}});
      REQUIRE(client.write() == Status::kOk);
      if (random() % 2 == 0) REQUIRE(client.writer->sync() == Status::kOk);
    }
    written = client.writer->written_epoch();
    expected = client.at(written);
    if (random() % 2 == 0) REQUIRE(client.writer->close() == Status::kOk);
  }
}

}  // namespace dskvs::test
