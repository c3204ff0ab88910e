#include "disk/segment_replay.h"

#include <sys/sysinfo.h>

#include <cstring>

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
  SegmentOrder& order = replayed->order;
  while (true) {
    replayed->stop = reader.offset();
    Frame frame;
    if (Status status = reader.next(&frame); status != Status::kOk) return status;
    if (frame.what == Next::kFrame) {
      Status status = admit_value(frame.value_size);
      if (status == Status::kOk) status = hand_over(&frame, reader, sink);
      if (status != Status::kOk) return status;
    }
    const char* kind = frame.what == Next::kFrame ? order.refuse(frame) : frame.kind;
    if (kind != nullptr) {
      replayed->kind = kind;
      replayed->frames_cut = order.open_frames() + (frame.what == Next::kEnd ? 0 : 1);
      return Status::kOk;
    }
    if (sink != nullptr && frame.type == FrameType::kCommit) {
      if (Status status = sink->commit(order.last_epoch()); status != Status::kOk) return status;
    }
  }
}

}  // namespace dskvs
