// Logs on a simulated disk, as recovery, verify and salvage find them.
#pragma once

#include "disk/recovery.h"
#include "disk/salvage.h"
#include "support/catch.h"
#include "support/log_client.h"
#include "support/passing_directory.h"
#include "support/sim_file_system.h"

#include <string>
#include <utility>
#include <vector>

namespace dskvs::test {

inline constexpr const char* kLogPath = "/store";

inline std::string path_of(uint64_t segment) {
  return std::string(kLogPath) + "/" + SegmentName(segment).text;
}

inline std::unique_ptr<Directory> open_read_only(SimFileSystem& files) {
  std::unique_ptr<Directory> directory;
  REQUIRE(files.open_directory(kLogPath, Presence::kMustExist, kLockName, &directory) ==
          Status::kOk);
  return directory;
}

inline Recovered recover_disk(const SimDisk& disk) {
  SimFileSystem files(disk);
  return recover_all(*open_read_only(files));
}

inline std::vector<Damage> verify_disk(const SimDisk& disk) {
  SimFileSystem files(disk);
  std::vector<Damage> damage;
  INFO(last_error());
  REQUIRE(verify(*open_read_only(files), {}, &damage) == Status::kOk);
  return damage;
}

struct Salvaged {
  Status status = Status::kOk;
  Contents contents;
  std::vector<Damage> damage;
};

inline Salvaged salvage_all(Directory& directory, const Progress& progress = {}) {
  Salvaged result;
  MapSink sink;
  result.status = salvage(directory, progress, sink, &result.damage);
  result.contents = std::move(sink.contents);
  return result;
}

inline Salvaged salvage_disk(const SimDisk& disk) {
  SimFileSystem files(disk);
  return salvage_all(*open_read_only(files));
}

// Replaces a file's bytes.
inline SimDisk with_file(SimDisk disk, const std::string& path, std::vector<uint8_t> bytes) {
  disk.remove_file(path);
  disk.plant_file(path, std::move(bytes));
  return disk;
}

}  // namespace dskvs::test
