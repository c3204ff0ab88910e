#include "disk/backup.h"

#include <algorithm>
#include <memory>
#include <new>

namespace dskvs {
namespace {

constexpr size_t kCopyBytes = size_t{1} << 20;

Status copy_bytes(File& from, File& to, uint64_t end, std::byte* buffer) {
  for (uint64_t offset = 0; offset < end;) {
    const size_t want = std::min<uint64_t>(kCopyBytes, end - offset);
    size_t got = 0;
    Status status = from.read(offset, buffer, want, &got);
    if (status == Status::kOk && got != want) {
      status = fail(Status::kIo, "a segment is shorter than its log");
    }
    const Piece piece{buffer, got};
    if (status == Status::kOk) status = to.write(offset, {&piece, 1});
    if (status != Status::kOk) return status;
    to.start_writeback(offset, got);
    offset += got;
  }
  return Status::kOk;
}

Status copy_segment(Directory& from, Directory& to, const SegmentFile& segment, std::byte* buffer) {
  const SegmentName name(segment.id);
  std::unique_ptr<File> source;
  std::unique_ptr<File> target;
  Status status = from.open_file(name.text, FileMode::kRead, &source);
  if (status == Status::kOk) status = to.open_file(name.text, FileMode::kCreate, &target);
  if (status == Status::kOk) status = copy_bytes(*source, *target, segment.end, buffer);
  if (status == Status::kOk) status = target->sync();
  if (status == Status::kOk) status = target->close();
  return status;
}

}  // namespace

Status copy_segments(Directory& from, Directory& to, const std::vector<SegmentFile>& segments) {
  const std::unique_ptr<std::byte[]> buffer(new (std::nothrow) std::byte[kCopyBytes]);
  if (buffer == nullptr) return fail(Status::kMemory, "no memory to copy with");
  for (const SegmentFile& segment : segments) {
    const Status status = copy_segment(from, to, segment, buffer.get());
    if (status != Status::kOk) return status;
  }
  return to.sync();
}

}  // namespace dskvs
