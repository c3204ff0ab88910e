// Writes what stands in memory as a new store; checks and rescues stores that are not open.
#pragma once

#include "disk/store_directory.h"
#include "environment.h"
#include "memory/catalog.h"

namespace dskvs {

// Writes every entry of `catalog`, which nobody changes meanwhile, to the log of an empty
// directory, durably, as one epoch.
Status write_copy(Catalog& catalog, Directory& target, const Environment& environment);

// A directory in which a store is made. Unless it is kept, it is left as empty as it was.
class NewStore {
 public:
  NewStore() = default;
  NewStore(const NewStore&) = delete;
  NewStore& operator=(const NewStore&) = delete;
  ~NewStore();

  Status open(FileSystem& files, const char* path) {
    return lock_new_directory(files, path, &directory_);
  }
  Directory& directory() { return *directory_; }
  void keep() { directory_.reset(); }

 private:
  std::unique_ptr<Directory> directory_;
};

}  // namespace dskvs
