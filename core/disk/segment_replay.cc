#include "disk/segment_replay.h"

#include "disk/segment_reader.h"

#include <sys/sysinfo.h>

#include <cstring>
#include <utility>

namespace dskvs {
namespace {

constexpr uint64_t kHugeValueBytes = uint64_t{1} << 30;

class Replay {
 public:
  explicit Replay(const SegmentReplay& what) : what_(what), reader_(what.meter) {}

  Status run(std::unique_ptr<File> file, SegmentReplayed* replayed);

 private:
  Status damaged(uint64_t offset, const char* kind, SegmentReplayed* replayed) const;
  Status hand_over(const Frame& frame, SegmentReplayed* replayed);
  Status put(const Frame& frame, SegmentReplayed* replayed);

  const SegmentReplay& what_;
  SegmentReader reader_;
};

Status Replay::damaged(uint64_t offset, const char* kind, SegmentReplayed* replayed) const {
  replayed->damage = {what_.segment.id, offset, kind};
  return fail_damaged(what_.directory_path, replayed->damage);
}

Status Replay::run(std::unique_ptr<File> file, SegmentReplayed* replayed) {
  reader_.open(std::move(file), FrameSeed(what_.store_id, what_.segment.id), kSegmentStart,
               what_.end);
  SegmentOrder order(what_.segment.header);
  while (true) {
    Next next;
    Frame frame;
    if (Status status = reader_.next(&next, &frame); status != Status::kOk) return status;
    if (next == Next::kEnd) break;
    if (next == Next::kBad) return damaged(reader_.offset(), reader_.bad_kind(), replayed);
    const char* const kind = order.refuse(frame);
    if (kind != nullptr) return damaged(frame.offset, kind, replayed);
    if (Status status = hand_over(frame, replayed); status != Status::kOk) return status;
  }
  if (order.end() != what_.end) return damaged(what_.end, "the segment is cut off", replayed);
  replayed->last_epoch = order.last_epoch();
  return Status::kOk;
}

Status Replay::hand_over(const Frame& frame, SegmentReplayed* replayed) {
  switch (frame.type) {
    case FrameType::kPut:
      ++replayed->frames;
      return put(frame, replayed);
    case FrameType::kRemove:
      ++replayed->frames;
      return what_.sink.remove(frame.key);
    case FrameType::kDrop:
      ++replayed->frames;
      return what_.sink.drop(frame.key);
    case FrameType::kCommit: {
      const CommitPayload payload = decode_commit_payload(frame.value);
      return what_.sink.commit({.first_epoch = payload.first_epoch,
                                .last_epoch = payload.last_epoch,
                                .durable_epoch = payload.durable_epoch,
                                .segment_id = what_.segment.id,
                                .end = frame.offset + frame.bytes});
    }
    case FrameType::kPad:
      break;
  }
  return Status::kOk;
}

Status Replay::put(const Frame& frame, SegmentReplayed* replayed) {
  void* value = nullptr;
  Status status = admit_value(frame.value_size);
  if (status == Status::kOk) status = what_.sink.put(frame.key, frame.value_size, &value);
  if (status != Status::kOk) return status;
  if (frame.value != nullptr) {
    if (frame.value_size != 0) std::memcpy(value, frame.value, frame.value_size);
    return Status::kOk;
  }
  bool intact;
  const Status read = reader_.read_value(frame, value, &intact);
  if (read != Status::kOk || intact) return read;
  return damaged(reader_.offset(), reader_.bad_kind(), replayed);
}

}  // namespace

SegmentReplayed replay_segment(const SegmentReplay& replay, std::unique_ptr<File> file) {
  SegmentReplayed replayed;
  replayed.result = KeptFailure(Replay(replay).run(std::move(file), &replayed));
  return replayed;
}

Status admit_value(uint64_t value_size) {
  if (value_size < kHugeValueBytes) return Status::kOk;
  struct sysinfo machine;
  if (::sysinfo(&machine) != 0) return Status::kOk;
  const uint64_t bytes = (uint64_t{machine.totalram} + machine.totalswap) * machine.mem_unit;
  if (value_size <= bytes) return Status::kOk;
  return fail(Status::kMemory, "no memory for a value of {} bytes", value_size);
}

}  // namespace dskvs
