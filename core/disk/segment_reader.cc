#include "disk/segment_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace dskvs {
namespace {

// Only commits and padding have empty keys: the frame's header saw to that.
bool key_fits_type(FrameType type, std::string_view key) {
  const size_t slash = key.find('/');
  if (key.empty() || type == FrameType::kDrop) return slash == std::string_view::npos;
  return slash != std::string_view::npos && slash != 0 && slash + 1 != key.size();
}

}  // namespace

void SegmentReader::open(std::unique_ptr<File> file, FrameSeed seed, uint64_t begin, uint64_t end) {
  file_ = std::move(file);
  seed_ = seed;
  offset_ = begin;
  end_ = end;
  position_ = filled_ = 0;
  hole_ = {};
  buffer_.resize(std::max<size_t>(buffer_.size(), std::min<uint64_t>(buffer_bytes_, end - begin)));
}

void SegmentReader::seek(uint64_t offset) {
  offset = std::min(offset, end_);
  if (offset >= offset_ && offset - offset_ <= buffered()) {
    position_ += offset - offset_;
  } else {
    position_ = filled_ = 0;
  }
  offset_ = offset;
}

// Sees to it that `bytes` from offset_ on are in the buffer. REQUIRES: they are within end_.
Status SegmentReader::fill(size_t bytes) {
  if (buffered() >= bytes) return Status::kOk;
  std::memmove(buffer_.data(), buffer_.data() + position_, buffered());
  filled_ = buffered();
  position_ = 0;
  while (filled_ < bytes) {
    const uint64_t from = offset_ + filled_;
    const size_t want = std::min<uint64_t>(buffer_.size() - filled_, end_ - from);
    size_t got = 0;
    Status status = file_->read(from, buffer_.data() + filled_, want, &got);
    if (status != Status::kOk) return status;
    if (got == 0) return fail(Status::kIo, "a segment became shorter while it was read");
    filled_ += got;
    status = meter_.add(got);
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

// Whether any byte of [begin, end) lies in a hole of the file.
bool SegmentReader::in_hole(uint64_t begin, uint64_t end) {
  if (begin >= hole_.end) {
    const uint64_t hole = file_->next_hole(begin);
    hole_ = {hole, hole < end_ ? file_->next_data(hole) : UINT64_MAX};
  }
  return hole_.begin < end && begin < hole_.end;
}

Status SegmentReader::none(Frame* frame, const char* kind, Next what) {
  frame->what = what;
  frame->kind = kind;
  return Status::kOk;
}

bool SegmentReader::fits(const FrameHeader& header) const {
  const uint64_t room = left() - kFrameHeaderBytes;
  return header.key_size <= room && header.value_size <= room - header.key_size &&
         frame_bytes(header.key_size, header.value_size) <= left();
}

Status SegmentReader::next(Frame* frame) {
  frame->bytes = 8;
  if (left() == 0) return none(frame, "the segment is cut off", Next::kEnd);
  if (left() < kFrameHeaderBytes) return none(frame, "the frame's header is cut off");
  if (Status status = fill(kFrameHeaderBytes); status != Status::kOk) return status;
  const uint64_t seed = seed_.at(offset_);
  FrameHeader header;
  if (!decode_frame_header(buffer_.data() + position_, seed, &header)) {
    return none(frame, "there is no frame header");
  }
  if (!fits(header)) return none(frame, "the frame is cut off");
  const uint64_t bytes = frame->bytes = frame_bytes(header.key_size, header.value_size);
  const bool large = bytes >= large_frame_bytes();
  const size_t unpadded = large ? 0 : kFrameHeaderBytes + header.key_size + header.value_size;
  const size_t needed = large ? kFrameHeaderBytes + header.key_size : bytes;
  if (Status status = fill(needed); status != Status::kOk) return status;

  const std::byte* const at = buffer_.data() + position_;
  if (!large) {
    const uint64_t hash = checksum(seed, at + kChecksumFrom, unpadded - kChecksumFrom);
    if (stored_checksum(hash) != header.checksum)
      return none(frame, "the frame's checksum is wrong");
    if (!all_zero(at + unpadded, bytes - unpadded)) return none(frame, "the padding is not zero");
  }
  const std::byte* const key = at + kFrameHeaderBytes;
  const std::string_view name(reinterpret_cast<const char*>(key), header.key_size);
  if (!key_fits_type(header.type, name)) return none(frame, "the frame's key is none");
  *frame = {.what = Next::kFrame,
            .kind = "",
            .bytes = bytes,
            .type = header.type,
            .offset = offset_,
            .checksum = header.checksum,
            .key = name,
            .value_size = header.value_size,
            .value = large ? nullptr : key + header.key_size};
  if (!large) {
    position_ += bytes;
    offset_ += bytes;
  }
  return Status::kOk;
}

Status SegmentReader::next_intact(Frame* frame) {
  Status status = next(frame);
  if (status != Status::kOk || frame->what != Next::kFrame || frame->value != nullptr)
    return status;
  status = read_value(frame, nullptr);
  if (status != Status::kOk || frame->what == Next::kBad) return status;
  seek(frame->offset);
  return next(frame);
}

Status SegmentReader::check_hollow(Frame* frame, bool shall_be_intact) {
  const uint64_t end = frame->offset + frame->bytes;
  if (frame->value != nullptr || !in_hole(frame->offset, end)) return Status::kOk;
  std::byte behind[kFrameHeaderBytes];
  size_t got = 0;
  if (end_ - end >= sizeof behind) {
    const Status status = file_->read(end, behind, sizeof behind, &got);
    if (status != Status::kOk) return status;
  }
  FrameHeader header;
  if (got < sizeof behind || !decode_frame_header(behind, seed_.at(end), &header)) {
    return none(frame, "the frame lies in a hole, and none follows it");
  }
  return shall_be_intact ? next_intact(frame) : Status::kOk;
}

Status SegmentReader::next_commit(Frame* frame) {
  while (true) {
    Status status = find_header(true);
    if (status == Status::kOk) status = next(frame);
    if (status != Status::kOk || frame->what != Next::kBad) return status;
    seek(offset_ + 8);
  }
}

Status SegmentReader::read_value(Frame* frame, void* to) {
  const size_t head = kFrameHeaderBytes + frame->key.size();
  RunningChecksum hash(seed_.at(frame->offset));
  hash.add(buffer_.data() + position_ + kChecksumFrom, head - kChecksumFrom);
  seek(offset_ + head);
  auto* out = static_cast<std::byte*>(to);
  for (uint64_t left = frame->value_size; left != 0;) {
    if (Status status = fill(1); status != Status::kOk) return status;
    const size_t size = std::min<uint64_t>(left, buffered());
    hash.add(buffer_.data() + position_, size);
    if (out != nullptr) {
      std::memcpy(out, buffer_.data() + position_, size);
      out += size;
    }
    seek(offset_ + size);
    left -= size;
  }
  const size_t padding = frame->offset + frame->bytes - offset_;
  if (Status status = fill(padding); status != Status::kOk) return status;
  const bool right = stored_checksum(hash.value()) == frame->checksum;
  if (right && all_zero(buffer_.data() + position_, padding)) {
    seek(offset_ + padding);
    return Status::kOk;
  }
  seek(frame->offset);
  return none(frame, right ? "the padding is not zero" : "the frame's checksum is wrong");
}

Status SegmentReader::find_header(bool commits_only) {
  return find(kFrameHeaderBytes, [&](const std::byte* at) {
    FrameHeader header;
    return decode_frame_header(at, seed_.at(offset_), &header) &&
           (!commits_only || header.type == FrameType::kCommit) && fits(header);
  });
}

Status SegmentReader::find_store_id(uint64_t segment_id, StoreId* store_id) {
  return find(kCommitFrameBytes, [&](const std::byte* at) {
    const StoreId named = decode_commit_payload(at + kFrameHeaderBytes).store_id;
    const uint64_t seed = FrameSeed(named, segment_id).at(offset_);
    FrameHeader header;
    if (!decode_frame_header(at, seed, &header)) return false;
    const uint64_t hash = checksum(seed, at + kChecksumFrom, kCommitFrameBytes - kChecksumFrom);
    const bool intact = stored_checksum(hash) == header.checksum;
    if (intact) *store_id = named;
    return intact;
  });
}

// Moves to the first place at or behind offset_ where `is` of the next `bytes`, or to end_.
template <typename Is>
Status SegmentReader::find(size_t bytes, Is&& is) {
  while (left() >= bytes) {
    if (buffered() < bytes) {
      // Holes are skipped, so that a huge sparse file costs nothing. No frame begins with zeros;
      // but one may begin before a hole, and its header end in it.
      const bool none_begins = all_zero(buffer_.data() + position_, buffered());
      const uint64_t data = file_->next_data(offset_ + buffered()) & ~uint64_t{7};
      if (none_begins && data > offset_ + buffered()) {
        seek(std::min(data, end_ & ~uint64_t{7}));
        continue;
      }
      if (Status status = fill(bytes); status != Status::kOk) return status;
    }
    if (is(buffer_.data() + position_)) return Status::kOk;
    position_ += 8;
    offset_ += 8;
  }
  seek(end_);
  return Status::kOk;
}

}  // namespace dskvs
