// File descriptors: owned, and read and written whole.
#pragma once

#include <unistd.h>

#include <string>
#include <string_view>
#include <utility>

namespace dskvs::cli {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ != -1) ::close(fd_);
  }

  explicit operator bool() const { return fd_ != -1; }
  int fd() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

  // False, with errno, when the system has lost something that was written.
  bool close() { return ::close(release()) == 0; }

 private:
  int fd_ = -1;
};

// Each returns false, with errno, on failure.

bool write_all(int fd, std::string_view bytes);

// Reads to the end, however long that turns out to be; `size_hint` is what fstat says. `content`
// keeps its capacity from call to call.
bool read_all(int fd, size_t size_hint, std::string* content);

}  // namespace dskvs::cli
