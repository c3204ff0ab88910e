// Keeps the host's signals from the library's own threads: a thread starts with the mask of the one
// that started it, so that one blocks all signals meanwhile.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <thread>
#include <utility>

namespace dskvs {

class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

// Starts a thread of the library's own. Not joinable: the system has none, or no memory for one.
template <typename Body>
std::thread start_thread(const char* name, Body&& body) noexcept try {
  const SignalsBlocked blocked;
  return std::thread([name, run = std::forward<Body>(body)] {
    ::pthread_setname_np(::pthread_self(), name);
    run();
  });
} catch (...) {
  return {};
}

}  // namespace dskvs
