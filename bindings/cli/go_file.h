// The files of the original dskvs, written in Go (versions 0.1.0 to 0.4.2): one file an entry.
//
//   offset 0   u16 major, u16 minor, u64 patch of the version; all numbers are big-endian
//         12   u64 checksum
//         20   u64 key size
//         28   u64 payload size
//         36   key, then payload, then the end of the file
//
// The stored key is the member after a separator ('/', on Windows '\'); 0.1.0 may have left the
// separator out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dskvs::cli {

struct GoEntry {
  std::string_view member;
  std::string_view value;
  // Named by the rule of 0.2.1 and later; else by that of 0.2.0 and before.
  bool current_name;
};

// Takes apart the whole content of a file called `name`; what `entry` receives points into
// `content`. Returns an empty text, or why this is not an intact entry.
std::string parse_go_file(std::string_view content, std::string_view name, GoEntry* entry);

}  // namespace dskvs::cli
