#include "model/linearizability.h"

#include <algorithm>
#include <set>

namespace dskvs::test {
namespace {

// Applies the call; false: it could not have answered so.
bool apply(const Call& call, Contents* contents) {
  uint32_t& at = (*contents)[call.key];
  switch (call.kind) {
    case CallKind::kPut:
      at = call.value;
      return true;
    case CallKind::kPutIfAbsent:
      if (call.succeeded != (at == 0)) return false;
      if (call.succeeded) at = call.value;
      return true;
    case CallKind::kGet:
      return at == call.value;
    case CallKind::kDelete:
      if (call.succeeded != (at != 0)) return false;
      at = 0;
      return true;
    case CallKind::kGetAll:
      return *contents == call.all;
    case CallKind::kDeleteAll: {
      auto there = kKeys - std::count(contents->begin(), contents->end(), 0u);
      if (call.value != static_cast<uint32_t>(there)) return false;
      *contents = {};
      return true;
    }
  }
  return false;
}

// How many calls of each thread have had their instant, and what the collection holds then.
struct State {
  std::vector<uint32_t> done;
  Contents contents;
  auto operator<=>(const State&) const = default;
};

}  // namespace

// States are visited in the order of the number of calls that are done, and each once: threads are
// few and each calls in sequence, so only few orders differ, and the width stays small.
bool is_linearizable(const std::vector<std::vector<Call>>& threads, Contents* contents) {
  size_t calls = 0;
  for (const auto& thread : threads) calls += thread.size();
  std::set<State> states{{std::vector<uint32_t>(threads.size()), *contents}};
  for (size_t step = 0; step < calls; step++) {
    std::set<State> next;
    for (const State& state : states) {
      // Who must have its instant next: nobody may come after a call that has ended.
      uint64_t first_end_ns = UINT64_MAX;
      for (size_t t = 0; t < threads.size(); t++) {
        if (state.done[t] == threads[t].size()) continue;
        first_end_ns = std::min(first_end_ns, threads[t][state.done[t]].end_ns);
      }
      for (size_t t = 0; t < threads.size(); t++) {
        if (state.done[t] == threads[t].size()) continue;
        const Call& call = threads[t][state.done[t]];
        if (call.begin_ns > first_end_ns) continue;
        State after = state;
        if (!apply(call, &after.contents)) continue;
        after.done[t]++;
        next.insert(std::move(after));
      }
    }
    if (next.empty()) return false;
    states = std::move(next);
  }
  *contents = states.begin()->contents;
  return true;
}

}  // namespace dskvs::test
