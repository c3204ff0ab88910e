// When the persister acts: how epochs, syncs and attempts to heal follow one another. Pure: it is
// told what happened and when, and answers; no clock, no threads, no I/O.
#pragma once

#include <cstdint>

namespace dskvs {

// What was written and is not durable.
struct Undurable {
  uint64_t since_us;  // when the oldest of it was accepted
  uint64_t bytes;
  bool full;  // so much that its segment, which is full, cannot be left
};

class Pace {
 public:
  // 0: nothing is ever synced by time.
  explicit Pace(uint64_t sync_interval_ms) : sync_interval_us_(sync_interval_ms * 1000) {}

  // ---- Writing. `cpu_us` is the processor's time that the epoch took; `hot`: most of what was
  // accepted for it was superseded before it was written.
  void write_begins(uint64_t now_us) noexcept;
  void write_ended(uint64_t now_us, uint64_t cpu_us, bool hot) noexcept;
  uint64_t next_write_us() const noexcept { return next_write_us_; }
  // The last epoch was the first after a quiet time: it is not to wait for its sync.
  bool after_quiet() const noexcept { return after_quiet_; }

  // ---- Syncing.
  void sync_begins(uint64_t now_us) noexcept { sync_began_us_ = now_us; }
  void sync_ended(uint64_t now_us) noexcept;
  // `idle`: nothing else is to be written.
  bool sync_is_due(uint64_t now_us, bool idle, const Undurable& undurable) const noexcept;
  uint64_t next_sync_us(uint64_t undurable_since_us) const noexcept;  // UINT64_MAX: never by time

  // ---- Healing.
  void failed(uint64_t now_us) noexcept;
  void healed() noexcept { retry_pause_us_ = 0; }
  uint64_t retry_us() const noexcept { return retry_us_; }

 private:
  const uint64_t sync_interval_us_;
  uint64_t next_write_us_ = 0;
  uint64_t last_write_us_ = 0;  // when the last epoch was written
  bool after_quiet_ = false;
  uint64_t sync_began_us_ = 0;
  uint64_t sync_took_us_ = 0;
  uint64_t sync_longest_us_ = 0;  // of late
  uint64_t retry_us_ = 0;
  uint64_t retry_pause_us_ = 0;
};

}  // namespace dskvs
