// What the clients of one run called and were answered, and whether that can be.
//
// The rule for answers: each call has one instant between its begin and its end, and the answers
// are those of one thread. The rule for crashes: what comes back is what a set of calls leaves that
// have such instants, with every call that returned before one of the set began, with none that
// began after the crash, and with all that was reported before it; and all other calls can have had
// their answers after these.
//
// Runs are short, so all orders are looked at: see Orders.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "status.h"

namespace dskvs::test::schedule {

inline constexpr uint32_t kCollections = 3;
inline constexpr uint32_t kMembers = 4;
using Members = std::array<uint32_t, kMembers>;  // value by member; 0: absent
using Contents = std::array<Members, kCollections>;

enum class CallKind : uint8_t {
  kPut,
  kPutIfAbsent,
  kGet,
  kDelete,
  kGetAll,
  kDeleteAll,
  kWritten,  // mark, and wait for it
  kDurable,
  kPoll,  // mark, and look whether it is written
  kSync,
  kCompact,
};
inline constexpr uint32_t kCallKinds = 11;

struct Call {
  CallKind kind;
  uint8_t collection = 0;
  uint8_t member = 0;
  uint32_t value = 0;  // put, or got; removed by kDeleteAll
  Status status = Status::kOk;
  Members all{};       // got by kGetAll
  uint64_t begin = 0;  // instants; 0: it was not made
  uint64_t end = 0;
};
using Calls = std::vector<std::vector<Call>>;  // in order, by client

std::string describe(const Calls& calls);
std::string describe(const Contents& contents);

// What a crash left.
struct Crash {
  uint64_t at = 0;
  bool power_cut = false;  // else a kill
  Contents contents{};
};

// All orders that the answers allow.
class Orders {
 public:
  Orders(const Calls& calls, const Contents& before, bool closes_early);

  [[nodiscard]] bool answers_can_be() const;
  [[nodiscard]] bool can_end_with(const Contents& contents) const;
  [[nodiscard]] bool can_leave(const Crash& crash) const;
  // The instant up to which what had returned was reported before the crash; 0: nothing was.
  [[nodiscard]] uint64_t promised(const Crash& crash) const;

 private:
  // How many calls of each client have had their instant, and what is there then.
  struct State {
    std::vector<uint32_t> done;
    Contents contents{};
    auto operator<=>(const State&) const = default;
  };
  [[nodiscard]] bool is_all(const State& state) const;
  [[nodiscard]] bool can_answer(const Call& promise) const;
  void forget_dead_ends();

  Calls calls_;                                 // those that read or change something
  Calls promises_;                              // those that say how far the disk is
  std::map<State, std::vector<State>> states_;  // and from which they come
  const bool closes_early_;
};

}  // namespace dskvs::test::schedule
