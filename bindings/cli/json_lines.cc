// JSON lines into a store.
#include "descriptor.h"
#include "failure.h"
#include "formatted.h"
#include "json_text.h"
#include "loader.h"
#include "output.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <optional>

namespace dskvs::cli {
namespace {

constexpr size_t kReadBytes = 1 << 20;

class LineReader {
 public:
  LineReader(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}

  // The next line without its line break, valid until the next call.
  std::optional<std::string_view> next() {
    size_t end = buffer_.find('\n', begin_);
    while (end == std::string::npos) {
      const size_t scanned = buffer_.size() - begin_;
      if (!fill()) return last_line();
      end = buffer_.find('\n', scanned);
    }
    const std::string_view line = std::string_view(buffer_).substr(begin_, end - begin_);
    begin_ = end + 1;
    return line;
  }

 private:
  // Drops what was handed out and reads on; false at the end of the file.
  bool fill() {
    buffer_.erase(0, begin_);
    begin_ = 0;
    const size_t filled = buffer_.size();
    buffer_.resize(filled + kReadBytes);
    ssize_t got = 0;
    do {
      got = ::read(fd_, buffer_.data() + filled, kReadBytes);
    } while (got < 0 && errno == EINTR);
    if (got < 0) fail_system(name_);
    buffer_.resize(filled + static_cast<size_t>(got));
    return got > 0;
  }

  std::optional<std::string_view> last_line() {
    if (buffer_.empty()) return std::nullopt;
    begin_ = buffer_.size();
    return std::string_view(buffer_);
  }

  int fd_;
  std::string name_;
  std::string buffer_;
  size_t begin_ = 0;
};

void put_lines(int fd, const std::string& name, Loader* loader) {
  LineReader lines(fd, name);
  JsonEntry entry;
  for (uint64_t number = 1; const auto line = lines.next(); ++number) {
    loader->advance(line->size() + 1);
    if (line->find_first_not_of(" \t\r") == std::string_view::npos) continue;
    std::string reason = parse_json_entry(*line, &entry);
    int exit_code = kExitOther;
    try {
      if (reason.empty()) loader->put(entry.key, entry.value);
    } catch (Failure& failure) {
      reason = std::move(failure.text);
      exit_code = failure.exit_code;
    }
    if (!reason.empty()) {
      throw Failure{exit_code, formatted("{}: line {}: {}", name, number, reason)};
    }
  }
}

}  // namespace

int load_json_lines(const char* file, const char* store_path, bool json) {
  const bool from_stdin = std::string_view(file) == "-";
  const std::string name = from_stdin ? "standard input" : shell_quoted(file);
  const Descriptor opened(from_stdin ? -1 : ::open(file, O_RDONLY | O_CLOEXEC));
  if (!from_stdin && !opened) fail_system(name);
  const int fd = from_stdin ? STDIN_FILENO : opened.fd();

  Store store = Store::open_to_write(store_path, Create::kMayCreate);
  Loader loader(&store);
  struct stat status;
  if (::fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
    loader.set_total(static_cast<uint64_t>(status.st_size));
  }
  put_lines(fd, name, &loader);
  loader.finish(json);
}

}  // namespace dskvs::cli
