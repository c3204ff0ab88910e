// Directories and files that pass everything on, and those that do one thing differently.
#pragma once

#include "disk/file.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace dskvs::test {

// Passes everything on: for directories that do one thing differently.
class PassingDirectory : public Directory {
 public:
  explicit PassingDirectory(Directory& inner) : inner_(inner) {}
  Status each_name(const std::function<Status(const char* name)>& visit) override {
    return inner_.each_name(visit);
  }
  Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override {
    return inner_.open_file(name, mode, file);
  }
  Status unlink(const char* name) override { return inner_.unlink(name); }
  Status sync() override { return inner_.sync(); }
  Status sync_entry() override { return inner_.sync_entry(); }
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
  uint64_t next_data(uint64_t offset) override { return inner_->next_data(offset); }
  uint64_t next_hole(uint64_t offset) override { return inner_->next_hole(offset); }
  Status allocate(uint64_t) override { return Status::kIo; }
  Status size(uint64_t* bytes) override { return inner_->size(bytes); }
  Status close() override { return inner_->close(); }

 protected:
  std::unique_ptr<File> inner_;
};

// A directory on a disk where some blocks of one file cannot be read.
class BadSectors : public PassingDirectory {
 public:
  BadSectors(Directory& inner, std::string name, uint64_t begin, uint64_t end)
      : PassingDirectory(inner), name_(std::move(name)), begin_(begin), end_(end) {}

  Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override {
    class BadFile : public PassingFile {
     public:
      BadFile(std::unique_ptr<File> inner, uint64_t begin, uint64_t end)
          : PassingFile(std::move(inner)), begin_(begin), end_(end) {}
      Status read(uint64_t offset, void* buffer, size_t size, size_t* got) override {
        const bool bad = offset < end_ && offset + size > begin_;
        return bad ? fail(Status::kIo, "bad sector") : inner_->read(offset, buffer, size, got);
      }

     private:
      const uint64_t begin_;
      const uint64_t end_;
    };
    const Status status = inner_.open_file(name, mode, file);
    const bool bad = name_.empty() || name_ == name;
    if (status == Status::kOk && bad) {
      *file = std::make_unique<BadFile>(std::move(*file), begin_, end_);
    }
    return status;
  }

 private:
  const std::string name_;  // empty: all files
  const uint64_t begin_;
  const uint64_t end_;
};

}  // namespace dskvs::test
