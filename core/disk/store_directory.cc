#include "disk/store_directory.h"

#include <algorithm>
#include <new>
#include <string_view>
#include <utility>

namespace dskvs {
namespace {

constexpr size_t kCopyBytes = size_t{1} << 20;

struct Contents {
  uint64_t names = 0;  // without what mkfs leaves
  bool store = false;  // one of them marks a store
};

Status look_into(Directory& directory, Contents* contents) {
  return directory.each_name([contents](std::string_view name) {
    uint64_t id;
    if (name != "lost+found") ++contents->names;
    if (name == kLockName || parse_segment_name(name, &id)) contents->store = true;
    return Status::kOk;
  });
}

Status copy_segment(Directory& from, Directory& to, const SegmentFile& segment, std::byte* buffer) {
  const SegmentName name(segment.id);
  std::unique_ptr<File> source;
  std::unique_ptr<File> target;
  Status status = from.open_file(name.text, FileMode::kRead, &source);
  if (status == Status::kOk) status = to.open_file(name.text, FileMode::kCreate, &target);
  for (uint64_t offset = 0; status == Status::kOk && offset < segment.end;) {
    const size_t bytes = std::min<uint64_t>(kCopyBytes, segment.end - offset);
    size_t got = 0;
    status = source->read(offset, buffer, bytes, &got);
    if (status == Status::kOk && got != bytes) {
      status = fail(Status::kIo, "'{}/{}' is shorter than its log", from.path(), name.text);
    }
    const Piece piece{buffer, bytes};
    if (status == Status::kOk) status = target->write(offset, {&piece, 1});
    if (status == Status::kOk) target->start_writeback(offset, bytes);
    offset += bytes;
  }
  if (status == Status::kOk) status = target->sync();
  if (status == Status::kOk) status = target->close();
  return status;
}

}  // namespace

Status open_store_directory(FileSystem& files, const char* path, Presence presence,
                            std::unique_ptr<Directory>* directory) {
  Status status = files.open_directory(path, presence, kLockName, directory);
  if (status != Status::kOk) return status;
  Contents found;
  status = look_into(**directory, &found);
  if (status != Status::kOk) return status;
  if (presence == Presence::kMustBeNew && found.names != 0) {
    return fail(Status::kPath, "'{}' is there already and is not empty", path);
  }
  if (!found.store && found.names != 0) {
    return fail(Status::kPath, "'{}' is neither a store nor an empty directory", path);
  }
  if (!found.store && presence == Presence::kMustExist) {
    return fail(Status::kPath, "'{}' holds no store", path);
  }
  // Before the first file: a store stands in a directory that is durable.
  return found.store ? Status::kOk : (*directory)->sync_entry();
}

Status refuse_unfinished(Directory& directory) {
  return directory.each_name([&](std::string_view name) {
    if (name != kUnfinishedName) return Status::kOk;
    return fail(Status::kPath, "'{}' holds a backup or salvage that is not finished",
                directory.path());
  });
}

Status NewStore::open(FileSystem& files, const char* path) {
  std::unique_ptr<Directory> opened;
  Status status = open_store_directory(files, path, Presence::kMustBeNew, &opened);
  if (status == Status::kOk) status = opened->lock(kLockName);
  if (status != Status::kOk) return status;
  Contents found;
  if (status = look_into(*opened, &found); status != Status::kOk) {
    const KeptErrorText kept;
    (void)opened->unlink(kLockName);
    return status;
  }
  // Before the lock, another process may have made a store here, and closed it.
  if (found.names != 1) return fail(Status::kPath, "'{}' is not empty any more", path);
  directory_ = std::move(opened);
  std::unique_ptr<File> mark;
  status = directory_->open_file(kUnfinishedName, FileMode::kCreate, &mark);
  if (status == Status::kOk) status = mark->close();
  // Nothing else may be there without it, whatever a power loss takes.
  return status == Status::kOk ? directory_->sync() : status;
}

Status NewStore::keep() {
  Status status = directory_->unlink(kUnfinishedName);
  if (status != Status::kOk) return status;
  status = directory_->sync();
  directory_.reset();  // whole, and perhaps marked still: taking it apart now could leave a part
  return status;
}

NewStore::~NewStore() {
  if (directory_ == nullptr) return;
  const KeptErrorText kept;  // of what went wrong before
  Status emptied = Status::kOk;
  // What cannot go does not keep the rest here. So small a capture needs no memory.
  Status listed = directory_->each_name([this, &emptied](const char* name) {
    uint64_t id;
    const bool ours = parse_segment_name(name, &id) || name == std::string_view(kReserveName);
    const Status status = ours ? directory_->unlink(name) : Status::kOk;
    if (status != Status::kOk) emptied = status;
    return Status::kOk;
  });
  // The mark goes last.
  if (listed != Status::kOk || emptied != Status::kOk || directory_->sync() != Status::kOk) return;
  (void)directory_->unlink(kUnfinishedName);
  (void)directory_->unlink(kLockName);
}

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
