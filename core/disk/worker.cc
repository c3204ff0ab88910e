#include "disk/worker.h"

#include "signals_blocked.h"

namespace dskvs {

Worker::~Worker() {
  if (!thread_.joinable()) return;
  (void)wait();
  state_.store(State::kStop, std::memory_order_release);
  state_.notify_all();
  thread_.join();
}

void Worker::start(Job job) noexcept {
  job_ = std::move(job);
  looked_ = false;
  if (!one_thread_ && !thread_.joinable()) {
    thread_ = start_thread("dskvs-disk", [this] { run(); });
  }
  if (!thread_.joinable()) {
    result_ = KeptFailure(job_());
    return;
  }
  state_.store(State::kWanted, std::memory_order_release);
  state_.notify_all();
}

Status Worker::wait() noexcept {
  state_.wait(State::kWanted, std::memory_order_acquire);
  return result_.again();
}

void Worker::run() noexcept {
  while (true) {
    state_.wait(State::kEnded, std::memory_order_acquire);
    if (state_.load(std::memory_order_acquire) == State::kStop) return;
    result_ = KeptFailure(job_());
    state_.store(State::kEnded, std::memory_order_release);
    state_.notify_all();
    ended_();
  }
}

}  // namespace dskvs
