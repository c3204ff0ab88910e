// The disk that a fuzzer's stores lie on. Nearly always it is simulated, and the persister moves in
// the caller's thread: an input then takes less than a millisecond, and does the same every time.
// But some inputs go through real files and real threads.
#pragma once

#include <dskvs/dskvs.h>

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "support/sim_environment.h"
#include "support/sim_file_system.h"
#include "support/temp_dir.h"

namespace dskvs::test {

using Files = std::map<std::string, std::vector<std::byte>>;

// While it lives, what is opened through the C ABI is opened in it. One at a time.
class FuzzWorld {
 public:
  explicit FuzzWorld(bool real);
  FuzzWorld(const FuzzWorld&) = delete;
  FuzzWorld& operator=(const FuzzWorld&) = delete;
  ~FuzzWorld();

  // Where something called `name` may be made.
  std::string path(const std::string& name) const;
  // Makes a directory of these files. Before anything is opened.
  void make_directory(const std::string& name, const Files& files);
  // Time passes, and the persister takes a step; where it has a thread, that is its own matter.
  void step(dskvs_t store, bool hurry);

  Environment environment() noexcept;

 private:
  std::optional<TempDir> real_;
  std::optional<SimFileSystem> simulated_;
  SimClock clock_{1};
};

}  // namespace dskvs::test
