// Goal: to open a directory takes no more memory than three times its bytes and 16 MiB, and a
// little for each collection; what a sparse file only claims takes neither memory nor time; and a
// store of which a copy has holes is still that store. Method: logs made by hand of the smallest
// frames, by the million, and of large values in holes, opened by a process of their own, which
// says what it took at its peak. A real store, in whose files holes are punched wherever there are
// zeros.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "environment.h"
#include "store.h"
#include "support/crafted_segment.h"
#include "support/log_disk.h"
#include "support/sanitizers.h"
#include "support/temp_dir.h"

namespace dskvs::test {
namespace {

constexpr uint64_t kMegabyte = uint64_t{1} << 20;
constexpr bool kSanitized = kAddressSanitizer || kThreadSanitizer;

uint64_t peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) << 10;
  }
  return 0;
}

// Runs `body` in a child, so that this process stays small and its arena untouched.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(body());
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

std::string path_in(const std::string& store, uint64_t segment) {
  return store + "/" + SegmentName(segment).text;
}

void write_segment(const std::string& store, const CraftedSegment& segment) {
  ::mkdir(store.c_str(), 0700);
  std::ofstream(path_in(store, segment.header.segment_id), std::ios::binary)
      .write(reinterpret_cast<const char*>(segment.bytes.data()),
             static_cast<std::streamsize>(segment.bytes.size()));
}

struct Opened {
  Status status;
  uint64_t entries;
  uint64_t recovered_epoch;
  uint64_t bytes;  // that it took, at its peak
  double seconds;
};

Opened open_in_child(const std::string& path) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  in_child([&] {
    const uint64_t before = peak_bytes();
    const auto begin = std::chrono::steady_clock::now();
    std::unique_ptr<Store> store;
    Options options;
    options.read_only = true;  // so that nothing is written meanwhile
    Opened opened{};
    opened.status = Store::open(path.c_str(), options, real_environment(), &store);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    opened.seconds = took.count();
    opened.bytes = peak_bytes() - before;
    if (opened.status == Status::kOk) {
      dskvs_stats_t stats{};
      store.release()->stats(&stats);
      opened.entries = stats.entries;
      opened.recovered_epoch = stats.recovered_epoch;
    }
    return ::write(ends[1], &opened, sizeof opened) == sizeof opened ? 0 : 1;
  });
  Opened opened{};
  REQUIRE(::read(ends[0], &opened, sizeof opened) == sizeof opened);
  ::close(ends[0]);
  ::close(ends[1]);
  return opened;
}

uint64_t limit_of(uint64_t bytes) { return 3 * bytes + 16 * kMegabyte; }

// Five letters.
std::string name_of(uint64_t i) {
  std::string name(5, 'a');
  for (char& letter : name) {
    letter = static_cast<char>('a' + i % 26);
    i /= 26;
  }
  return name;
}

// `frames` frames, committed; what they say is durable or not.
void require_small(const std::function<void(CraftedSegment&, uint64_t)>& add, bool durable,
                   uint64_t bytes_more_each = 0) {
  const uint64_t frames = kSanitized ? 20'000 : 1'000'000;
  TempDir temp;
  const std::string store = temp / "store";
  in_child([&] {
    CraftedSegment segment;
    segment.bytes.reserve(frames * 40);
    for (uint64_t i = 0; i < frames; ++i) add(segment, i);
    segment.commit();
    if (durable) {
      CommitPayload closing = segment.next_commit();
      closing.last_epoch = closing.durable_epoch = segment.epoch;
      segment.commit(closing);
    }
    write_segment(store, segment);
    return 0;
  });
  const uint64_t bytes = std::filesystem::file_size(path_in(store, 1));
  const Opened opened = open_in_child(store);
  INFO(bytes << " bytes took " << opened.bytes);
  REQUIRE(opened.status == Status::kOk);
  REQUIRE(opened.recovered_epoch == 1);
  if (!kSanitized) REQUIRE(opened.bytes <= limit_of(bytes) + bytes_more_each * frames);
}

// Segment 1: a put, its commit, and a frame that claims `claim` bytes, all in a hole. Its length;
// 0: the file system cannot.
enum class Behind { kZeros, kHeader, kNothing };
uint64_t write_claim(const std::string& store, uint64_t claim, Behind what) {
  CraftedSegment segment;
  segment.put("a/b", "c");
  segment.commit();
  const uint64_t behind = segment.bytes.size() + frame_bytes(3, claim);
  segment.add(FrameType::kPut, "a/b", claim, "");
  write_segment(store, segment);
  std::byte header[kFrameHeaderBytes];
  const uint64_t seed = FrameSeed(segment.header.store_id, 1).at(behind);
  encode_frame_header(FrameType::kCommit, 0, kCommitPayloadBytes, seed, header);
  store_checksum(1, header);
  const int fd = ::open(path_in(store, 1).c_str(), O_WRONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  if (what == Behind::kHeader) {
    REQUIRE(::pwrite(fd, header, sizeof header, static_cast<off_t>(behind)) == sizeof header);
  }
  const uint64_t end = behind + (what == Behind::kNothing ? 0 : kCommitFrameBytes);
  const bool made = ::ftruncate(fd, static_cast<off_t>(end)) == 0;
  ::close(fd);
  return made ? end : 0;
}

// Punches a hole over each block of zeros; how many.
uint64_t punch_holes(const std::string& file) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(fd >= 0);
  uint64_t holes = 0;
  std::vector<std::byte> block(kBlockBytes);
  for (off_t at = 0; ::pread(fd, block.data(), block.size(), at) == ssize_t(kBlockBytes);
       at += off_t(kBlockBytes)) {
    if (!all_zero(block.data(), block.size())) continue;
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (::fallocate(fd, mode, at, off_t(kBlockBytes)) == 0) ++holes;
  }
  ::close(fd);
  return holes;
}

// What is said of holes: the truth; that one begins everywhere, without an end; that all is one, as
// file systems did of data that was not on the disk yet.
enum class Holes { kTrue, kEndless, kEverywhere };

// Counts reads and lets one fail.
class HoleDirectory final : public PassingDirectory {
 public:
  HoleDirectory(Directory& inner, uint64_t fail_at, Holes holes)
      : PassingDirectory(inner), left_(fail_at), holes_(holes) {}
  Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override {
    const Status status = inner_.open_file(name, mode, file);
    if (status == Status::kOk) *file = std::make_unique<HoleFile>(*this, std::move(*file));
    return status;
  }
  bool failed() const { return failed_; }

 private:
  class HoleFile final : public PassingFile {
   public:
    HoleFile(HoleDirectory& directory, std::unique_ptr<File> inner)
        : PassingFile(std::move(inner)), directory_(directory) {}
    Status read(uint64_t offset, void* buffer, size_t size, size_t* got) override {
      if (directory_.left_-- != 0) return inner_->read(offset, buffer, size, got);
      directory_.failed_ = true;
      return fail(Status::kIo, "a read fails");
    }
    uint64_t next_hole(uint64_t offset) override {
      return directory_.holes_ == Holes::kTrue ? inner_->next_hole(offset) : offset;
    }
    uint64_t next_data(uint64_t offset) override {
      if (directory_.holes_ == Holes::kTrue) return inner_->next_data(offset);
      return directory_.holes_ == Holes::kEndless ? offset : UINT64_MAX;
    }

   private:
    HoleDirectory& directory_;
  };

  uint64_t left_;
  const Holes holes_;
  bool failed_ = false;
};

}  // namespace

TEST_CASE("to open a log of small frames takes three times its bytes") {
  const auto put = [](CraftedSegment& s, uint64_t i) { s.put("a/" + name_of(i), ""); };
  const auto remove = [](CraftedSegment& s, uint64_t i) {
    s.add(FrameType::kRemove, "a/" + name_of(i), 0, "");
  };
  const auto remove_alone = [](CraftedSegment& s, uint64_t i) {
    s.add(FrameType::kRemove, name_of(i) + "/a", 0, "");
  };
  const auto drop = [](CraftedSegment& s, uint64_t i) {
    s.add(FrameType::kDrop, name_of(i), 0, "");
  };
  for (const bool durable : {true, false}) {
    INFO(durable);
    require_small(put, durable);
    require_small(remove, durable);
    require_small(remove_alone, durable);
    require_small(drop, durable);
  }
}

TEST_CASE("a collection takes some more") {
  for (const bool durable : {true, false}) {
    INFO(durable);
    require_small([](CraftedSegment& s, uint64_t i) { s.put(name_of(i) + "/a", ""); }, durable, 64);
  }
}

TEST_CASE("what a hole claims takes neither memory nor time") {
  const uint64_t memory = uint64_t(::sysconf(_SC_PHYS_PAGES)) * uint64_t(::sysconf(_SC_PAGESIZE));
  const double seconds_max = kSanitized ? 10 : 1;
  TempDir temp;
  SECTION("at the log's end") {
    const std::string store = temp / "store";
    if (write_claim(store, std::min(memory / 2, 16'000 * kMegabyte), Behind::kZeros) == 0 ||
        ::truncate(path_in(store, 1).c_str(), off_t{1} << 40) != 0) {
      WARN("no sparse file of this size can be made here");
      return;
    }
    const Opened opened = open_in_child(store);
    REQUIRE(opened.status == Status::kOk);
    REQUIRE(opened.entries == 1);
    REQUIRE(opened.recovered_epoch == 1);
    REQUIRE(opened.seconds < seconds_max);
    if (!kSanitized) REQUIRE(opened.bytes <= limit_of(2 * kBlockBytes));
  }
  SECTION("before another segment") {
    for (const Behind what : {Behind::kZeros, Behind::kHeader, Behind::kNothing}) {
      INFO(int(what));
      const std::string store = temp / std::to_string(int(what));
      const uint64_t most = kSanitized ? 100 : what == Behind::kHeader ? 500 : 3'000;
      const uint64_t claim = std::min(memory / 8, most * kMegabyte);
      const uint64_t end = write_claim(store, claim, what);
      if (end == 0) {
        WARN("no sparse file of this size can be made here");
        return;
      }
      CraftedSegment second({{1}, 2, 1, end, 3});
      second.put("a/c", "d");
      second.commit();
      write_segment(store, second);
      const Opened opened = open_in_child(store);
      REQUIRE(opened.status == Status::kCorrupt);
      if (what != Behind::kHeader) REQUIRE(opened.seconds < seconds_max);
      if (!kSanitized) REQUIRE(opened.bytes <= limit_of(4 * kBlockBytes));
      const auto directory = open_locked(posix_file_system(), store.c_str());
      REQUIRE(recover_all(*directory).status == Status::kCorrupt);
    }
  }
}

TEST_CASE("a store whose values of zeros became holes is that store") {
  // From what is buffered whole to more than is read at once, with other bytes at any place.
  const uint64_t sizes[] = {100'000, 300'000, kMegabyte, 3'333'333};
  TempDir temp;
  const std::string path = temp / "store";
  Contents contents;
  {
    const auto directory = open_locked(posix_file_system(), path.c_str());
    LogClient client(*directory, 16 * kMegabyte);
    for (const uint64_t size : sizes) {
      for (int kind = 0; kind < 8; ++kind) {
        std::string value(size, '\0');
        if ((kind & 1) != 0) value.front() = 'x';
        if ((kind & 2) != 0) value[size / 2] = 'y';
        if ((kind & 4) != 0) value.back() = 'z';
        client.put("a/" + std::to_string(size) + "," + std::to_string(kind), value);
        REQUIRE(client.write() == Status::kOk);
      }
    }
    contents = client.at(client.accepted());
    REQUIRE(client.writer->live_segments().size() > 1);
    REQUIRE(client.writer->close() == Status::kOk);
  }
  uint64_t holes = 0;
  for (const auto& file : std::filesystem::directory_iterator(path)) {
    if (file.path().extension() == ".dskvs") holes += punch_holes(file.path());
  }
  if (holes == 0) WARN("no holes can be made here");
  const auto directory = open_locked(posix_file_system(), path.c_str());
  REQUIRE(directory != nullptr);
  const Recovered found = recover_all(*directory);
  INFO(last_error());
  REQUIRE(found.status == Status::kOk);
  REQUIRE((found.contents == contents));
  const Salvaged salvaged = salvage_all(*directory);
  REQUIRE(salvaged.status == Status::kOk);
  REQUIRE(salvaged.damage.empty());
  REQUIRE((salvaged.contents == contents));
}

TEST_CASE(
    "a read that fails beside a hole fails the open, and what holes are said to be decides "
    "nothing") {
  CraftedSegment first;
  first.put("a/1", "x" + std::string(2 * kMegabyte, '\0') + "y");
  first.commit();
  CraftedSegment second(first, 2);
  second.put("a/2", std::string(2 * kMegabyte, '\0'));
  second.commit();
  TempDir temp;
  const std::string path = temp / "store";
  for (const CraftedSegment* segment : {&first, &second}) {
    write_segment(path, *segment);
    (void)punch_holes(path_in(path, segment->header.segment_id));
  }
  const auto inner = open_locked(posix_file_system(), path.c_str());
  HoleDirectory endless(*inner, UINT64_MAX, Holes::kEndless);
  const Recovered whole = recover_all(endless);
  REQUIRE(whole.status == Status::kOk);
  REQUIRE(whole.contents.size() == 2);
  HoleDirectory lying(*inner, UINT64_MAX, Holes::kEverywhere);
  const Recovered all_the_same = recover_all(lying);
  REQUIRE(all_the_same.status == Status::kOk);
  REQUIRE((all_the_same.contents == whole.contents));
  bool failed = true;
  for (uint64_t fail_at = 0; failed; ++fail_at) {
    INFO(fail_at);
    HoleDirectory directory(*inner, fail_at, Holes::kTrue);
    const Recovered found = recover_all(directory);
    failed = directory.failed();
    REQUIRE(found.status == (failed ? Status::kIo : Status::kOk));
    if (!failed) REQUIRE((found.contents == whole.contents));
  }
}

}  // namespace dskvs::test
