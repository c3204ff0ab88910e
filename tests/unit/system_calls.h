// Lets the system calls of a test's own thread fail or fall short when the test says so. The test
// is linked with --wrap for each of them (see CMakeLists.txt), so that core and test come here, and
// from here go on to the real ones, or to a sanitizer's.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace dskvs::test {

enum class Call {
  kClose,
  kFallocate,
  kFchmod,
  kFdatasync,
  kFlock,
  kFstatvfs,
  kFsync,
  kOpenat,
  kPread,
  kPwritev,
  kSyncfs,
  kUnlinkat,
  kCount
};

// What becomes of the calls of one kind from the `first` on, `times` of them.
struct Fault {
  Call call;
  int error = 0;                // not 0: it fails so, and only close() does its work
  size_t bytes_max = SIZE_MAX;  // it moves no more
  uint64_t first = 1;           // counted since the faults were planted
  uint64_t times = UINT64_MAX;
  std::function<void()> before{};  // runs first; what that calls is real, and not counted
};

// While this lives, the calls of this thread meet the faults, and are told. One at a time.
class Faults {
 public:
  explicit Faults(std::vector<Fault> faults = {});
  Faults(const Faults&) = delete;
  Faults& operator=(const Faults&) = delete;
  ~Faults();

  uint64_t calls(Call call) const { return calls_[static_cast<size_t>(call)]; }

  std::vector<ino_t> synced;  // what fdatasync() and fsync() were called for and did not fail
  int open_flags = ~0;        // that all openat() had

  // For the wrappers. Whether this call fails, with errno set; else it moves up to `*bytes_max`.
  bool meet(Call call, size_t* bytes_max = nullptr);

 private:
  const std::vector<Fault> faults_;
  std::array<uint64_t, static_cast<size_t>(Call::kCount)> calls_{};
};

}  // namespace dskvs::test
