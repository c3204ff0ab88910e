#include "disk/segment_format.h"

#include "checksum.h"

#include <bit>
#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <cstring>

namespace dskvs {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr char kMagic[8] = {'d', 's', 'k', 'v', 's', 'L', 'O', 'G'};
constexpr uint64_t kHeaderSeed = 0x6473'6b76'7348'4452u;

// A segment's first block, byte by byte.
struct HeaderBlock {
  char magic[8];
  uint32_t version;
  uint32_t flags;
  SegmentHeader header;
  std::byte reserved[56];
  uint64_t checksum;  // of all bytes before it: here in every version
  std::byte rest[kBlockBytes - kSegmentHeaderBytes];
};
constexpr size_t kAtHeaderChecksum = offsetof(HeaderBlock, checksum);

static_assert(kAtHeaderChecksum == 120 && sizeof(HeaderBlock) == kBlockBytes);
static_assert(sizeof(FrameHeader) == kFrameHeaderBytes);
static_assert(sizeof(CommitPayload) == kCommitPayloadBytes);

template <typename T>
T load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

uint32_t check_of(const FrameHeader& header, uint64_t seed) {
  constexpr size_t kFrom = offsetof(FrameHeader, type);
  const auto* const bytes = reinterpret_cast<const std::byte*>(&header);
  return static_cast<uint32_t>(checksum(seed, bytes + kFrom, sizeof header - kFrom));
}

bool sizes_fit_type(const FrameHeader& header) {
  switch (header.type) {
    case FrameType::kPut:
      return header.key_size >= 3;
    case FrameType::kRemove:
      return header.key_size >= 3 && header.value_size == 0;
    case FrameType::kDrop:
      return header.key_size >= 1 && header.value_size == 0;
    case FrameType::kCommit:
      return header.key_size == 0 && header.value_size == kCommitPayloadBytes;
    case FrameType::kPad:
      return header.key_size == 0 && header.value_size < 2 * kBlockBytes;
  }
  return false;  // a type that is none
}

}  // namespace

SegmentName::SegmentName(uint64_t id) {
  std::snprintf(text, sizeof text, "%016" PRIx64 ".dskvs", id);
}

// Only what SegmentName makes is a name.
bool parse_segment_name(std::string_view name, uint64_t* id) {
  *id = 0;
  std::from_chars(name.data(), name.data() + name.size(), *id, 16);
  return *id != 0 && name == SegmentName(*id).text;
}

void encode_segment_header(const SegmentHeader& header, std::byte* block) {
  HeaderBlock encoded{};
  std::memcpy(encoded.magic, kMagic, sizeof kMagic);
  encoded.version = kFormatVersion;
  encoded.header = header;
  encoded.checksum = checksum(kHeaderSeed, &encoded, kAtHeaderChecksum);
  std::memcpy(block, &encoded, sizeof encoded);
}

bool all_zero(const std::byte* bytes, size_t size) {
  return size == 0 || (bytes[0] == std::byte{0} && std::memcmp(bytes, bytes + 1, size - 1) == 0);
}

HeaderState decode_segment_header(const std::byte* block, size_t bytes, SegmentHeader* header) {
  if (bytes < kBlockBytes) return HeaderState::kBad;
  const auto read = load<HeaderBlock>(block);
  if (std::memcmp(read.magic, kMagic, sizeof kMagic) != 0) return HeaderState::kBad;
  if (read.checksum != checksum(kHeaderSeed, block, kAtHeaderChecksum)) return HeaderState::kBad;
  if (read.version > kFormatVersion) return HeaderState::kLaterVersion;
  *header = read.header;
  const bool sound =
      read.version == kFormatVersion && read.flags == 0 &&
      all_zero(read.reserved, sizeof read.reserved) && all_zero(read.rest, sizeof read.rest) &&
      header->segment_id != 0 && header->previous_segment < header->segment_id &&
      header->first_epoch != 0 && header->first_epoch < kEpochMax &&
      (header->previous_segment == 0 ? header->previous_end == 0 && header->first_epoch == 1
                                     : header->previous_end > kSegmentStart);
  return sound ? HeaderState::kGood : HeaderState::kBad;
}

FrameSeed::FrameSeed(const StoreId& store_id, uint64_t segment_id)
    : base_(checksum(segment_id, store_id.data(), store_id.size())) {}

void encode_frame_header(FrameType type, uint16_t key_size, uint64_t value_size, uint64_t seed,
                         std::byte* frame) {
  FrameHeader header{.type = type, .key_size = key_size, .value_size = value_size};
  header.check = check_of(header, seed);
  std::memcpy(frame, &header, sizeof header);
}

uint64_t store_checksum(uint64_t hash, std::byte* frame) {
  const uint64_t stored = stored_checksum(hash);
  std::memcpy(frame, &stored, sizeof stored);
  return stored;
}

bool decode_frame_header(const std::byte* frame, uint64_t seed, FrameHeader* header) {
  *header = load<FrameHeader>(frame);
  return header->checksum != 0 && header->zero == 0 && sizes_fit_type(*header) &&
         header->check == check_of(*header, seed);
}

void encode_commit_payload(const CommitPayload& payload, std::byte* bytes) {
  std::memcpy(bytes, &payload, sizeof payload);
}

CommitPayload decode_commit_payload(const std::byte* bytes) { return load<CommitPayload>(bytes); }

}  // namespace dskvs
