// Which directories are stores, which may become one, and how a log is copied from one to another.
#pragma once

#include "disk/file.h"
#include "disk/segment_format.h"

#include <memory>
#include <vector>

namespace dskvs {

// Opens `path` when it is a store (it holds the lock file or a segment), unless kMustBeNew, or,
// unless kMustExist, when it is empty ("lost+found" aside) or not there: then it is made durable.
// Takes no lock. kPath otherwise; then, and after another failure, `*directory` is of no use.
Status open_store_directory(FileSystem& files, const char* path, Presence presence,
                            std::unique_ptr<Directory>* directory);

// kPath: it is a part of a copy. Asked with the lock held, by those who lock.
Status refuse_unfinished(Directory& directory);

// A directory in which a copy of a store is made. Unless it is kept, it is left as empty as it was,
// or, like what a crash leaves of it, is refused by refuse_unfinished().
class NewStore {
 public:
  ~NewStore();

  // `path` must be new or empty. Locks it: then it is empty still, and whatever appears in it is
  // the caller's. kPath, kLocked.
  Status open(FileSystem& files, const char* path);
  Directory& directory() { return *directory_; }
  // Makes it a store. When that fails it may be one, or be refused. Call at most once.
  Status keep();

 private:
  std::unique_ptr<Directory> directory_;
};

// Copies `segments`, each up to its end, from one directory to the other, which holds none, and
// syncs files and directory. After a failure the caller removes what was made. kNotFound: a segment
// went away. kIo, kSpace, kMemory.
Status copy_segments(Directory& from, Directory& to, const std::vector<SegmentFile>& segments);

}  // namespace dskvs
