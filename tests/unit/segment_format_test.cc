// Goal: the bytes of format 1 never change by accident, and every later version still opens them.
// Method: a store with every kind of frame, made by a fixed history, is compared byte by byte with
// the files in golden/format-1, which are committed and opened too. DSKVS_WRITE_GOLDEN=directory
// writes them anew, for a new format version.

#include "disk/segment_format.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "support/catch.h"
#include "support/log_client.h"
#include "support/temp_dir.h"

namespace dskvs::test {
namespace {

const std::filesystem::path kGolden = std::filesystem::path(DSKVS_GOLDEN_DIR) / "format-1";

std::string pattern(size_t size) {
  std::string value(size, '\0');
  for (size_t i = 0; i < size; ++i) value[i] = static_cast<char>(i * 7 + i / 251);
  return value;
}

// Two segments, a durable mark, a torn tail, every type of frame, values of several blocks.
Contents write_history(const std::string& path) {
  const auto directory = open_locked(posix_file_system(), path.c_str());
  REQUIRE(directory != nullptr);
  LogClient client(*directory, 12 << 10);
  client.accept({{FrameType::kPut, "fruit/apple", "red"},
                 {FrameType::kPut, "fruit/banana", ""},
                 {FrameType::kPut, std::string("odd\n\0/a/b", 9), pattern(3)}});
  REQUIRE(client.write_and_sync() == Status::kOk);
  client.accept({{FrameType::kRemove, "fruit/banana", {}},
                 {FrameType::kPut, "big/one", pattern(17000)},
                 {FrameType::kPut, "gone/soon", "x"}});
  REQUIRE(client.write() == Status::kOk);
  client.accept({{FrameType::kDrop, "gone", {}}, {FrameType::kPut, "fruit/cherry", pattern(513)}});
  REQUIRE(client.write() == Status::kOk);
  REQUIRE(client.writer->segment() == 2);
  REQUIRE(client.writer->begin(4) == Status::kOk);  // never committed: nothing of it is written
  return client.at(3);
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("names of segments") {
  REQUIRE(std::string(SegmentName(1).text) == "0000000000000001.dskvs");
  REQUIRE(std::string(SegmentName(UINT64_MAX).text) == "ffffffffffffffff.dskvs");
  uint64_t id = 0;
  REQUIRE(parse_segment_name("00000000deadbeef.dskvs", &id));
  REQUIRE(id == 0xdeadbeef);
  for (const char* name : {"0000000000000000.dskvs", "00000000DEADBEEF.dskvs", "1.dskvs", "",
                           "000000000000000g.dskvs", "0000000000000001.dskvs~",
                           "0000000000000001.dskvS", " 000000000000001.dskvs", "dskvs.lock"}) {
    INFO(name);
    REQUIRE_FALSE(parse_segment_name(name, &id));
  }
}

TEST_CASE("sizes of frames") {
  REQUIRE(frame_bytes(0, 0) == 24);
  REQUIRE(frame_bytes(3, 0) == 32);
  REQUIRE(frame_bytes(8, 1) == 40);
  REQUIRE(frame_bytes(65535, uint64_t{1} << 62) == (uint64_t{1} << 62) + 65560);
  REQUIRE(kCommitFrameBytes == 96);
}

TEST_CASE("format 1 is written as it always was") {
  TempDir temp(TempDir::fast_base());
  write_history(temp / "store");
  if (const char* target = std::getenv("DSKVS_WRITE_GOLDEN"); target != nullptr) {
    std::filesystem::copy(temp / "store", target);
  }
  for (const uint64_t id : {uint64_t{1}, uint64_t{2}}) {
    const std::string golden = read(kGolden / SegmentName(id).text);
    REQUIRE(golden.size() > kSegmentStart);
    REQUIRE(read((temp / "store/") + SegmentName(id).text) == golden);
  }
}

TEST_CASE("format 1 is read") {
  TempDir temp(TempDir::fast_base());
  const Contents expected = write_history(temp / "store");
  std::unique_ptr<Directory> directory;
  REQUIRE(open_store_directory(posix_file_system(), kGolden.c_str(), Presence::kMustExist,
                               &directory) == Status::kOk);
  const Recovered found = recover_all(*directory);
  INFO(last_error());
  REQUIRE(found.status == Status::kOk);
  REQUIRE(found.contents == expected);
  REQUIRE(found.report.recovered_epoch == 3);
  REQUIRE(found.position.durable_epoch == 2);
  REQUIRE(found.position.next_segment_id == 3);
}

}  // namespace dskvs::test
