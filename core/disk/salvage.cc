#include "disk/salvage.h"

#include "disk/damage_walk.h"
#include "disk/patient_directory.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

namespace dskvs {
namespace {

class Salvage final : public DamageVisitor {
 public:
  Salvage(RecoverySink& sink, RecoveryReport* report) : sink_(sink), report_(report) {}

  Status frame(const WalkLink& link, const Frame& frame, SegmentReader& reader) override {
    if (frame.type == FrameType::kPad) return Status::kOk;
    if (frame.type == FrameType::kCommit) {
      const CommitPayload payload = decode_commit_payload(frame.value);
      return commit({payload.first_epoch, payload.last_epoch, payload.durable_epoch,
                     link.segment.id, frame.offset + frame.bytes});
    }
    ++open_frames_;
    if (frame.type == FrameType::kPut) return put(frame, reader);
    return frame.type == FrameType::kRemove ? sink_.remove(frame.key) : sink_.drop(frame.key);
  }

  void damage(const WalkLink&, uint64_t, const char*) override {}

  Status end(const WalkLink& link, bool committed) override {
    if (open_frames_ == 0) return Status::kOk;
    if (committed) {  // by a commit that is damaged
      const uint64_t epoch = report_->recovered_epoch + 1;
      return commit({epoch, epoch, epoch, link.segment.id, link.end});
    }
    report_->frames_cut += open_frames_;
    open_frames_ = 0;
    sink_.discard();
    return Status::kOk;
  }

 private:
  Status put(const Frame& frame, SegmentReader& reader) {
    void* value = nullptr;
    const Status status = sink_.put(frame.key, frame.value_size, &value);
    if (status != Status::kOk) return status;
    if (frame.value != nullptr) {
      if (frame.value_size != 0) std::memcpy(value, frame.value, frame.value_size);
      return Status::kOk;
    }
    bool intact;
    const Status read = reader.read_value(frame, value, &intact);
    if (read != Status::kOk || intact) return read;
    return fail(Status::kIo, "a value changed while it was read");
  }

  Status commit(const CommitInfo& info) {
    report_->frames += open_frames_;
    open_frames_ = 0;
    report_->recovered_epoch = std::max(report_->recovered_epoch, info.last_epoch);
    report_->highest_epoch_seen = report_->recovered_epoch;
    return sink_.commit(info);
  }

  RecoverySink& sink_;
  RecoveryReport* report_;
  uint64_t open_frames_ = 0;
};

Status salvage_links(Directory& directory, const Progress& progress, RecoverySink& sink,
                     RecoveryReport* report) {
  Survey survey;
  if (Status status = survey_log(directory, &survey); status != Status::kOk) return status;
  ProgressMeter meter(progress, survey.bytes);
  SegmentReader reader(meter);
  DamageWalk walk;
  if (Status status = plan_damage_walk(directory, reader, &walk); status != Status::kOk) {
    return status;
  }
  Salvage salvage(sink, report);
  for (const WalkLink& link : walk.links) {
    const Status status = walk_link(directory, walk.store_id, link, reader, salvage);
    if (status != Status::kOk) return status;
  }
  return meter.finish();
}

void add_unreadable(const std::vector<UnreadablePlace>& places, std::vector<Damage>* damage) {
  for (const UnreadablePlace& place : places) {
    damage->push_back(
        {place.file, place.offset, std::to_string(place.bytes) + " bytes cannot be read"});
  }
  std::sort(damage->begin(), damage->end());
}

}  // namespace

Status salvage(Directory& directory, const Progress& progress, RecoverySink& sink,
               std::vector<Damage>* damage, RecoveryReport* report) try {
  *report = RecoveryReport{};
  PatientDirectory patient(directory);
  if (damage != nullptr) {
    if (Status status = verify(patient, progress, damage); status != Status::kOk) return status;
  }
  if (Status status = salvage_links(patient, progress, sink, report); status != Status::kOk) {
    return status;
  }
  const std::vector<UnreadablePlace> places = patient.unreadable();
  if (!places.empty() && report->frames == 0) {
    return fail(Status::kIo,
                "'{}' cannot be read, and nothing was rescued; first at '{}', offset {}",
                directory.path(), places[0].file, places[0].offset);
  }
  if (damage != nullptr) add_unreadable(places, damage);
  return Status::kOk;
} catch (const std::bad_alloc&) {
  return fail(Status::kMemory, "no memory to salvage the log of '{}'", directory.path());
}

}  // namespace dskvs
