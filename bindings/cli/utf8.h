// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dskvs::cli {

bool is_utf8(std::string_view bytes);

// Characters that a terminal may obey: U+0000 to U+001F and U+007F; and, two bytes long, U+0080 to
// U+009F at the start of `utf8`.
bool is_control(char c);
bool is_c1_control(std::string_view utf8);

// `code_point` is a Unicode scalar value.
void append_utf8(std::string* text, uint32_t code_point);

}  // namespace dskvs::cli
