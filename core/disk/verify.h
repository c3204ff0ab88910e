// Checks every byte of a log and lists what is damaged.
#pragma once

#include "disk/file.h"
#include "disk/progress.h"

#include <compare>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

namespace dskvs {

struct Damage {
  std::string file;
  uint64_t offset;
  std::string kind;

  bool operator==(const Damage& other) const = default;
  bool operator<(const Damage& other) const {
    return std::tie(file, offset, kind) < std::tie(other.file, other.offset, other.kind);
  }
};

// Writes nothing. kOk: the walk came to its end; `damage` has all that it found, by file and
// offset. A torn tail is none. kNotFound: as recover(). kVersion, kIo, kMemory, kCancelled.
Status verify(Directory& directory, const Progress& progress, std::vector<Damage>* damage);

}  // namespace dskvs
