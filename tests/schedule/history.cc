#include "schedule/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace dskvs::test::schedule {
namespace {

constexpr const char* kNames[kCallKinds] = {"put",        "put_if_absent", "get",     "delete",
                                            "get_all",    "delete_all",    "written", "durable",
                                            "is_written", "sync",          "compact"};

bool is_promise(CallKind kind) { return kind >= CallKind::kWritten; }

// Whether it says that what returned before it is on the disk; for a power cut, for good.
bool promises(const Call& call, bool power_cut) {
  if (call.status != Status::kOk) return false;
  switch (call.kind) {
    case CallKind::kDurable:
    case CallKind::kSync:
      return true;
    case CallKind::kWritten:
    case CallKind::kPoll:
      return !power_cut;
    default:
      return false;
  }
}

// Applies the call; false: it could not have answered so.
bool apply(const Call& call, Contents* contents) {
  Members& members = (*contents)[call.collection];
  uint32_t& at = members[call.member];
  const bool ok = call.status == Status::kOk;
  switch (call.kind) {
    case CallKind::kPut:
      at = call.value;
      return ok;
    case CallKind::kPutIfAbsent:
      if (ok != (at == 0)) return false;
      if (ok) at = call.value;
      return ok || call.status == Status::kConflict;
    case CallKind::kGet:
      return ok ? at == call.value : at == 0 && call.status == Status::kNotFound;
    case CallKind::kDelete:
      if (ok != (at != 0)) return false;
      at = 0;
      return ok || call.status == Status::kNotFound;
    case CallKind::kGetAll:
      return ok && members == call.all;
    case CallKind::kDeleteAll: {
      const auto there = kMembers - std::count(members.begin(), members.end(), 0u);
      members = {};
      return ok && there == call.value;
    }
    default:
      return true;
  }
}

}  // namespace

Orders::Orders(const Calls& calls, const Contents& before, bool closes_early)
    : closes_early_(closes_early) {
  for (const auto& client : calls) {
    calls_.emplace_back();
    promises_.emplace_back();
    for (const Call& call : client) {
      if (call.begin != 0) (is_promise(call.kind) ? promises_ : calls_).back().push_back(call);
    }
  }
  std::vector<State> open{{std::vector<uint32_t>(calls_.size()), before}};
  states_.try_emplace(open[0]);
  while (!open.empty()) {
    const State state = std::move(open.back());
    open.pop_back();
    // Nobody may come after a call that has ended.
    uint64_t first_end = UINT64_MAX;
    for (size_t c = 0; c < calls_.size(); ++c) {
      if (state.done[c] < calls_[c].size()) {
        first_end = std::min(first_end, calls_[c][state.done[c]].end);
      }
    }
    for (size_t c = 0; c < calls_.size(); ++c) {
      if (state.done[c] == calls_[c].size()) continue;
      const Call& call = calls_[c][state.done[c]];
      State after = state;
      if (call.begin > first_end || !apply(call, &after.contents)) continue;
      after.done[c]++;
      const auto [reached, is_new] = states_.try_emplace(after);
      reached->second.push_back(state);
      if (is_new) open.push_back(std::move(after));
    }
  }
  forget_dead_ends();
}

// From which the rest of the calls could not have had their answers.
void Orders::forget_dead_ends() {
  std::set<State> lead_on;
  std::vector<State> open;
  for (const auto& [state, from] : states_) {
    if (is_all(state)) open.push_back(state);
  }
  while (!open.empty()) {
    const State state = std::move(open.back());
    open.pop_back();
    if (!lead_on.insert(state).second) continue;
    for (const State& from : states_.at(state)) open.push_back(from);
  }
  std::erase_if(states_, [&](const auto& entry) { return !lead_on.contains(entry.first); });
}

// No disk fails here. Who waits while the store is closed may be told so.
bool Orders::can_answer(const Call& promise) const {
  return promise.status == Status::kOk ||
         (promise.status == Status::kTimeout && promise.kind == CallKind::kPoll) ||
         (promise.status == Status::kClosed && closes_early_);
}

bool Orders::is_all(const State& state) const {
  for (size_t c = 0; c < calls_.size(); ++c) {
    if (state.done[c] != calls_[c].size()) return false;
  }
  return true;
}

bool Orders::answers_can_be() const {
  for (const auto& client : promises_) {
    for (const Call& call : client) {
      if (!can_answer(call)) return false;
    }
  }
  return !states_.empty();  // as it was when nothing had been called leads on, then
}

bool Orders::can_end_with(const Contents& contents) const {
  return std::any_of(states_.begin(), states_.end(), [&](const auto& entry) {
    return is_all(entry.first) && entry.first.contents == contents;
  });
}

uint64_t Orders::promised(const Crash& crash) const {
  uint64_t promised = 0;
  for (const auto& client : promises_) {
    for (const Call& call : client) {
      if (call.end <= crash.at && promises(call, crash.power_cut)) {
        promised = std::max(promised, call.begin);
      }
    }
  }
  return promised;
}

bool Orders::can_leave(const Crash& crash) const {
  const uint64_t promised = this->promised(crash);
  return std::any_of(states_.begin(), states_.end(), [&](const auto& entry) {
    const State& state = entry.first;
    if (state.contents != crash.contents) return false;
    for (size_t c = 0; c < calls_.size(); ++c) {
      const uint32_t done = state.done[c];
      if (done > 0 && calls_[c][done - 1].begin > crash.at) return false;
      if (done < calls_[c].size() && calls_[c][done].end < promised) return false;
    }
    return true;
  });
}

// ---- To be read.

std::string describe(const Calls& calls) {
  std::string text;
  for (size_t c = 0; c < calls.size(); ++c) {
    for (const Call& call : calls[c]) {
      if (call.begin == 0) continue;
      text += fmt::format("  client {}: {:>4} to {:>4}  {}", c, call.begin, call.end,
                          kNames[static_cast<size_t>(call.kind)]);
      if (call.kind <= CallKind::kDelete) {
        text += fmt::format("({}/{})", call.collection, call.member);
      } else if (!is_promise(call.kind)) {
        text += fmt::format("({})", call.collection);
      }
      if (call.kind == CallKind::kGetAll) {
        text += fmt::format(" {}", fmt::join(call.all, " "));
      } else if (call.kind != CallKind::kDelete && !is_promise(call.kind)) {
        text += fmt::format(" {}", call.value);
      }
      text += fmt::format(": {}\n", static_cast<int>(call.status));
    }
  }
  return text;
}

std::string describe(const Contents& contents) {
  std::string text;
  for (const Members& members : contents) text += fmt::format("[{}] ", fmt::join(members, " "));
  return text;
}

}  // namespace dskvs::test::schedule
