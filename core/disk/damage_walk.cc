#include "disk/damage_walk.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

namespace dskvs {
namespace {

// What the intact commits of a segment say, wherever they stand.
struct CommitSummary {
  uint64_t commits = 0;
  uint64_t durable_epoch = 0;       // the largest recorded
  uint64_t first_live_segment = 0;  // likewise
};

constexpr size_t kScanBytes = size_t{1} << 20;

// REQUIRES: may_be_commit(frame).
bool is_intact_commit(const std::byte* frame, uint64_t segment_id, uint64_t offset,
                      CommitPayload* payload) {
  *payload = decode_commit_payload(frame + kFrameHeaderBytes);
  const uint64_t seed = FrameSeed(payload->store_id, segment_id).at(offset);
  FrameHeader header;
  if (!decode_frame_header(frame, seed, &header)) return false;
  const uint64_t hash = checksum(seed, frame + kChecksumFrom, kCommitFrameBytes - kChecksumFrom);
  return stored_checksum(hash) == header.checksum;
}

// Where no header tells whose the segment is, a commit does: it names the store, and its checksum
// bears that out.
Status find_store_id(File& file, const SegmentInfo& segment, StoreId* store_id) {
  const std::unique_ptr<std::byte[]> buffer(new std::byte[kScanBytes]);
  for (uint64_t from = 0; from + kCommitFrameBytes <= segment.bytes;) {
    size_t got = 0;
    const Status status = file.read(from, buffer.get(), kScanBytes, &got);
    if (status != Status::kOk) return status;
    if (got < kCommitFrameBytes) return Status::kOk;
    size_t at = 0;
    for (; at + kCommitFrameBytes <= got; at += 8) {
      CommitPayload payload;
      if (!may_be_commit(buffer.get() + at)) continue;
      if (is_intact_commit(buffer.get() + at, segment.id, from + at, &payload)) {
        *store_id = payload.store_id;
        return Status::kOk;
      }
    }
    from = std::max(from + at, file.next_data(from + at) & ~uint64_t{7});
  }
  return Status::kOk;
}

Status find_store_id(Directory& directory, const Survey& survey, StoreId* store_id) {
  *store_id = survey.store_id;
  for (auto segment = survey.segments.rbegin(); segment != survey.segments.rend(); ++segment) {
    if (*store_id != StoreId{}) return Status::kOk;
    if (segment->state != SegmentState::kBad) continue;
    std::unique_ptr<File> file;
    Status status = open_segment(directory, segment->id, &file);
    if (status == Status::kOk) status = find_store_id(*file, *segment, store_id);
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

Status summarize(Directory& directory, const StoreId& store_id, const SegmentInfo& segment,
                 SegmentReader& reader, CommitSummary* summary) {
  std::unique_ptr<File> file;
  Status status = open_segment(directory, segment.id, &file);
  if (status != Status::kOk) return status;
  reader.open(std::move(file), FrameSeed(store_id, segment.id),
              std::min(kSegmentStart, segment.bytes), segment.bytes);
  while (true) {
    status = reader.find_header(true);
    Next what;
    Frame frame;
    if (status == Status::kOk) status = reader.next(&what, &frame);
    if (status != Status::kOk || what == Next::kEnd) return status;
    if (what == Next::kBad) {
      reader.seek(reader.offset() + 8);
      continue;
    }
    const CommitPayload payload = decode_commit_payload(frame.value);
    ++summary->commits;
    summary->durable_epoch = std::max(summary->durable_epoch, payload.durable_epoch);
    summary->first_live_segment = std::max(summary->first_live_segment, payload.first_live_segment);
  }
}

bool is_readable(const SegmentInfo& segment) {
  return segment.state == SegmentState::kGood || segment.state == SegmentState::kBad;
}

// The newest readable segment with an id below `below`.
const SegmentInfo* readable_before(const Survey& survey, uint64_t below) {
  for (auto segment = survey.segments.rbegin(); segment != survey.segments.rend(); ++segment) {
    if (segment->id < below && is_readable(*segment)) return &*segment;
  }
  return nullptr;
}

// Back from the newest link: along the headers, and where one is lost, over whatever comes before.
void follow_links(const Survey& survey, uint64_t first_live_segment, DamageWalk* walk) {
  while (true) {
    const SegmentInfo& segment = walk->links.back().segment;
    const bool told = segment.state == SegmentState::kGood;
    const uint64_t id = told ? segment.header.previous_segment : 0;
    if (told && id == 0) return;
    const SegmentInfo* previous = told ? survey.find(id) : nullptr;
    const bool there = previous != nullptr && is_readable(*previous);
    if (told && !there) {
      if (id < first_live_segment) return;
      walk->missing.push_back(id);
    }
    if (!there) previous = readable_before(survey, told ? id : segment.id);
    if (previous == nullptr) return;
    const uint64_t end = there ? segment.header.previous_end : previous->bytes;
    walk->links.push_back({.segment = *previous,
                           .end = std::min(end, previous->bytes),
                           .durable_epoch = UINT64_MAX,
                           .newest = false,
                           .cut_off = previous->bytes < end});
  }
}

// Moves on to the next intact frame behind a damaged place, or to the end. An intact header is
// believed, whatever became of its frame: so no byte is read again and again.
Status resume(SegmentReader& reader) {
  while (true) {
    reader.seek(reader.offset() + reader.bad_bytes());
    Status status = reader.find_header(false);
    const uint64_t offset = reader.offset();
    Next what;
    Frame frame;
    if (status == Status::kOk) status = reader.next(&what, &frame);
    if (status != Status::kOk || what == Next::kEnd) return status;
    bool intact = what == Next::kFrame;
    if (intact && frame.value == nullptr) status = reader.read_value(frame, nullptr, &intact);
    if (status != Status::kOk) return status;
    if (!intact) continue;
    reader.seek(offset);
    return Status::kOk;
  }
}

}  // namespace

Status plan_damage_walk(Directory& directory, SegmentReader& reader, DamageWalk* walk) {
  Survey survey;
  Status status = survey_log(directory, &survey);
  if (status == Status::kOk) status = find_store_id(directory, survey, &walk->store_id);
  if (status != Status::kOk) return status;
  uint64_t durable_epoch = 0;
  for (auto segment = survey.segments.rbegin(); segment != survey.segments.rend(); ++segment) {
    if (!is_readable(*segment)) continue;
    CommitSummary summary;
    status = summarize(directory, walk->store_id, *segment, reader, &summary);
    if (status != Status::kOk) return status;
    const uint64_t first_epoch =
        segment->state == SegmentState::kGood ? segment->header.first_epoch : 1;
    durable_epoch = std::max({durable_epoch, summary.durable_epoch, first_epoch - 1});
    if (summary.commits == 0) continue;
    walk->links.push_back({.segment = *segment,
                           .end = segment->bytes,
                           .durable_epoch = durable_epoch,
                           .newest = true,
                           .cut_off = false});
    follow_links(survey, summary.first_live_segment, walk);
    std::reverse(walk->links.begin(), walk->links.end());
    return Status::kOk;
  }
  return Status::kOk;
}

Status walk_link(Directory& directory, const StoreId& store_id, const WalkLink& link,
                 SegmentReader& reader, DamageVisitor& visitor) {
  const SegmentInfo& segment = link.segment;
  std::unique_ptr<File> file;
  Status status = open_segment(directory, segment.id, &file);
  if (status != Status::kOk) return status;
  reader.open(std::move(file), FrameSeed(store_id, segment.id), std::min(kSegmentStart, link.end),
              link.end);
  const bool told = segment.state == SegmentState::kGood;
  if (!told) visitor.damage(link, 0, "the segment's header is wrong");
  uint64_t epoch = told ? segment.header.first_epoch - 1 : 0;
  while (status == Status::kOk) {
    Next what;
    Frame frame;
    bool intact = true;
    const uint64_t offset = reader.offset();
    status = reader.next(&what, &frame);
    if (status != Status::kOk || what == Next::kEnd) break;
    if (what == Next::kFrame && frame.value == nullptr) {
      status = reader.read_value(frame, nullptr, &intact);
      if (status != Status::kOk) break;
    }
    if (what == Next::kBad || !intact) {
      if (link.newest && epoch >= link.durable_epoch) return visitor.end(link, false);
      visitor.damage(link, offset, reader.bad_kind());
      status = resume(reader);
      continue;
    }
    if (frame.type == FrameType::kCommit) epoch = decode_commit_payload(frame.value).last_epoch;
    if (frame.value == nullptr) {  // once more from its header, for the visitor to read
      reader.seek(offset);
      status = reader.next(&what, &frame);
      if (status != Status::kOk) break;
    }
    const uint64_t end = offset + frame.bytes;
    status = visitor.frame(link, frame, reader);
    reader.seek(end);
  }
  if (status != Status::kOk) return status;
  const bool short_of_durable = link.newest && epoch < link.durable_epoch;
  if (link.cut_off || short_of_durable) {
    visitor.damage(link, link.end, "the segment is cut off");
  }
  return visitor.end(link, !link.newest);
}

}  // namespace dskvs
