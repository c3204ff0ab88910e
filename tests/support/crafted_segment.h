// A segment made by hand: whatever it says, its checksums are right.
#pragma once

#include "checksum.h"
#include "disk/segment_format.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace dskvs::test {

struct CraftedSegment {
  SegmentHeader header;
  std::vector<uint8_t> bytes;
  uint64_t epoch;  // of the last commit()
  uint64_t batch_start = kSegmentStart;
  uint64_t frames = 0;
  uint64_t digest = kDigestStart;
  uint64_t durable_epoch;

  CraftedSegment() : CraftedSegment({{1}, 1, 0, 0, 1}) {}
  explicit CraftedSegment(const SegmentHeader& said)
      : header(said), epoch(said.first_epoch - 1), durable_epoch(said.first_epoch - 1) {
    bytes.resize(kSegmentStart);
    encode_segment_header(header, data(0));
  }
  // Begins where `previous` ends now, and says that it was durable up to there.
  explicit CraftedSegment(const CraftedSegment& previous, uint64_t id)
      : CraftedSegment({previous.header.store_id, id, previous.header.segment_id,
                        previous.bytes.size(), previous.epoch + 1}) {}

  std::byte* data(size_t at) { return reinterpret_cast<std::byte*>(bytes.data() + at); }

  // Claims the sizes, brings along what is given.
  void add(FrameType type, const std::string& key, uint64_t value_size, const std::string& rest) {
    const size_t at = bytes.size();
    const size_t size = (kFrameHeaderBytes + key.size() + rest.size() + 7) & ~size_t{7};
    bytes.resize(at + size);
    std::memcpy(data(at + kFrameHeaderBytes), key.data(), key.size());
    std::memcpy(data(at + kFrameHeaderBytes + key.size()), rest.data(), rest.size());
    const uint64_t seed = FrameSeed(header.store_id, header.segment_id).at(at);
    encode_frame_header(type, static_cast<uint16_t>(key.size()), value_size, seed, data(at));
    const size_t covered = kFrameHeaderBytes + key.size() + rest.size() - kChecksumFrom;
    const uint64_t sum = checksum(seed, data(at + kChecksumFrom), covered);
    digest = add_to_digest(digest, store_checksum(sum, data(at)));
    ++frames;
  }
  void put(const std::string& key, const std::string& value) {
    add(FrameType::kPut, key, value.size(), value);
  }

  // What a writer would say of the frames since the last commit.
  CommitPayload next_commit() const {
    return {.first_epoch = epoch + 1,
            .last_epoch = epoch + 1,
            .frames = frames,
            .bytes = frames == 0 ? 0 : bytes.size() - batch_start,
            .digest = digest,
            .durable_epoch = durable_epoch,
            .first_live_segment = 1,
            .store_id = header.store_id};
  }
  void commit() { commit(next_commit()); }
  void commit(const CommitPayload& payload) {
    std::string text(kCommitPayloadBytes, '\0');
    encode_commit_payload(payload, reinterpret_cast<std::byte*>(text.data()));
    add(FrameType::kCommit, "", kCommitPayloadBytes, text);
    epoch = payload.last_epoch;
    durable_epoch = payload.durable_epoch;
    batch_start = bytes.size();
    frames = 0;
    digest = kDigestStart;
  }
};

}  // namespace dskvs::test
