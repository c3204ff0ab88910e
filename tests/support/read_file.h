// All of a file. Through rdbuf(), not byte by byte: under sanitizers that is a hundred times
// slower.
#pragma once

#include <fstream>
#include <sstream>
#include <string>

namespace dskvs::test {

inline std::string read_file(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

}  // namespace dskvs::test
