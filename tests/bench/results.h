// What one cell (store, workload, repeat) measured, and its way from the child process to the
// runner: a text file, one figure a line.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "histogram.h"

namespace bench {

class Results {
 public:
  using Points = std::vector<std::pair<double, double>>;

  // What is not finite (a rate over no time, a share of nothing) was not measured.
  void figure(const std::string& name, double value);
  void point(const std::string& series, double x, double y) { series_[series].emplace_back(x, y); }

  // min avg p50 p75 p90 p99 p99.9 p99.99 max as `name`.p50_ns and so on, and the distribution as
  // the series `name`.cdf.
  void latencies(const std::string& name, const Histogram& histogram);

  const std::map<std::string, double>& figures() const { return figures_; }
  const std::map<std::string, Points>& series() const { return series_; }

  void save(const std::string& path) const;
  void load(const std::string& path);  // adds to what is there; a missing file adds nothing

 private:
  std::map<std::string, double> figures_;
  std::map<std::string, Points> series_;
};

}  // namespace bench
