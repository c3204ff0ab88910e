#include "disk/salvage.h"

#include "disk/log_survey.h"
#include "disk/patient_directory.h"
#include "disk/segment_reader.h"
#include "disk/segment_replay.h"

#include <algorithm>

namespace dskvs {
namespace {

bool is_readable(const SegmentInfo& segment) {
  return segment.state == SegmentState::kGood || segment.state == SegmentState::kBad;
}

// Walks a log as far as it is intact and on behind every damaged place.
class Walk {
 public:
  // `sink` nullptr: only looks for damage.
  Walk(Directory& directory, const Survey& survey, ProgressMeter& meter, RecoverySink* sink,
       std::vector<Damage>* damage)
      : directory_(directory),
        survey_(survey),
        reader_(meter),
        store_id_(survey.store_id),
        sink_(sink),
        damage_(damage) {}

  Status run();
  uint64_t frames() const { return frames_; }  // handed over

 private:
  Status open(const SegmentInfo& segment, uint64_t end) {
    return open_frames(directory_, store_id_, segment, end, &reader_);
  }
  Status find_store_id();
  Status find_newest();
  void follow_links();
  const SegmentInfo* readable_before(uint64_t id) const;
  Status visit(const LogLink& link, bool newest);
  Status take(Frame* frame);
  Status commit(uint64_t last_epoch);
  void add_damage(const SegmentInfo& segment, uint64_t offset, const char* kind) {
    damage_->push_back({SegmentName(segment.id).text, offset, kind});
  }

  Directory& directory_;
  const Survey& survey_;
  SegmentReader reader_;
  StoreId store_id_;
  RecoverySink* const sink_;
  std::vector<Damage>* const damage_;
  std::vector<LogLink> links_;  // newest first
  uint64_t durable_epoch_ = 0;  // all up to it must be intact
  uint64_t first_live_segment_ = 0;
  uint64_t open_frames_ = 0;  // handed over since the last commit
  uint64_t frames_ = 0;
};

Status Walk::run() {
  if (Status status = find_store_id(); status != Status::kOk) return status;
  if (Status status = find_newest(); status != Status::kOk) return status;
  if (!links_.empty()) follow_links();
  for (size_t i = links_.size(); i-- != 0;) {
    if (Status status = visit(links_[i], i == 0); status != Status::kOk) return status;
  }
  return Status::kOk;
}

Status Walk::find_store_id() {
  for (auto segment = survey_.segments.rbegin(); segment != survey_.segments.rend(); ++segment) {
    if (store_id_ != StoreId{}) return Status::kOk;
    if (segment->state != SegmentState::kBad) continue;
    Status status = open(*segment, segment->bytes);
    if (status == Status::kOk) status = reader_.find_store_id(segment->id, &store_id_);
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

// The newest segment in which an intact commit stands, wherever that is.
Status Walk::find_newest() {
  for (auto segment = survey_.segments.rbegin(); segment != survey_.segments.rend(); ++segment) {
    if (!is_readable(*segment)) continue;
    if (segment->state == SegmentState::kGood) {
      durable_epoch_ = std::max(durable_epoch_, segment->header.first_epoch - 1);
    }
    if (Status status = open(*segment, segment->bytes); status != Status::kOk) return status;
    while (true) {
      Frame frame;
      if (Status status = reader_.next_commit(&frame); status != Status::kOk) return status;
      if (frame.what == Next::kEnd) break;
      const CommitPayload payload = decode_commit_payload(frame.value);
      durable_epoch_ = std::max(durable_epoch_, payload.durable_epoch);
      first_live_segment_ = std::max(first_live_segment_, payload.first_live_segment);
      if (links_.empty()) links_.push_back({&*segment, segment->bytes});
    }
    if (!links_.empty()) break;
  }
  return Status::kOk;
}

// Back from the newest: along the headers, and where one is lost, over whatever comes before.
void Walk::follow_links() {
  while (true) {
    const SegmentInfo& segment = *links_.back().segment;
    const bool told = segment.state == SegmentState::kGood;
    const uint64_t id = told ? segment.header.previous_segment : 0;
    if (told && id == 0) return;
    const SegmentInfo* previous = told ? survey_.find(id) : nullptr;
    const bool there = previous != nullptr && is_readable(*previous);
    if (told && !there) {
      if (id < first_live_segment_) return;
      damage_->push_back({SegmentName(id).text, 0, "the segment is missing"});
    }
    if (!there) previous = readable_before(told ? id : segment.id);
    if (previous == nullptr) return;
    links_.push_back({previous, there ? segment.header.previous_end : previous->bytes});
  }
}

const SegmentInfo* Walk::readable_before(uint64_t id) const {
  for (auto segment = survey_.segments.rbegin(); segment != survey_.segments.rend(); ++segment) {
    if (segment->id < id && is_readable(*segment)) return &*segment;
  }
  return nullptr;
}

// Ends the newest where a torn tail begins.
Status Walk::visit(const LogLink& link, bool newest) {
  const SegmentInfo& segment = *link.segment;
  const uint64_t bytes = std::min(link.end, segment.bytes);
  if (Status status = open(segment, bytes); status != Status::kOk) return status;
  const bool told = segment.state == SegmentState::kGood;
  if (!told) add_damage(segment, 0, "the segment's header is wrong");
  uint64_t epoch = told ? segment.header.first_epoch - 1 : 0;
  bool searching = false;  // for the next intact frame, behind a damaged place
  while (true) {
    if (searching) {
      if (Status status = reader_.find_header(false); status != Status::kOk) return status;
    }
    const uint64_t offset = reader_.offset();
    Frame frame;
    if (Status status = reader_.next_intact(&frame); status != Status::kOk) return status;
    if (frame.what == Next::kEnd) break;
    if (frame.what == Next::kBad) {
      if (!searching && newest && epoch >= durable_epoch_) return Status::kOk;
      if (!searching) add_damage(segment, offset, frame.kind);
    } else {
      if (frame.type == FrameType::kCommit) epoch = decode_commit_payload(frame.value).last_epoch;
      if (Status status = take(&frame); status != Status::kOk) return status;
    }
    searching = frame.what == Next::kBad;
    // An intact header is believed, whatever became of its frame: so no byte is read again and
    // again.
    reader_.seek(offset + frame.bytes);
  }
  const bool short_of_durable = newest && epoch < durable_epoch_;
  if (bytes < link.end || short_of_durable) add_damage(segment, bytes, "the segment is cut off");
  // Behind the newest's last commit nothing counts; elsewhere the frames behind the last intact one
  // were committed as well, by one that is damaged.
  return newest || open_frames_ == 0 ? Status::kOk : commit(epoch + 1);
}

Status Walk::take(Frame* frame) {
  if (sink_ == nullptr || frame->type == FrameType::kPad) return Status::kOk;
  if (frame->type == FrameType::kCommit) {
    return commit(decode_commit_payload(frame->value).last_epoch);
  }
  ++open_frames_;
  const Status status = hand_over(frame, reader_, sink_);
  if (status != Status::kOk || frame->what == Next::kFrame) return status;
  return fail(Status::kIo, "a value changed while it was read");
}

Status Walk::commit(uint64_t last_epoch) {
  frames_ += open_frames_;
  open_frames_ = 0;
  return sink_->commit(last_epoch);
}

// recover() says whether a log is damaged, and stops at the first place; the walk goes on and finds
// the others. `*frames`: how many were handed over.
Status read_on(Directory& directory, const Progress& progress, RecoverySink* sink,
               std::vector<Damage>* damage, uint64_t* frames) {
  damage->clear();
  LogPosition position;
  RecoveryReport report;
  const Status checked = recover(directory, progress, nullptr, 1, &position, &report);
  if (checked != Status::kOk && checked != Status::kCorrupt) return checked;
  if (checked == Status::kOk && sink == nullptr) return Status::kOk;
  Survey survey;
  if (Status status = survey_log(directory, &survey); status != Status::kOk) return status;
  ProgressMeter meter(progress, survey.bytes);
  Walk walk(directory, survey, meter, sink, damage);
  if (Status status = walk.run(); status != Status::kOk) return status;
  *frames = walk.frames();
  if (checked == Status::kOk) {
    damage->clear();
  } else if (std::ranges::find(*damage, report.damage.file, &Damage::file) == damage->end()) {
    damage->push_back(report.damage);
  }
  return meter.finish();
}

}  // namespace

Status verify(Directory& directory, const Progress& progress, std::vector<Damage>* damage) {
  uint64_t frames = 0;
  const Status status = read_on(directory, progress, nullptr, damage, &frames);
  std::sort(damage->begin(), damage->end());
  return status;
}

Status salvage(Directory& directory, const Progress& progress, RecoverySink& sink,
               std::vector<Damage>* damage) {
  PatientDirectory patient(directory);
  uint64_t frames = 0;
  const Status status = read_on(patient, progress, &sink, damage, &frames);
  if (status != Status::kOk) return status;
  const std::vector<Damage> unreadable = patient.unreadable();
  if (!unreadable.empty() && frames == 0) {
    return fail(Status::kIo,
                "'{}' cannot be read, and nothing was rescued; first at '{}', offset {}",
                directory.path(), unreadable[0].file, unreadable[0].offset);
  }
  damage->insert(damage->end(), unreadable.begin(), unreadable.end());
  std::sort(damage->begin(), damage->end());
  return Status::kOk;
}

}  // namespace dskvs
