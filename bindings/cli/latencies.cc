#include "latencies.h"

#include <algorithm>
#include <cmath>

#include "formatted.h"

namespace dskvs::cli {

static_assert(std::is_same_v<Latencies::Clock::period, std::nano>);

std::string Latencies::header() {
  return formatted("{:<34} {:>10} {:>12} {:>12} {:>12}\n", "microseconds", "operations", "p50",
                   "p99", "p99.9");
}

std::string Latencies::line() {
  std::sort(times_ns_.begin(), times_ns_.end());
  return formatted("{:<34} {:>10} {:>12.2f} {:>12.2f} {:>12.2f}\n", label_, times_ns_.size(),
                   percentile_us(0.5), percentile_us(0.99), percentile_us(0.999));
}

std::string Latencies::json() {
  std::sort(times_ns_.begin(), times_ns_.end());
  return formatted(
      "\"{}\": {{\"operations\": {}, \"p50_us\": {:.3f}, \"p99_us\": {:.3f}, \"p999_us\": {:.3f}}}",
      name_, times_ns_.size(), percentile_us(0.5), percentile_us(0.99), percentile_us(0.999));
}

double Latencies::percentile_us(double share) const {
  if (times_ns_.empty()) return 0;
  const auto count = static_cast<double>(times_ns_.size());
  const auto rank = static_cast<size_t>(std::max(1.0, std::ceil(count * share)));
  return static_cast<double>(times_ns_[rank - 1]) / 1000;
}

}  // namespace dskvs::cli
