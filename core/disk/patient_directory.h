// A directory on a disk that cannot read all of it any more: reads give zeros for the blocks that
// cannot be read, and it remembers which those were. Zeros are no frame, so what lies there is
// found to be damaged, and what lies beside it is still read.
#pragma once

#include "disk/file.h"
#include "disk/recovery.h"

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace dskvs {

// For reading only, in one thread. `inner` outlives it, and it outlives the files that it opens.
// Reading throws bad_alloc.
class PatientDirectory final : public Directory {
 public:
  explicit PatientDirectory(Directory& inner) : inner_(inner) {}

  // Met so far, by file and offset. Throws bad_alloc.
  std::vector<Damage> unreadable() const;

  Status each_name(const std::function<Status(const char* name)>& visit) override {
    return inner_.each_name(visit);
  }
  Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override;
  Status unlink(const char* name) override { return inner_.unlink(name); }
  Status sync() override { return inner_.sync(); }
  Status sync_entry() override { return inner_.sync_entry(); }
  Status lock(const char* name) override { return inner_.lock(name); }
  const std::string& path() const override { return inner_.path(); }

 private:
  friend class PatientFile;

  void note(const std::string& file, uint64_t begin, uint64_t end);

  Directory& inner_;
  std::map<std::pair<std::string, uint64_t>, uint64_t> unreadable_;  // file and begin, to end
};

}  // namespace dskvs
