// A directory of its own, gone with everything in it when its owner is.
#pragma once

#include <string>

namespace dskvs::cli {

class TemporaryDirectory {
 public:
  // In `parent`; throws Failure.
  explicit TemporaryDirectory(const std::string& parent);
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace dskvs::cli
