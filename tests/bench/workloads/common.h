// What several workloads do.
#pragma once

#include "fail.h"
#include "keys.h"
#include "team.h"
#include "workload.h"

namespace bench {

// Puts entries 0 to `entries` - 1, each thread its own part in an order of chance. Returns the
// seconds that the puts took.
double load(Team& team, uint64_t entries, uint64_t collections, const Values& values,
            size_t value_size);

inline void expect_value(std::string_view value, size_t size) {
  if (value.data() == nullptr) fail("a key that was put is not there");
  if (value.size() != size) fail("a value has {} bytes and should have {}", value.size(), size);
}

inline void expect_found(bool found) {
  if (!found) fail("a key that was put is not there");
}

// Keeps the compiler from leaving out reads whose result nobody needs.
inline void use(uint64_t digest) { asm volatile("" : : "r"(digest)); }

// Bytes that store and benchmark sent towards the disk, and occupy in memory, a server's included.
uint64_t bytes_sent_by(const Store& store);
uint64_t resident_bytes_of(const Store& store);

// Measures one call after another: each reading of the clock ends one and begins the next.
class Laps {
 public:
  Laps() : last_ns_(now_ns()) {}

  uint64_t lap() {
    uint64_t now = now_ns();
    uint64_t lap_ns = now - last_ns_;
    last_ns_ = now;
    return lap_ns;
  }

  uint64_t last_ns() const { return last_ns_; }

 private:
  uint64_t last_ns_;
};

}  // namespace bench
