#include "environment.h"

#include <sys/random.h>

namespace dskvs {
namespace {

void system_random(void* bytes, size_t size) noexcept {
  auto* at = static_cast<char*>(bytes);
  while (size != 0) {
    ssize_t got = getrandom(at, size, 0);
    if (got < 0) continue;  // EINTR
    at += got;
    size -= static_cast<size_t>(got);
  }
}

}  // namespace

Environment real_environment() noexcept {
  return {posix_file_system(), steady_clock(), system_random, false};
}

}  // namespace dskvs
