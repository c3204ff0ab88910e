// Base64 of RFC 4648: the standard alphabet, padded.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dskvs::cli {

std::string base64_encode(std::string_view bytes);

// Nothing but what base64_encode() gives: no line breaks, no missing padding, no stray bits.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace dskvs::cli
