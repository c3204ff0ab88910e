// Decides whether a recorded history of a small collection is linearizable: whether each call can
// be given one instant between its begin and its end so that all answers are those of one thread.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace dskvs::test {

inline constexpr uint32_t kKeys = 4;
using Contents = std::array<uint32_t, kKeys>;  // value by key; 0: absent

enum class CallKind : uint8_t { kPut, kPutIfAbsent, kGet, kDelete, kGetAll, kDeleteAll };

struct Call {
  CallKind kind;
  uint8_t key = 0;
  bool succeeded = false;  // kPutIfAbsent, kDelete
  uint32_t value = 0;      // put, or got; removed by kDeleteAll
  Contents all{};          // got by kGetAll
  uint64_t begin_ns = 0;
  uint64_t end_ns = 0;
};

// One sequence of calls a thread. `contents`: before and, when it is linearizable, one that is
// possible after.
bool is_linearizable(const std::vector<std::vector<Call>>& threads, Contents* contents);

}  // namespace dskvs::test
