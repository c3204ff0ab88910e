// Writes what stands in memory as a new store; checks and rescues stores that are not open.
#pragma once

#include "disk/store_directory.h"
#include "environment.h"
#include "memory/catalog.h"

namespace dskvs {

// Writes every entry of `catalog`, which nobody changes meanwhile, to the log of an empty
// directory, durably, in epochs of about a segment each.
Status write_copy(Catalog& catalog, Directory& target, const Environment& environment);

}  // namespace dskvs
