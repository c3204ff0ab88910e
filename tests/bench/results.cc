#include "results.h"

#include <cmath>
#include <fstream>

#include "fail.h"

namespace bench {

void Results::figure(const std::string& name, double value) {
  if (std::isfinite(value)) figures_[name] = value;
}

void Results::latencies(const std::string& name, const Histogram& histogram) {
  if (histogram.count() == 0) return;
  figure(name + ".min_ns", double(histogram.min()));
  figure(name + ".avg_ns", histogram.average());
  figure(name + ".p50_ns", double(histogram.quantile(0.5)));
  figure(name + ".p75_ns", double(histogram.quantile(0.75)));
  figure(name + ".p90_ns", double(histogram.quantile(0.9)));
  figure(name + ".p99_ns", double(histogram.quantile(0.99)));
  figure(name + ".p99.9_ns", double(histogram.quantile(0.999)));
  figure(name + ".p99.99_ns", double(histogram.quantile(0.9999)));
  figure(name + ".max_ns", double(histogram.max()));
  histogram.for_each(
      [&](uint64_t value, double share) { point(name + ".cdf", double(value), share); });
}

void Results::save(const std::string& path) const {
  std::ofstream file(path);
  for (const auto& [name, value] : figures_) file << fmt::format("figure {} {}\n", name, value);
  for (const auto& [name, points] : series_) {
    for (const auto& [x, y] : points) file << fmt::format("point {} {} {}\n", name, x, y);
  }
  if (!file.flush()) fail("cannot write {}", path);
}

void Results::load(const std::string& path) {
  std::ifstream file(path);
  std::string kind, name;
  while (file >> kind >> name) {
    double x = 0, y = 0;
    file >> x;
    if (kind == "figure") {
      figure(name, x);
    } else {
      file >> y;
      point(name, x, y);
    }
  }
}

}  // namespace bench
