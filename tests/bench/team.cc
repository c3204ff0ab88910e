#include "team.h"

#include <algorithm>

namespace bench {

Team::Team(Store& store, size_t threads)
    : members_(threads), start_(ptrdiff_t(threads) + 1), finish_(ptrdiff_t(threads) + 1) {
  for (Member& member : members_) member.session = store.session();
  for (size_t i = 0; i < threads; ++i) members_[i].thread = std::thread([this, i] { work(i); });
}

Team::~Team() {
  job_ = nullptr;
  start_.arrive_and_wait();
  for (Member& member : members_) member.thread.join();
}

double Team::run(const Job& job) {
  job_ = &job;
  start_.arrive_and_wait();
  finish_.arrive_and_wait();
  uint64_t begin_ns = UINT64_MAX, end_ns = 0;
  for (const Member& member : members_) {
    begin_ns = std::min(begin_ns, member.begin_ns);
    end_ns = std::max(end_ns, member.end_ns);
  }
  return double(end_ns - begin_ns) / 1e9;
}

void Team::work(size_t index) {
  Member& member = members_[index];
  for (;;) {
    start_.arrive_and_wait();
    if (job_ == nullptr) return;
    member.begin_ns = now_ns();
    (*job_)(index, *member.session);
    member.end_ns = now_ns();
    finish_.arrive_and_wait();
  }
}

}  // namespace bench
