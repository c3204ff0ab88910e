// Copies a snapshot of the log into another directory.
#pragma once

#include "disk/file.h"
#include "disk/segment_format.h"

#include <vector>

namespace dskvs {

// Copies `segments`, each up to its end, from one directory to the other, which holds none, and
// syncs files and directory. After a failure the caller removes what was made. kNotFound: a segment
// went away. kIo, kSpace, kMemory.
Status copy_segments(Directory& from, Directory& to, const std::vector<SegmentFile>& segments);

}  // namespace dskvs
