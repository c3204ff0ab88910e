#include "histogram.h"

#include <algorithm>
#include <cmath>

namespace bench {

void Histogram::add(const Histogram& other) {
  for (size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
}

uint64_t Histogram::quantile(double share) const {
  auto rank = uint64_t(std::ceil(share * double(count_)));
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets && count_ > 0; ++i) {
    seen += buckets_[i];
    if (buckets_[i] > 0 && seen >= rank) return value_of(i);
  }
  return max_;
}

uint64_t Histogram::value_of(size_t bucket) const {
  if (bucket < 2 * kFractions) return bucket;
  int shift = int(bucket / kFractions) - 1;
  uint64_t first = uint64_t(bucket - size_t(shift) * kFractions) << shift;
  return std::clamp(first + (uint64_t{1} << shift) / 2, min_, max_);
}

}  // namespace bench
