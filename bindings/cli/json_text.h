// As much JSON as NDJSON needs: strings, and objects whose members are strings. RFC 8259, strict.
#pragma once

#include <string>
#include <string_view>

namespace dskvs::cli {

// Appends `utf8` as a JSON string.
void append_json_string(std::string* json, std::string_view utf8);

// Appends `"name": "..."`, or `"name_base64": "..."` when `bytes` are not UTF-8.
void append_json_bytes(std::string* json, std::string_view name, std::string_view bytes);

// One pair as one line, without the line break: {"key": "...", "value": "..."}.
struct JsonEntry {
  std::string key;
  std::string value;
};
std::string json_entry(std::string_view key, std::string_view value);

// Reads what json_entry() gives, with any white space, escapes and order that JSON allows. Returns
// an empty text, or what is wrong with it.
std::string parse_json_entry(std::string_view line, JsonEntry* entry);

}  // namespace dskvs::cli
