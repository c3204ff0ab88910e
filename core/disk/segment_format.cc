#include "disk/segment_format.h"

#include "checksum.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

namespace dskvs {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr char kMagic[8] = {'d', 's', 'k', 'v', 's', 'L', 'O', 'G'};
constexpr uint64_t kHeaderSeed = 0x6473'6b76'7348'4452u;

// Offsets in the segment header.
constexpr size_t kAtMagic = 0;
constexpr size_t kAtVersion = 8;
constexpr size_t kAtFlags = 12;
constexpr size_t kAtStoreId = 16;
constexpr size_t kAtSegmentId = 32;
constexpr size_t kAtPreviousSegment = 40;
constexpr size_t kAtPreviousEnd = 48;
constexpr size_t kAtFirstEpoch = 56;
constexpr size_t kAtReserved = 64;
constexpr size_t kAtHeaderChecksum = 120;  // in every version: over all bytes before it

// Offsets in a frame.
constexpr size_t kAtFrameChecksum = 0;
constexpr size_t kAtHeaderCheck = 8;
constexpr size_t kAtType = 12;
constexpr size_t kAtZero = 13;
constexpr size_t kAtKeySize = 14;
constexpr size_t kAtValueSize = 16;

template <typename T>
void store(std::byte* bytes, size_t at, T value) {
  std::memcpy(bytes + at, &value, sizeof value);
}

template <typename T>
T load(const std::byte* bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes + at, sizeof value);
  return value;
}

uint32_t header_check(const std::byte* frame, uint64_t seed) {
  return static_cast<uint32_t>(checksum(seed, frame + kAtType, kFrameHeaderBytes - kAtType));
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

SegmentName::SegmentName(uint64_t id) { *fmt::format_to(text, "{:016x}.dskvs", id) = '\0'; }

// Only what SegmentName makes is a name.
bool parse_segment_name(std::string_view name, uint64_t* id) {
  *id = 0;
  std::from_chars(name.data(), name.data() + name.size(), *id, 16);
  return *id != 0 && name == SegmentName(*id).text;
}

void encode_segment_header(const SegmentHeader& header, std::byte* block) {
  std::memset(block, 0, kBlockBytes);
  std::memcpy(block + kAtMagic, kMagic, sizeof kMagic);
  store(block, kAtVersion, kFormatVersion);
  store(block, kAtStoreId, header.store_id);
  store(block, kAtSegmentId, header.segment_id);
  store(block, kAtPreviousSegment, header.previous_segment);
  store(block, kAtPreviousEnd, header.previous_end);
  store(block, kAtFirstEpoch, header.first_epoch);
  store(block, kAtHeaderChecksum, checksum(kHeaderSeed, block, kAtHeaderChecksum));
}

bool all_zero(const std::byte* bytes, size_t size) {
  return size == 0 || (bytes[0] == std::byte{0} && std::memcmp(bytes, bytes + 1, size - 1) == 0);
}

HeaderState decode_segment_header(const std::byte* block, size_t bytes, SegmentHeader* header) {
  if (bytes < kBlockBytes) return HeaderState::kBad;
  if (std::memcmp(block + kAtMagic, kMagic, sizeof kMagic) != 0) return HeaderState::kBad;
  const auto sum = load<uint64_t>(block, kAtHeaderChecksum);
  if (sum != checksum(kHeaderSeed, block, kAtHeaderChecksum)) return HeaderState::kBad;
  const auto version = load<uint32_t>(block, kAtVersion);
  if (version > kFormatVersion) return HeaderState::kLaterVersion;
  header->store_id = load<StoreId>(block, kAtStoreId);
  header->segment_id = load<uint64_t>(block, kAtSegmentId);
  header->previous_segment = load<uint64_t>(block, kAtPreviousSegment);
  header->previous_end = load<uint64_t>(block, kAtPreviousEnd);
  header->first_epoch = load<uint64_t>(block, kAtFirstEpoch);
  const bool sound =
      version == kFormatVersion && load<uint32_t>(block, kAtFlags) == 0 &&
      all_zero(block + kAtReserved, kAtHeaderChecksum - kAtReserved) &&
      all_zero(block + kSegmentHeaderBytes, kBlockBytes - kSegmentHeaderBytes) &&
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
  store(frame, kAtType, type);
  store(frame, kAtZero, uint8_t{0});
  store(frame, kAtKeySize, key_size);
  store(frame, kAtValueSize, value_size);
  store(frame, kAtHeaderCheck, header_check(frame, seed));
}

uint64_t store_checksum(uint64_t hash, std::byte* frame) {
  const uint64_t stored = stored_checksum(hash);
  store(frame, kAtFrameChecksum, stored);
  return stored;
}

bool decode_frame_header(const std::byte* frame, uint64_t seed, FrameHeader* header) {
  if (load<uint8_t>(frame, kAtZero) != 0) return false;
  header->checksum = load<uint64_t>(frame, kAtFrameChecksum);
  header->type = load<FrameType>(frame, kAtType);
  header->key_size = load<uint16_t>(frame, kAtKeySize);
  header->value_size = load<uint64_t>(frame, kAtValueSize);
  return header->checksum != 0 && sizes_fit_type(*header) &&
         load<uint32_t>(frame, kAtHeaderCheck) == header_check(frame, seed);
}

bool may_be_commit(const std::byte* frame) {
  return load<uint8_t>(frame, kAtType) == static_cast<uint8_t>(FrameType::kCommit) &&
         load<uint8_t>(frame, kAtZero) == 0 && load<uint16_t>(frame, kAtKeySize) == 0 &&
         load<uint64_t>(frame, kAtValueSize) == kCommitPayloadBytes;
}

void encode_commit_payload(const CommitPayload& payload, std::byte* bytes) {
  store(bytes, 0, payload.first_epoch);
  store(bytes, 8, payload.last_epoch);
  store(bytes, 16, payload.frames);
  store(bytes, 24, payload.bytes);
  store(bytes, 32, payload.digest);
  store(bytes, 40, payload.durable_epoch);
  store(bytes, 48, payload.first_live_segment);
  store(bytes, 56, payload.store_id);
}

CommitPayload decode_commit_payload(const std::byte* bytes) {
  CommitPayload payload;
  payload.first_epoch = load<uint64_t>(bytes, 0);
  payload.last_epoch = load<uint64_t>(bytes, 8);
  payload.frames = load<uint64_t>(bytes, 16);
  payload.bytes = load<uint64_t>(bytes, 24);
  payload.digest = load<uint64_t>(bytes, 32);
  payload.durable_epoch = load<uint64_t>(bytes, 40);
  payload.first_live_segment = load<uint64_t>(bytes, 48);
  payload.store_id = load<StoreId>(bytes, 56);
  return payload;
}

}  // namespace dskvs
