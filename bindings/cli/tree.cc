#include "tree.h"

#include "failure.h"
#include "output.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>

namespace dskvs::cli {
namespace {

constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

std::string reason_of_errno() { return system_error_text(errno); }

std::string_view kind_of(mode_t mode) {
  if (S_ISLNK(mode)) return "a symbolic link";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

bool is_same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

class Walk {
 public:
  Walk(const char* store, TreeVisitor* visitor) : visitor_(visitor) {
    struct stat status;
    if (store != nullptr && ::stat(store, &status) == 0) store_ = status;
  }

  void directory(int directory, const std::string& path, size_t depth) {
    std::vector<std::string> names;
    const std::string reason = list_names(directory, &names);
    // What was listed before a failure is walked all the same.
    if (!reason.empty()) visitor_->failed(path, reason);
    for (const std::string& name : names) {
      entry(directory, name, path.empty() ? name : path + "/" + name, depth);
    }
  }

 private:
  void entry(int directory, const std::string& name, const std::string& path, size_t depth) {
    struct stat status;
    if (::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      visitor_->failed(path, reason_of_errno());
    } else if (S_ISREG(status.st_mode)) {
      visitor_->file(directory, name, path, status);
    } else if (S_ISDIR(status.st_mode)) {
      subdirectory(directory, name, path, depth, status);
    } else {
      visitor_->skipped(path, kind_of(status.st_mode));
    }
  }

  void subdirectory(int parent, const std::string& name, const std::string& path, size_t depth,
                    const struct stat& status) {
    if (store_ && is_same_file(status, *store_)) {
      visitor_->skipped(path, "the store itself");
      return;
    }
    if (depth == kTreeDepthMax) {
      visitor_->failed(path, "too deep a directory");
      return;
    }
    const Descriptor child(::openat(parent, name.c_str(), kDirectoryFlags | O_NOFOLLOW));
    if (!child) {
      visitor_->failed(path, reason_of_errno());
      return;
    }
    directory(child.fd(), path, depth + 1);
  }

  TreeVisitor* visitor_;
  std::optional<struct stat> store_;
};

}  // namespace

Descriptor open_top_directory(const char* path) {
  Descriptor top(::open(path, kDirectoryFlags));
  if (!top) fail_system(shell_quoted(path));
  return top;
}

bool is_same_directory(const Descriptor& top, const char* path) {
  struct stat ours;
  struct stat theirs;
  return ::fstat(top.fd(), &ours) == 0 && ::stat(path, &theirs) == 0 && is_same_file(ours, theirs);
}

bool is_within(const Descriptor& top, const char* path) {
  std::error_code error;
  // Without links: each parent is where ".." leads.
  std::filesystem::path place = std::filesystem::weakly_canonical(path, error);
  if (error) return is_same_directory(top, path);
  if (place.is_relative()) place = std::filesystem::current_path() / place;
  for (; place.has_relative_path(); place = place.parent_path()) {
    if (is_same_directory(top, place.c_str())) return true;
  }
  return is_same_directory(top, place.c_str());
}

void walk_tree(const Descriptor& top, const char* store, TreeVisitor* visitor) {
  Walk(store, visitor).directory(top.fd(), "", 0);
}

std::string list_names(int directory, std::vector<std::string>* names) {
  // A stream of its own: reading it moves no position that `directory` shares.
  Descriptor again(::openat(directory, ".", kDirectoryFlags));
  if (!again) return reason_of_errno();
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(again.fd()), ::closedir);
  if (!stream) return reason_of_errno();
  again.release();
  errno = 0;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names->emplace_back(name);
    errno = 0;
  }
  const std::string reason = errno == 0 ? "" : reason_of_errno();
  std::sort(names->begin(), names->end());
  return reason;
}

std::string read_file_at(int directory, const std::string& name, std::string* content,
                         struct stat* status) {
  const Descriptor file(
      ::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file || ::fstat(file.fd(), status) != 0) return reason_of_errno();
  if (!S_ISREG(status->st_mode)) return "not a regular file";
  if (!read_all(file.fd(), static_cast<size_t>(status->st_size), content)) return reason_of_errno();
  return {};
}

}  // namespace dskvs::cli
