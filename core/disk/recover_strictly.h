// recover(), for those who also want to know which place it stumbled over.
#pragma once

#include "disk/recovery.h"

#include <cstdint>

namespace dskvs {

struct DamagePlace {
  uint64_t segment_id = 0;
  uint64_t offset = 0;
  const char* kind = "";
};

// `place` may be NULL; it is filled with kCorrupt. Throws bad_alloc.
Status recover_strictly(Directory& directory, const Progress& progress, RecoverySink& sink,
                        LogPosition* position, RecoveryReport* report, DamagePlace* place);

}  // namespace dskvs
