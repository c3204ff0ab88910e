// A directory of a test's own, under TMPDIR or /tmp, which goes with everything in it.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace dskvs::test {

class TempDir {
 public:
  TempDir() : TempDir(default_base()) {}
  explicit TempDir(const std::string& base) : path_(base + "/dskvs-test-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) {
      std::perror(path_.c_str());
      std::abort();
    }
    owner_ = ::getpid();
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    if (::getpid() != owner_) return;  // a forked child must not take it from its parent
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  static std::string default_base() {
    const char* given = std::getenv("TMPDIR");
    return given != nullptr && *given != '\0' ? given : "/tmp";
  }

  // In memory where there is such a place: for tests that open and sync more often than a disk
  // would bear.
  static std::string fast_base() {
    return ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : default_base();
  }

 private:
  std::string path_;
  pid_t owner_;
};

}  // namespace dskvs::test
