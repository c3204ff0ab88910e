#include "fuzz/bodies.h"

#include <dskvs/dskvs.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "checksum.h"
#include "disk/segment_format.h"
#include "fuzz/fuzz_world.h"
#include "fuzz/input.h"
#include "model/api_model.h"

namespace dskvs::test {
namespace {

constexpr StoreId kStoreId{1, 2, 3};

// Builds one segment out of the input: frames whose fields are mostly what they should be.
class SegmentBuilder {
 public:
  SegmentBuilder(Input& input, uint64_t id, uint64_t previous_end, uint64_t first_epoch)
      : input_(input),
        id_(id),
        seed_(kStoreId, id),
        epoch_(first_epoch),
        batch_epoch_(first_epoch) {
    bytes_.resize(kBlockBytes);
    bool first = id == 1 || input.byte() % 16 == 0;
    encode_segment_header({.store_id = kStoreId,
                           .segment_id = id,
                           .previous_segment = first ? 0 : id - 1,
                           .previous_end = first ? 0 : previous_end,
                           .first_epoch = first ? 1 : first_epoch},
                          bytes_.data());
    batch_start_ = bytes_.size();
  }

  void build() {
    for (uint32_t frames = input_.below(24); frames > 0 && !input_.empty(); frames--) add_frame();
    for (uint32_t flips = input_.byte() % 8 == 0 ? input_.byte() % 4 : 0; flips > 0; flips--) {
      size_t at = (input_.below(65536) * size_t{31}) % bytes_.size();
      bytes_[at] ^= std::byte{input_.byte()};
    }
    if (input_.byte() % 8 == 0) bytes_.resize(input_.below(65536) % (bytes_.size() + 1));
  }

  const std::vector<std::byte>& bytes() const { return bytes_; }
  uint64_t end() const { return end_; }
  uint64_t next_epoch() const { return batch_epoch_; }

 private:
  void add_frame() {
    static constexpr const char* kKeys[] = {"a/b", "a/c",     "b/x", "long/member",
                                            "a/",  "noslash", "/x"};
    switch (input_.byte() % 8) {
      case 0:
      case 1:
      case 2: {
        static constexpr uint64_t kSizes[] = {0, 1, 9, 100, 511, 513, 5000, 1u << 20};
        return add(FrameType::kPut, kKeys[input_.byte() % (input_.byte() % 8 == 0 ? 7 : 4)],
                   kSizes[input_.byte() % 8]);
      }
      case 3:
        return add(FrameType::kRemove, kKeys[input_.byte() % 4], 0);
      case 4:
        return add(FrameType::kDrop, "a", 0);
      case 5:
        return add(FrameType::kPad, "", input_.below(kBlockBytes));
      default:
        return add_commit();
    }
  }

  void add(FrameType type, const std::string& key, uint64_t value_size) {
    const size_t at = bytes_.size();
    // A length that lies: the bytes are not there.
    const uint64_t said =
        input_.byte() % 32 == 0 ? uint64_t{input_.byte()} << input_.byte() % 56 : value_size;
    value_size = std::min<uint64_t>(value_size, 8192);
    bytes_.resize(at + frame_bytes(key.size(), value_size));
    std::byte* frame = bytes_.data() + at;
    std::memcpy(frame + kFrameHeaderBytes, key.data(), key.size());
    if (type != FrameType::kPad && value_size != 0) {
      std::memset(frame + kFrameHeaderBytes + key.size(), input_.byte(), value_size);
    }
    seal(type, key.size(), said, value_size, at);
    if (type == FrameType::kPad) return;
    frames_++;
    uint64_t stored;
    std::memcpy(&stored, frame, sizeof stored);
    digest_ = add_to_digest(digest_, stored);
  }

  void seal(FrameType type, size_t key_size, uint64_t said, uint64_t value_size, size_t at) {
    std::byte* frame = bytes_.data() + at;
    const uint64_t seed = seed_.at(at);
    encode_frame_header(type, static_cast<uint16_t>(key_size), said, seed, frame);
    store_checksum(checksum(seed, frame + kChecksumFrom,
                            kFrameHeaderBytes + key_size + value_size - kChecksumFrom),
                   frame);
  }

  void add_commit() {
    const size_t at = bytes_.size();
    CommitPayload payload{.first_epoch = batch_epoch_,
                          .last_epoch = batch_epoch_ + input_.byte() % 3,
                          .frames = frames_,
                          .bytes = at - batch_start_,
                          .digest = digest_,
                          .durable_epoch = batch_epoch_ - 1 - (batch_epoch_ - epoch_) % 2,
                          .first_live_segment = 1 + (input_.byte() % 8 == 0 ? id_ - 1 : 0),
                          .store_id = kStoreId};
    if (input_.byte() % 16 == 0) payload.durable_epoch = input_.byte();
    if (input_.byte() % 16 == 0) payload.first_epoch = input_.byte();
    if (input_.byte() % 16 == 0) payload.frames = input_.byte();
    bytes_.resize(at + kCommitFrameBytes);
    encode_commit_payload(payload, bytes_.data() + at + kFrameHeaderBytes);
    seal(FrameType::kCommit, 0, kCommitPayloadBytes, kCommitPayloadBytes, at);
    batch_epoch_ = payload.last_epoch + 1;
    frames_ = 0;
    digest_ = kDigestStart;
    end_ = batch_start_ = bytes_.size();
  }

  Input& input_;
  const uint64_t id_;
  const FrameSeed seed_;
  const uint64_t epoch_;
  uint64_t batch_epoch_;
  std::vector<std::byte> bytes_;
  uint64_t end_ = 0;
  uint64_t batch_start_ = 0;
  uint64_t frames_ = 0;
  uint64_t digest_ = kDigestStart;
};

Files make_files(Input& input) {
  Files files;
  uint64_t previous_end = kSegmentStart + 8;
  uint64_t epoch = 1;
  const uint64_t segments = 1 + input.byte() % 3;
  for (uint64_t id = 1; id <= segments; id++) {
    SegmentBuilder segment(input, id, previous_end, epoch);
    segment.build();
    files[SegmentName(id).text] = segment.bytes();
    if (segment.end() == 0) continue;
    previous_end = segment.end();
    epoch = segment.next_epoch();
  }
  if (input.byte() % 2 != 0) files[kReserveName];
  return files;
}

using Contents = std::map<std::string, std::map<std::string, std::string>>;

std::map<std::string, std::string> drain(dskvs_list* list) {
  std::map<std::string, std::string> all;
  const char* member;
  const void* value;
  size_t member_size, value_size;
  while (dskvs_list_next(list, &member, &member_size, &value, &value_size) == DSKVS_OK) {
    all.emplace(std::string(member, member_size),
                std::string(static_cast<const char*>(value), value_size));
  }
  dskvs_list_free(list);
  return all;
}

Contents contents_of(dskvs_t store) {
  Contents contents;
  dskvs_list* list = nullptr;
  require(dskvs_collections(store, &list) == DSKVS_OK, "collections");
  for (const auto& [name, count] : drain(list)) {
    require(dskvs_get_all(store, name.data(), name.size(), &list) == DSKVS_OK, "get_all");
    contents[name] = drain(list);
  }
  return contents;
}

dskvs_t open(const std::string& path, bool read_only, int32_t* status) {
  dskvs_options options = DSKVS_OPTIONS_INIT;
  options.read_only = read_only ? 1 : 0;
  dskvs_t store = 0;
  *status = dskvs_open(path.c_str(), &options, &store);
  return store;
}

}  // namespace

bool fuzz_calls(const uint8_t* data, size_t size) {
  Input input(data, size);
  FuzzWorld world(input.byte() % 32 == kRare % 32);
  const Choice choose = [&](uint32_t bound, uint32_t* number) {
    *number = input.below(bound);
    return !input.empty();
  };
  // Mostly none, or an epoch would never hold more than a call.
  const Between between = [&](dskvs_t store) {
    const uint8_t steps = input.byte();
    for (int n = steps % 8 - 4; n > 0; n--) world.step(store, steps / 8 % 2 != 0);
  };
  try {
    run_against_model(world.path("store"), choose, between);
  } catch (const Mismatch& mismatch) {
    fail_fuzz(mismatch.what());
  }
  return true;
}

bool fuzz_directory(const uint8_t* data, size_t size) {
  Input input(data, size);
  FuzzWorld world(input.byte() % 32 == kRare % 32);
  const std::string path = world.path("store");
  world.make_directory("store", make_files(input));

  int32_t read_status;
  dskvs_t store = open(path, true, &read_status);
  Contents contents;
  if (read_status == DSKVS_OK) {
    contents = contents_of(store);
    require(dskvs_close(store) == DSKVS_OK, "close of a reader");
  } else {
    require(read_status == DSKVS_ERR_CORRUPT || read_status == DSKVS_ERR_VERSION,
            "a refusal is corruption or a later version");
  }
  const int32_t verified = dskvs_verify(path.c_str(), nullptr, nullptr);
  require(read_status == DSKVS_OK || verified == read_status || verified == DSKVS_ERR_CORRUPT,
          "verify finds what open refuses");
  const std::string rescued = world.path("rescued");
  const int32_t salvaged = dskvs_salvage(path.c_str(), rescued.c_str(), nullptr, nullptr);
  require(salvaged == DSKVS_OK || salvaged == DSKVS_ERR_VERSION || salvaged == DSKVS_ERR_CORRUPT,
          "salvage");

  int32_t status;
  store = open(path, false, &status);
  require(status == read_status, "a writer opens what a reader opens");
  if (status != DSKVS_OK) return false;
  require(contents_of(store) == contents, "a writer sees what a reader saw");
  require(dskvs_put(store, "new/key", 7, "value", 5) == DSKVS_OK, "put");
  contents["new"]["key"] = "value";
  require(dskvs_close(store) == DSKVS_OK, "close");
  store = open(path, true, &status);
  require(status == DSKVS_OK, "open after a close");
  require(contents_of(store) == contents, "what was closed comes back");
  require(dskvs_close(store) == DSKVS_OK, "close");
  return true;
}

}  // namespace dskvs::test
