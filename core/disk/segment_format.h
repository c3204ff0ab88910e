// The bytes of a segment file. docs/file-format.md describes them one by one.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dskvs {

inline constexpr const char* kLockName = "dskvs.lock";        // makes a directory a store
inline constexpr const char* kReserveName = "reserve";        // room to free when the disk is full
inline constexpr const char* kUnfinishedName = "unfinished";  // what is here is not all yet

inline constexpr uint32_t kFormatVersion = 1;
inline constexpr uint64_t kBlockBytes = 4096;           // durable bytes share none with later ones
inline constexpr uint64_t kSegmentStart = kBlockBytes;  // where the first frame begins
inline constexpr size_t kSegmentHeaderBytes = 128;      // the rest of the first block is zeros
inline constexpr size_t kFrameHeaderBytes = 24;
inline constexpr size_t kCommitPayloadBytes = 72;
inline constexpr size_t kCommitFrameBytes = kFrameHeaderBytes + kCommitPayloadBytes;
inline constexpr size_t kKeyBytesMax = 65535;
inline constexpr uint64_t kEpochMax = UINT64_MAX >> 1;  // so that sums never overflow
inline constexpr uint64_t kSegmentIdMax = INT32_MAX;  // so that 31 bits tell where an entry stands

using StoreId = std::array<uint8_t, 16>;  // random; all zeros: none yet

// A segment file: `bytes` are what it occupies, the log's part of it ends at `end`.
struct SegmentFile {
  uint64_t id;
  uint64_t bytes;
  uint64_t end;
};

// "%016x.dskvs"; ids begin with 1.
struct SegmentName {
  explicit SegmentName(uint64_t id);
  char text[23];
};
bool parse_segment_name(std::string_view name, uint64_t* id);

// This, FrameHeader and CommitPayload stand on disk as they are here.
struct SegmentHeader {
  StoreId store_id;
  uint64_t segment_id;
  uint64_t previous_segment;  // the durable point that this segment continues;
  uint64_t previous_end;      // 0, 0: it is the first
  uint64_t first_epoch;       // all before was durable when the segment was made
};

enum class FrameType : uint8_t { kPut = 1, kRemove = 2, kDrop = 3, kCommit = 4, kPad = 5 };

struct FrameHeader {
  uint64_t checksum = 0;
  uint32_t check = 0;  // of what follows
  FrameType type;
  uint8_t zero = 0;
  uint16_t key_size;
  uint64_t value_size;
};

inline constexpr uint64_t kDigestStart = 0x6473'6b76'7331u;
constexpr uint64_t add_to_digest(uint64_t digest, uint64_t frame_checksum) {
  digest = (digest ^ frame_checksum) * 0x9E3779B97F4A7C15u;
  return digest ^ (digest >> 29);
}

struct CommitPayload {
  uint64_t first_epoch = 0;
  uint64_t last_epoch = 0;
  uint64_t frames = 0;             // put, remove and drop frames of the batch
  uint64_t bytes = 0;              // from the batch's first frame to the commit frame
  uint64_t digest = kDigestStart;  // of the frames' checksums, in order
  uint64_t durable_epoch = 0;      // known to be durable when this was written
  uint64_t first_live_segment = 0;
  StoreId store_id{};  // lets salvage read a segment whose header is lost
};

enum class HeaderState { kGood, kBad, kLaterVersion };

void encode_segment_header(const SegmentHeader& header, std::byte* block);  // kBlockBytes
// `bytes` of the first block are there; kGood only when all are.
HeaderState decode_segment_header(const std::byte* block, size_t bytes, SegmentHeader* header);

// Binds checksums to store and segment; the frame's offset is mixed in for each frame.
class FrameSeed {
 public:
  FrameSeed() = default;
  FrameSeed(const StoreId& store_id, uint64_t segment_id);
  uint64_t at(uint64_t offset) const { return base_ + offset * 0x9E3779B97F4A7C15u; }

 private:
  uint64_t base_ = 0;
};

// Bytes of the whole frame, padding included. No overflow: REQUIRES value_size <= 2^63.
constexpr uint64_t frame_bytes(uint64_t key_size, uint64_t value_size) {
  return (kFrameHeaderBytes + key_size + value_size + 7) & ~uint64_t{7};
}

// Writes the header at `frame`, with no checksum yet: that covers what follows it.
void encode_frame_header(FrameType type, uint16_t key_size, uint64_t value_size, uint64_t seed,
                         std::byte* frame);
inline constexpr size_t kChecksumFrom = 8;  // the first byte that a frame's checksum covers
// Maps a hash to what is stored: never 0, so that zeroed blocks are no frames.
constexpr uint64_t stored_checksum(uint64_t hash) { return std::max(hash, uint64_t{1}); }
// Returns what it stored.
uint64_t store_checksum(uint64_t hash, std::byte* frame);

// Whether the 24 bytes at `frame` are a header as the writer makes it: a known type, sizes that
// its type allows, its own check in order, a checksum that can be one. Whether the rest fits, and
// that checksum, is not said.
bool decode_frame_header(const std::byte* frame, uint64_t seed, FrameHeader* header);

bool all_zero(const std::byte* bytes, size_t size);

void encode_commit_payload(const CommitPayload& payload, std::byte* bytes);
CommitPayload decode_commit_payload(const std::byte* bytes);

}  // namespace dskvs
