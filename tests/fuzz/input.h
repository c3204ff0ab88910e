// What the fuzzers' bodies share: their bytes, and how they say that something is wrong.
#pragma once

#include <dskvs/dskvs.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace dskvs::test {

// What an input is seldom to do hangs on a byte that has this value, which mutations do not favour.
inline constexpr uint8_t kRare = 0xa5;

[[noreturn]] inline void fail_fuzz(const char* what) {
  std::fprintf(stderr, "fuzz: %s: %s\n", what, dskvs_last_error());
  std::abort();
}

inline void require(bool holds, const char* what) {
  if (!holds) fail_fuzz(what);
}

// Takes numbers off the front of the input; 0 when it is used up.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  uint8_t byte() {
    if (left_ == 0) return 0;
    left_--;
    return *data_++;
  }
  uint16_t two_bytes() {
    const uint8_t low = byte();
    return static_cast<uint16_t>(low | byte() << 8);
  }
  uint64_t eight_bytes() {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value |= uint64_t{byte()} << 8 * i;
    return value;
  }
  uint32_t below(uint32_t bound) { return two_bytes() % bound; }
  bool empty() const { return left_ == 0; }

 private:
  const uint8_t* data_;
  size_t left_;
};

}  // namespace dskvs::test
