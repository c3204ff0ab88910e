// Times of one kind of operation, and what they come to.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dskvs::cli {

class Latencies {
 public:
  using Clock = std::chrono::steady_clock;

  Latencies(std::string_view name, std::string_view label) : name_(name), label_(label) {}

  void add(Clock::duration time) { times_ns_.push_back(static_cast<uint64_t>(time.count())); }
  void add_us(uint64_t time_us) { times_ns_.push_back(time_us * 1000); }

  template <typename Operation>
  void time(const Operation& operation) {
    const Clock::time_point start = Clock::now();
    operation();
    add(Clock::now() - start);
  }

  static std::string header();
  // Each sorts the times first.
  std::string line();
  std::string json();

 private:
  // The time that `share` of all operations, 0 to 1, do not exceed; in microseconds.
  double percentile_us(double share) const;

  std::string name_;   // in JSON
  std::string label_;  // in the table
  std::vector<uint64_t> times_ns_;
};

}  // namespace dskvs::cli
