#include "disk/segment_replay.h"

#include <sys/sysinfo.h>

#include <cstring>
#include <iterator>
#include <tuple>

namespace dskvs {
namespace {

constexpr uint64_t kHugeValueBytes = uint64_t{1} << 30;

Status admit_value(uint64_t value_size) {
  if (value_size < kHugeValueBytes) return Status::kOk;
  struct sysinfo machine;
  if (::sysinfo(&machine) != 0) return Status::kOk;
  const uint64_t bytes = (uint64_t{machine.totalram} + machine.totalswap) * machine.mem_unit;
  if (value_size <= bytes) return Status::kOk;
  return fail(Status::kMemory, "no memory for a value of {} bytes", value_size);
}

bool accept_commit(const CommitPayload& payload, uint64_t end, Replayed* to) {
  const bool in_order = payload.store_id == to->header.store_id &&
                        payload.first_epoch == to->last_epoch + 1 &&
                        payload.last_epoch >= to->last_epoch && payload.last_epoch < kEpochMax &&
                        (payload.last_epoch > to->last_epoch || payload.frames == 0) &&
                        payload.first_live_segment >= to->first_live_segment &&
                        payload.first_live_segment <= to->header.segment_id &&
                        payload.durable_epoch >= to->durable_epoch;
  if (!in_order) return false;
  if (payload.durable_epoch != to->durable_epoch) {
    const auto mark = to->undurable.find(payload.durable_epoch);
    if (mark == to->undurable.end()) return false;
    std::tie(to->durable_epoch, to->durable_end) = *mark;
    to->undurable.erase(to->undurable.begin(), std::next(mark));
  }
  if (payload.last_epoch > to->last_epoch) to->undurable.emplace(payload.last_epoch, end);
  to->last_epoch = payload.last_epoch;
  to->first_live_segment = payload.first_live_segment;
  to->end = end;
  return true;
}

// Takes the next frame, or says why it cannot stand here. nullptr: it can.
const char* refuse(const Frame& frame, Replayed* to) {
  CommitPayload& batch = to->batch;
  if (frame.type == FrameType::kPad) {
    return batch.frames == 0 ? nullptr : "there is padding within a batch";
  }
  if (frame.type == FrameType::kCommit) {
    const CommitPayload payload = decode_commit_payload(frame.value);
    const bool whole = payload.frames == batch.frames && payload.digest == batch.digest &&
                       payload.bytes == batch.bytes;
    if (!whole) return "the commit does not match its batch";
    if (!accept_commit(payload, frame.offset + frame.bytes, to)) {
      return "the commit does not follow the one before it";
    }
    batch = {};
    return nullptr;
  }
  ++batch.frames;
  batch.bytes += frame.bytes;
  batch.digest = add_to_digest(batch.digest, frame.checksum);
  return nullptr;
}

}  // namespace

Status hand_over(Frame* frame, SegmentReader& reader, RecoverySink* sink) {
  void* value = nullptr;
  if (sink != nullptr && frame->type != FrameType::kCommit && frame->type != FrameType::kPad) {
    const Status status = sink->add(frame->type, frame->key, frame->value_size, &value);
    if (status != Status::kOk) return status;
  }
  if (frame->value == nullptr) return reader.read_value(frame, value);
  if (value != nullptr && frame->value_size != 0) {
    std::memcpy(value, frame->value, frame->value_size);
  }
  return Status::kOk;
}

Status replay(SegmentReader& reader, RecoverySink* sink, Replayed* replayed) {
  while (true) {
    replayed->stop = reader.offset();
    Frame frame;
    if (Status status = reader.next(&frame); status != Status::kOk) return status;
    if (frame.what == Next::kFrame) {
      Status status = admit_value(frame.value_size);
      if (status == Status::kOk) status = reader.check_hollow(&frame, sink != nullptr);
      if (status != Status::kOk) return status;
    }
    if (frame.what == Next::kFrame) {
      if (Status status = hand_over(&frame, reader, sink); status != Status::kOk) return status;
    }
    const char* kind = frame.what == Next::kFrame ? refuse(frame, replayed) : frame.kind;
    if (kind != nullptr) {
      replayed->kind = kind;
      replayed->frames_cut = replayed->batch.frames + (frame.what == Next::kEnd ? 0 : 1);
      return Status::kOk;
    }
    if (sink != nullptr && frame.type == FrameType::kCommit) {
      if (Status status = sink->commit(replayed->last_epoch); status != Status::kOk) return status;
    }
  }
}

}  // namespace dskvs
