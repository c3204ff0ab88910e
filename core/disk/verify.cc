#include "disk/verify.h"

#include "disk/damage_walk.h"
#include "disk/recovery.h"

#include <algorithm>
#include <memory>
#include <new>

namespace dskvs {
namespace {

// Takes frames and forgets them.
class NullSink final : public RecoverySink {
 public:
  Status put(std::string_view, uint64_t value_size, void** value) override {
    if (value_size > room_bytes_) {
      room_.reset();
      room_bytes_ = 0;
      room_.reset(new std::byte[value_size]);
      room_bytes_ = value_size;
    }
    *value = room_.get();
    return Status::kOk;
  }
  Status remove(std::string_view) override { return Status::kOk; }
  Status drop(std::string_view) override { return Status::kOk; }
  Status commit(const CommitInfo&) override { return Status::kOk; }
  void discard() override {}

 private:
  std::unique_ptr<std::byte[]> room_;
  uint64_t room_bytes_ = 0;
};

class DamageList final : public DamageVisitor {
 public:
  explicit DamageList(std::vector<Damage>* damage) : damage_(damage) {}

  Status frame(const WalkLink&, const Frame&, SegmentReader&) override { return Status::kOk; }
  void damage(const WalkLink& link, uint64_t offset, const char* kind) override {
    damage_->push_back({SegmentName(link.segment.id).text, offset, kind});
  }
  Status end(const WalkLink&, bool) override { return Status::kOk; }

 private:
  std::vector<Damage>* damage_;
};

// recover() stops at the first damaged place; the walk goes on and finds the others.
Status list_damage(Directory& directory, const Progress& progress, std::vector<Damage>* damage) {
  Survey survey;
  if (Status status = survey_log(directory, &survey); status != Status::kOk) return status;
  ProgressMeter meter(progress, survey.bytes);
  SegmentReader reader(meter);
  DamageWalk walk;
  if (Status status = plan_damage_walk(directory, reader, &walk); status != Status::kOk) {
    return status;
  }
  for (const uint64_t id : walk.missing) {
    damage->push_back({SegmentName(id).text, 0, "the segment is missing"});
  }
  DamageList list(damage);
  for (const WalkLink& link : walk.links) {
    const Status status = walk_link(directory, walk.store_id, link, reader, list);
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

}  // namespace

Status verify(Directory& directory, const Progress& progress, std::vector<Damage>* damage) try {
  damage->clear();
  NullSink sink;
  LogPosition position;
  RecoveryReport report;
  DamagePlace place;
  Status status = recover(directory, progress, sink, &position, &report, &place);
  if (status != Status::kCorrupt) return status;
  status = list_damage(directory, progress, damage);
  const bool listed = std::any_of(damage->begin(), damage->end(), [&](const Damage& found) {
    return found.file == SegmentName(place.segment_id).text;
  });
  if (!listed) damage->push_back({SegmentName(place.segment_id).text, place.offset, place.kind});
  std::sort(damage->begin(), damage->end());
  return status;
} catch (const std::bad_alloc&) {
  return fail(Status::kMemory, "no memory to check the log of '{}'", directory.path());
}

}  // namespace dskvs
