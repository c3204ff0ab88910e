// Makes one slow call to the disk at a time on a thread of its own, so that the log can be written
// to while the device syncs a file, or the system takes a long one apart.
//
// One caller: start(), then wait(), which returns the result. What the job touches is the thread's
// from the one to the other, and so is the result; each side stores state_ with release and loads
// it with acquire, which orders the rest.
//
// The thread is started by the first start(). Where none can be had, and when a test wants all in
// one thread, start() itself does the job. So that such a test meets what may happen meanwhile,
// has_ended() then says so at the second look.
#pragma once

#include "status.h"

#include <atomic>
#include <functional>
#include <thread>
#include <utility>

namespace dskvs {

class Worker {
 public:
  using Job = std::function<Status()>;

  // `ended` is called, on the other thread, after each job, when has_ended() is true.
  Worker(bool one_thread, std::function<void()> ended)
      : one_thread_(one_thread), ended_(std::move(ended)) {}
  ~Worker();

  // REQUIRES: the last job was waited for; this one does not throw.
  void start(Job job) noexcept;
  // Whether wait() would return at once.
  [[nodiscard]] bool has_ended() noexcept {
    if (one_thread_) return std::exchange(looked_, true);
    return state_.load(std::memory_order_acquire) == State::kEnded;
  }
  // What the job that was started returned; fail() has the text.
  Status wait() noexcept;

 private:
  enum class State : uint32_t { kEnded, kWanted, kStop };

  void run() noexcept;

  const bool one_thread_;
  const std::function<void()> ended_;
  std::atomic<State> state_{State::kEnded};
  bool looked_ = false;
  Job job_;
  KeptFailure result_;
  std::thread thread_;
};

}  // namespace dskvs
