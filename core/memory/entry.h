// One immutable version of a key and its value.
#pragma once

#include "memory/arena.h"

#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>

namespace dskvs {

// One allocation: this header, the value, the member. A value handed out is a pointer to the byte
// behind the header, so the entry is found from it again.
//
// Bytes and sizes never change once the entry is published. References: one by the table while the
// entry is the current one (given back when no reader can see it any more), one by each dirty
// record that names it, one by each pin. Whoever gives back the last frees it.
//
// home_ says where the entry stands on its way to the disk: the record of the epoch that it is
// dirty in (kDirty set), or the ordinal of the segment that holds it, or kNowhere. Who reads it
// must verify what it finds there (see Epochs). While a call puts or removes the entry, and for
// good when it is removed, home_ says how far that is instead (kPutting and above). It is written
// by that call, by those that help it, and later by the persister.
class Entry {
 public:
  static constexpr uint64_t kValueSizeMax = (uint64_t{1} << 48) - 1;
  static constexpr uint32_t kDirty = uint32_t{1} << 31;
  static constexpr uint32_t kNowhere = 0;
  // In no epoch yet; joined() is what they become.
  static constexpr uint32_t kPutting = 0xFFF0'0000;
  static constexpr uint32_t kRemoving = kPutting + 4;
  static constexpr uint32_t joined(uint32_t state, uint64_t epoch) noexcept {
    return state + 2 + static_cast<uint32_t>(epoch % 2);
  }

  // The value's bytes are left for the caller to fill. nullptr: no memory. One reference.
  [[nodiscard]] static Entry* make(std::string_view member, uint64_t value_size) noexcept {
    if (value_size > kValueSizeMax) return nullptr;
    void* memory = arena_allocate(sizeof(Entry) + value_size + member.size());
    if (memory == nullptr) return nullptr;
    auto* entry = new (memory) Entry(member.size(), value_size);
    std::memcpy(entry->value() + value_size, member.data(), member.size());
    return entry;
  }

  static Entry* of_value(const void* value) noexcept {
    return const_cast<Entry*>(reinterpret_cast<const Entry*>(value) - 1);
  }

  char* value() noexcept { return reinterpret_cast<char*>(this + 1); }
  const char* value() const noexcept { return reinterpret_cast<const char*>(this + 1); }
  uint64_t value_size() const noexcept { return sizes_ & kValueSizeMax; }
  size_t member_size() const noexcept { return sizes_ >> 48; }
  std::string_view key() const noexcept { return {value() + value_size(), member_size()}; }
  size_t bytes() const noexcept { return sizeof(Entry) + value_size() + member_size(); }

  void pin() noexcept {
    if (references_.fetch_add(1, std::memory_order_relaxed) >= kCountless) [[unlikely]]
      keep();
  }
  void unpin(uint32_t references = 1) noexcept {
    const uint32_t before = references_.fetch_sub(references, std::memory_order_acq_rel);
    if (before == references) {
      arena_free(this);
    } else if (before >= kCountless) [[unlikely]] {
      keep();
    }
  }
  // Before the entry is published: nobody else counts yet.
  void set_references(uint32_t references) noexcept {
    references_.store(references, std::memory_order_relaxed);
  }

  // seq_cst: a change joins an epoch through it, see Epochs.
  uint32_t home() const noexcept { return home_.load(std::memory_order_seq_cst); }
  void set_home(uint32_t home) noexcept { home_.store(home, std::memory_order_relaxed); }
  void begin_removal() noexcept { home_.store(kRemoving, std::memory_order_seq_cst); }
  // False: it is not `expected` any more.
  bool change_home(uint32_t expected, uint32_t home) noexcept {
    return home_.compare_exchange_strong(expected, home, std::memory_order_seq_cst);
  }

 private:
  // Who never gives back what it gets comes to so many references. The entry stays for ever then,
  // rather than be freed when the count has gone round.
  static constexpr uint32_t kCountless = uint32_t{1} << 31;
  void keep() noexcept {
    references_.store(kCountless + kCountless / 2, std::memory_order_relaxed);
  }

  Entry(size_t member_size, uint64_t value_size) noexcept
      : sizes_(uint64_t{member_size} << 48 | value_size) {}

  const uint64_t sizes_;  // member_size in the upper 16 bits, value_size below
  std::atomic<uint32_t> references_{1};
  std::atomic<uint32_t> home_{kNowhere};
};
static_assert(sizeof(Entry) == 16);

}  // namespace dskvs
