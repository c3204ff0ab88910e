// SHA-1 (FIPS 180-4): what the original dskvs names and checks its files with. For nothing else.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace dskvs::cli {

using Sha1Digest = std::array<uint8_t, 20>;

Sha1Digest sha1(std::string_view bytes);

// Lower case.
std::string hex(std::string_view bytes);

}  // namespace dskvs::cli
