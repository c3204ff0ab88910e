// Which directories are stores, and which may become one.
#pragma once

#include "disk/file.h"

#include <memory>

namespace dskvs {

// Opens `path` when it is a store (it holds the lock file or a segment), unless kMustBeNew, or,
// unless kMustExist, when it is empty ("lost+found" aside) or not there. Takes no lock. kPath
// otherwise.
Status open_store_directory(FileSystem& files, const char* path, Presence presence,
                            std::unique_ptr<Directory>* directory);

// Opens `path`, which must be new or empty, and locks it: then it is empty still, and whatever
// appears in it is the caller's. kPath otherwise; kLocked.
Status lock_new_directory(FileSystem& files, const char* path,
                          std::unique_ptr<Directory>* directory);

}  // namespace dskvs
