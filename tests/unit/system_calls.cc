#include "unit/system_calls.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <utility>

namespace dskvs::test {
namespace {

thread_local Faults* planted = nullptr;

bool fails(Call call, size_t* bytes_max = nullptr) {
  return planted != nullptr && planted->meet(call, bytes_max);
}

int synced(int fd, int result) {
  struct stat info;
  if (planted != nullptr && result == 0 && ::fstat(fd, &info) == 0) {
    planted->synced.push_back(info.st_ino);
  }
  return result;
}

}  // namespace

Faults::Faults(std::vector<Fault> faults) : faults_(std::move(faults)) {
  if (planted != nullptr) std::abort();
  planted = this;
}

Faults::~Faults() { planted = nullptr; }

bool Faults::meet(Call call, size_t* bytes_max) {
  const uint64_t number = ++calls_[static_cast<size_t>(call)];
  int error = 0;
  for (const Fault& fault : faults_) {
    if (fault.call != call || number < fault.first || number - fault.first >= fault.times) continue;
    if (fault.before) {
      planted = nullptr;
      fault.before();
      planted = this;
    }
    if (bytes_max != nullptr) *bytes_max = std::min(*bytes_max, fault.bytes_max);
    error = fault.error;
  }
  if (error != 0) errno = error;
  return error != 0;
}

}  // namespace dskvs::test

using namespace dskvs::test;

// The names with 64 are those that the C library has for -D_FILE_OFFSET_BITS=64. They go to the
// others: no test is about offsets beyond 2 GiB.

// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" {

int __real_close(int fd);
int __wrap_close(int fd) {
  const bool failed = fails(Call::kClose);
  const int error = errno;
  const int result = __real_close(fd);  // Linux closes, whatever it then says
  if (!failed) return result;
  errno = error;
  return -1;
}

int __real_fallocate(int fd, int mode, off_t offset, off_t size);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t size) {
  return fails(Call::kFallocate) ? -1 : __real_fallocate(fd, mode, offset, size);
}
int __wrap_fallocate64(int fd, int mode, int64_t offset, int64_t size) {
  return __wrap_fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(size));
}

int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode) {
  return fails(Call::kFchmod) ? -1 : __real_fchmod(fd, mode);
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd) {
  return fails(Call::kFdatasync) ? -1 : synced(fd, __real_fdatasync(fd));
}

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation) {
  return fails(Call::kFlock) ? -1 : __real_flock(fd, operation);
}

int __real_fstatvfs(int fd, struct statvfs* info);
int __wrap_fstatvfs(int fd, struct statvfs* info) {
  return fails(Call::kFstatvfs) ? -1 : __real_fstatvfs(fd, info);
}
int __wrap_fstatvfs64(int fd, struct statvfs* info) { return __wrap_fstatvfs(fd, info); }

int __real_fsync(int fd);
int __wrap_fsync(int fd) { return fails(Call::kFsync) ? -1 : synced(fd, __real_fsync(fd)); }

int __real_openat(int directory, const char* name, int flags, ...);
int __wrap_openat(int directory, const char* name, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if (planted != nullptr) planted->open_flags &= flags;
  return fails(Call::kOpenat) ? -1 : __real_openat(directory, name, flags, mode);
}
int __wrap_openat64(int directory, const char* name, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return __wrap_openat(directory, name, flags, mode);
}

ssize_t __real_pread(int fd, void* buffer, size_t size, off_t offset);
ssize_t __wrap_pread(int fd, void* buffer, size_t size, off_t offset) {
  return fails(Call::kPread, &size) ? -1 : __real_pread(fd, buffer, size, offset);
}
ssize_t __wrap_pread64(int fd, void* buffer, size_t size, int64_t offset) {
  return __wrap_pread(fd, buffer, size, static_cast<off_t>(offset));
}

ssize_t __real_pwritev(int fd, const iovec* vectors, int count, off_t offset);
ssize_t __wrap_pwritev(int fd, const iovec* vectors, int count, off_t offset) {
  size_t left = SIZE_MAX;
  if (fails(Call::kPwritev, &left)) return -1;
  std::vector<iovec> some(vectors, vectors + count);
  for (iovec& vector : some) {
    vector.iov_len = std::min(vector.iov_len, left);
    left -= vector.iov_len;
  }
  return __real_pwritev(fd, some.data(), count, offset);
}
ssize_t __wrap_pwritev64(int fd, const iovec* vectors, int count, int64_t offset) {
  return __wrap_pwritev(fd, vectors, count, static_cast<off_t>(offset));
}

int __real_syncfs(int fd);
int __wrap_syncfs(int fd) { return fails(Call::kSyncfs) ? -1 : __real_syncfs(fd); }

int __real_unlinkat(int directory, const char* name, int flags);
int __wrap_unlinkat(int directory, const char* name, int flags) {
  return fails(Call::kUnlinkat) ? -1 : __real_unlinkat(directory, name, flags);
}
}
// NOLINTEND(bugprone-reserved-identifier)
