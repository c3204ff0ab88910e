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
  if (one_thread_ || !start_thread()) return work();
  state_.store(State::kWanted, std::memory_order_release);
  state_.notify_all();
}

Status Worker::wait() noexcept {
  state_.wait(State::kWanted, std::memory_order_acquire);
  return result_.again();
}

bool Worker::start_thread() noexcept try {
  if (thread_.joinable()) return true;
  const SignalsBlocked blocked;
  thread_ = std::thread([this] { run(); });
  return true;
} catch (...) {  // no thread, or no memory for one
  return false;
}

void Worker::run() noexcept {
  ::pthread_setname_np(::pthread_self(), "dskvs-disk");
  for (State state; (state = state_.load(std::memory_order_acquire)) != State::kStop;) {
    if (state == State::kEnded) {
      state_.wait(state, std::memory_order_acquire);
      continue;
    }
    work();
    state_.store(State::kEnded, std::memory_order_release);
    state_.notify_all();
    ended_();
  }
}

void Worker::work() noexcept {
  try {
    result_ = KeptFailure(job_());
  } catch (...) {
    result_ = KeptFailure(fail(Status::kMemory, "no memory for a call to the disk"));
  }
}

}  // namespace dskvs
