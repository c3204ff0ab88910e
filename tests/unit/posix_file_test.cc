// Goal: the seam over POSIX keeps to file.h: modes, links, fifos, descriptors, locks, paths that
// are or lie in stores, system calls that fail or fall short. Method: each rule is broken on
// purpose in a directory of the test's own; what needs another process forks one; wrappers of the
// system calls do what the system seldom does.

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>
#include <vector>

#include "disk/store_directory.h"
#include "support/catch.h"
#include "support/log_client.h"
#include "support/read_file.h"
#include "support/seed.h"
#include "support/temp_dir.h"
#include "unit/system_calls.h"

namespace dskvs::test {
namespace {

constexpr const char* kMarker = kLockName;

mode_t mode_of(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0 ? info.st_mode & 07777 : 0;
}

std::unique_ptr<Directory> open_directory(const std::string& path,
                                          Presence presence = Presence::kMayCreate) {
  std::unique_ptr<Directory> directory;
  INFO(path << ": " << last_error());
  REQUIRE(posix_file_system().open_directory(path.c_str(), presence, kMarker, &directory) ==
          Status::kOk);
  return directory;
}

Status try_directory(const std::string& path, Presence presence = Presence::kMayCreate) {
  std::unique_ptr<Directory> directory;
  return posix_file_system().open_directory(path.c_str(), presence, kMarker, &directory);
}

Status try_store(const std::string& path, Presence presence = Presence::kMayCreate) {
  std::unique_ptr<Directory> directory;
  return open_store_directory(posix_file_system(), path.c_str(), presence, &directory);
}

void touch(const std::string& path) {
  const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY, 0600);
  REQUIRE(fd >= 0);
  ::close(fd);
}

Status count_names(Directory& directory, uint64_t* count) {
  return directory.each_name([count](const char*) {
    ++*count;
    return Status::kOk;
  });
}

bool message_names(const std::string& what) {
  return std::string(last_error()).find(what) != std::string::npos;
}

// Runs `check` in a forked child; whether it returned true.
template <typename Check>
bool in_child(Check check) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(check() ? 0 : 1);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_CASE("modes do not depend on the umask") {
  TempDir temp;
  for (const mode_t mask : {mode_t{0}, mode_t{0777}, mode_t{0022}}) {
    const std::string path = temp / ("store" + std::to_string(mask));
    // A new directory that its owner may not read is opened by root alone.
    const bool may_open = (mask & 0500) == 0 || ::geteuid() == 0;
    const mode_t old = ::umask(may_open ? mask : 0);
    const auto directory = open_directory(path);
    ::umask(mask);
    std::unique_ptr<File> file;
    const Status created = directory->open_file("f", FileMode::kCreate, &file);
    const Status locked = directory->lock(kLockName);
    ::umask(old);
    REQUIRE(created == Status::kOk);
    REQUIRE(locked == Status::kOk);
    REQUIRE(mode_of(path) == 0700);
    REQUIRE(mode_of(path + "/f") == 0600);
    REQUIRE(mode_of(path + "/" + kLockName) == 0600);
  }
}

TEST_CASE("a directory is made durable wherever it stands, and by its descriptor, not its path") {
  TempDir temp;
  const auto directory = open_directory(temp / "d");
  REQUIRE(directory->sync_entry() == Status::kOk);
  std::filesystem::rename(temp / "d", temp / "e");
  REQUIRE(directory->sync_entry() == Status::kOk);
  std::filesystem::remove(temp / "e");
  REQUIRE(directory->sync_entry() == Status::kOk);  // it has no parent: all is synced
}

TEST_CASE("a store may stand where a file system is mounted on one that cannot be synced") {
  constexpr int kSkipped = 77;
  const int pid = ::fork();
  if (pid == 0) {
    const char* const place = "/sys/kernel";
    const bool mounted = ::unshare(CLONE_NEWNS) == 0 &&
                         ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                         ::mount("tmpfs", place, "tmpfs", 0, nullptr) == 0;
    if (!mounted) ::_exit(kSkipped);
    const auto directory = open_directory(place);
    ::_exit(directory != nullptr && directory->sync_entry() == Status::kOk ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kSkipped) {
    WARN("skipped: it needs root, and /sys");
  } else {
    CHECK(WEXITSTATUS(status) == 0);
  }
}

TEST_CASE("what is written is read, in pieces of every size") {
  const uint64_t seed = announce_seed("posix_file_test");
  std::mt19937_64 random(seed);
  TempDir temp;
  const auto directory = open_directory(temp / "d");
  std::unique_ptr<File> file;
  REQUIRE(directory->open_file("f", FileMode::kCreate, &file) == Status::kOk);
  std::string expected;
  for (int round = 0; round < 30; ++round) {
    std::vector<std::string> parts(random() % 1500);
    std::vector<Piece> pieces;
    std::string all;
    for (std::string& part : parts) {
      part.assign(random() % 3 == 0 ? 0 : random() % 300, static_cast<char>(random()));
      pieces.push_back({part.data(), part.size()});
      all += part;
    }
    const uint64_t offset = expected.empty() ? 0 : random() % expected.size();
    REQUIRE(file->write(offset, pieces) == Status::kOk);
    expected.resize(std::max<size_t>(expected.size(), offset + all.size()));
    expected.replace(offset, all.size(), all);
  }
  REQUIRE(file->sync() == Status::kOk);
  uint64_t size = 0;
  REQUIRE(file->size(&size) == Status::kOk);
  REQUIRE(size == expected.size());
  REQUIRE(file->close() == Status::kOk);
  REQUIRE(directory->open_file("f", FileMode::kRead, &file) == Status::kOk);
  std::string found(expected.size() + 10, '?');
  size_t got = 0;
  REQUIRE(file->read(0, found.data(), found.size(), &got) == Status::kOk);
  REQUIRE(got == expected.size());
  found.resize(got);
  REQUIRE(found == expected);
  REQUIRE(file->read(expected.size() + 5, found.data(), 10, &got) == Status::kOk);
  REQUIRE(got == 0);
}

TEST_CASE("a file is opened, created and unlinked only as file.h says") {
  TempDir temp;
  const auto directory = open_directory(temp / "d");
  std::unique_ptr<File> file;
  REQUIRE(directory->open_file("f", FileMode::kRead, &file) == Status::kNotFound);
  REQUIRE(directory->unlink("f") == Status::kNotFound);
  REQUIRE(directory->open_file("f", FileMode::kCreate, &file) == Status::kOk);
  REQUIRE(directory->open_file("f", FileMode::kCreate, &file) == Status::kIo);
  REQUIRE(file == nullptr);
  const std::string path = temp / "d";
  REQUIRE(::mkfifo((path + "/fifo").c_str(), 0600) == 0);
  REQUIRE(::symlink("f", (path + "/link").c_str()) == 0);
  REQUIRE(::mkdir((path + "/dir").c_str(), 0700) == 0);
  for (const char* name : {"fifo", "link", "dir"}) {
    REQUIRE(directory->open_file(name, FileMode::kRead, &file) == Status::kCorrupt);
    REQUIRE(message_names(name));
  }
  uint64_t names = 0;
  REQUIRE(count_names(*directory, &names) == Status::kOk);
  REQUIRE(names == 4);
  const auto end_at_once = [](const char*) { return Status::kTimeout; };
  REQUIRE(directory->each_name(end_at_once) == Status::kTimeout);
  REQUIRE(directory->unlink("f") == Status::kOk);
  REQUIRE(directory->sync() == Status::kOk);
}

TEST_CASE("holes are skipped, room is set aside") {
  TempDir temp;
  const auto directory = open_directory(temp / "d");
  std::unique_ptr<File> file;
  REQUIRE(directory->open_file("f", FileMode::kCreate, &file) == Status::kOk);
  const Piece piece{"x", 1};
  REQUIRE(file->write(10 << 20, {&piece, 1}) == Status::kOk);
  const uint64_t data = file->next_data(0);
  REQUIRE((data == 0 || (data > (9 << 20) && data <= (10 << 20))));
  REQUIRE(file->next_data(10 << 20) == 10 << 20);
  REQUIRE((file->next_hole(0) == 0 || data == 0));
  REQUIRE(file->next_hole(10 << 20) > 10 << 20);
  REQUIRE(file->next_hole(20 << 20) == UINT64_MAX);  // behind the end
  REQUIRE(file->next_data((10 << 20) + 5) >= (10 << 20) + 1);
  REQUIRE(directory->open_file("room", FileMode::kCreate, &file) == Status::kOk);
  const Status allocated = file->allocate(1 << 20);
  if (allocated == Status::kOk) {
    uint64_t size = 0;
    REQUIRE(file->size(&size) == Status::kOk);
    REQUIRE(size == 1 << 20);
  } else {
    REQUIRE(allocated == Status::kIo);  // a file system that cannot
  }
}

TEST_CASE("the host's descriptors 0 to 2 are never taken") {
  TempDir temp;
  REQUIRE(in_child([&] {
    // All of them, so that what is open afterwards is ours, whatever the test was started with.
    for (int fd = 0; fd < 1024; ++fd) ::close(fd);
    std::unique_ptr<Directory> directory;
    std::unique_ptr<File> file;
    bool fine = posix_file_system().open_directory((temp / "d").c_str(), Presence::kMayCreate,
                                                   kMarker, &directory) == Status::kOk;
    fine = fine && directory->lock(kLockName) == Status::kOk;
    fine = fine && directory->open_file("f", FileMode::kCreate, &file) == Status::kOk;
    uint64_t names = 0;
    fine = fine && count_names(*directory, &names) == Status::kOk;
    for (int fd = 0; fd < 3; ++fd) fine = fine && ::fcntl(fd, F_GETFD) < 0;
    for (int fd = 3; fd < 10; ++fd) {
      const int flags = ::fcntl(fd, F_GETFD);
      fine = fine && (flags < 0 || (flags & FD_CLOEXEC) != 0);
    }
    return fine;
  }));
}

TEST_CASE("no descriptor left is an I/O error, which passes") {
  TempDir temp;
  REQUIRE(in_child([&] {
    std::unique_ptr<Directory> directory;
    if (posix_file_system().open_directory((temp / "d").c_str(), Presence::kMayCreate, kMarker,
                                           &directory) != Status::kOk) {
      return false;
    }
    const rlimit none{4, 64};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return false;
    std::unique_ptr<File> file;
    uint64_t names = 0;
    bool fine = directory->open_file("f", FileMode::kCreate, &file) == Status::kIo;
    fine = fine && count_names(*directory, &names) == Status::kIo;
    fine = fine && directory->lock(kLockName) == Status::kIo;
    const rlimit some{64, 64};
    if (::setrlimit(RLIMIT_NOFILE, &some) != 0) return false;
    return fine && directory->open_file("f", FileMode::kCreate, &file) == Status::kOk;
  }));
}

TEST_CASE("a file that could not be moved off the host's descriptors is not left behind") {
  TempDir temp;
  const std::string path = temp / "d";
  REQUIRE(in_child([&] {
    std::unique_ptr<Directory> directory;
    if (posix_file_system().open_directory(path.c_str(), Presence::kMayCreate, kMarker,
                                           &directory) != Status::kOk) {
      return false;
    }
    // One descriptor is free, and it is the host's.
    for (int fd = 3; fd < 64; ++fd) (void)::fcntl(0, F_DUPFD, 3);
    const rlimit none{64, 64};
    ::close(0);
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return false;
    std::unique_ptr<File> file;
    bool fine = directory->open_file("f", FileMode::kCreate, &file) == Status::kIo;
    ::close(63);
    fine = fine && directory->open_file("f", FileMode::kCreate, &file) == Status::kOk;
    file.reset();
    // What was there already stays.
    fine = fine && ::fcntl(1, F_DUPFD, 3) == 63;
    fine = fine && directory->open_file("f", FileMode::kCreate, &file) == Status::kIo;
    return fine;
  }));
  REQUIRE(mode_of(path + "/f") == 0600);
}

TEST_CASE("paths that can be no store say why") {
  TempDir temp;
  touch(temp / "file");
  REQUIRE(::symlink((temp / "nowhere").c_str(), (temp / "dangling").c_str()) == 0);
  REQUIRE(::symlink((temp / "loop").c_str(), (temp / "loop").c_str()) == 0);
  REQUIRE(try_directory("") == Status::kPath);
  for (const char* name : {"file", "file/x", "missing/x", "dangling", "loop"}) {
    REQUIRE(try_directory(temp / name) == Status::kPath);
    REQUIRE(message_names(name));
  }
  REQUIRE(try_directory(temp / "absent", Presence::kMustExist) == Status::kPath);
  REQUIRE(try_directory(temp.path() + "/" + std::string(300, 'x')) == Status::kPath);
  REQUIRE(try_directory(std::string(5000, '/') + std::string(5000, 'x')) == Status::kPath);

  REQUIRE(::mkdir((temp / "full").c_str(), 0700) == 0);
  touch(temp / "full/something");
  REQUIRE(try_store(temp / "full") == Status::kPath);
  REQUIRE(try_store(temp / "full", Presence::kMustExist) == Status::kPath);
  REQUIRE(try_store(temp / "full", Presence::kMustBeNew) == Status::kPath);
  REQUIRE(::mkdir((temp / "empty").c_str(), 0700) == 0);
  REQUIRE(::mkdir((temp / "empty/lost+found").c_str(), 0700) == 0);
  REQUIRE(try_store(temp / "empty") == Status::kOk);
  REQUIRE(try_store(temp / "empty", Presence::kMustBeNew) == Status::kOk);
  REQUIRE(try_store(temp / "empty", Presence::kMustExist) == Status::kPath);
  touch(temp / "full/dskvs.lock");
  REQUIRE(try_store(temp / "full", Presence::kMustExist) == Status::kOk);
  REQUIRE(try_store(temp / "full", Presence::kMustBeNew) == Status::kPath);
}

TEST_CASE("a path inside a store is refused, whatever its spelling") {
  TempDir temp;
  const std::string outer = temp / "outer";
  {
    const auto directory = open_directory(outer);
    REQUIRE(directory->lock(kLockName) == Status::kOk);
  }
  REQUIRE(::mkdir((outer + "/a").c_str(), 0700) == 0);
  REQUIRE(::mkdir((outer + "/a/b").c_str(), 0700) == 0);
  REQUIRE(::symlink((outer + "/a").c_str(), (temp / "alias").c_str()) == 0);
  for (const char* name : {"outer/new", "outer/a", "outer/a/b", "outer/a/b/new", "alias",
                           "alias/new", "outer/a/../new/", "outer//a//"}) {
    INFO(name);
    REQUIRE(try_directory(temp / name) == Status::kPath);
    REQUIRE(message_names("inside the store"));
    REQUIRE(message_names(outer));
  }
  REQUIRE_FALSE(std::filesystem::exists(outer + "/new"));
  REQUIRE(try_directory(outer) == Status::kOk);
  REQUIRE(try_directory(outer + "/a/..") == Status::kOk);
}

TEST_CASE("a second lock is refused and names the owner, through any spelling, in any process") {
  TempDir temp;
  const std::string path = temp / "store";
  auto owner = open_directory(path);
  REQUIRE(owner->lock(kLockName) == Status::kOk);
  REQUIRE(::symlink(path.c_str(), (temp / "alias").c_str()) == 0);
  const std::string pid = std::to_string(::getpid());
  for (const std::string& spelling : {path, path + "/", temp / "alias", temp / "store/../store"}) {
    const auto second = open_directory(spelling);
    REQUIRE(second->lock(kLockName) == Status::kLocked);
    REQUIRE(message_names(pid));
    REQUIRE(in_child([&] {
      std::unique_ptr<Directory> third;
      return posix_file_system().open_directory(spelling.c_str(), Presence::kMustExist, kMarker,
                                                &third) == Status::kOk &&
             third->lock(kLockName) == Status::kLocked && message_names(pid);
    }));
  }
  owner.reset();
  REQUIRE(open_directory(path)->lock(kLockName) == Status::kOk);
  REQUIRE(std::filesystem::exists(path + "/" + kLockName));
}

TEST_CASE("a forked child neither releases the lock nor keeps it") {
  TempDir temp;
  const std::string path = temp / "store";
  auto owner = open_directory(path);
  REQUIRE(owner->lock(kLockName) == Status::kOk);
  REQUIRE(in_child([&] {
    owner.reset();  // in the child: must not unlock for the parent
    return true;
  }));
  REQUIRE(open_directory(path)->lock(kLockName) == Status::kLocked);

  int pipe[2];
  REQUIRE(::pipe(pipe) == 0);
  const pid_t child = ::fork();
  if (child == 0) {  // lives on, with all that it inherited
    char byte;
    ::close(pipe[1]);
    ::_exit(::read(pipe[0], &byte, 1) == 0 ? 0 : 1);
  }
  owner.reset();
  REQUIRE(open_directory(path)->lock(kLockName) == Status::kOk);
  ::close(pipe[0]);
  ::close(pipe[1]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
}

TEST_CASE("a forked child that locks a store of its own keeps it when it drops what it inherited") {
  TempDir temp;
  const auto own = open_directory(temp / "own");
  const auto second = open_directory(temp / "own");
  auto inherited = open_directory(temp / "inherited");
  REQUIRE(inherited->lock(kLockName) == Status::kOk);
  REQUIRE(in_child([&] {
    // The first descriptor that is free is the one that the inherited lock had.
    if (own->lock(kLockName) != Status::kOk) return false;
    inherited.reset();
    return second->lock(kLockName) == Status::kLocked;
  }));
}

TEST_CASE("the lock of a killed process is free, though a child of it lives") {
  TempDir temp;
  const std::string path = temp / "store";
  int ready[2];
  int hold[2];
  REQUIRE(::pipe(ready) == 0);
  REQUIRE(::pipe(hold) == 0);
  const pid_t owner = ::fork();
  if (owner == 0) {
    const auto directory = open_directory(path);
    if (directory->lock(kLockName) != Status::kOk) ::_exit(1);
    const pid_t child = ::fork();
    char byte = 'x';
    if (child == 0) {  // runs, so it has let go of the lock that it inherited
      if (::write(ready[1], &byte, 1) != 1) ::_exit(1);
      ::close(hold[1]);
      ::_exit(::read(hold[0], &byte, 1) == 0 ? 0 : 1);
    }
    ::pause();
  }
  char byte;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  REQUIRE(open_directory(path)->lock(kLockName) == Status::kLocked);
  REQUIRE(::kill(owner, SIGKILL) == 0);
  int status = 0;
  REQUIRE(::waitpid(owner, &status, 0) == owner);
  REQUIRE(open_directory(path)->lock(kLockName) == Status::kOk);
  for (const int fd : {ready[0], ready[1], hold[0], hold[1]}) ::close(fd);
}

TEST_CASE("a lock file that is no file is refused") {
  TempDir temp;
  const std::string path = temp / "store";
  const auto directory = open_directory(path);
  const std::string lock = path + "/" + kLockName;
  REQUIRE(::symlink("/tmp/elsewhere", lock.c_str()) == 0);
  REQUIRE(directory->lock(kLockName) == Status::kPath);
  REQUIRE(::unlink(lock.c_str()) == 0);
  REQUIRE(::mkfifo(lock.c_str(), 0600) == 0);
  REQUIRE(directory->lock(kLockName) == Status::kPath);
}

TEST_CASE("a lock file that is somebody's other file by a hard link is left as it was") {
  TempDir temp;
  const std::string path = temp / "store";
  const auto directory = open_directory(path);
  const std::string other = temp / "other";
  touch(other);
  std::filesystem::resize_file(other, 1000);
  const std::string contents = read_file(other);
  REQUIRE(::link(other.c_str(), (path + "/" + kLockName).c_str()) == 0);
  REQUIRE(directory->lock(kLockName) == Status::kOk);
  REQUIRE(open_directory(path)->lock(kLockName) == Status::kLocked);
  REQUIRE(read_file(other) == contents);
}

TEST_CASE("a lock file that was replaced keeps nobody out, and is taken anew") {
  TempDir temp;
  const std::string path = temp / "store";
  const auto first = open_directory(path);
  REQUIRE(first->lock(kLockName) == Status::kOk);
  REQUIRE(::unlink((path + "/" + kLockName).c_str()) == 0);
  const auto second = open_directory(path);
  REQUIRE(second->lock(kLockName) == Status::kOk);
  REQUIRE(open_directory(path)->lock(kLockName) == Status::kLocked);
}

TEST_CASE(
    "a lock file that is replaced while it is locked is locked anew, or given up in the end") {
  TempDir temp;
  const std::string path = temp / "store";
  const std::string lock = path + "/" + kLockName;
  const auto directory = open_directory(path);
  const auto replace = [&] {
    ::unlink(lock.c_str());
    touch(lock);
  };
  // Gone or another one between opening and locking; gone between finding that it is there and
  // opening it.
  const std::vector<Fault> races = {
      {.call = Call::kFlock, .times = 1, .before = [&] { ::unlink(lock.c_str()); }},
      {.call = Call::kFlock, .times = 3, .before = replace},
      {.call = Call::kOpenat, .first = 2, .times = 1, .before = [&] { ::unlink(lock.c_str()); }},
  };
  for (size_t i = 0; i < races.size(); ++i) {
    INFO("race " << i);
    replace();
    const auto owner = open_directory(path);
    {
      const Faults faults({races[i]});
      REQUIRE(owner->lock(kLockName) == Status::kOk);
    }
    REQUIRE(directory->lock(kLockName) == Status::kLocked);
  }
  const auto owner = open_directory(path);
  const Faults faults({{.call = Call::kFlock, .before = replace}});
  REQUIRE(owner->lock(kLockName) == Status::kIo);
  REQUIRE(message_names("replaced again and again"));
}

TEST_CASE("what is cut is a file of the directory, and only gets shorter") {
  TempDir temp;
  const std::string path = temp / "d";
  const auto directory = open_directory(path);
  const std::string outside = temp / "outside";
  const std::string other = temp / "other";
  for (const std::string& file : {outside, other, path + "/f"}) {
    touch(file);
    std::filesystem::resize_file(file, 1000);
  }
  REQUIRE(::symlink(outside.c_str(), (path + "/link").c_str()) == 0);
  REQUIRE(::mkfifo((path + "/fifo").c_str(), 0600) == 0);
  REQUIRE(::link(other.c_str(), (path + "/hard").c_str()) == 0);
  for (const char* name : {"link", "hard", "fifo", "missing"}) directory->cut(name, 10);
  REQUIRE(std::filesystem::file_size(outside) == 1000);
  REQUIRE(std::filesystem::file_size(other) == 1000);
  REQUIRE_FALSE(std::filesystem::exists(path + "/missing"));
  directory->cut("f", 2000);
  REQUIRE(std::filesystem::file_size(path + "/f") == 1000);
  directory->cut("f", 10);
  REQUIRE(std::filesystem::file_size(path + "/f") == 10);
}

namespace {

const std::string kContents = "what is in the file";
const std::string kMore = "what is written";

// A directory with an open file in it.
struct Scene {
  TempDir temp;
  std::string path = temp / "d";
  std::unique_ptr<Directory> directory = open_directory(path);
  std::unique_ptr<File> file;
  std::string found = std::string(100, '?');

  Scene() {
    REQUIRE(directory->open_file("f", FileMode::kCreate, &file) == Status::kOk);
    const Piece piece{kContents.data(), kContents.size()};
    REQUIRE(file->write(0, {&piece, 1}) == Status::kOk);
  }

  Status read() {
    found.assign(100, '?');
    size_t got = 0;
    const Status status = file->read(0, found.data(), found.size(), &got);
    found.resize(got);
    return status;
  }

  Status write() {
    const Piece pieces[] = {
        {kMore.data(), 3}, {nullptr, 0}, {&kMore[3], 1}, {&kMore[4], kMore.size() - 4}};
    return file->write(5, pieces);
  }
};

ino_t inode_of(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

// What the seam does, by the system call that may go wrong in it.
struct Deed {
  const char* name;
  Call call;
  std::function<Status(Scene&)> run;
};

const std::vector<Deed>& deeds() {
  static const std::vector<Deed> all = {
      {"open a directory", Call::kOpenat, [](Scene& s) { return try_directory(s.path); }},
      {"list", Call::kOpenat,
       [](Scene& s) {
         uint64_t names = 0;
         return count_names(*s.directory, &names);
       }},
      {"open", Call::kOpenat,
       [](Scene& s) { return s.directory->open_file("f", FileMode::kRead, &s.file); }},
      {"create", Call::kOpenat,
       [](Scene& s) { return s.directory->open_file("new", FileMode::kCreate, &s.file); }},
      {"lock a file", Call::kOpenat, [](Scene& s) { return s.directory->lock(kLockName); }},
      {"lock", Call::kFlock, [](Scene& s) { return s.directory->lock(kLockName); }},
      {"read", Call::kPread, [](Scene& s) { return s.read(); }},
      {"write", Call::kPwritev, [](Scene& s) { return s.write(); }},
      {"allocate", Call::kFallocate, [](Scene& s) { return s.file->allocate(1 << 16); }},
      {"sync", Call::kFdatasync, [](Scene& s) { return s.file->sync(); }},
      {"sync the directory", Call::kFsync, [](Scene& s) { return s.directory->sync(); }},
      {"sync its entry", Call::kFsync, [](Scene& s) { return s.directory->sync_entry(); }},
      {"close", Call::kClose, [](Scene& s) { return s.file->close(); }},
  };
  return all;
}

}  // namespace

TEST_CASE("a call that signals interrupt is made again, but for close") {
  for (const Deed& deed : deeds()) {
    INFO(deed.name);
    Scene scene;
    Scene undisturbed;
    const Status expected = deed.run(undisturbed);  // a file system may know no allocation
    const Faults faults({{.call = deed.call, .error = EINTR, .times = 3}});
    CHECK(deed.run(scene) == expected);
    CHECK((deed.call == Call::kClose ? faults.calls(deed.call) == 1 : faults.calls(deed.call) > 3));
    if (deed.call != Call::kFallocate) CHECK(expected == Status::kOk);
  }
}

TEST_CASE("a call that fails has a status by its error, and a message with the path") {
  struct {
    int error;
    Status status;
  } const kErrors[] = {{EIO, Status::kIo},
                       {EMFILE, Status::kIo},
                       {ENOSPC, Status::kSpace},
                       {EDQUOT, Status::kSpace},
                       {ENOMEM, Status::kMemory}};
  for (const Deed& deed : deeds()) {
    for (const auto& [error, status] : kErrors) {
      INFO(deed.name << ": " << std::strerror(error));
      Scene scene;
      {
        const Faults faults({{.call = deed.call, .error = error}});
        CHECK(deed.run(scene) == status);
        CHECK(message_names(scene.path));
        CHECK(message_names(std::strerror(error)));
        CHECK(faults.calls(deed.call) == 1);
      }
      CHECK_FALSE(std::filesystem::exists(scene.path + "/new"));
    }
  }
}

TEST_CASE("a name that cannot be removed stays, with a status by the error") {
  const std::pair<int, Status> kErrors[] = {{EIO, Status::kIo},        {EACCES, Status::kIo},
                                            {ENOSPC, Status::kSpace},  {EDQUOT, Status::kSpace},
                                            {ENOMEM, Status::kMemory}, {ENOENT, Status::kNotFound}};
  Scene scene;
  for (const auto& [error, status] : kErrors) {
    INFO(std::strerror(error));
    const Faults faults({{.call = Call::kUnlinkat, .error = error}});
    CHECK(scene.directory->unlink("f") == status);
    CHECK(message_names(scene.path + "/f"));
    CHECK(message_names(std::strerror(error)));
    CHECK(faults.calls(Call::kUnlinkat) == 1);
    CHECK(std::filesystem::exists(scene.path + "/f"));
  }
  CHECK(scene.directory->unlink("f") == Status::kOk);
}

TEST_CASE("a file whose mode cannot be set is not left behind") {
  Scene scene;
  const Faults faults({{.call = Call::kFchmod, .error = EIO}});
  REQUIRE(scene.directory->open_file("new", FileMode::kCreate, &scene.file) == Status::kIo);
  REQUIRE(message_names("/new"));
  REQUIRE_FALSE(std::filesystem::exists(scene.path + "/new"));
  REQUIRE(scene.directory->lock(kLockName) == Status::kIo);
}

TEST_CASE("reading and writing go on where a call fell short, and fail where one fails") {
  std::string expected = kContents;
  expected.resize(std::max(expected.size(), 5 + kMore.size()));
  expected.replace(5, kMore.size(), kMore);
  for (const size_t bytes : {1, 3, 7}) {
    INFO(bytes << " at once");
    const Fault short_read{.call = Call::kPread, .bytes_max = bytes};
    const Fault short_write{.call = Call::kPwritev, .bytes_max = bytes};
    Scene scene;
    const Faults faults({short_read, short_write});
    CHECK(scene.read() == Status::kOk);
    CHECK(scene.found == kContents);
    CHECK(scene.write() == Status::kOk);
    CHECK(read_file(scene.path + "/f") == expected);
  }
  Scene scene;
  {
    const Faults faults({{.call = Call::kPread, .bytes_max = 3},
                         {.call = Call::kPread, .error = EIO, .first = 2},
                         {.call = Call::kPwritev, .bytes_max = 3},
                         {.call = Call::kPwritev, .error = ENOSPC, .first = 2}});
    CHECK(scene.read() == Status::kIo);
    CHECK(scene.write() == Status::kSpace);
  }
  const Faults faults({{.call = Call::kPwritev, .bytes_max = 0}});
  CHECK(scene.write() == Status::kIo);
  CHECK(message_names("nothing was written"));
}

TEST_CASE("what is synced is the file, the directory, and the directory that it is in") {
  Scene scene;
  Faults faults;
  REQUIRE(scene.file->sync() == Status::kOk);
  REQUIRE(scene.directory->sync() == Status::kOk);
  REQUIRE(scene.directory->sync_entry() == Status::kOk);
  REQUIRE(faults.synced == std::vector<ino_t>{inode_of(scene.path + "/f"), inode_of(scene.path),
                                              inode_of(scene.temp.path())});
  REQUIRE(faults.calls(Call::kSyncfs) == 0);
}

TEST_CASE("where the directory above cannot be synced, the file system is, or it fails") {
  Scene scene;
  for (const Fault& obstacle :
       {Fault{.call = Call::kOpenat, .error = EACCES}, Fault{.call = Call::kFsync, .error = EINVAL},
        Fault{.call = Call::kFsync, .error = EROFS}}) {
    {
      const Faults faults({obstacle});
      CHECK(scene.directory->sync_entry() == Status::kOk);
      CHECK(faults.calls(Call::kSyncfs) == 1);
    }
    const Faults faults({obstacle, {.call = Call::kSyncfs, .error = EIO}});
    CHECK(scene.directory->sync_entry() == Status::kIo);
  }
}

TEST_CASE("a file is closed once, also when that fails") {
  Scene scene;
  const Faults faults({{.call = Call::kClose, .error = EIO}});
  REQUIRE(scene.file->close() == Status::kIo);
  scene.file.reset();
  REQUIRE(faults.calls(Call::kClose) == 1);
}

TEST_CASE("what is opened is closed by exec, and is no terminal of the host's") {
  for (const Deed& deed : deeds()) {
    INFO(deed.name);
    Scene scene;
    const Faults faults;
    (void)deed.run(scene);
    scene.directory->cut("f", 1);
    CHECK(faults.calls(Call::kOpenat) > 0);
    CHECK((faults.open_flags & O_CLOEXEC) != 0);
    CHECK((faults.open_flags & O_NOCTTY) != 0);
  }
}

TEST_CASE("what may still be written is what the file system says, when it does") {
  TempDir temp;
  const auto directory = open_directory(temp / "store");
  bool same = false;
  for (int tries = 0; tries < 1'000 && !same; ++tries) {  // others write meanwhile
    same = directory->free_bytes() == std::filesystem::space(temp / "store").available;
  }
  CHECK(same);
  const Faults faults({{.call = Call::kFstatvfs, .error = EIO}});
  CHECK(directory->free_bytes() == UINT64_MAX);
}

TEST_CASE("a backup is the store; a failed one leaves nothing") {
  TempDir temp;
  const auto from = open_locked(posix_file_system(), (temp / "from").c_str());
  LogClient client(*from, 8 << 10);
  for (int i = 0; i < 20; ++i) {
    client.put("a/" + std::to_string(i), std::string(1000, static_cast<char>('a' + i)));
    REQUIRE(client.write() == Status::kOk);
  }
  REQUIRE(client.writer->sync() == Status::kOk);
  const auto to = open_locked(posix_file_system(), (temp / "to").c_str());
  REQUIRE(copy_segments(*from, *to, client.writer->live_segments()) == Status::kOk);
  const Recovered found = recover_all(*to);
  REQUIRE(found.status == Status::kOk);
  REQUIRE(found.contents == client.at(client.accepted()));

  const std::string other = temp / "other";
  std::vector<SegmentFile> snapshot = client.writer->live_segments();
  snapshot.push_back({.id = 999, .bytes = 5000, .end = 5000});
  {
    NewStore target;
    REQUIRE(target.open(posix_file_system(), other.c_str()) == Status::kOk);
    REQUIRE(copy_segments(*from, target.directory(), snapshot) == Status::kNotFound);
  }
  uint64_t names = 0;
  REQUIRE(count_names(*open_directory(other), &names) == Status::kOk);
  REQUIRE(names == 0);
}

}  // namespace dskvs::test
