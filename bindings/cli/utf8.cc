#include "utf8.h"

namespace dskvs::cli {
namespace {

// Bytes of the well-formed sequence at the start of `bytes`; 0 when there is none.
size_t sequence_size(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  // The second byte's range is what excludes overlong forms, surrogates and too large values.
  unsigned char low = 0x80;
  unsigned char high = 0xbf;
  size_t size = 0;
  if (first >= 0xc2 && first <= 0xdf) {
    size = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    size = 3;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    size = 4;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
  } else {
    return 0;
  }
  if (bytes.size() < size || at(1) < low || at(1) > high) return 0;
  for (size_t i = 2; i < size; ++i) {
    if (at(i) < 0x80 || at(i) > 0xbf) return 0;
  }
  return size;
}

}  // namespace

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t size = sequence_size(bytes);
    if (size == 0) return false;
    bytes.remove_prefix(size);
  }
  return true;
}

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}

bool is_c1_control(std::string_view utf8) {
  return utf8.size() >= 2 && utf8[0] == '\xc2' && static_cast<unsigned char>(utf8[1]) < 0xa0;
}

void append_utf8(std::string* text, uint32_t code_point) {
  const auto add = [&](uint32_t byte) { text->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    add(code_point);
  } else if (code_point < 0x800) {
    add(0xc0 | code_point >> 6);
    add(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    add(0xe0 | code_point >> 12);
    add(0x80 | (code_point >> 6 & 0x3f));
    add(0x80 | (code_point & 0x3f));
  } else {
    add(0xf0 | code_point >> 18);
    add(0x80 | (code_point >> 12 & 0x3f));
    add(0x80 | (code_point >> 6 & 0x3f));
    add(0x80 | (code_point & 0x3f));
  }
}

}  // namespace dskvs::cli
