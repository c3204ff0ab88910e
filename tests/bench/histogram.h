// Latencies, counted in buckets: exact below 256 ns, within 0.4 % above.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

class Histogram {
 public:
  Histogram() : buckets_(kBuckets) {}

  void add(uint64_t value) {
    ++buckets_[bucket_of(value)];
    ++count_;
    sum_ += value;
    if (value < min_) min_ = value;
    if (value > max_) max_ = value;
  }

  void add(const Histogram& other);

  uint64_t count() const { return count_; }
  uint64_t min() const { return count_ == 0 ? 0 : min_; }
  uint64_t max() const { return max_; }
  double average() const { return count_ == 0 ? 0 : double(sum_) / double(count_); }

  // The smallest value that at least `share` (0 to 1) of all values do not exceed; 0 when empty.
  uint64_t quantile(double share) const;

  // Calls visit(value, share) for each bucket that is not empty, in rising order: `share` of all
  // values are at most `value`.
  template <typename Visit>
  void for_each(Visit visit) const {
    uint64_t seen = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      if (buckets_[i] == 0) continue;
      seen += buckets_[i];
      visit(value_of(i), double(seen) / double(count_));
    }
  }

 private:
  // Each power of two is cut in 128 buckets; the values below 256 have one each.
  static constexpr int kFractionBits = 7;
  static constexpr size_t kFractions = size_t{1} << kFractionBits;
  static constexpr size_t kBuckets = (64 - kFractionBits + 1) * kFractions;

  static size_t bucket_of(uint64_t value) {
    if (value < 2 * kFractions) return value;
    int shift = int(std::bit_width(value)) - 1 - kFractionBits;
    return size_t(shift) * kFractions + size_t(value >> shift);
  }

  // The middle of the bucket, but no more than the largest value seen.
  uint64_t value_of(size_t bucket) const;

  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
  uint64_t min_ = UINT64_MAX;
  uint64_t max_ = 0;
};

}  // namespace bench
