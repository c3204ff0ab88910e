#include "disk/recovery.h"

#include "disk/log_survey.h"
#include "disk/segment_reader.h"
#include "disk/segment_replay.h"
#include "signals_blocked.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <future>
#include <memory>
#include <utility>
#include <vector>

namespace dskvs {
namespace {

constexpr std::chrono::milliseconds kProgressPause{50};

class Recovery {
 public:
  Recovery(Directory& directory, SegmentedSink* sink) : directory_(directory), sink_(sink) {}

  Status run(const Progress& progress, uint32_t segments_at_once);
  bool has_surveyed() const { return survey_.bytes != 0; }
  bool directory_has_changed() const { return has_changed(directory_, survey_); }
  LogPosition position() const;
  const RecoveryReport& report() const { return report_; }

 private:
  Status damaged(const Damage& damage);
  Status damaged(uint64_t segment_id, uint64_t offset, const char* kind);
  Status missing(uint64_t segment_id);
  Status check_headers();
  Status find_head(ProgressMeter& meter);
  Status scan(const SegmentInfo& segment, SegmentReader& reader, Replayed* found);
  Status scan_later_commits(SegmentReader& reader, Replayed* found);
  Status find_chain();
  Status replay_chain(uint32_t segments_at_once, ProgressMeter& meter);
  std::future<Replayed> start_replay(const LogLink& link, bool on_its_own, ProgressMeter& meter);
  Status finish_replay(const LogLink& link, const Replayed& replayed);

  Directory& directory_;
  SegmentedSink* const sink_;
  Survey survey_;
  uint64_t claimed_epoch_ = 0;         // known to be durable once
  const SegmentInfo* head_ = nullptr;  // nullptr: the log is empty
  std::unique_ptr<Replayed> head_found_;
  std::vector<LogLink> chain_;  // newest first
  RecoveryReport report_;
};

Status Recovery::damaged(const Damage& damage) {
  report_.damage = damage;
  return fail(Status::kCorrupt, "'{}/{}' is damaged at offset {}: {}", directory_.path(),
              damage.file, damage.offset, damage.kind);
}

Status Recovery::damaged(uint64_t segment_id, uint64_t offset, const char* kind) {
  return damaged({SegmentName(segment_id).text, offset, kind});
}

Status Recovery::missing(uint64_t segment_id) {
  report_.damage = {SegmentName(segment_id).text, 0, "the segment is missing"};
  return fail(Status::kCorrupt, "'{}/{}' is missing", directory_.path(), report_.damage.file);
}

Status Recovery::run(const Progress& progress, uint32_t segments_at_once) {
  if (Status status = survey_log(directory_, &survey_); status != Status::kOk) return status;
  if (Status status = check_headers(); status != Status::kOk) return status;
  // The newest segment is read twice.
  const uint64_t newest_bytes = survey_.segments.empty() ? 0 : survey_.segments.back().bytes;
  ProgressMeter meter(progress, survey_.bytes + newest_bytes);
  if (Status status = find_head(meter); status != Status::kOk) return status;
  if (head_ != nullptr) {
    if (Status status = find_chain(); status != Status::kOk) return status;
    report_.recovered_epoch = chain_.back().segment->header.first_epoch - 1;
    if (sink_ != nullptr) sink_->begin(head_found_->durable_epoch);
  }
  if (Status status = replay_chain(segments_at_once, meter); status != Status::kOk) return status;
  return meter.finish();
}

// Also of segments that turn out to be of no use: bytes of another store must not be unlinked.
Status Recovery::check_headers() {
  for (const SegmentInfo& segment : survey_.segments) {
    if (segment.state == SegmentState::kForeign) {
      return damaged(segment.id, 0, "the segment belongs to another store");
    }
    if (segment.state == SegmentState::kNoFile) {
      return damaged(segment.id, 0, "it is no regular file");
    }
    if (segment.id > kSegmentIdMax) {
      return damaged(segment.id, 0, "the segment's number is too large");
    }
  }
  return Status::kOk;
}

// Newest first: a segment whose first batch is not whole was being begun when a crash came, and the
// one before it still counts. But what such a segment tells about its past is true.
Status Recovery::find_head(ProgressMeter& meter) {
  SegmentReader reader(meter);
  Damage broken;  // where the newest segment that should reach what is claimed ends
  const SegmentHeader* oldest = nullptr;
  for (auto segment = survey_.segments.rbegin(); segment != survey_.segments.rend(); ++segment) {
    if (segment->state == SegmentState::kTorn) continue;
    if (segment->state == SegmentState::kBad) {
      return damaged(segment->id, 0, "the segment's header is wrong");
    }
    auto found = std::make_unique<Replayed>(segment->header);
    if (Status status = scan(*segment, reader, found.get()); status != Status::kOk) return status;
    report_.frames_cut += found->frames_cut;
    if (claimed_epoch_ > found->last_epoch && broken.file.empty()) {
      broken = {SegmentName(segment->id).text, found->stop, found->kind};
    }
    oldest = &segment->header;
    if (found->end == 0) continue;
    if (claimed_epoch_ > found->last_epoch) break;
    head_ = &*segment;
    head_found_ = std::move(found);
    return Status::kOk;
  }
  if (!broken.file.empty()) return damaged(broken);
  // No segment holds anything. The oldest begins behind what all claim, so it says where that was.
  if (claimed_epoch_ != 0) return missing(oldest->previous_segment);
  if (!survey_.reserve) return Status::kOk;
  if (survey_.segments.empty()) return missing(1);
  const SegmentInfo& newest = survey_.segments.back();
  return damaged(newest.id, newest.bytes, "the segment is cut off");
}

Status Recovery::scan(const SegmentInfo& segment, SegmentReader& reader, Replayed* found) {
  Status status = open_frames(directory_, survey_.store_id, segment, segment.bytes, &reader);
  if (status == Status::kOk) status = replay(reader, nullptr, found);
  if (status != Status::kOk) return status;
  const uint64_t epoch = found->last_epoch + (found->batch.frames == 0 ? 0 : 1);
  report_.highest_epoch_seen = std::max(report_.highest_epoch_seen, epoch);
  claimed_epoch_ = std::max(claimed_epoch_, segment.header.first_epoch - 1);
  return scan_later_commits(reader, found);
}

// Behind the end of what is intact nothing counts any more; it only tells what was known once.
Status Recovery::scan_later_commits(SegmentReader& reader, Replayed* found) {
  reader.seek(found->stop);
  while (true) {
    Frame frame;
    const Status status = reader.next_commit(&frame);
    if (status != Status::kOk || frame.what == Next::kEnd) return status;
    const CommitPayload payload = decode_commit_payload(frame.value);
    if (payload.last_epoch >= kEpochMax) continue;
    // What was counted up to the cut is a part of the batch that the cut goes through.
    if (frame.offset - found->stop <= payload.bytes) found->frames_cut = 0;
    found->frames_cut += payload.frames + 1;
    report_.highest_epoch_seen = std::max(report_.highest_epoch_seen, payload.last_epoch);
    claimed_epoch_ = std::max(claimed_epoch_, payload.durable_epoch);
  }
}

// From the head back to the first segment that its last commit calls live.
Status Recovery::find_chain() {
  const uint64_t first_live = head_found_->first_live_segment;
  chain_.push_back({head_, head_found_->end});
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

// Every byte up to a link's end was durable, or was found intact by the scan: nothing is cut here.
Status Recovery::replay_chain(uint32_t segments_at_once, ProgressMeter& meter) {
  std::deque<std::future<Replayed>> replays;  // of the links from `link` on
  auto next = chain_.rbegin();
  for (auto link = chain_.rbegin(); link != chain_.rend(); ++link) {
    for (; next != chain_.rend() && replays.size() < segments_at_once; ++next) {
      replays.push_back(start_replay(*next, segments_at_once > 1, meter));
    }
    bool waits = true;
    while (waits) {
      waits = replays.front().wait_for(kProgressPause) == std::future_status::timeout;
      if (Status status = meter.report(); status != Status::kOk) return status;
    }
    const Replayed replayed = replays.front().get();
    replays.pop_front();
    if (Status status = finish_replay(*link, replayed); status != Status::kOk) {
      meter.cancel();  // nobody waits for the others' results
      return status;
    }
  }
  return Status::kOk;
}

// Without threads of their own, and where the system has no more of them, a link is replayed when
// its result is asked for. The task is copied, not moved: an attempt without a thread to be had
// would leave nothing of it for later.
std::future<Replayed> Recovery::start_replay(const LogLink& link, bool on_its_own,
                                             ProgressMeter& meter) {
  const SegmentInfo& segment = *link.segment;
  RecoverySink* const sink = sink_ == nullptr ? nullptr : &sink_->begin_segment(segment.id);
  const auto reader = std::make_shared<SegmentReader>(meter);
  const KeptFailure opened(
      open_frames(directory_, survey_.store_id, segment, link.end, reader.get()));
  const auto task = [&segment, sink, reader, opened] {
    Replayed replayed(segment.header);
    const Status status = opened.again();
    replayed.result =
        KeptFailure(status == Status::kOk ? replay(*reader, sink, &replayed) : status);
    return replayed;
  };
  const SignalsBlocked blocked;
  const std::launch policy =
      on_its_own ? std::launch::async | std::launch::deferred : std::launch::deferred;
  return std::async(policy, task);
}

Status Recovery::finish_replay(const LogLink& link, const Replayed& replayed) {
  if (link.segment->header.first_epoch != report_.recovered_epoch + 1) {
    return damaged(link.segment->id, 0, "its epochs do not follow those before it");
  }
  if (Status status = replayed.result.again(); status != Status::kOk) return status;
  if (replayed.end != link.end) return damaged(link.segment->id, replayed.stop, replayed.kind);
  report_.recovered_epoch = replayed.last_epoch;
  report_.highest_epoch_seen = std::max(report_.highest_epoch_seen, report_.recovered_epoch);
  return sink_ == nullptr ? Status::kOk : sink_->end_segment();
}

// A new writer continues from the durable point: whatever the head holds behind it, it writes anew.
LogPosition Recovery::position() const {
  LogPosition position;
  position.store_id = survey_.store_id;
  if (!survey_.segments.empty()) position.next_segment_id = survey_.segments.back().id + 1;
  position.recovered_epoch = report_.recovered_epoch;
  bool in_head = false;  // the durable point is
  if (head_ != nullptr) {
    in_head = head_found_->durable_end != 0;
    position.head = {.id = head_->id, .bytes = head_->bytes, .end = head_found_->end};
    position.durable_epoch = head_found_->durable_epoch;
    position.durable_segment = in_head ? head_->id : head_->header.previous_segment;
    position.durable_offset = in_head ? head_found_->durable_end : head_->header.previous_end;
  }
  for (const SegmentInfo& segment : survey_.segments) {
    const bool is_head = &segment == head_;
    const auto link = std::ranges::find(chain_, &segment, &LogLink::segment);
    if (link != chain_.end() && (!is_head || in_head)) {
      const uint64_t end = is_head ? position.durable_offset : link->end;
      position.chain.push_back({.id = segment.id, .bytes = segment.bytes, .end = end});
    } else {
      // Those before the durable point were cleaned by a commit that may not be durable.
      const bool of_use = is_head || segment.id <= position.durable_segment;
      const uint64_t end = of_use ? segment.bytes : 0;
      position.zombies.push_back({.id = segment.id, .bytes = segment.bytes, .end = end});
    }
  }
  return position;
}

}  // namespace

Status recover(Directory& directory, const Progress& progress, SegmentedSink* sink,
               uint32_t segments_at_once, LogPosition* position, RecoveryReport* report) {
  Recovery recovery(directory, sink);
  const Status status = recovery.run(progress, segments_at_once);
  // A live writer may have unlinked what was looked for, begun what was looked at, or cut it.
  const bool due_to_writer =
      status == Status::kCorrupt || (status == Status::kIo && recovery.has_surveyed());
  if (due_to_writer && recovery.directory_has_changed()) {
    return fail(Status::kNotFound, "'{}' changed while it was read", directory.path());
  }
  *position = recovery.position();
  *report = recovery.report();
  return status;
}

}  // namespace dskvs
