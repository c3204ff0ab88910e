// Reads on where recover() refuses to.
#pragma once

#include "disk/recovery.h"
#include "disk/verify.h"

#include <vector>

namespace dskvs {

// Hands over every intact committed frame of a damaged log, oldest first; writes nothing. What lies
// behind a damaged place is found again by looking for the next intact frame. So is what lies
// behind blocks that cannot be read; kIo only when the directory or a file cannot be opened, or
// nothing was handed over. `damage` may be NULL; it gets what verify() finds, and those blocks. An
// older version of a damaged key, or a key whose removal was damaged, may come back. `report` says
// what was handed over. kVersion, kIo, kMemory, kCancelled.
Status salvage(Directory& directory, const Progress& progress, RecoverySink& sink,
               std::vector<Damage>* damage, RecoveryReport* report);

}  // namespace dskvs
