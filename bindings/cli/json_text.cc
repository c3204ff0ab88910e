#include "json_text.h"

#include "base64.h"
#include "formatted.h"
#include "utf8.h"

#include <optional>

namespace dskvs::cli {
namespace {

struct Malformed {
  std::string reason;
};

// Reads an object of strings from left to right; throws Malformed.
class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}

  char next_after_space() {
    skip_space();
    return next();
  }

  void expect(char wanted) {
    const char found = next_after_space();
    if (found != wanted) throw Malformed{formatted("'{}' expected", wanted)};
  }

  void expect_end() {
    skip_space();
    if (position_ != text_.size()) throw Malformed{"something after the object"};
  }

  std::string string() {
    expect('"');
    std::string value;
    for (char c = next(); c != '"'; c = next()) {
      if (static_cast<unsigned char>(c) < 0x20) throw Malformed{"a control character in a string"};
      if (c == '\\') {
        append_escaped(&value);
      } else {
        value += c;
      }
    }
    if (!is_utf8(value)) throw Malformed{"a string that is not UTF-8"};
    return value;
  }

 private:
  char next() {
    if (position_ == text_.size()) throw Malformed{"it ends too early"};
    return text_[position_++];
  }

  void skip_space() {
    const size_t found = text_.find_first_not_of(" \t\r\n", position_);
    position_ = found == std::string_view::npos ? text_.size() : found;
  }

  void append_escaped(std::string* value) {
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const char letter = next();
    if (letter == 'u') {
      append_utf8(value, escaped_code_point());
      return;
    }
    const size_t index = kLetters.find(letter);
    if (index == std::string_view::npos) throw Malformed{"an unknown escape in a string"};
    *value += kMeanings[index];
  }

  uint32_t escaped_code_point() {
    const uint32_t unit = hex4();
    if (unit < 0xd800 || unit > 0xdfff) return unit;
    if (unit > 0xdbff || next() != '\\' || next() != 'u') throw Malformed{"half a surrogate pair"};
    const uint32_t low = hex4();
    if (low < 0xdc00 || low > 0xdfff) throw Malformed{"half a surrogate pair"};
    return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
  }

  uint32_t hex4() {
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = next();
      const size_t digit = std::string_view("0123456789abcdef")
                               .find(static_cast<char>(c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c));
      if (digit == std::string_view::npos) throw Malformed{"a \\u without four hex digits"};
      value = value << 4 | static_cast<uint32_t>(digit);
    }
    return value;
  }

  std::string_view text_;
  size_t position_ = 0;
};

// Takes member `name` when it is `wanted` or `wanted`_base64.
bool take(std::string_view wanted, std::string_view name, std::string* text,
          std::optional<std::string>* field) {
  if (!name.starts_with(wanted)) return false;
  const std::string_view rest = name.substr(wanted.size());
  if (!rest.empty() && rest != "_base64") return false;
  if (*field) throw Malformed{formatted("two members for the {}", wanted)};
  *field = rest.empty() ? std::move(*text) : base64_decode(*text);
  if (!*field) throw Malformed{formatted("the {} is not base64", wanted)};
  return true;
}

JsonEntry read_entry(std::string_view line) {
  JsonReader reader(line);
  std::optional<std::string> key;
  std::optional<std::string> value;
  reader.expect('{');
  char separator = ',';
  while (separator == ',') {
    const std::string name = reader.string();
    reader.expect(':');
    std::string text = reader.string();
    if (!take("key", name, &text, &key) && !take("value", name, &text, &value)) {
      throw Malformed{"a member that is neither key, key_base64, value nor value_base64"};
    }
    separator = reader.next_after_space();
  }
  if (separator != '}') throw Malformed{"',' or '}' expected"};
  reader.expect_end();
  if (!key) throw Malformed{"no key"};
  if (!value) throw Malformed{"no value"};
  return {std::move(*key), std::move(*value)};
}

}  // namespace

void append_json_string(std::string* json, std::string_view utf8) {
  *json += '"';
  for (size_t i = 0; i < utf8.size(); ++i) {
    const char c = utf8[i];
    switch (c) {
      case '"':
        *json += "\\\"";
        break;
      case '\\':
        *json += "\\\\";
        break;
      case '\n':
        *json += "\\n";
        break;
      case '\r':
        *json += "\\r";
        break;
      case '\t':
        *json += "\\t";
        break;
      default:
        if (is_control(c)) {
          *json += formatted("\\u{:04x}", static_cast<unsigned char>(c));
        } else if (is_c1_control(utf8.substr(i))) {
          *json += formatted("\\u{:04x}", static_cast<unsigned char>(utf8[++i]));
        } else {
          *json += c;
        }
    }
  }
  *json += '"';
}

void append_json_bytes(std::string* json, std::string_view name, std::string_view bytes) {
  const bool is_text = is_utf8(bytes);
  *json += formatted("\"{}{}\": ", name, is_text ? "" : "_base64");
  append_json_string(json, is_text ? bytes : base64_encode(bytes));
}

std::string json_entry(std::string_view key, std::string_view value) {
  std::string json = "{";
  append_json_bytes(&json, "key", key);
  json += ", ";
  append_json_bytes(&json, "value", value);
  return json + "}";
}

std::string parse_json_entry(std::string_view line, JsonEntry* entry) {
  try {
    *entry = read_entry(line);
    return {};
  } catch (const Malformed& malformed) {
    return malformed.reason;
  }
}

}  // namespace dskvs::cli
