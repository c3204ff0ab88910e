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
// dirty in (kDirty set), or the ordinal of the segment that holds it, or kNowhere. It is written by
// the writer who publishes the entry and later by the persister; who reads it must verify what it
// finds there (see Epochs).
class Entry {
 public:
  static constexpr uint64_t kValueSizeMax = (uint64_t{1} << 48) - 1;
  static constexpr uint32_t kDirty = uint32_t{1} << 31;
  static constexpr uint32_t kNowhere = 0;

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

  void pin() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void unpin(uint32_t references = 1) noexcept {
    if (references_.fetch_sub(references, std::memory_order_acq_rel) == references) {
      arena_free(this);
    }
  }
  // Before the entry is published: nobody else counts yet.
  void set_references(uint32_t references) noexcept {
    references_.store(references, std::memory_order_relaxed);
  }

  uint32_t home() const noexcept { return home_.load(std::memory_order_relaxed); }
  void set_home(uint32_t home) noexcept { home_.store(home, std::memory_order_relaxed); }

 private:
  Entry(size_t member_size, uint64_t value_size) noexcept
      : sizes_(uint64_t{member_size} << 48 | value_size) {}

  const uint64_t sizes_;  // member_size in the upper 16 bits, value_size below
  std::atomic<uint32_t> references_{1};
  std::atomic<uint32_t> home_{kNowhere};
};
static_assert(sizeof(Entry) == 16);

}  // namespace dskvs
