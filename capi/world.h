// The world in which the door opens stores.
#pragma once

#include "environment.h"

namespace dskvs {

// The real one. The fuzzers link another definition, under which the same calls reach a disk that
// is simulated.
Environment world() noexcept;

}  // namespace dskvs
