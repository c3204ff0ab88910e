#include "schedule/scheduler.h"

#include <linux/futex.h>

#include <algorithm>
#include <array>
#include <deque>
#include <random>
#include <utility>

#include "schedule/scheduler_impl.h"

namespace dskvs::test {

constinit thread_local Scheduled* scheduled __attribute__((tls_model("initial-exec"))) = nullptr;

namespace {

constexpr uint64_t kStepsMax = 2'000'000;
constexpr uint64_t kChunkMax = 4096;
constexpr uint64_t kLateUs = 3'600'000'000;
constexpr uint64_t kSwitchSteps = 64;  // what a decision counts, so that no loop of them is endless

class Scheduler {
 public:
  using State = Scheduled::State;

  Scheduler(uint64_t seed, void (*violated)(const char*)) : violated_(violated), random_(seed) {
    walks_ = random_() % 3 == 0;
    step_ = uint64_t{1} << (1 + random_() % 7);  // of a walk
    fall_ = uint64_t{1} << (4 + random_() % 7);  // falls lie below it
    falls_of_4_ = 1 + random_() % 4;
    time_budget_ = random_() % 3 == 0 ? 0 : uint64_t{1} << random_() % 6;
    time_priority_ = priority();
    spurious_ = random_() % 16 == 0;
  }

  Scheduled& add() {
    if (threads_.size() == kThreadsMax) violated_("too many threads for the scheduler");
    Scheduled& thread = threads_.emplace_back();
    thread.number = static_cast<uint32_t>(threads_.size());
    thread.priority = priority();
    thread.until_fall = next_fall();
    begin_chunk(thread);
    return thread;
  }

  // The thread has taken its steps.
  void decide(Scheduled& self) {
    count(self.chunk);
    if (!walks_) {
      self.until_fall -= std::min(self.until_fall, self.chunk);
      if (self.until_fall == 0) {
        self.priority = --lowest_;
        self.until_fall = next_fall();
      }
    }
    begin_chunk(self);
    pass_baton(self);
  }

  bool wait(Scheduled& self, const void* address, uint64_t deadline_us) {
    self.state = State::kWaiting;
    self.waits_for = address;
    // Nobody is helped by what comes so late.
    self.deadline_us = deadline_us < now_us_ + kLateUs ? deadline_us : UINT64_MAX;
    pass_baton(self);
    return self.woken;
  }

  // Whether anybody waited there.
  bool make_ready_at(const void* address, uint64_t most) {
    bool any = false;
    for (; most != 0; --most) {
      std::array<Scheduled*, kThreadsMax> waiting;
      size_t count = 0;
      for (Scheduled& thread : threads_) {
        if (thread.state == State::kWaiting && thread.waits_for == address) {
          waiting[count++] = &thread;
        }
      }
      if (count == 0) break;
      make_ready(*waiting[random_() % count], true);
      any = true;
    }
    return any;
  }

  void wake(Scheduled& self, const void* address, uint64_t most) {
    if (make_ready_at(address, most) && !walks_) pass_baton(self);
  }

  void yield(Scheduled& self) {
    self.priority = --lowest_;
    if (walks_) yields_ = &self;
    pass_baton(self);
  }

  void end(Scheduled& self) {
    self.state = State::kEnded;
    make_ready_at(&self, UINT64_MAX);
    give_baton(*next());
  }

  void wait_for_baton(Scheduled& self) {
    while (self.baton.load(std::memory_order_acquire) == 0) real_futex(self.baton, FUTEX_WAIT, 0);
    self.baton.store(0, std::memory_order_relaxed);
  }

  Scheduled* find(pthread_t id) {
    for (Scheduled& thread : threads_) {
      if (thread.state != State::kEnded && pthread_equal(thread.thread, id) != 0) return &thread;
    }
    return nullptr;
  }

  bool all_ended(const Scheduled& but) const {
    return std::all_of(threads_.begin(), threads_.end(), [&](const Scheduled& thread) {
      return &thread == &but || thread.state == State::kEnded;
    });
  }

  void violate(const char* what) { violated_(what); }
  uint64_t idle_us() const { return idle_us_; }
  uint64_t look() { return ++now_us_; }
  const Trace& trace() const { return trace_; }

 private:
  static constexpr size_t kThreadsMax = 64;

  int64_t priority() { return static_cast<int64_t>(random_() >> 2); }

  uint64_t next_fall() { return random_() % 4 < falls_of_4_ ? 1 + random_() % fall_ : UINT64_MAX; }

  void begin_chunk(Scheduled& self) {
    const uint64_t until = walks_ ? 1 + random_() % (2 * step_) : self.until_fall;
    self.chunk = self.left = std::min(until, kChunkMax);
  }

  void count(uint64_t steps) {
    trace_.steps += steps;
    if (trace_.steps > kStepsMax) violated_("livelock: the threads do not come to an end");
  }

  void make_ready(Scheduled& thread, bool woken) {
    thread.state = State::kReady;
    thread.waits_for = nullptr;
    thread.deadline_us = UINT64_MAX;
    thread.woken = woken;
  }

  void pass_baton(Scheduled& self) {
    count(kSwitchSteps);
    Scheduled* const chosen = next();
    if (chosen == &self) return;
    give_baton(*chosen);
    wait_for_baton(self);
  }

  void give_baton(Scheduled& thread) {
    trace_.switches++;
    trace_.hash = (trace_.hash ^ thread.number ^ (thread.left << 8)) * 0x9e3779b97f4a7c15u;
    trace_.hash ^= trace_.hash >> 29;
    thread.baton.store(1, std::memory_order_release);
    real_futex(thread.baton, FUTEX_WAKE, 1);
  }

  Scheduled* next() {
    for (;;) {
      if (spurious_ && random_() % 256 == 0) wake_spuriously();
      std::array<Scheduled*, kThreadsMax> ready;
      size_t count = 0;
      uint64_t earliest_us = UINT64_MAX;
      Scheduled* highest = nullptr;
      for (Scheduled& thread : threads_) {
        if (thread.state == State::kWaiting) {
          earliest_us = std::min(earliest_us, thread.deadline_us);
        } else if (thread.state == State::kReady) {
          ready[count++] = &thread;
          if (highest == nullptr || thread.priority > highest->priority) highest = &thread;
        }
      }
      if (count == 0 && earliest_us == UINT64_MAX) {
        violated_("nobody can go on: a lost wake-up, or a deadlock");
      }
      if (earliest_us != UINT64_MAX && (count == 0 || time_goes_first(*highest))) {
        if (count == 0) idle_us_ += earliest_us - std::min(earliest_us, now_us_);
        pass_time(earliest_us);
        this->count(kSwitchSteps);
        continue;
      }
      if (!walks_) return highest;
      const Scheduled* const yields = std::exchange(yields_, nullptr);
      Scheduled* chosen = ready[random_() % count];
      while (chosen == yields && count > 1) chosen = ready[random_() % count];
      return chosen;
    }
  }

  bool time_goes_first(const Scheduled& highest) {
    if (time_budget_ == 0) return false;
    if (walks_ ? random_() % 16 != 0 : highest.priority > time_priority_) return false;
    time_budget_--;
    if (random_() % 4 == 0) time_priority_ = priority();
    return true;
  }

  void pass_time(uint64_t until_us) {
    now_us_ = std::max(now_us_, until_us);
    for (Scheduled& thread : threads_) {
      if (thread.state == State::kWaiting && thread.deadline_us <= now_us_) {
        make_ready(thread, false);
      }
    }
  }

  // Of those that wait at an address; whoever sleeps, sleeps.
  void wake_spuriously() {
    for (Scheduled& thread : threads_) {
      if (thread.state == State::kWaiting && thread.waits_for != nullptr && random_() % 4 == 0) {
        return make_ready(thread, true);
      }
    }
  }

  void (*const violated_)(const char*);
  std::mt19937_64 random_;
  bool walks_;
  bool spurious_;
  uint64_t step_;
  uint64_t fall_;
  uint64_t falls_of_4_;
  uint64_t time_budget_;
  int64_t time_priority_;
  int64_t lowest_ = 0;
  const Scheduled* yields_ = nullptr;
  std::deque<Scheduled> threads_;
  uint64_t now_us_ = 1'000'000;
  uint64_t idle_us_ = 0;
  Trace trace_;
};

Scheduler* the_scheduler = nullptr;
uint64_t last_instant = 0;

}  // namespace

Trace run_schedule(uint64_t seed, void (*violated)(const char* what),
                   const std::function<void()>& body) {
  Scheduler scheduler(seed, violated);
  the_scheduler = &scheduler;
  last_instant = 0;
  Scheduled& self = scheduler.add();
  self.thread = pthread_self();
  scheduled = &self;
  body();
  if (!scheduler.all_ended(self)) scheduler.violate("a thread was left behind");
  scheduled = nullptr;
  the_scheduler = nullptr;
  return scheduler.trace();
}

uint64_t simulated_us() { return the_scheduler->look(); }
uint64_t idle_time_us() { return the_scheduler == nullptr ? 0 : the_scheduler->idle_us(); }
void schedule_violated(const char* what) { the_scheduler->violate(what); }
uint64_t next_instant() { return ++last_instant; }
void schedule_point() { point(); }

void decide(Scheduled& self) noexcept { the_scheduler->decide(self); }
bool wait_for(const void* address, uint64_t deadline_us) noexcept {
  return the_scheduler->wait(*scheduled, address, deadline_us);
}
void make_ready(const void* address) noexcept { the_scheduler->make_ready_at(address, UINT64_MAX); }
void wake(const void* address, uint64_t most) noexcept {
  the_scheduler->wake(*scheduled, address, most);
}
void yield() noexcept { the_scheduler->yield(*scheduled); }

Scheduled& add_thread() noexcept { return the_scheduler->add(); }
void begin_thread(Scheduled& self) noexcept {
  the_scheduler->wait_for_baton(self);
  scheduled = &self;
}
void end_thread(Scheduled& self) noexcept {
  scheduled = nullptr;
  the_scheduler->end(self);
}
Scheduled* find_thread(pthread_t thread) noexcept { return the_scheduler->find(thread); }

}  // namespace dskvs::test
