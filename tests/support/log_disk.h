// Logs on a simulated disk, as recovery, verify and salvage find them.
#pragma once

#include "disk/recovery.h"
#include "disk/salvage.h"
#include "disk/verify.h"
#include "support/catch.h"
#include "support/log_client.h"
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
  RecoveryReport report;
};

inline Salvaged salvage_all(Directory& directory, const Progress& progress = {}) {
  Salvaged result;
  MapSink sink;
  result.status = salvage(directory, progress, sink, &result.damage, &result.report);
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

// Passes everything on: for directories that do one thing differently.
class PassingDirectory : public Directory {
 public:
  explicit PassingDirectory(Directory& inner) : inner_(inner) {}
  Status list(std::vector<DirectoryEntry>* entries) override { return inner_.list(entries); }
  Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override {
    return inner_.open_file(name, mode, file);
  }
  Status unlink(const char* name) override { return inner_.unlink(name); }
  Status sync() override { return inner_.sync(); }
  Status lock(const char* name) override { return inner_.lock(name); }
  const std::string& path() const override { return inner_.path(); }

 protected:
  Directory& inner_;
};

// Likewise for files, to be read only.
class PassingFile : public File {
 public:
  explicit PassingFile(std::unique_ptr<File> inner) : inner_(std::move(inner)) {}
  Status read(uint64_t offset, void* buffer, size_t size, size_t* got) override {
    return inner_->read(offset, buffer, size, got);
  }
  Status write(uint64_t, std::span<const Piece>) override { return Status::kIo; }
  Status sync() override { return Status::kIo; }
  void start_writeback(uint64_t, uint64_t) override {}
  uint64_t next_data(uint64_t offset) override { return inner_->next_data(offset); }
  Status allocate(uint64_t) override { return Status::kIo; }
  Status size(uint64_t* bytes) override { return inner_->size(bytes); }
  Status close() override { return inner_->close(); }

 protected:
  std::unique_ptr<File> inner_;
};

}  // namespace dskvs::test
