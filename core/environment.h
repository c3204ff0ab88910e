// What a store touches of the world: the seams that tests take the place of.
#pragma once

#include "clock.h"
#include "disk/file.h"

namespace dskvs {

// Sizes that tests make small, so that segments fill and cleaning begins after a few writes.
struct LogShape {
  uint64_t segment_bytes_min = uint64_t{16} << 20;
  uint64_t slack_bytes = uint64_t{64} << 20;  // the log is kept below 2 x live data + this
  uint64_t rescue_parts_min = 128;            // of tables, looked at in each epoch while cleaning
  uint64_t part_look_bytes = 256;             // to look at one takes as long as to write so many
};

struct Environment {
  FileSystem& files;
  Clock& clock;
  void (*random)(void* bytes, size_t size) noexcept;  // names new stores
  // No thread: the persister moves when a test calls step(), and in calls that wait for it. A whole
  // run is then one thread's, and the same every time.
  bool manual_persister;
  LogShape log_shape{};
};

// The real world.
Environment real_environment() noexcept;

}  // namespace dskvs
