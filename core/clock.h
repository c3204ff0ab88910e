// The seam to time.
#pragma once

#include <cstdint>

namespace dskvs {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual uint64_t now_us() noexcept = 0;         // never goes back; never 0
  virtual uint64_t thread_cpu_us() noexcept = 0;  // what the calling thread has used
};

// The real one; static.
Clock& steady_clock() noexcept;

}  // namespace dskvs
