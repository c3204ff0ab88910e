// Keys, values and orders of access, all made before the clock runs: in the timed loops the harness
// only walks through memory in order.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

// A small, fast generator (splitmix64): the same numbers on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  // Below `limit`, which is small against 2^32.
  uint64_t below(uint64_t limit) { return ((next() >> 32) * limit) >> 32; }

  // From 0 to below 1.
  double fraction() { return double(next() >> 11) * 0x1p-53; }

 private:
  uint64_t state_;
};

// The key space: key i of `collections` is "ccccccc/mmmmmmmm", 16 bytes of hexadecimal digits, in
// collection i % collections. Members are scattered, so that no order of i is an order of keys.
inline constexpr size_t kKeySize = 16;
void write_key(uint64_t index, uint64_t collections, char* key);
std::string collection_name(uint64_t collection);

using Indices = std::vector<uint32_t>;

Indices in_order(uint64_t first, uint64_t count);
Indices shuffled(Indices indices, Random* random);
Indices uniform(uint64_t entries, uint64_t count, Random* random);

// Zipf's law over entry numbers: number r comes with a weight of 1 / (r + 1)^exponent.
class Zipf {
 public:
  Zipf(uint64_t entries, double exponent);
  Indices draw(uint64_t count, Random* random) const;

 private:
  std::vector<double> cumulative_;
};

// The keys of some indices, one after another in memory.
class Keys {
 public:
  Keys() = default;
  Keys(const Indices& indices, uint64_t collections);

  size_t size() const { return bytes_.size() / kKeySize; }
  std::string_view operator[](size_t i) const { return {bytes_.data() + i * kKeySize, kKeySize}; }

 private:
  std::vector<char> bytes_;
};

// Values of up to `size_max` bytes that no compressor shrinks, from a pool which stays in cache.
class Values {
 public:
  explicit Values(size_t size_max);
  std::string_view get(size_t i, size_t size) const {
    return {pool_.data() + (i * 72) % kSpread, size};
  }

 private:
  static constexpr size_t kSpread = 4096;
  std::vector<char> pool_;
};

}  // namespace bench
