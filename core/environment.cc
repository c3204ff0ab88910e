#include "environment.h"

#include <sys/random.h>

namespace dskvs {
namespace {

// So few bytes come at once, or not at all.
void system_random(void* bytes, size_t size) noexcept {
  while (::getrandom(bytes, size, 0) != static_cast<ssize_t>(size)) {
  }
}

}  // namespace

Environment real_environment() noexcept {
  return {posix_file_system(), steady_clock(), system_random, false};
}

}  // namespace dskvs
