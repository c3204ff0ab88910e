// The seam over POSIX. Locks are flock(2): they belong to the open file description, so a second
// open conflicts even within one process. A forked child shares the description; it must neither
// release the lock nor keep it alive, so all lock descriptors stand in one list and the child
// closes them, without unlocking, before it runs. The owner unlocks explicitly, for a child that
// was made behind pthread_atfork's back may still hold a copy.

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <new>
#include <tuple>
#include <utility>
#include <vector>

#include "disk/file.h"

namespace dskvs {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPiecesAtOnce = 256;  // well below IOV_MAX
constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;
constexpr int kFirstDescriptor = 3;  // 0 to 2 belong to the host, even when it closed them
constexpr int kLockAttempts = 100;

Status status_of(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return Status::kSpace;
    case ENOMEM:
      return Status::kMemory;
    default:
      return Status::kIo;
  }
}

Status fail_errno(Status status, const char* what, std::string_view path,
                  const char* name = "") noexcept {
  char reason[128];
  return fail(status, "{} '{}{}{}': {}", what, path, *name == '\0' ? "" : "/", name,
              strerror_r(errno, reason, sizeof reason));
}

// Makes a call to the system, and makes it again when a signal came.
template <typename Call>
auto retried(Call&& call) {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

// openat(2), but for EINTR and the host's own descriptors. errno tells about a failure; `undo`:
// what was created is then gone again.
Descriptor open_at(int directory, const char* name, int flags, mode_t mode = 0, bool undo = false) {
  const int fd =
      retried([&] { return ::openat(directory, name, flags | O_CLOEXEC | O_NOCTTY, mode); });
  if (fd < 0 || fd >= kFirstDescriptor) return Descriptor(fd);
  const Descriptor low(fd);
  const int high = ::fcntl(fd, F_DUPFD_CLOEXEC, kFirstDescriptor);
  const int error = errno;
  Descriptor result(high);
  if (high < 0 && undo) ::unlinkat(directory, name, 0);
  errno = error;
  return result;
}

class PosixFile final : public File {
 public:
  explicit PosixFile(std::string path) : path_(std::move(path)) {}

  void open(Descriptor fd) { fd_ = std::move(fd); }

  Status read(uint64_t offset, void* buffer, size_t size, size_t* got) override {
    *got = 0;
    while (*got < size) {
      const ssize_t n = retried([&] {
        return ::pread(fd_.get(), static_cast<char*>(buffer) + *got, size - *got,
                       static_cast<off_t>(offset + *got));
      });
      if (n < 0) return failed("cannot read");
      if (n == 0) break;
      *got += static_cast<size_t>(n);
    }
    return Status::kOk;
  }

  Status write(uint64_t offset, std::span<const Piece> pieces) override {
    std::array<iovec, kPiecesAtOnce> vectors;
    for (size_t done = 0;;) {  // of the first piece
      while (!pieces.empty() && done >= pieces.front().size) {
        done -= pieces.front().size;
        pieces = pieces.subspan(1);
      }
      if (pieces.empty()) return Status::kOk;
      const size_t count = std::min(pieces.size(), kPiecesAtOnce);
      for (size_t i = 0; i < count; ++i) {
        const size_t skip = i == 0 ? done : 0;
        auto* const from = static_cast<char*>(const_cast<void*>(pieces[i].data));
        vectors[i] = {from + skip, pieces[i].size - skip};
      }
      const ssize_t n = retried([&] {
        return ::pwritev(fd_.get(), vectors.data(), static_cast<int>(count),
                         static_cast<off_t>(offset));
      });
      if (n < 0) return failed("cannot write to");
      if (n == 0) return fail(Status::kIo, "cannot write to '{}': nothing was written", path_);
      offset += static_cast<uint64_t>(n);
      done += static_cast<size_t>(n);
    }
  }

  Status sync() override {
    const int result = retried([&] { return ::fdatasync(fd_.get()); });
    return result == 0 ? Status::kOk : failed("cannot sync");
  }

  void start_writeback(uint64_t offset, uint64_t size) override {
    ::sync_file_range(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(size),
                      SYNC_FILE_RANGE_WRITE);
  }

  uint64_t next_data(uint64_t offset) override {
    const off_t data = ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_DATA);
    if (data >= 0) return static_cast<uint64_t>(data);
    struct stat info;
    const bool only_hole = errno == ENXIO && ::fstat(fd_.get(), &info) == 0;
    return only_hole ? std::max(offset, static_cast<uint64_t>(info.st_size)) : offset;
  }

  uint64_t next_hole(uint64_t offset) override {
    const off_t hole = ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_HOLE);
    return hole < 0 ? UINT64_MAX : static_cast<uint64_t>(hole);
  }

  Status allocate(uint64_t size) override {
    const int result =
        retried([&] { return ::fallocate(fd_.get(), 0, 0, static_cast<off_t>(size)); });
    return result == 0 ? Status::kOk : failed("cannot set room aside for");
  }

  Status size(uint64_t* bytes) override {
    struct stat info;
    if (::fstat(fd_.get(), &info) != 0) return failed("cannot stat");
    *bytes = static_cast<uint64_t>(info.st_size);
    return Status::kOk;
  }

  Status close() override {
    const int result = ::close(fd_.release());
    return result == 0 || errno == EINTR ? Status::kOk : failed("cannot close");
  }

 private:
  Status failed(const char* what) const { return fail_errno(status_of(errno), what, path_); }

  Descriptor fd_;
  const std::string path_;
};

// The locks that this process holds, for the child of a fork to drop.
std::mutex held_mutex;
std::vector<int*>& held_locks =
    *new std::vector<int*>;  // never destroyed: a store may outlive main()

void drop_locks_in_child() {
  for (int* lock : held_locks) ::close(std::exchange(*lock, -1));
  held_locks.clear();
  held_mutex.unlock();
}

[[maybe_unused]] const int fork_handlers =
    ::pthread_atfork([] { held_mutex.lock(); }, [] { held_mutex.unlock(); }, drop_locks_in_child);

class PosixDirectory final : public Directory {
 public:
  PosixDirectory(Descriptor fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  ~PosixDirectory() override {
    const std::lock_guard guard(held_mutex);
    if (std::erase(held_locks, &lock_) == 0) return;  // there is none, or a child has dropped it
    ::flock(lock_, LOCK_UN);
    ::close(lock_);
  }

  Status each_name(const std::function<Status(const char* name)>& visit) override {
    // A stream of its own: the position of fd_ would be shared by all callers.
    Descriptor fd = open_at(fd_.get(), ".", O_RDONLY | O_DIRECTORY);
    if (!fd) return failed("cannot open");
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd.get()), ::closedir);
    if (stream == nullptr) return failed("cannot list");
    fd.release();
    while (true) {
      errno = 0;
      const dirent* entry = ::readdir(stream.get());  // NOLINT(concurrency-mt-unsafe): our stream
      if (entry == nullptr) return errno == 0 ? Status::kOk : failed("cannot list");
      const std::string_view name = entry->d_name;
      const Status status = name == "." || name == ".." ? Status::kOk : visit(entry->d_name);
      if (status != Status::kOk) return status;
    }
  }

  Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override try {
    file->reset();
    const bool create = mode == FileMode::kCreate;
    // First: when memory ends, nothing has been created.
    auto opened = std::make_unique<PosixFile>(path_ + "/" + name);
    Descriptor fd = open_at(
        fd_.get(), name, (create ? O_RDWR | O_CREAT | O_EXCL : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK,
        kFileMode, create);
    if (!fd && create) return failed("cannot create", name);
    if (!fd && (errno == ELOOP || errno == ENXIO)) return no_regular_file(name);
    if (!fd) return failed_or_gone("cannot open", name);
    struct stat info;
    if (::fstat(fd.get(), &info) != 0) return failed("cannot stat", name);
    if (!S_ISREG(info.st_mode)) return no_regular_file(name);
    if (create && ::fchmod(fd.get(), kFileMode) != 0) {
      const Status status = failed("cannot set the mode of", name);
      ::unlinkat(fd_.get(), name, 0);
      return status;
    }
    opened->open(std::move(fd));
    *file = std::move(opened);
    return Status::kOk;
  } catch (const std::bad_alloc&) {
    return fail(Status::kMemory, "no memory to open '{}/{}'", path_, name);
  }

  Status unlink(const char* name) override {
    const int result = ::unlinkat(fd_.get(), name, 0);
    return result == 0 ? Status::kOk : failed_or_gone("cannot remove", name);
  }

  void cut(const char* name, uint64_t size) override {
    const Descriptor fd = open_at(fd_.get(), name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK);
    struct stat info;
    const bool longer = fd && ::fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode) &&
                        info.st_nlink <= 1 && static_cast<uint64_t>(info.st_size) > size;
    std::ignore = longer ? ::ftruncate(fd.get(), static_cast<off_t>(size)) : 0;
  }

  Status sync() override {
    const int result = retried([&] { return ::fsync(fd_.get()); });
    return result == 0 ? Status::kOk : failed("cannot sync");
  }

  Status sync_entry() override {
    const Descriptor parent = open_at(fd_.get(), "..", O_RDONLY | O_DIRECTORY);
    if (parent && retried([&] { return ::fsync(parent.get()); }) == 0) return Status::kOk;
    // One that cannot be opened, or of a file system that knows no sync (there is nothing new in it
    // then: ours is where another one is mounted).
    const bool other = !parent || errno == EINVAL || errno == EROFS;
    const bool synced = other && ::syncfs(fd_.get()) == 0;
    return synced ? Status::kOk : failed("cannot sync the directory that holds");
  }

  Status lock(const char* name) override {
    // From before there is a descriptor that a child could inherit.
    const std::lock_guard guard(held_mutex);
    for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
      Descriptor fd;
      if (Status status = open_lock(name, &fd); status != Status::kOk) return status;
      if (!fd) continue;
      const int result = retried([&] { return ::flock(fd.get(), LOCK_EX | LOCK_NB); });
      if (result != 0 && errno == EWOULDBLOCK) return locked_by_other(fd.get());
      if (result != 0) return failed("cannot lock", name);
      // Between opening and locking the file may have been replaced: a lock on a file that nobody
      // can open any more keeps nobody out.
      if (!still_named(fd.get(), name)) continue;
      write_pid(fd.get());
      held_locks.push_back(&lock_);
      lock_ = fd.release();
      return Status::kOk;
    }
    return fail(Status::kIo, "cannot lock '{}/{}': it is replaced again and again", path_, name);
  }

  bool is_read_only() override {
    struct statvfs info;
    return ::fstatvfs(fd_.get(), &info) == 0 && (info.f_flag & ST_RDONLY) != 0;
  }

  uint64_t free_bytes() override {
    struct statvfs info;
    const bool tells = ::fstatvfs(fd_.get(), &info) == 0 && info.f_blocks != 0;
    return tells ? uint64_t{info.f_bavail} * info.f_frsize : UINT64_MAX;
  }

  const std::string& path() const override { return path_; }

 private:
  Status failed(const char* what, const char* name = "") const {
    return fail_errno(status_of(errno), what, path_, name);
  }

  Status failed_or_gone(const char* what, const char* name) const {
    if (errno != ENOENT) return failed(what, name);
    return fail_errno(Status::kNotFound, what, path_, name);
  }

  Status no_regular_file(const char* name) const {
    return fail(Status::kCorrupt, "'{}/{}' is no regular file", path_, name);
  }

  Status open_lock(const char* name, Descriptor* fd) const {
    constexpr int kFlags = O_RDWR | O_NOFOLLOW | O_NONBLOCK;
    // The lock's file may be writable where the directory is not.
    const bool writable = ::faccessat(fd_.get(), ".", W_OK | X_OK, AT_EACCESS) == 0;
    if (writable) *fd = open_at(fd_.get(), name, kFlags | O_CREAT | O_EXCL, kFileMode);
    if (*fd && ::fchmod(fd->get(), kFileMode) != 0) return failed("cannot set the mode of", name);
    if (!*fd && errno == EEXIST) *fd = open_at(fd_.get(), name, kFlags);
    if (!*fd && errno == ENOENT) return Status::kOk;  // unlinked in between: tried again
    if (!*fd && (errno == EACCES || errno == EPERM || errno == EROFS)) {
      return fail_errno(Status::kPath, "cannot write in", path_);
    }
    if (!*fd && errno != ELOOP) return failed("cannot open", name);
    struct stat info;
    const bool regular = *fd && ::fstat(fd->get(), &info) == 0 && S_ISREG(info.st_mode);
    if (regular) return Status::kOk;
    return fail(Status::kPath, "'{}/{}' is no regular file", path_, name);
  }

  bool still_named(int fd, const char* name) const {
    struct stat held;
    struct stat named;
    return ::fstat(fd, &held) == 0 &&
           ::fstatat(fd_.get(), name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           held.st_dev == named.st_dev && held.st_ino == named.st_ino;
  }

  Status locked_by_other(int fd) const {
    char text[24];
    const ssize_t n = ::pread(fd, text, sizeof text, 0);
    long pid = 0;
    if (n > 0) std::from_chars(text, text + n, pid);
    if (pid <= 0) return fail(Status::kLocked, "'{}' is open in another process", path_);
    return fail(Status::kLocked, "'{}' is open in process {}{}", path_, pid,
                pid == ::getpid() ? ", this one" : "");
  }

  // Only for the message of the next one who comes, so failing is no failure. Overwritten in place:
  // on a full disk that still works. What bears another name too may be anybody's, and is not
  // written to.
  static void write_pid(int fd) {
    struct stat info;
    if (::fstat(fd, &info) != 0 || info.st_nlink > 1) return;
    char text[20];
    const ssize_t size = std::to_chars(text, std::end(text), ::getpid()).ptr - text;
    if (::pwrite(fd, text, static_cast<size_t>(size), 0) != size) return;
    std::ignore = ::ftruncate(fd, size);
  }

  Descriptor fd_;
  const std::string path_;
  int lock_ = -1;
};

// The directory that `path` is, or would be, in.
fs::path parent_of(const fs::path& path) {
  const fs::path parent = (path.has_filename() ? path : path.parent_path()).parent_path();
  return parent.empty() ? "." : parent;
}

class PosixFileSystem final : public FileSystem {
 public:
  Status open_directory(const char* path, Presence presence, const char* marker,
                        std::unique_ptr<Directory>* directory) override {
    directory->reset();
    if (path == nullptr || *path == '\0') return fail(Status::kPath, "the path is empty");
    if (Status status = refuse_inside_store(path, marker); status != Status::kOk) return status;
    const bool created = presence != Presence::kMustExist && ::mkdir(path, kDirectoryMode) == 0;
    if (!created && presence != Presence::kMustExist && errno != EEXIST) {
      return failed("cannot create directory", path);
    }
    Descriptor fd = open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
    if (!fd || (created && ::fchmod(fd.get(), kDirectoryMode) != 0)) {
      return failed("cannot open directory", path);
    }
    *directory = std::make_unique<PosixDirectory>(std::move(fd), path);
    return Status::kOk;
  }

 private:
  // What does not lie in the path itself is told apart.
  static Status failed(const char* what, const char* path) {
    constexpr int kOther[] = {EMFILE, ENFILE, ENOMEM, EIO, ENOSPC, EDQUOT};
    const bool other = std::find(std::begin(kOther), std::end(kOther), errno) != std::end(kOther);
    return fail_errno(other ? status_of(errno) : Status::kPath, what, path);
  }

  // Two stores must not share a tree: nobody else would notice.
  static Status refuse_inside_store(const char* path, const char* marker) {
    std::error_code error;
    fs::path outer = fs::canonical(path, error);
    if (error) outer = fs::canonical(parent_of(path), error) / "new";
    if (error) {
      errno = error.value();
      return failed("cannot open directory", path);
    }
    while (outer.has_relative_path()) {
      outer = outer.parent_path();
      if (fs::symlink_status(outer / marker, error).type() == fs::file_type::regular) {
        return fail(Status::kPath, "'{}' lies inside the store '{}'", path, outer.native());
      }
    }
    return Status::kOk;
  }
};

}  // namespace

FileSystem& posix_file_system() {
  // Never destroyed: a store may outlive main().
  alignas(PosixFileSystem) static std::byte place[sizeof(PosixFileSystem)];
  static PosixFileSystem& files = *new (place) PosixFileSystem;
  return files;
}

}  // namespace dskvs
