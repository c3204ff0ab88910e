// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dskvs::cli {

bool is_utf8(std::string_view bytes);

// `code_point` is a Unicode scalar value.
void append_utf8(std::string* text, uint32_t code_point);

}  // namespace dskvs::cli
