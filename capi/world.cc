#include "world.h"

namespace dskvs {

Environment world() noexcept { return real_environment(); }

}  // namespace dskvs
