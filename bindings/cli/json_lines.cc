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
#include <utility>

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

class EntryReader {
 public:
  EntryReader(int fd, std::string name) : lines_(fd, name), name_(std::move(name)) {}

  // Reads the next entry, whose key breaks no rule; false at the end of the file.
  bool next() {
    while (const auto line = lines_.next()) {
      ++number_;
      bytes_ += line->size() + 1;
      if (line->find_first_not_of(" \t\r") == std::string_view::npos) continue;
      const std::string reason = parse_json_entry(*line, &entry_);
      if (!reason.empty()) fail_here({kExitOther, reason});
      about_this_line([&] { expect_key(entry_.key); });
      return true;
    }
    return false;
  }

  const JsonEntry& entry() const { return entry_; }

  // Of the lines since the last call.
  uint64_t take_bytes() { return std::exchange(bytes_, 0); }

  // Adds the file and the line to what fails.
  template <typename Call>
  void about_this_line(const Call& call) const {
    try {
      call();
    } catch (const Failure& failure) {
      fail_here(failure);
    }
  }

 private:
  [[noreturn]] void fail_here(const Failure& failure) const {
    throw Failure{failure.exit_code, formatted("{}: line {}: {}", name_, number_, failure.text)};
  }

  LineReader lines_;
  std::string name_;
  JsonEntry entry_;
  uint64_t number_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace

int load_json_lines(const char* file, const char* store_path, bool json) {
  const bool from_stdin = std::string_view(file) == "-";
  const std::string name = from_stdin ? "standard input" : shell_quoted(file);
  const Descriptor opened(from_stdin ? -1 : ::open(file, O_RDONLY | O_CLOEXEC));
  if (!from_stdin && !opened) fail_system(name);
  const int fd = from_stdin ? STDIN_FILENO : opened.fd();

  // The first entry is read before the store is opened: no lock is held while a pipe is waited for,
  // and nothing is created for what is no JSON line.
  EntryReader entries(fd, name);
  bool more = entries.next();
  Store store = Store::open_to_write(store_path, Create::kMayCreate);
  Loader loader(&store);
  struct stat status;
  if (::fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
    loader.set_total(static_cast<uint64_t>(status.st_size));
  }
  for (; more; more = entries.next()) {
    loader.advance(entries.take_bytes());
    entries.about_this_line([&] { loader.put(entries.entry().key, entries.entry().value); });
  }
  return loader.finish(json);
}

}  // namespace dskvs::cli
