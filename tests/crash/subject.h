// A store, mostly on a simulated file system, all in one thread: the persister moves when the test
// says so.
#pragma once

#include <memory>
#include <string>

#include "crash/history.h"
#include "support/sim_environment.h"
#include "support/sim_file_system.h"

namespace dskvs::test {

inline constexpr const char* kStorePath = "/store";

struct Marks {
  uint64_t accepted = 0;  // newest epoch that holds a write
  uint64_t written = 0;
  uint64_t durable = 0;
  uint64_t recovered = 0;
  uint64_t lost = 0;  // epochs, as open reported
  uint64_t dirty_bytes = 0;
  bool failing = false;  // the persister has an error that is not healed yet
};

class Subject {
 public:
  // The clock moves on by `look_us` whenever it is looked at.
  explicit Subject(FileSystem& files, std::string path = kStorePath,
                   const LogShape& log_shape = kSmallLog, uint64_t look_us = 1);
  ~Subject();

  // Both give DSKVS statuses; the text is in last_error().
  Status open(bool read_only = false, uint64_t sync_interval_ms = 100);
  Status close();
  bool is_open() const;

  // kPut, kDelete, kDeleteAll, kSync, kCompact.
  Status apply(const Operation& operation);
  // The same while the persister is in the middle of a step: kPut does not wait for room.
  Status apply_amid(const Operation& operation);
  Status backup(const std::string& path);
  // One step of the persister; false: there was nothing to do.
  bool step(bool hurry = true);
  // How long the persister would sleep now.
  uint64_t pause_us() const;
  // Lets time pass on the store's clock.
  void pass(uint64_t us);
  Marks marks() const;
  Model contents() const;

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace dskvs::test
