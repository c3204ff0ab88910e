#include "disk/patient_directory.h"

#include "disk/segment_format.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>

namespace dskvs {

class PatientFile final : public File {
 public:
  PatientFile(PatientDirectory& directory, const char* name, std::unique_ptr<File> inner)
      : directory_(directory), name_(name), inner_(std::move(inner)) {}

  Status read(uint64_t offset, void* buffer, size_t size, size_t* got) override {
    const Status status = inner_->read(offset, buffer, size, got);
    return status == Status::kIo ? read_blocks(offset, static_cast<std::byte*>(buffer), size, got)
                                 : status;
  }
  Status write(uint64_t offset, std::span<const Piece> pieces) override {
    return inner_->write(offset, pieces);
  }
  Status sync() override { return inner_->sync(); }
  uint64_t next_data(uint64_t offset) override { return inner_->next_data(offset); }
  uint64_t next_hole(uint64_t offset) override { return inner_->next_hole(offset); }
  Status allocate(uint64_t size) override { return inner_->allocate(size); }
  Status size(uint64_t* bytes) override { return inner_->size(bytes); }
  Status close() override { return inner_->close(); }

 private:
  // A block at a time, so that no more is lost than what cannot be read.
  Status read_blocks(uint64_t offset, std::byte* buffer, size_t size, size_t* got) {
    uint64_t file_bytes;
    if (Status status = inner_->size(&file_bytes); status != Status::kOk) return status;
    const uint64_t end = std::min(offset + size, std::max(offset, file_bytes));
    for (uint64_t at = offset; at < end;) {
      const uint64_t block = at / kBlockBytes * kBlockBytes;
      const size_t want = std::min(end, block + kBlockBytes) - at;
      std::byte* const to = buffer + (at - offset);
      size_t read = 0;
      const Status status = inner_->read(at, to, want, &read);
      if (status != Status::kOk || read != want) {
        std::memset(to, 0, want);
        directory_.note(name_, block, std::min(file_bytes, block + kBlockBytes));
      }
      at += want;
    }
    *got = end - offset;
    return Status::kOk;
  }

  PatientDirectory& directory_;
  const std::string name_;
  const std::unique_ptr<File> inner_;
};

Status PatientDirectory::open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) {
  std::unique_ptr<File> inner;
  const Status status = inner_.open_file(name, mode, &inner);
  if (status == Status::kOk) *file = std::make_unique<PatientFile>(*this, name, std::move(inner));
  return status;
}

std::vector<Damage> PatientDirectory::unreadable() const {
  std::vector<Damage> places;
  for (const auto& [place, end] : unreadable_) {
    places.push_back(
        {place.first, place.second, std::to_string(end - place.second) + " bytes cannot be read"});
  }
  return places;
}

// The same places are met again and again: each range is kept once, joined to the one before it.
void PatientDirectory::note(const std::string& file, uint64_t begin, uint64_t end) {
  const auto behind = unreadable_.upper_bound({file, begin});
  if (behind != unreadable_.begin()) {
    const auto before = std::prev(behind);
    if (before->first.first == file && before->second >= begin) {
      before->second = std::max(before->second, end);
      return;
    }
  }
  unreadable_.emplace(std::pair(file, begin), end);
}

}  // namespace dskvs
