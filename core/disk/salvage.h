// Checks every byte of a log, and reads on where recover() refuses to. Both throw bad_alloc.
#pragma once

#include "disk/file.h"
#include "disk/progress.h"
#include "disk/recovery.h"

#include <vector>

namespace dskvs {

// Writes nothing. kOk: the walk came to its end; `damage` has all that it found, by file and
// offset. A torn tail is none. kNotFound: as recover(). kVersion, kIo, kMemory, kCancelled.
Status verify(Directory& directory, const Progress& progress, std::vector<Damage>* damage);

// Hands over every intact committed frame of a damaged log, oldest first; writes nothing. What lies
// behind a damaged place is found again by looking for the next intact frame. So is what lies
// behind blocks that cannot be read; kIo only when the directory or a file cannot be opened, or
// nothing was handed over. `damage` gets what verify() finds, and those blocks. An older version of
// a damaged key, or a key whose removal was damaged, may come back. kVersion, kIo, kMemory,
// kCancelled.
Status salvage(Directory& directory, const Progress& progress, RecoverySink& sink,
               std::vector<Damage>* damage);

}  // namespace dskvs
