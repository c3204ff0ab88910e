// What is wrong with a log, and where.
#pragma once

#include <cstdint>
#include <string>
#include <tuple>

namespace dskvs {

struct Damage {
  std::string file;
  uint64_t offset = 0;
  std::string kind;

  bool operator==(const Damage& other) const = default;
  bool operator<(const Damage& other) const {
    return std::tie(file, offset, kind) < std::tie(other.file, other.offset, other.kind);
  }
};

}  // namespace dskvs
