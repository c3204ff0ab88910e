#include "temporary_directory.h"

#include "failure.h"
#include "output.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace dskvs::cli {

TemporaryDirectory::TemporaryDirectory(const std::string& parent)
    : path_(parent + "/dskvs-XXXXXX") {
  if (::mkdtemp(path_.data()) == nullptr) fail_system(shell_quoted(parent));
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace dskvs::cli
