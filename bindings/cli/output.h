// Standard output, with errors that are not lost, and bytes made safe to print.
#pragma once

#include <string>
#include <string_view>

namespace dskvs::cli {

// Buffered standard output. What is still buffered when it is destroyed is dropped: a command that
// succeeds calls finish().
class Output {
 public:
  void write(std::string_view bytes);
  void flush();

  // Flushes and closes: some systems report a full disk only then. Call last.
  void finish();

 private:
  std::string buffer_;
};

// The whole output of a command.
void print_result(std::string_view text);

// A word that a shell reads back as exactly these bytes (but NUL, which no shell can hold): plain,
// in '...', or in $'...' when a byte is not printable.
std::string shell_quoted(std::string_view bytes);

// "1.5 MiB".
std::string bytes_text(double bytes);

}  // namespace dskvs::cli
