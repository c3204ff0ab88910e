#include "disk/log_survey.h"

#include <algorithm>
#include <utility>

namespace dskvs {
namespace {

// kCorrupt: what bears the segment's name is no file; `*info` says so already.
Status read_segment_info(Directory& directory, SegmentInfo* info) {
  std::unique_ptr<File> file;
  std::array<std::byte, kBlockBytes> block;
  size_t got = 0;
  Status status = directory.open_file(SegmentName(info->id).text, FileMode::kRead, &file);
  if (status == Status::kOk) status = file->size(&info->bytes);
  if (status == Status::kOk) status = file->read(0, block.data(), block.size(), &got);
  if (status != Status::kOk) return status;
  const HeaderState state = decode_segment_header(block.data(), got, &info->header);
  if (state == HeaderState::kLaterVersion) {
    return fail(Status::kVersion, "'{}/{}' is of a later format version than {}", directory.path(),
                SegmentName(info->id).text, kFormatVersion);
  }
  info->state = SegmentState::kGood;
  if (state == HeaderState::kBad) {
    info->state = info->bytes > kSegmentStart ? SegmentState::kBad : SegmentState::kTorn;
  } else if (info->header.segment_id != info->id) {
    info->state = SegmentState::kBad;
  }
  return Status::kOk;
}

}  // namespace

const SegmentInfo* Survey::find(uint64_t id) const {
  const auto at = std::ranges::lower_bound(segments, id, {}, &SegmentInfo::id);
  return at != segments.end() && at->id == id ? &*at : nullptr;
}

Status open_frames(Directory& directory, const StoreId& store_id, const SegmentInfo& segment,
                   uint64_t end, SegmentReader* reader) {
  std::unique_ptr<File> file;
  const Status status = directory.open_file(SegmentName(segment.id).text, FileMode::kRead, &file);
  if (status != Status::kOk) return status;
  reader->open(std::move(file), FrameSeed(store_id, segment.id), std::min(kSegmentStart, end), end);
  return Status::kOk;
}

Status survey_log(Directory& directory, Survey* survey) {
  *survey = Survey{};
  std::vector<SegmentInfo>& segments = survey->segments;
  const Status listed = directory.each_name([&](std::string_view name) {
    if (name == kReserveName) survey->reserve = true;
    SegmentInfo info{.id = 0, .bytes = 0, .state = SegmentState::kNoFile, .header = {}};
    if (!parse_segment_name(name, &info.id)) return Status::kOk;
    const Status status = read_segment_info(directory, &info);
    if (status != Status::kOk && status != Status::kCorrupt) return status;
    segments.push_back(info);
    return Status::kOk;
  });
  if (listed != Status::kOk) return listed;
  std::ranges::sort(segments, {}, &SegmentInfo::id);
  for (const SegmentInfo& info : segments) {
    survey->bytes += info.bytes;
    if (info.state == SegmentState::kGood) survey->store_id = info.header.store_id;
  }
  for (SegmentInfo& info : segments) {
    const bool foreign =
        info.state == SegmentState::kGood && info.header.store_id != survey->store_id;
    if (foreign) info.state = SegmentState::kForeign;
  }
  return Status::kOk;
}

bool has_changed(Directory& directory, const Survey& survey) {
  const KeptErrorText kept;  // of what was found
  Survey now;
  const Status status = survey_log(directory, &now);
  if (status != Status::kOk) return status == Status::kNotFound;
  const auto seen = [](const SegmentInfo& segment) { return std::pair(segment.id, segment.bytes); };
  return !std::ranges::equal(now.segments, survey.segments, {}, seen, seen);
}

}  // namespace dskvs
