// Threads that work on one store at once, and the time that they take.
#pragma once

#include <barrier>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "machine.h"
#include "store.h"

namespace bench {

// Threads that wait between jobs, each with a session of its own.
class Team {
 public:
  using Job = std::function<void(size_t thread, Session& session)>;

  Team(Store& store, size_t threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  size_t size() const { return members_.size(); }

  // Runs the job on every thread at once. Returns the seconds from the moment that the first one
  // began to the moment that the last one ended: waking the others is not the store's time.
  double run(const Job& job);

 private:
  struct alignas(64) Member {
    std::unique_ptr<Session> session;
    uint64_t begin_ns = 0;
    uint64_t end_ns = 0;
    std::thread thread;
  };

  void work(size_t index);

  std::vector<Member> members_;
  std::barrier<> start_;
  std::barrier<> finish_;
  const Job* job_ = nullptr;  // nullptr: go home
};

// How often threads look at the clock when only the rate is wanted.
inline constexpr size_t kBatch = 64;

// Calls op(i) for i = 0, 1, … below `size` and again from 0, until `seconds` have passed; returns
// the number of calls.
template <typename Op>
uint64_t repeat_for(double seconds, size_t size, Op op) {
  uint64_t end_ns = now_ns() + uint64_t(seconds * 1e9);
  uint64_t calls = 0;
  size_t i = 0;
  do {
    for (size_t n = 0; n < kBatch; ++n) {
      op(i);
      if (++i == size) i = 0;
    }
    calls += kBatch;
  } while (now_ns() < end_ns);
  return calls;
}

// Thread `thread`'s part of [0, count): from first to before limit.
struct Slice {
  Slice(uint64_t count, size_t threads, size_t thread)
      : first(count * thread / threads), limit(count * (thread + 1) / threads) {}
  uint64_t size() const { return limit - first; }
  uint64_t first;
  uint64_t limit;
};

}  // namespace bench
