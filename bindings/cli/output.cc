#include "output.h"

#include "descriptor.h"
#include "failure.h"
#include "formatted.h"
#include "utf8.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>

namespace dskvs::cli {
namespace {

constexpr size_t kBufferBytes = 64 << 10;

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("_@%+=:,./-").find(c) != std::string_view::npos;
}

bool has_c1_control(std::string_view utf8) {
  for (; !utf8.empty(); utf8.remove_prefix(1)) {
    if (is_c1_control(utf8)) return true;
  }
  return false;
}

std::string escaped(std::string_view bytes) {
  std::string text = "$'";
  for (const char c : bytes) {
    if (c == '\'' || c == '\\') {
      text += '\\';
      text += c;
    } else if (is_control(c) || static_cast<unsigned char>(c) >= 0x80) {
      text += formatted("\\{:03o}", static_cast<unsigned char>(c));
    } else {
      text += c;
    }
  }
  return text + "'";
}

}  // namespace

void Output::write(std::string_view bytes) {
  if (buffer_.size() + bytes.size() < kBufferBytes) {
    buffer_ += bytes;
    return;
  }
  flush();
  if (!write_all(STDOUT_FILENO, bytes)) fail_system("standard output");
}

void Output::flush() {
  if (!write_all(STDOUT_FILENO, buffer_)) fail_system("standard output");
  buffer_.clear();
}

void Output::finish() {
  flush();
  if (::close(STDOUT_FILENO) != 0) fail_system("standard output");
}

void print_result(std::string_view text) {
  Output output;
  output.write(text);
  output.finish();
}

std::string shell_quoted(std::string_view bytes) {
  if (!bytes.empty() && std::all_of(bytes.begin(), bytes.end(), is_plain)) {
    return std::string(bytes);
  }
  const bool printable = std::none_of(bytes.begin(), bytes.end(), is_control) && is_utf8(bytes) &&
                         !has_c1_control(bytes);
  if (!printable) return escaped(bytes);
  std::string text = "'";
  for (const char c : bytes) {
    if (c == '\'') {
      text += "'\\''";
    } else {
      text += c;
    }
  }
  return text + "'";
}

std::string bytes_text(double bytes) {
  if (bytes < 1024) return formatted("{:.0f} B", bytes);
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  bytes /= 1024;
  for (; bytes >= 1024 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
  return formatted("{:.1f} {}", bytes, kUnits[unit]);
}

}  // namespace dskvs::cli
