// Goal: what no writer leaves behind, though every checksum in it is right, is refused or cut,
// never believed; and whatever fails while a log is read ends the reading with that status. Method:
// segments made by hand that say one wrong thing each, beside the same ones that do not; a
// directory and a sink that fail on purpose.

#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <fstream>
#include <utility>

#include "checksum.h"
#include "disk/log_survey.h"
#include "support/catch.h"
#include "support/crafted_segment.h"
#include "support/log_disk.h"
#include "support/temp_dir.h"

namespace {

uint64_t machine_bytes = uint64_t{1} << 32;  // of memory; 0: the system does not say

}  // namespace

// In the place of the system's.
int sysinfo(struct sysinfo* info) noexcept {
  if (machine_bytes == 0) return -1;
  *info = {};
  info->totalram = machine_bytes / 2;
  info->totalswap = machine_bytes - machine_bytes / 2;
  info->mem_unit = 1;
  return 0;
}

namespace dskvs::test {
namespace {

constexpr size_t kLarge = size_t{300} << 10;  // such a value is not buffered whole

using Segments = std::vector<const CraftedSegment*>;

SimDisk disk_of(const Segments& segments) {
  SimDisk disk;
  disk.make_directory(kLogPath);
  for (const CraftedSegment* segment : segments) {
    disk.plant_file(path_of(segment->header.segment_id), segment->bytes);
  }
  return disk;
}

Recovered recover_segments(const Segments& segments) { return recover_disk(disk_of(segments)); }

void require_refused(const Segments& segments, uint64_t id, uint64_t offset,
                     const std::string& kind) {
  const SimDisk disk = disk_of(segments);
  const Recovered found = recover_disk(disk);
  const std::string said = last_error();
  INFO(said);
  REQUIRE(found.status == Status::kCorrupt);
  REQUIRE(found.report.damage == Damage{SegmentName(id).text, offset, kind});
  REQUIRE(said.find(SegmentName(id).text) != std::string::npos);
  REQUIRE(said.find(kind) != std::string::npos);
  const std::vector<Damage> damage = verify_disk(disk);
  REQUIRE(std::count(damage.begin(), damage.end(), found.report.damage) != 0);
}

std::string bytes_of(size_t size, char first) {
  std::string bytes(size, first);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(bytes[i] + i % 251);
  return bytes;
}

// Counts what is read.
class CountingDirectory final : public PassingDirectory {
 public:
  using PassingDirectory::PassingDirectory;

  Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override {
    std::unique_ptr<File> inner;
    const Status status = inner_.open_file(name, mode, &inner);
    if (status == Status::kOk) *file = std::make_unique<CountingFile>(*this, std::move(inner));
    return status;
  }

  uint64_t bytes_read = 0;

 private:
  class CountingFile final : public PassingFile {
   public:
    CountingFile(CountingDirectory& directory, std::unique_ptr<File> inner)
        : PassingFile(std::move(inner)), directory_(directory) {}
    Status read(uint64_t offset, void* buffer, size_t size, size_t* got) override {
      const Status status = inner_->read(offset, buffer, size, got);
      directory_.bytes_read += *got;
      return status;
    }

   private:
    CountingDirectory& directory_;
  };
};

// Two segments: a/1 and a/2 in the first, durable; a/3, large, and a/4 in the second.
struct TwoSegments {
  CraftedSegment first;
  CraftedSegment second = begin();

  TwoSegments() {
    second.put("a/3", bytes_of(kLarge, '3'));
    second.commit();
    second.put("a/4", "four");
    second.commit();
  }
  CraftedSegment begin() {
    first.put("a/1", bytes_of(kLarge, '1'));
    first.put("a/2", "two");
    first.commit();
    return CraftedSegment(first, 2);
  }
};

}  // namespace

TEST_CASE("a header that no writer makes is bad, though its checksum is right") {
  constexpr uint64_t kSeed = 0x6473'6b76'7348'4452u;
  const SegmentHeader good{{1}, 7, 3, 8192, 40};
  const auto state_of = [](const SegmentHeader& header, size_t at = 0, uint8_t flip = 0,
                           size_t bytes = kBlockBytes) {
    std::vector<std::byte> block(kBlockBytes);
    encode_segment_header(header, block.data());
    block[at] ^= std::byte{flip};
    const uint64_t sum = checksum(kSeed, block.data(), 120);
    std::memcpy(block.data() + 120, &sum, sizeof sum);
    SegmentHeader read;
    return decode_segment_header(block.data(), bytes, &read);
  };
  const auto with = [&](auto change) {
    SegmentHeader header = good;
    change(header);
    return state_of(header);
  };
  REQUIRE(state_of(good) == HeaderState::kGood);
  REQUIRE(state_of({{1}, 1, 0, 0, 1}) == HeaderState::kGood);
  REQUIRE(with([](auto& h) { h.previous_end = kSegmentStart + 1; }) == HeaderState::kGood);
  REQUIRE(with([](auto& h) { h.first_epoch = kEpochMax - 1; }) == HeaderState::kGood);

  REQUIRE(state_of(good, 0, 0, kBlockBytes - 1) == HeaderState::kBad);
  REQUIRE(state_of(good, 0, 1) == HeaderState::kBad);  // magic
  REQUIRE(state_of(good, 8, 1) == HeaderState::kBad);  // version 0
  REQUIRE(state_of(good, 8, 3) == HeaderState::kLaterVersion);
  REQUIRE(state_of(good, 12, 1) == HeaderState::kBad);  // flags
  REQUIRE(state_of(good, 64, 1) == HeaderState::kBad);  // zeros before the checksum
  REQUIRE(state_of(good, 119, 1) == HeaderState::kBad);
  REQUIRE(state_of(good, 128, 1) == HeaderState::kBad);  // and behind it
  REQUIRE(state_of(good, kBlockBytes - 1, 1) == HeaderState::kBad);
  REQUIRE(state_of({{1}, 0, 0, 0, 1}) == HeaderState::kBad);
  REQUIRE(with([](auto& h) { h.previous_segment = 7; }) == HeaderState::kBad);
  REQUIRE(with([](auto& h) { h.previous_segment = 0; }) == HeaderState::kBad);
  REQUIRE(with([](auto& h) { h.previous_end = kSegmentStart; }) == HeaderState::kBad);
  REQUIRE(with([](auto& h) { h.first_epoch = 0; }) == HeaderState::kBad);
  REQUIRE(with([](auto& h) { h.first_epoch = kEpochMax; }) == HeaderState::kBad);
  REQUIRE(state_of({{1}, 7, 0, 0, 2}) == HeaderState::kBad);
  REQUIRE(state_of({{1}, 7, 0, 8192, 1}) == HeaderState::kBad);
}

TEST_CASE("a frame has the sizes that its type allows") {
  constexpr uint64_t kSeed = 5;
  const auto reads = [](uint8_t type, uint16_t key_size, uint64_t value_size, uint8_t zero = 0,
                        uint8_t sum = 1) {
    std::array<std::byte, kFrameHeaderBytes> frame{};
    encode_frame_header(static_cast<FrameType>(type), key_size, value_size, kSeed, frame.data());
    frame[7] = std::byte{sum};
    frame[13] = std::byte{zero};
    const uint32_t check = static_cast<uint32_t>(checksum(kSeed, frame.data() + 12, 12));
    std::memcpy(frame.data() + 8, &check, sizeof check);
    FrameHeader header;
    REQUIRE_FALSE(decode_frame_header(frame.data(), kSeed + 1, &header));
    return decode_frame_header(frame.data(), kSeed, &header);
  };
  REQUIRE(reads(1, 3, 0));  // put
  REQUIRE(reads(1, 65535, uint64_t{1} << 60));
  REQUIRE_FALSE(reads(1, 2, 0));
  REQUIRE_FALSE(reads(1, 3, 0, 1));
  REQUIRE(reads(2, 3, 0));  // remove
  REQUIRE_FALSE(reads(2, 2, 0));
  REQUIRE_FALSE(reads(2, 3, 1));
  REQUIRE(reads(3, 1, 0));  // drop
  REQUIRE_FALSE(reads(3, 0, 0));
  REQUIRE_FALSE(reads(3, 1, 1));
  REQUIRE(reads(4, 0, kCommitPayloadBytes));  // commit
  REQUIRE_FALSE(reads(4, 1, kCommitPayloadBytes));
  REQUIRE_FALSE(reads(4, 0, kCommitPayloadBytes + 8));
  REQUIRE(reads(5, 0, 8191));  // pad
  REQUIRE_FALSE(reads(5, 0, 8192));
  REQUIRE_FALSE(reads(5, 1, 0));
  REQUIRE_FALSE(reads(1, 3, 0, 0, 0));  // a checksum is never 0: no header begins with zeros
  for (const int type : {0, 6, 255}) {
    REQUIRE_FALSE(reads(static_cast<uint8_t>(type), 3, 0));
  }
  for (const uint64_t hash : {uint64_t{0}, uint64_t{1}, UINT64_MAX}) {
    REQUIRE(stored_checksum(hash) == std::max<uint64_t>(hash, 1));
  }
}

TEST_CASE("two segments made by hand are a log") {
  TwoSegments log;
  const Recovered found = recover_segments({&log.first, &log.second});
  INFO(last_error());
  REQUIRE(found.status == Status::kOk);
  REQUIRE(found.report.recovered_epoch == 3);
  REQUIRE(found.contents == Contents{{"a/1", bytes_of(kLarge, '1')},
                                     {"a/2", "two"},
                                     {"a/3", bytes_of(kLarge, '3')},
                                     {"a/4", "four"}});
  REQUIRE(found.position.chain.size() == 1);  // up to the durable point; the rest is written anew
  REQUIRE(found.position.durable_epoch == 1);
  REQUIRE(found.position.durable_segment == 1);
}

TEST_CASE("a segment that is linked to is whole up to the link, or the log is refused") {
  const TwoSegments log;
  const auto refused = [&](const CraftedSegment& first, uint64_t offset, const char* kind) {
    require_refused({&first, &log.second}, 1, offset, kind);
  };
  const uint64_t size = log.first.bytes.size();

  CraftedSegment bad = log.first;
  bad.bytes[16] ^= 1;
  refused(bad, 0, "the segment's header is wrong");
  CraftedSegment newest = log.second;
  newest.bytes[16] ^= 1;
  require_refused({&log.first, &newest}, 2, 0, "the segment's header is wrong");
  bad = log.first;
  bad.bytes.resize(size - 8);
  refused(bad, size - 8, "the segment is cut off");
  bad = log.first;  // within the large value
  bad.bytes[kSegmentStart + 5000] ^= 1;
  refused(bad, kSegmentStart, "the frame's checksum is wrong");
  bad = log.first;  // in the frame behind it
  bad.bytes[size - kCommitFrameBytes - 8] ^= 1;
  refused(bad, size - kCommitFrameBytes - 32, "the frame's checksum is wrong");
  bad = log.first;
  bad.bytes.resize(kSegmentStart);
  refused(bad, kSegmentStart, "the segment is cut off");

  bad.bytes.resize(100);  // as a creation leaves it: then it never held what the link says
  REQUIRE(recover_segments({&bad, &log.second}).status == Status::kCorrupt);
  REQUIRE(std::string(last_error()).find("is missing") != std::string::npos);
  REQUIRE(verify_disk(disk_of({&bad, &log.second}))[0].file == SegmentName(1).text);
  const Recovered alone = recover_segments({&log.second});
  REQUIRE(alone.status == Status::kCorrupt);
  REQUIRE(std::string(last_error()).find("is missing") != std::string::npos);
  REQUIRE(alone.report.damage == Damage{SegmentName(1).text, 0, "the segment is missing"});
}

TEST_CASE("frames that cannot stand where they stand are damage in a segment that is linked to") {
  const auto refused = [](auto change, const char* kind) {
    CraftedSegment first;
    first.put("a/1", "one");
    change(first);
    const size_t bad_at = first.bytes.size() - kCommitFrameBytes;
    first.put("a/2", "two");
    first.commit({first.epoch + 1, 9, first.frames, first.bytes.size() - first.batch_start,
                  first.digest, 0, 1, first.header.store_id});
    CraftedSegment second(first, 2);
    second.put("a/3", "three");
    second.commit();
    const SimDisk disk = disk_of({&first, &second});
    REQUIRE(recover_disk(disk).status == Status::kCorrupt);
    INFO(last_error());
    REQUIRE(std::string(last_error()).find(kind) != std::string::npos);
    REQUIRE(std::string(last_error()).find("offset " + std::to_string(bad_at)) !=
            std::string::npos);
    REQUIRE_FALSE(verify_disk(disk).empty());
  };
  refused(
      [](CraftedSegment& s) {
        CommitPayload payload = s.next_commit();
        payload.frames = 2;
        s.commit(payload);
      },
      "the commit does not match its batch");
  refused(
      [](CraftedSegment& s) {
        CommitPayload payload = s.next_commit();
        payload.first_epoch = 2;
        s.commit(payload);
      },
      "the commit does not follow the one before it");
  refused(
      [](CraftedSegment& s) {  // as large as a commit
        s.add(FrameType::kPad, "", kCommitPayloadBytes, std::string(kCommitPayloadBytes, '\0'));
      },
      "there is padding within a batch");
}

TEST_CASE("a link leads to just behind a commit, and epochs go on there") {
  TwoSegments log;
  CraftedSegment longer = log.first;  // the link leads into the padding
  longer.add(FrameType::kPad, "", 40, std::string(40, '\0'));
  CraftedSegment second(longer, 2);
  second.put("a/3", "three");
  second.commit();
  REQUIRE(recover_segments({&longer, &second}).status == Status::kCorrupt);
  REQUIRE_FALSE(verify_disk(disk_of({&longer, &second})).empty());

  CraftedSegment skips({{1}, 2, 1, log.first.bytes.size(), 3});  // epoch 2 is nowhere
  skips.put("a/3", "three");
  skips.commit();
  require_refused({&log.first, &skips}, 2, 0, "its epochs do not follow those before it");

  CraftedSegment alone({{1}, 2, 0, 0, 1});  // says that nothing came before it
  alone.put("a/3", "three");
  alone.commit();
  const Recovered found = recover_segments({&log.first, &alone});
  REQUIRE(found.status == Status::kOk);
  REQUIRE(found.contents == Contents{{"a/3", "three"}});
  REQUIRE(found.position.zombies.size() == 2);  // nothing is durable yet
}

TEST_CASE("the first live segment ends the chain") {
  TwoSegments log;
  CommitPayload payload = log.second.next_commit();
  payload.first_live_segment = 2;
  log.second.commit(payload);
  for (const Segments& segments : {Segments{&log.first, &log.second}, Segments{&log.second}}) {
    const Recovered found = recover_segments(segments);
    REQUIRE(found.status == Status::kOk);
    REQUIRE(found.contents == Contents{{"a/3", bytes_of(kLarge, '3')}, {"a/4", "four"}});
    REQUIRE(found.position.zombies.size() == segments.size());
    // The commit that says so may not be durable: until then they give no room.
    for (const SegmentFile& zombie : found.position.zombies) REQUIRE(zombie.end == zombie.bytes);
    REQUIRE(verify_disk(disk_of(segments)).empty());
  }
  // Marks never go back: not the first live segment, nor what is durable.
  CraftedSegment back = log.second;
  payload = back.next_commit();
  payload.first_live_segment = 1;
  back.commit(payload);
  REQUIRE(recover_segments({&log.first, &back}).report.recovered_epoch == 4);
  back = log.second;
  payload = back.next_commit();
  payload.first_live_segment = 2;
  payload.durable_epoch = 0;
  back.commit(payload);
  REQUIRE(recover_segments({&log.first, &back}).report.recovered_epoch == 4);
  back = log.second;
  payload = back.next_commit();
  payload.first_live_segment = 2;
  payload.last_epoch = 2;
  back.commit(payload);
  REQUIRE(recover_segments({&log.first, &back}).report.recovered_epoch == 4);
}

TEST_CASE("where damage is looked for, what was cleaned away is not missing, and a lost end is") {
  TwoSegments log;
  CommitPayload payload = log.second.next_commit();
  payload.first_live_segment = 2;
  payload.durable_epoch = 2;
  log.second.commit(payload);
  CraftedSegment damaged = log.second;  // within the large value of epoch 2
  damaged.bytes[kSegmentStart + 5000] ^= 1;
  require_refused({&damaged}, 2, kSegmentStart, "the frame's checksum is wrong");
  REQUIRE(verify_disk(disk_of({&damaged})).size() == 1);

  // A successor that was only begun says that four epochs were durable: there are two.
  CraftedSegment first;
  first.put("a/1", "one");
  first.commit();
  first.put("a/2", "two");
  first.commit();
  const uint64_t end = first.bytes.size();
  CraftedSegment second({{1}, 2, 1, end + 1000, 5});
  require_refused({&first, &second}, 1, end, "the segment is cut off");
  REQUIRE(salvage_disk(disk_of({&first, &second})).contents ==
          Contents{{"a/1", "one"}, {"a/2", "two"}});
}

TEST_CASE("what is durable is the end of a commit, and none but such") {
  CraftedSegment segment;
  for (int i = 0; i < 2; ++i) {
    segment.put("a/b", "c");
    CommitPayload payload = segment.next_commit();
    payload.last_epoch += 2;  // epochs 1 to 3, and 4 to 6
    segment.commit(payload);
  }
  const auto recorded = [&](uint64_t durable) {
    CraftedSegment told = segment;
    CommitPayload payload = told.next_commit();
    payload.durable_epoch = durable;
    told.commit(payload);
    return recover_segments({&told});
  };
  REQUIRE(recorded(0).position.durable_epoch == 0);
  REQUIRE(recorded(3).position.durable_epoch == 3);
  REQUIRE(recorded(3).report.recovered_epoch == 7);
  REQUIRE(recorded(6).position.durable_epoch == 6);
  REQUIRE(recorded(6).position.durable_offset == segment.bytes.size());
  for (const uint64_t between : {2, 5}) {  // no commit ends there: the one that says so is cut
    REQUIRE(recorded(between).status == Status::kOk);
    REQUIRE(recorded(between).report.recovered_epoch == 6);
  }
  REQUIRE(recorded(7).status == Status::kCorrupt);  // more than there ever was
}

TEST_CASE("a commit that ends no epoch holds no frames") {
  CraftedSegment segment;
  segment.put("a/b", "c");
  CommitPayload payload = segment.next_commit();
  payload.last_epoch = 0;
  segment.commit(payload);
  const Recovered found = recover_segments({&segment});
  REQUIRE(found.status == Status::kOk);
  REQUIRE(found.contents.empty());
  REQUIRE(found.report.frames_cut == 2);
}

TEST_CASE("a commit behind the cut is believed only what it can have known") {
  CraftedSegment segment;
  segment.commit();
  const size_t cut = segment.bytes.size();
  segment.put("a/b", "c");
  segment.commit();
  CommitPayload far = segment.next_commit();
  far.last_epoch = kEpochMax;
  far.durable_epoch = 0;
  segment.commit(far);
  segment.bytes[cut] ^= 1;
  const Recovered found = recover_segments({&segment});
  REQUIRE(found.status == Status::kOk);
  REQUIRE(found.report.recovered_epoch == 1);
  REQUIRE(found.report.highest_epoch_seen == 2);

  segment.bytes[segment.bytes.size() - 8] ^= 1;  // its checksum is wrong now: it says nothing
  REQUIRE(recover_segments({&segment}).report.highest_epoch_seen == 2);
}

TEST_CASE("segments that were only begun tell what was durable before them") {
  TwoSegments log;
  log.second.bytes.resize(kSegmentStart);  // nothing but its header
  REQUIRE(recover_segments({&log.first, &log.second}).report.recovered_epoch == 1);
  REQUIRE(recover_segments({&log.second}).status == Status::kCorrupt);
  REQUIRE(std::string(last_error()).find("'/store/0000000000000001.dskvs' is missing") !=
          std::string::npos);
  CraftedSegment third({{1}, 3, 1, log.first.bytes.size(), 2});
  REQUIRE(recover_segments({&log.second, &third}).status == Status::kCorrupt);
  REQUIRE(recover_segments({&log.first, &log.second, &third}).report.recovered_epoch == 1);
  CraftedSegment first;  // a first segment that was only begun, and nothing else: an empty log
  const Recovered empty = recover_segments({&first});
  REQUIRE(empty.status == Status::kOk);
  REQUIRE(empty.report.recovered_epoch == 0);
  REQUIRE(empty.position.next_segment_id == 2);
  REQUIRE(empty.position.zombies.size() == 1);
  REQUIRE(recover_segments({}).position.store_id == StoreId{});
}

TEST_CASE("a value that no memory can hold is refused before the sink is asked for it") {
  class AskedSink : public MapSink {
   public:
    Status add(FrameType, std::string_view, uint64_t, void**) override {
      asked = true;
      return fail(Status::kFull, "asked");
    }
    bool asked = false;
  };
  constexpr uint64_t kHuge = uint64_t{1} << 30;
  CraftedSegment first;
  first.add(FrameType::kPut, "a/b", kHuge, "");
  const uint64_t end = kSegmentStart + frame_bytes(3, kHuge) + kCommitFrameBytes;
  CraftedSegment second({{1}, 2, 1, end, 2});
  second.commit();

  TempDir temp;
  const std::string path = temp / "store";
  const auto directory = open_locked(posix_file_system(), path.c_str());
  for (const CraftedSegment* segment : {&first, &second}) {
    const std::string file = path + "/" + SegmentName(segment->header.segment_id).text;
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(segment->bytes.data()),
               std::streamsize(segment->bytes.size()));
  }
  if (::truncate((path + "/" + SegmentName(1).text).c_str(), off_t(end)) != 0) {
    WARN("no sparse file of this size can be made here");
    return;
  }
  const uint64_t before = machine_bytes;
  for (const uint64_t bytes : {kHuge - 1, kHuge, uint64_t{0}}) {
    machine_bytes = bytes;
    const bool refused = bytes == kHuge - 1;
    AskedSink sink;
    LogPosition position;
    RecoveryReport report;
    INFO(bytes);
    REQUIRE(recover(*directory, {}, sink, &position, &report) ==
            (refused ? Status::kMemory : Status::kCorrupt));
    REQUIRE_FALSE(sink.asked);  // nor for one that lies in a hole, and is not intact
    std::vector<Damage> damage;
    if (refused) REQUIRE(verify(*directory, {}, &damage) == Status::kMemory);
  }
  machine_bytes = before;
}

TEST_CASE("a segment is found by its number") {
  CraftedSegment second({{1}, 2, 0, 0, 1});
  CraftedSegment fourth({{1}, 4, 0, 0, 1});
  SimFileSystem files(disk_of({&second, &fourth}));
  Survey survey;
  for (int again = 0; again < 2; ++again) {  // what it said before is forgotten
    REQUIRE(survey_log(*open_read_only(files), &survey) == Status::kOk);
    REQUIRE(survey.segments.size() == 2);
    REQUIRE(survey.bytes == 2 * kSegmentStart);
  }
  for (const uint64_t id : {2, 4}) {
    REQUIRE(survey.find(id) != nullptr);
    REQUIRE(survey.find(id)->id == id);
  }
  for (const uint64_t id : {0, 1, 3, 5}) REQUIRE(survey.find(id) == nullptr);
}

TEST_CASE("a number that no writer gives a segment is refused") {
  CraftedSegment segment;
  segment.commit();
  CraftedSegment last({{1}, 0x7fff'ffff, 0, 0, 1});
  REQUIRE(recover_segments({&segment, &last}).status == Status::kOk);
  CraftedSegment far({{1}, 0x8000'0000, 0, 0, 1});
  require_refused({&segment, &far}, 0x8000'0000, 0, "the segment's number is too large");
  SimDisk disk = disk_of({&segment});
  disk.plant_file(path_of(5), segment.bytes);  // another's header
  REQUIRE(recover_disk(disk).status == Status::kCorrupt);
  REQUIRE(salvage_disk(disk).status == Status::kOk);
}

TEST_CASE("a batch that is cut counts once, wherever it is torn") {
  CraftedSegment segment;
  segment.put("a/1", "one");
  segment.commit();
  std::vector<size_t> torn;
  for (const char* key : {"a/2", "a/3", "a/4"}) {
    torn.push_back(segment.bytes.size());
    segment.put(key, "more");
  }
  torn.push_back(segment.bytes.size());
  segment.commit();
  segment.put("a/5", "and more");
  segment.commit();
  for (const size_t at : torn) {
    INFO(at);
    CraftedSegment cut = segment;
    cut.bytes[at] ^= 1;
    const Recovered found = recover_segments({&cut});
    REQUIRE(found.status == Status::kOk);
    REQUIRE(found.report.recovered_epoch == 1);
    REQUIRE(found.report.frames_cut == 6);
  }
}

TEST_CASE("a batch whose commit never came is an epoch that is known to be lost") {
  CraftedSegment segment;
  segment.put("a/1", "one");
  segment.commit();
  const Recovered whole = recover_segments({&segment});
  REQUIRE(whole.report.recovered_epoch == 1);
  REQUIRE(whole.report.highest_epoch_seen == 1);
  REQUIRE(whole.report.frames_cut == 0);

  const size_t end = segment.bytes.size();
  segment.put("a/2", "two");
  const Recovered begun = recover_segments({&segment});
  REQUIRE(begun.report.recovered_epoch == 1);
  REQUIRE(begun.report.highest_epoch_seen == 2);
  REQUIRE(begun.report.frames_cut == 1);

  segment.bytes[end] ^= 1;  // no whole frame: who knows what it was
  const Recovered torn = recover_segments({&segment});
  REQUIRE(torn.report.recovered_epoch == 1);
  REQUIRE(torn.report.highest_epoch_seen == 1);
  REQUIRE(torn.report.frames_cut == 1);
}

TEST_CASE("salvage keeps what a damaged commit ended, but for the tail of the newest segment") {
  const TwoSegments log;
  const Contents all{{"a/1", bytes_of(kLarge, '1')},
                     {"a/2", "two"},
                     {"a/3", bytes_of(kLarge, '3')},
                     {"a/4", "four"}};
  CraftedSegment first = log.first;  // its only commit; the link tells that there was one
  first.bytes[first.bytes.size() - 8] ^= 1;
  REQUIRE(salvage_disk(disk_of({&first, &log.second})).contents == all);

  CraftedSegment second = log.second;
  second.bytes[second.bytes.size() - 8] ^= 1;
  Contents rest = all;
  rest.erase("a/4");
  const Salvaged cut = salvage_disk(disk_of({&log.first, &second}));
  REQUIRE(cut.contents == rest);
  REQUIRE(cut.damage.empty());
}

TEST_CASE("salvage goes back over a segment that is missing, the first live one too") {
  CraftedSegment first;
  first.put("a/1", "one");
  first.commit();
  CraftedSegment second(first, 2);
  second.put("a/2", "two");
  second.commit();
  for (const uint64_t first_live : {1, 2}) {
    CraftedSegment third(second, 3);
    third.put("a/3", "three");
    CommitPayload payload = third.next_commit();
    payload.first_live_segment = first_live;
    third.commit(payload);
    const Damage missing{SegmentName(2).text, 0, "the segment is missing"};
    const Salvaged found = salvage_disk(disk_of({&first, &third}));
    REQUIRE(found.damage == std::vector<Damage>{missing});
    REQUIRE(found.contents == Contents{{"a/1", "one"}, {"a/3", "three"}});

    CraftedSegment broken = first;  // is listed first, though it is met later
    broken.bytes[kSegmentStart + kFrameHeaderBytes + 3] ^= 1;
    const std::vector<Damage> both{
        {SegmentName(1).text, kSegmentStart, "the frame's checksum is wrong"}, missing};
    const SimDisk disk = disk_of({&broken, &third});
    REQUIRE(verify_disk(disk) == both);
    REQUIRE(salvage_disk(disk).damage == both);
    REQUIRE(salvage_disk(disk).contents == Contents{{"a/3", "three"}});
  }
}

TEST_CASE("where a header tells whose a log is, a segment of another store is not asked") {
  CraftedSegment ours;
  ours.put("a/1", "ours");
  ours.commit();
  CraftedSegment theirs({{2}, 2, 0, 0, 1});
  theirs.put("a/1", "theirs");
  theirs.commit();
  theirs.bytes[0] ^= 1;
  const Salvaged found = salvage_disk(disk_of({&ours, &theirs}));
  REQUIRE(found.status == Status::kOk);
  REQUIRE(found.contents == Contents{{"a/1", "ours"}});
  REQUIRE(found.damage ==
          std::vector<Damage>{{SegmentName(2).text, 0, "the segment's header is wrong"}});
}

TEST_CASE("every segment that is missing is damage, however many there are") {
  std::deque<CraftedSegment> log(1);
  for (uint64_t id = 1; id <= 5; ++id) {
    if (id != 1) log.emplace_back(log.back(), id);
    log.back().put("a/" + std::to_string(id), "value");
    log.back().commit();
  }
  const SimDisk disk = disk_of({&log[0], &log[2], &log[4]});
  const std::vector<Damage> both{{SegmentName(2).text, 0, "the segment is missing"},
                                 {SegmentName(4).text, 0, "the segment is missing"}};
  REQUIRE(verify_disk(disk) == both);
  const Salvaged found = salvage_disk(disk);
  REQUIRE(found.damage == both);
  REQUIRE(found.contents == Contents{{"a/1", "value"}, {"a/3", "value"}, {"a/5", "value"}});
}

TEST_CASE("salvage reads on behind what is broken as far as anything tells that it was durable") {
  CraftedSegment log;
  std::vector<size_t> at;
  for (const char* first : {"a/1", "a/3", "a/5"}) {
    at.push_back(log.bytes.size());
    log.put(first, "first");
    log.put({'a', '/', static_cast<char>(first[2] + 1)}, "second");
    log.commit();
  }
  const Contents all{{"a/1", "first"},  {"a/2", "second"}, {"a/3", "first"},
                     {"a/4", "second"}, {"a/5", "first"},  {"a/6", "second"}};
  // Epochs up to this one were durable, a successor that was only begun says.
  for (const uint64_t durable : {0, 1, 2, 3}) {
    for (size_t broken = 0; broken < at.size(); ++broken) {
      INFO(durable << ' ' << broken);
      CraftedSegment first = log;
      first.bytes[at[broken] + kFrameHeaderBytes + 3] ^= 1;
      const CraftedSegment second({{1}, 2, 1, log.bytes.size(), durable + 1});
      const Salvaged found =
          salvage_disk(durable == 0 ? disk_of({&first}) : disk_of({&first, &second}));
      Contents expected = all;
      if (broken < durable) {
        expected.erase("a/" + std::to_string(2 * broken + 1));
        REQUIRE(found.damage == std::vector<Damage>{{SegmentName(1).text, at[broken],
                                                     "the frame's checksum is wrong"}});
      } else {  // a torn tail
        std::erase_if(expected, [&](const auto& entry) {
          return size_t(entry.first[2] - '1') / 2 >= broken;
        });
        REQUIRE(found.damage.empty());
      }
      REQUIRE(found.contents == expected);
    }
  }
}

TEST_CASE("what lies behind damage is found in the time that one reading takes, or a few") {
  // Each header claims all that follows, up to the commit, and none of their checksums is right.
  constexpr size_t kHeaders = 2000;
  constexpr size_t kApart = 1 << 10;
  CraftedSegment segment;
  segment.put("a/1", "one");
  segment.commit();
  const size_t end = segment.bytes.size() + kHeaders * kApart;
  while (segment.bytes.size() < end) {
    const size_t at = segment.bytes.size();
    segment.add(FrameType::kPut, "a/b", end - at - kFrameHeaderBytes - 3, {});
    segment.bytes.resize(at + kApart, 0xA5);
  }
  segment.frames = 0;
  segment.batch_start = segment.bytes.size();
  segment.digest = kDigestStart;
  segment.put("a/2", "two");
  CommitPayload payload = segment.next_commit();
  payload.durable_epoch = 2;
  payload.first_epoch = payload.last_epoch = 3;
  segment.commit(payload);

  SimFileSystem files(disk_of({&segment}));
  const auto inner = open_read_only(files);
  CountingDirectory directory(*inner);
  const Salvaged saved = salvage_all(directory);
  REQUIRE(saved.status == Status::kOk);
  REQUIRE(saved.contents == Contents{{"a/1", "one"}, {"a/2", "two"}});
  REQUIRE(directory.bytes_read < 20 * segment.bytes.size());
}

TEST_CASE("salvage passes over one damaged frame after another, and keeps what lies around them") {
  CraftedSegment segment;
  std::vector<size_t> ends;
  for (const char* key : {"a/1", "a/2", "a/3", "a/4"}) {
    segment.put(key, "value");
    ends.push_back(segment.bytes.size());
  }
  segment.commit();
  CommitPayload closing = segment.next_commit();  // so that all before it was durable
  closing.last_epoch = closing.durable_epoch = segment.epoch;
  segment.commit(closing);
  for (const size_t begin : {ends[0], ends[1]}) segment.bytes[begin + kFrameHeaderBytes + 3] ^= 1;
  const SimDisk disk = disk_of({&segment});
  const std::vector<Damage> damage = verify_disk(disk);
  REQUIRE(damage.size() == 1);
  REQUIRE(damage[0].offset == ends[0]);
  REQUIRE(salvage_disk(disk).contents == Contents{{"a/1", "value"}, {"a/4", "value"}});
}

TEST_CASE("a frame that is cut off, or has more than zeros behind it, ends the log") {
  TwoSegments log;
  const auto cut_to = [&](size_t bytes) {
    CraftedSegment cut = log.first;
    cut.bytes.resize(bytes);
    return recover_segments({&cut});
  };
  const size_t large_end = kSegmentStart + frame_bytes(3, kLarge);
  const std::pair<size_t, uint64_t> cuts[] = {
      {kSegmentStart + 8, 1}, {kSegmentStart + 24, 1}, {large_end - 8, 1},
      {large_end, 1},         {large_end + 8, 2},      {large_end + 24, 2},
      {large_end + 32, 2},    {large_end + 56, 3},     {log.first.bytes.size() - 8, 3}};
  for (const auto& [bytes, frames] : cuts) {
    INFO(bytes);
    const Recovered found = cut_to(bytes);
    REQUIRE(found.status == Status::kOk);
    REQUIRE(found.report.recovered_epoch == 0);
    REQUIRE(found.report.frames_cut == frames);
  }
  for (const size_t at : {large_end - 1, large_end + 31}) {  // the frames' padding
    CraftedSegment dirty = log.first;
    REQUIRE(dirty.bytes[at] == 0);
    dirty.bytes[at] = 1;
    const Recovered found = recover_segments({&dirty});
    REQUIRE(found.status == Status::kOk);
    REQUIRE(found.report.recovered_epoch == 0);
    REQUIRE(found.report.highest_epoch_seen == 1);
  }
}

}  // namespace dskvs::test
