#include "keys.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace bench {
namespace {

constexpr size_t kCollectionDigits = 7;
constexpr size_t kMemberDigits = 8;

void write_hexadecimal(uint64_t number, size_t digits, char* out) {
  for (size_t i = digits; i-- > 0; number >>= 4) out[i] = "0123456789abcdef"[number & 15];
}

// One to one on 32 bits: different entries get different members.
uint32_t scatter(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x85ebca6b;
  x = (x ^ (x >> 13)) * 0xc2b2ae35;
  return x ^ (x >> 16);
}

}  // namespace

void write_key(uint64_t index, uint64_t collections, char* key) {
  write_hexadecimal(index % collections, kCollectionDigits, key);
  key[kCollectionDigits] = '/';
  write_hexadecimal(scatter(uint32_t(index)), kMemberDigits, key + kCollectionDigits + 1);
}

std::string collection_name(uint64_t collection) {
  std::string name(kCollectionDigits, '0');
  write_hexadecimal(collection, kCollectionDigits, name.data());
  return name;
}

Indices in_order(uint64_t first, uint64_t count) {
  Indices indices(count);
  std::iota(indices.begin(), indices.end(), uint32_t(first));
  return indices;
}

Indices shuffled(Indices indices, Random* random) {
  for (size_t i = indices.size(); i > 1; --i) std::swap(indices[i - 1], indices[random->below(i)]);
  return indices;
}

Indices uniform(uint64_t entries, uint64_t count, Random* random) {
  Indices indices(count);
  for (uint32_t& index : indices) index = uint32_t(random->below(entries));
  return indices;
}

Zipf::Zipf(uint64_t entries, double exponent) : cumulative_(entries) {
  double sum = 0;
  for (uint64_t rank = 0; rank < entries; ++rank) {
    sum += std::pow(double(rank + 1), -exponent);
    cumulative_[rank] = sum;
  }
}

Indices Zipf::draw(uint64_t count, Random* random) const {
  Indices indices(count);
  for (uint32_t& index : indices) {
    double point = random->fraction() * cumulative_.back();
    auto found = std::upper_bound(cumulative_.begin(), cumulative_.end(), point);
    index = uint32_t(std::min<size_t>(size_t(found - cumulative_.begin()), cumulative_.size() - 1));
  }
  return indices;
}

Keys::Keys(const Indices& indices, uint64_t collections) : bytes_(indices.size() * kKeySize) {
  for (size_t i = 0; i < indices.size(); ++i) {
    write_key(indices[i], collections, bytes_.data() + i * kKeySize);
  }
}

Values::Values(size_t size_max) : pool_(size_max + kSpread) {
  Random random(7);
  for (size_t i = 0; i + 8 <= pool_.size(); i += 8) {
    uint64_t word = random.next();
    std::memcpy(pool_.data() + i, &word, sizeof word);
  }
}

}  // namespace bench
