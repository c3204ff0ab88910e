// Writes what stands in memory as a new store; checks and rescues stores that are not open.
#pragma once

#include "disk/file.h"
#include "environment.h"
#include "memory/catalog.h"

namespace dskvs {

// Writes every entry of `catalog`, which nobody changes meanwhile, to the log of an empty
// directory, durably, as one epoch. After a failure the files that it made are gone again.
Status write_copy(Catalog& catalog, Directory& target, const Environment& environment);

}  // namespace dskvs
