// What a long command is doing, on a terminal: one line on stderr with rate and time left, from
// half a second on, gone when it is done. Nothing when stderr is no terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace dskvs::cli {

class ProgressBar {
 public:
  explicit ProgressBar(std::string_view activity);
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar() { clear(); }

  bool enabled() const { return enabled_; }

  // Bytes done, and in all; 0 when that is not known.
  void update(uint64_t done, uint64_t total);

  // Warns on a line of its own.
  void warn(std::string_view text);

  // A dskvs_progress whose context is a ProgressBar.
  static int32_t callback(void* bar, uint64_t done, uint64_t total);

 private:
  using Clock = std::chrono::steady_clock;

  void clear();
  std::string line(uint64_t done, uint64_t total, double elapsed_s) const;

  const std::string activity_;
  const bool enabled_;
  bool shown_ = false;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point next_ = start_ + std::chrono::milliseconds(500);
};

}  // namespace dskvs::cli
