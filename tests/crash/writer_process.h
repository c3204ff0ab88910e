// A process that writes into a real store through the C ABI until it is killed or the power goes,
// and what it acknowledged before, in memory shared with the test that kills it.
//
// Each writing thread has its own collections and a sequence of operations that follows from the
// seed. A store holds one state that existed when, for each thread, it holds what some prefix of
// its sequence leaves, and when no operation survived that began after a lost one had returned.
#pragma once

#include <dskvs/dskvs.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <string>

namespace dskvs::test {

// Key to hash of the value.
using Contents = std::map<std::string, uint64_t>;

// Everything in the store, read through collections and get_all. Fails the test on any error.
Contents read_contents(dskvs_t store);

struct WriterPlan {
  uint64_t seed;
  uint64_t generation;
  std::string path;
};

struct ThreadLog {
  static constexpr uint64_t kOperationsMax = 20'000;

  std::atomic<uint64_t> begun;
  std::atomic<uint64_t> returned;
  std::atomic<uint64_t> written;  // so many operations were reported written,
  std::atomic<uint64_t> durable;  // so many durable
  // Readings of WriterLog::clock when an operation began and when it had returned; 0: not yet.
  std::atomic<uint64_t> begun_at[kOperationsMax];
  std::atomic<uint64_t> returned_at[kOperationsMax];
};

struct WriterLog {
  static constexpr uint64_t kThreads = 3;

  std::atomic<uint64_t> clock;
  std::atomic<uint64_t> opened;
  std::atomic<uint64_t> closed;  // normally, with DSKVS_OK
  std::atomic<uint64_t> failures;
  std::atomic<uint64_t> written_epoch;
  std::atomic<uint64_t> durable_epoch;
  ThreadLog threads[kThreads];

  void clear();
};

// A WriterLog in memory that forked children share.
class SharedWriterLog {
 public:
  SharedWriterLog();
  SharedWriterLog(const SharedWriterLog&) = delete;
  SharedWriterLog& operator=(const SharedWriterLog&) = delete;
  ~SharedWriterLog();
  WriterLog& operator*() const { return *log_; }
  WriterLog* operator->() const { return log_; }

 private:
  WriterLog* log_;
};

// Forks a child that opens the store, writes until it is killed or all operations are done, then
// closes and exits with 0; with 1 when a call fails that must not. `tolerant`: failures are what a
// disk without power gives, and only end it. Returns the child's pid.
int spawn_writer(const WriterPlan& plan, WriterLog& log, bool tolerant);

// Why `recovered` is no state that may come back after `log`, beginning with `base`; "" when it
// may.
std::string judge(const WriterPlan& plan, const WriterLog& log, bool power_lost,
                  const Contents& base, const Contents& recovered, uint64_t recovered_epoch);

}  // namespace dskvs::test
