#include "disk/recovery.h"

#include "disk/log_survey.h"
#include "disk/recover_strictly.h"
#include "disk/segment_reader.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace dskvs {
namespace {

constexpr uint64_t kHugeValueBytes = uint64_t{1} << 30;

struct ChainLink {
  const SegmentInfo* segment;
  uint64_t end;  // where the log leaves it
};

// What the newest segments tell when each is read on its own.
struct HeadScan {
  explicit HeadScan(const SegmentHeader& header) : order(header) {}

  SegmentOrder order;
  uint64_t stop = 0;      // the first offset where no frame stands that may stand there
  const char* kind = "";  // why
  uint64_t frames_cut = 0;
  uint64_t highest_epoch = 0;
  uint64_t later_durable_epoch = 0;  // the largest that a commit behind `stop` records
};

class Recovery {
 public:
  Recovery(Directory& directory, RecoverySink& sink, DamagePlace* place)
      : directory_(directory), sink_(sink), place_(place) {}

  Status run(const Progress& progress);
  bool directory_has_changed() const { return has_changed(directory_, survey_); }
  LogPosition position() const;
  RecoveryReport report() const;

 private:
  Status damaged(uint64_t segment_id, uint64_t offset, const char* kind) const;
  Status missing(uint64_t segment_id) const;
  Status check_headers() const;
  Status find_head(SegmentReader& reader);
  Status scan(const SegmentInfo& segment, SegmentReader& reader, HeadScan* scan) const;
  static Status scan_batches(SegmentReader& reader, HeadScan* scan);
  static Status scan_later_commits(SegmentReader& reader, HeadScan* scan);
  Status find_chain();
  Status apply(const ChainLink& link, SegmentReader& reader);
  Status apply_frame(const SegmentInfo& segment, const Frame& frame, SegmentReader& reader);
  Status apply_put(const SegmentInfo& segment, const Frame& frame, SegmentReader& reader);

  Directory& directory_;
  RecoverySink& sink_;
  DamagePlace* place_;
  Survey survey_;
  const SegmentInfo* head_ = nullptr;  // nullptr: the log is empty
  std::unique_ptr<HeadScan> head_scan_;
  std::vector<ChainLink> chain_;  // newest first
  uint64_t epoch_ = 0;            // reached so far
  RecoveryReport report_;
};

// A value that no memory here can hold is refused before its bytes are read. Allocating it would
// not tell: the system may promise more than it has.
Status admit(uint64_t value_size) {
  if (value_size < kHugeValueBytes) return Status::kOk;
  struct sysinfo machine;
  if (::sysinfo(&machine) != 0) return Status::kOk;
  const uint64_t bytes = (uint64_t{machine.totalram} + machine.totalswap) * machine.mem_unit;
  if (value_size <= bytes) return Status::kOk;
  return fail(Status::kMemory, "no memory for a value of {} bytes", value_size);
}

CommitInfo commit_info(const Frame& frame, uint64_t segment_id) {
  const CommitPayload payload = decode_commit_payload(frame.value);
  return {.first_epoch = payload.first_epoch,
          .last_epoch = payload.last_epoch,
          .durable_epoch = payload.durable_epoch,
          .segment_id = segment_id,
          .end = frame.offset + frame.bytes};
}

Status Recovery::damaged(uint64_t segment_id, uint64_t offset, const char* kind) const {
  if (place_ != nullptr) *place_ = {segment_id, offset, kind};
  return fail(Status::kCorrupt, "'{}/{}' is damaged at offset {}: {}", directory_.path(),
              SegmentName(segment_id).text, offset, kind);
}

Status Recovery::missing(uint64_t segment_id) const {
  if (place_ != nullptr) *place_ = {segment_id, 0, "the segment is missing"};
  return fail(Status::kCorrupt, "'{}/{}' is missing", directory_.path(),
              SegmentName(segment_id).text);
}

Status Recovery::run(const Progress& progress) {
  if (Status status = survey_log(directory_, &survey_); status != Status::kOk) return status;
  if (Status status = check_headers(); status != Status::kOk) return status;
  // The newest segment is read twice.
  const uint64_t newest_bytes = survey_.segments.empty() ? 0 : survey_.segments.back().bytes;
  ProgressMeter meter(progress, survey_.bytes + newest_bytes);
  SegmentReader reader(meter);
  if (Status status = find_head(reader); status != Status::kOk) return status;
  if (head_ != nullptr) {
    if (Status status = find_chain(); status != Status::kOk) return status;
    epoch_ = chain_.back().segment->header.first_epoch - 1;
  }
  for (auto link = chain_.rbegin(); link != chain_.rend(); ++link) {
    if (Status status = apply(*link, reader); status != Status::kOk) return status;
  }
  return meter.finish();
}

// Also of segments that turn out to be of no use: bytes of another store must not be unlinked.
Status Recovery::check_headers() const {
  for (const SegmentInfo& segment : survey_.segments) {
    if (segment.state == SegmentState::kForeign) {
      return damaged(segment.id, 0, "the segment belongs to another store");
    }
    if (segment.state == SegmentState::kNoFile) {
      return damaged(segment.id, 0, "it is no regular file");
    }
    if (segment.id >= kEpochMax) return damaged(segment.id, 0, "the segment's number is too large");
  }
  return Status::kOk;
}

// Newest first: a segment whose first batch is not whole was being begun when a crash came, and the
// one before it still counts. But what such a segment tells about its past is true.
Status Recovery::find_head(SegmentReader& reader) {
  uint64_t claimed_epoch = 0;  // known to be durable once
  const SegmentHeader* oldest = nullptr;
  for (auto segment = survey_.segments.rbegin(); segment != survey_.segments.rend(); ++segment) {
    if (segment->state == SegmentState::kTorn) continue;
    if (segment->state == SegmentState::kBad) {
      return damaged(segment->id, 0, "the segment's header is wrong");
    }
    auto found = std::make_unique<HeadScan>(segment->header);
    if (Status status = scan(*segment, reader, found.get()); status != Status::kOk) return status;
    report_.frames_cut += found->frames_cut;
    report_.highest_epoch_seen = std::max(report_.highest_epoch_seen, found->highest_epoch);
    claimed_epoch =
        std::max({claimed_epoch, segment->header.first_epoch - 1, found->later_durable_epoch});
    if (claimed_epoch > found->order.last_epoch()) {
      return damaged(segment->id, found->stop, found->kind);
    }
    oldest = &segment->header;
    if (found->order.end() == 0) continue;
    head_ = &*segment;
    head_scan_ = std::move(found);
    return Status::kOk;
  }
  // No segment holds anything. The oldest begins behind what all claim, so it says where that was.
  return claimed_epoch == 0 ? Status::kOk : missing(oldest->previous_segment);
}

Status Recovery::scan(const SegmentInfo& segment, SegmentReader& reader, HeadScan* scan) const {
  std::unique_ptr<File> file;
  if (Status status = open_segment(directory_, segment.id, &file); status != Status::kOk) {
    return status;
  }
  reader.open(std::move(file), FrameSeed(survey_.store_id, segment.id), kSegmentStart,
              std::max(segment.bytes, kSegmentStart));
  if (Status status = scan_batches(reader, scan); status != Status::kOk) return status;
  return scan_later_commits(reader, scan);
}

Status Recovery::scan_batches(SegmentReader& reader, HeadScan* scan) {
  Next what;
  const char* kind = nullptr;
  while (true) {
    scan->stop = reader.offset();
    Frame frame;
    if (Status status = reader.next(&what, &frame); status != Status::kOk) return status;
    bool intact = what == Next::kFrame;
    if (intact && frame.value == nullptr) {
      if (Status status = admit(frame.value_size); status != Status::kOk) return status;
      const Status status = reader.read_value(frame, nullptr, &intact);
      if (status != Status::kOk) return status;
    }
    if (what != Next::kEnd && !intact) kind = reader.bad_kind();
    if (!intact) break;
    kind = scan->order.refuse(frame);
    if (kind != nullptr) break;
  }
  scan->kind = kind == nullptr ? "the segment is cut off" : kind;
  scan->frames_cut = scan->order.open_frames() + (what == Next::kEnd ? 0 : 1);
  scan->highest_epoch = scan->order.last_epoch() + (scan->order.open_frames() == 0 ? 0 : 1);
  return Status::kOk;
}

// Behind the end of what is intact nothing counts any more; it only tells what was known once.
Status Recovery::scan_later_commits(SegmentReader& reader, HeadScan* scan) {
  reader.seek(scan->stop);
  while (true) {
    if (Status status = reader.find_header(true); status != Status::kOk) return status;
    Next what;
    Frame frame;
    if (Status status = reader.next(&what, &frame); status != Status::kOk) return status;
    if (what == Next::kEnd) return Status::kOk;
    if (what == Next::kBad) {
      reader.seek(reader.offset() + 8);
      continue;
    }
    const CommitPayload payload = decode_commit_payload(frame.value);
    if (payload.last_epoch >= kEpochMax) continue;
    scan->frames_cut += payload.frames + 1;
    scan->highest_epoch = std::max(scan->highest_epoch, payload.last_epoch);
    scan->later_durable_epoch = std::max(scan->later_durable_epoch, payload.durable_epoch);
  }
}

// From the head back to the first segment that its last commit calls live.
Status Recovery::find_chain() {
  const uint64_t first_live = head_scan_->order.first_live_segment();
  chain_.push_back({head_, head_scan_->order.end()});
  while (true) {
    const SegmentHeader& header = chain_.back().segment->header;
    if (header.previous_segment == 0 || header.previous_segment < first_live) return Status::kOk;
    const SegmentInfo* previous = survey_.find(header.previous_segment);
    if (previous == nullptr || previous->state == SegmentState::kTorn) {
      return missing(header.previous_segment);
    }
    if (previous->state == SegmentState::kBad) {
      return damaged(previous->id, 0, "the segment's header is wrong");
    }
    if (previous->bytes < header.previous_end) {
      return damaged(previous->id, previous->bytes, "the segment is cut off");
    }
    chain_.push_back({previous, header.previous_end});
  }
}

// Every byte up to the link's end was durable, or was found intact by the scan: nothing is cut
// here.
Status Recovery::apply(const ChainLink& link, SegmentReader& reader) {
  const SegmentInfo& segment = *link.segment;
  if (segment.header.first_epoch != epoch_ + 1) {
    return damaged(segment.id, 0, "its epochs do not follow those before it");
  }
  std::unique_ptr<File> file;
  if (Status status = open_segment(directory_, segment.id, &file); status != Status::kOk) {
    return status;
  }
  reader.open(std::move(file), FrameSeed(survey_.store_id, segment.id), kSegmentStart, link.end);
  SegmentOrder order(segment.header);
  while (true) {
    Next what;
    Frame frame;
    if (Status status = reader.next(&what, &frame); status != Status::kOk) return status;
    if (what == Next::kEnd) break;
    const char* kind = what == Next::kBad ? reader.bad_kind() : order.refuse(frame);
    if (kind != nullptr)
      return damaged(segment.id, what == Next::kBad ? reader.offset() : frame.offset, kind);
    if (Status status = apply_frame(segment, frame, reader); status != Status::kOk) return status;
  }
  if (order.end() != link.end) return damaged(segment.id, link.end, "the segment is cut off");
  epoch_ = order.last_epoch();
  report_.log_bytes += link.end;
  return Status::kOk;
}

Status Recovery::apply_frame(const SegmentInfo& segment, const Frame& frame,
                             SegmentReader& reader) {
  switch (frame.type) {
    case FrameType::kPut:
      ++report_.frames;
      return apply_put(segment, frame, reader);
    case FrameType::kRemove:
      ++report_.frames;
      return sink_.remove(frame.key);
    case FrameType::kDrop:
      ++report_.frames;
      return sink_.drop(frame.key);
    case FrameType::kCommit:
      return sink_.commit(commit_info(frame, segment.id));
    case FrameType::kPad:
      break;
  }
  return Status::kOk;
}

Status Recovery::apply_put(const SegmentInfo& segment, const Frame& frame, SegmentReader& reader) {
  void* value = nullptr;
  Status status = admit(frame.value_size);
  if (status == Status::kOk) status = sink_.put(frame.key, frame.value_size, &value);
  if (status != Status::kOk) return status;
  if (frame.value != nullptr) {
    if (frame.value_size != 0) std::memcpy(value, frame.value, frame.value_size);
    return Status::kOk;
  }
  bool intact;
  const Status read = reader.read_value(frame, value, &intact);
  if (read != Status::kOk || intact) return read;
  return damaged(segment.id, reader.offset(), reader.bad_kind());
}

RecoveryReport Recovery::report() const {
  RecoveryReport report = report_;
  report.recovered_epoch = epoch_;
  report.highest_epoch_seen = std::max(report.highest_epoch_seen, epoch_);
  return report;
}

// A new writer continues from the durable point: whatever the head holds behind it, it writes anew.
LogPosition Recovery::position() const {
  LogPosition position;
  position.store_id = survey_.store_id;
  if (survey_.segments.empty()) return position;
  position.next_segment_id = survey_.segments.back().id + 1;
  position.recovered_epoch = epoch_;
  auto durable = chain_.begin();
  if (head_ != nullptr) {
    const SegmentOrder& order = head_scan_->order;
    const bool in_head = order.durable_end() != 0;
    position.durable_epoch = order.durable_epoch();
    position.durable_segment = in_head ? head_->id : head_->header.previous_segment;
    position.durable_offset = in_head ? order.durable_end() : head_->header.previous_end;
    if (!in_head) ++durable;
  }
  for (auto link = chain_.end(); link != durable;) {
    --link;
    const bool is_last = link->segment->id == position.durable_segment;
    position.chain.push_back({.id = link->segment->id,
                              .bytes = link->segment->bytes,
                              .end = is_last ? position.durable_offset : link->end});
  }
  for (const SegmentInfo& segment : survey_.segments) {
    const bool in_chain =
        std::any_of(position.chain.begin(), position.chain.end(),
                    [&](const SegmentFile& file) { return file.id == segment.id; });
    if (!in_chain) position.zombies.push_back({.id = segment.id, .bytes = segment.bytes, .end = 0});
  }
  return position;
}

}  // namespace

Status recover(Directory& directory, const Progress& progress, RecoverySink& sink,
               LogPosition* position, RecoveryReport* report) try {
  return recover_strictly(directory, progress, sink, position, report, nullptr);
} catch (const std::bad_alloc&) {
  return fail(Status::kMemory, "no memory to read the log of '{}'", directory.path());
}

Status recover_strictly(Directory& directory, const Progress& progress, RecoverySink& sink,
                        LogPosition* position, RecoveryReport* report, DamagePlace* place) {
  Recovery recovery(directory, sink, place);
  const Status status = recovery.run(progress);
  // A live writer may have unlinked what was looked for, or begun what was looked at.
  if (status == Status::kCorrupt && recovery.directory_has_changed()) {
    return fail(Status::kNotFound, "'{}' changed while it was read", directory.path());
  }
  *position = recovery.position();
  *report = recovery.report();
  return status;
}

}  // namespace dskvs
