#include "base64.h"

#include <array>
#include <cstdint>

namespace dskvs::cli {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr uint8_t kNoDigit = 0xff;

constexpr std::array<uint8_t, 256> kValueOfDigit = [] {
  std::array<uint8_t, 256> values{};
  values.fill(kNoDigit);
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<uint8_t>(i);
  }
  return values;
}();

// Three bytes to four characters; missing bytes at the end become '='.
void encode_group(std::string_view group, std::string* text) {
  uint32_t bits = 0;
  for (size_t i = 0; i < 3; ++i) {
    bits = bits << 8 | (i < group.size() ? static_cast<unsigned char>(group[i]) : 0u);
  }
  for (size_t i = 0; i < 4; ++i) {
    text->push_back(i <= group.size() ? kAlphabet[bits >> (18 - 6 * i) & 0x3f] : '=');
  }
}

// Four characters to one to three bytes.
bool decode_group(std::string_view group, bool last, std::string* bytes) {
  size_t padding = 0;
  if (last && group[3] == '=') padding = group[2] == '=' ? 2 : 1;
  uint32_t bits = 0;
  for (size_t i = 0; i < 4; ++i) {
    const uint8_t value =
        i < 4 - padding ? kValueOfDigit[static_cast<unsigned char>(group[i])] : uint8_t{0};
    if (value == kNoDigit) return false;
    bits = bits << 6 | value;
  }
  const uint32_t unused = padding == 2 ? 0xffff : padding == 1 ? 0xff : 0;
  if ((bits & unused) != 0) return false;
  for (size_t i = 0; i < 3 - padding; ++i) {
    bytes->push_back(static_cast<char>(bits >> (16 - 8 * i) & 0xff));
  }
  return true;
}

}  // namespace

std::string base64_encode(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) encode_group(bytes.substr(i, 3), &text);
  return text;
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (size_t i = 0; i < text.size(); i += 4) {
    if (!decode_group(text.substr(i, 4), i + 4 == text.size(), &bytes)) return std::nullopt;
  }
  return bytes;
}

}  // namespace dskvs::cli
