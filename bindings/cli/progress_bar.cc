#include "progress_bar.h"

#include "failure.h"
#include "formatted.h"
#include "output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace dskvs::cli {
namespace {

constexpr std::chrono::milliseconds kInterval{100};
constexpr size_t kBarColumns = 24;

size_t terminal_columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

void print_now(std::string_view text) {
  // Progress is not worth an error of its own.
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

ProgressBar::ProgressBar(std::string_view activity)
    : activity_(activity), enabled_(::isatty(STDERR_FILENO) == 1) {}

void ProgressBar::update(uint64_t done, uint64_t total) {
  if (!enabled_) return;
  const Clock::time_point now = Clock::now();
  if (now < next_) return;
  next_ = now + kInterval;
  std::string text = line(done, total, std::chrono::duration<double>(now - start_).count());
  text.resize(std::min(text.size(), terminal_columns() - 1));
  print_now("\r\x1b[K" + text);
  shown_ = true;
}

std::string ProgressBar::line(uint64_t done, uint64_t total, double elapsed_s) const {
  const double rate = static_cast<double>(done) / elapsed_s;
  const std::string rate_text = bytes_text(rate) + "/s";
  if (total == 0) {
    return formatted("{}  {}  {}", activity_, bytes_text(static_cast<double>(done)), rate_text);
  }
  // Files may have grown since they were counted.
  done = std::min(done, total);
  const double share = static_cast<double>(done) / static_cast<double>(total);
  const auto columns = static_cast<size_t>(share * kBarColumns);
  std::string eta = "?";
  if (done > 0) {
    const auto left_s = static_cast<uint64_t>(static_cast<double>(total - done) / rate + 0.5);
    eta = formatted("{}:{:02}", left_s / 60, left_s % 60);
  }
  return formatted("{}  [{:-<{}}] {:3.0f}%  {} of {}  {}  ETA {}", activity_,
                   std::string(columns, '#'), kBarColumns, share * 100,
                   bytes_text(static_cast<double>(done)), bytes_text(static_cast<double>(total)),
                   rate_text, eta);
}

void ProgressBar::warn(std::string_view text) {
  clear();
  cli::warn(text);
}

int32_t ProgressBar::callback(void* bar, uint64_t done, uint64_t total) {
  static_cast<ProgressBar*>(bar)->update(done, total);
  return 0;
}

void ProgressBar::clear() {
  if (shown_) print_now("\r\x1b[K");
  shown_ = false;
}

}  // namespace dskvs::cli
