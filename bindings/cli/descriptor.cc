#include "descriptor.h"

#include <algorithm>
#include <cerrno>

namespace dskvs::cli {

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

bool read_all(int fd, size_t size_hint, std::string* content) {
  size_t filled = 0;
  // One byte more than expected, so that a file of that size takes no second round.
  content->resize(std::max<size_t>(size_hint + 1, 4096));
  for (;;) {
    if (filled == content->size()) content->resize(content->size() * 2);
    const ssize_t got = ::read(fd, content->data() + filled, content->size() - filled);
    if (got == 0) break;
    if (got > 0) {
      filled += static_cast<size_t>(got);
    } else if (errno != EINTR) {
      return false;
    }
  }
  content->resize(filled);
  return true;
}

}  // namespace dskvs::cli
