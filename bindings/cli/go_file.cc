#include "go_file.h"

#include "formatted.h"
#include "sha1.h"

namespace dskvs::cli {
namespace {

constexpr size_t kHeaderBytes = 36;
constexpr size_t kNamePrefixBytes = 40;

uint64_t big_endian(std::string_view bytes) {
  uint64_t number = 0;
  for (const char c : bytes) number = number << 8 | static_cast<unsigned char>(c);
  return number;
}

// Go's binary.Uvarint, its 0 for a varint that is cut or overflows included.
uint64_t go_uvarint(std::string_view bytes) {
  uint64_t number = 0;
  for (size_t i = 0; i < bytes.size() && i < 10; ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    if (i == 9 && byte > 1) return 0;
    number |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) return number;
  }
  return 0;
}

std::string sha1_bytes(std::string_view bytes) {
  const Sha1Digest digest = sha1(bytes);
  return {digest.begin(), digest.end()};
}

// Go's hash.Sum(bytes) on a fresh hash appends the digest of nothing. The original took it for the
// digest of its argument until 2014-01-11, in checksums and in file names.
std::string with_digest_of_nothing(std::string_view bytes) {
  return std::string(bytes) + sha1_bytes("");
}

bool checksum_matches(uint64_t checksum, std::string_view value) {
  // Only the first bytes of a varint matter.
  return checksum == go_uvarint(sha1_bytes(value)) ||
         checksum == go_uvarint(with_digest_of_nothing(value.substr(0, 10)));
}

// Go's url.QueryEscape.
std::string query_escape(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const bool kept = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      std::string_view("-_.~").find(c) != std::string_view::npos;
    if (kept) {
      text += c;
    } else if (c == ' ') {
      text += '+';
    } else {
      text += formatted("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return text;
}

}  // namespace

std::string parse_go_file(std::string_view content, std::string_view name, GoEntry* entry) {
  if (content.size() < kHeaderBytes) return "shorter than a header";
  const uint64_t major = big_endian(content.substr(0, 2));
  const uint64_t checksum = big_endian(content.substr(12, 8));
  const uint64_t key_size = big_endian(content.substr(20, 8));
  const uint64_t value_size = big_endian(content.substr(28, 8));
  if (major != 0) return formatted("of an unknown version, {}", major);

  const std::string_view rest = content.substr(kHeaderBytes);
  if (key_size > rest.size() || value_size != rest.size() - key_size) {
    return "its size is not the one in its header";
  }
  const std::string_view key = rest.substr(0, key_size);
  entry->value = rest.substr(key_size);
  if (!checksum_matches(checksum, entry->value)) return "its checksum does not match";

  const std::string prefix = query_escape(key).substr(0, kNamePrefixBytes);
  entry->current_name = name == prefix + hex(sha1_bytes(key));
  if (!entry->current_name && name != prefix + hex(with_digest_of_nothing(key))) {
    return "its name does not match its key";
  }
  const bool has_separator = !key.empty() && (key[0] == '/' || key[0] == '\\');
  entry->member = key.substr(has_separator);
  if (entry->member.empty()) return "its key has no member";
  return {};
}

}  // namespace dskvs::cli
