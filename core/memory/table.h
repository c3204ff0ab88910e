// The concurrent hash map: names to collections in the catalog, members to entries in a collection.
//
// Extendible hashing. The upper bits of a key's hash choose a Part through a directory of pointers;
// in a part the lower bits choose a slot, and linear probing does the rest. A part begins with 2
// slots, grows to 256, and then splits in two, the directory doubling when need be. So growing
// never moves more than one part's slots at a time, and a small table is one small part without a
// directory.
//
// A slot is one word: the node's address, and 19 bits of its hash where the address has none to say
// (a node is aligned to 8 bytes and lies below 2^48). Those bits are enough to tell nearly all
// other keys apart without looking at their nodes, and to grow and split a part without hashing
// keys again, but for every eighth level of splits. What the words lack there is learnt ahead, a
// few nodes at each insert, so that no single put pays for all. Likewise the word that leads to a
// part or to the directory says in its upper bits how deep and how large it is, so that a reader's
// way is three loads that miss the cache at worst: of the directory, of a slot, of the node.
//
// Readers take no lock. They load the directory, the part, the slots; whatever they see was current
// at some instant since they began:
// - A slot changes by one store, and its key never moves within a part. A reader that misses a key
//   which was erased and put back in a slot that it had passed already: there was an instant
//   between the two.
// - A part that is outgrown is copied, and then replaced in the directory; it is marked dead first,
//   under its lock, and never changes again. A reader in a dead part sees what was current when it
//   died, which is later than when the reader began. The same goes for an outgrown directory.
//
// Stores to slots, and to the links that lead to them, and a reader's loads of these are seq_cst: a
// change must be visible to all before its call returns. With release alone a thread's next read
// may pass its own put, and two threads that each put one key and then read the other's may both
// miss it.
//
// Writers lock the one part that they change. Replacing parts and directories needs grow_lock_,
// which is taken before the lock of a part, never after. Parts and directories are retired to the
// reclaimer, and so is, by the callers, a node that was taken out.
//
// Sealing a table ends it: once seal() returns, no writer is or will be in it, and its content
// stands still.
#pragma once

#include "memory/arena.h"
#include "memory/reclaimer.h"
#include "memory/spin_lock.h"
#include "status.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <new>
#include <string_view>

namespace dskvs {

struct TableTotals {
  uint64_t count = 0;
  uint64_t key_bytes = 0;
  uint64_t value_bytes = 0;
};

// Of a group of tables.
struct TableFigures {
  std::atomic<uint64_t> memory_bytes{0};  // of parts, directories and what their owner adds
  std::atomic<uint64_t> occupied{0};      // tables that hold a node and are not sealed
};

// Node: `std::string_view key() const`, `uint64_t value_size() const`, both constant while it is in
// the table. Hash: `uint64_t operator()(std::string_view key)`.
template <typename Node, typename Hash>
class Table {
 public:
  static constexpr uint32_t kPartNodesMax = 256;

  // Before its end all has to be taken out.
  explicit Table(TableFigures& figures) noexcept : figures_(figures) {}

  TableFigures& figures() noexcept { return figures_; }
  [[nodiscard]] uint64_t count() const noexcept { return count_.load(std::memory_order_seq_cst); }

  // nullptr: not there. In a ReadSection, during which the node stays readable.
  [[nodiscard]] Node* find(uint64_t hash, std::string_view key) const noexcept {
    Link link = link_of(hash);
    Part* part = link.part();
    if (part == nullptr) return nullptr;
    Word tag = tag_of(hash, link.depth());
    uint32_t last_slot = link.last_slot();
    for (uint32_t i = home_of(hash, last_slot);; i = i == last_slot ? 0 : i + 1) {
      Word word = part->slot(i).load(std::memory_order_seq_cst);
      if (((word ^ tag) & kTagMask) == 0 && holds_node(word)) {
        Node* node = node_of(word);
        if (node->key() == key) return node;
      }
      if (word == kEmpty) return nullptr;
    }
  }

  // Fetches into the cache what update() will look at first. In a ReadSection.
  void prefetch(uint64_t hash) const noexcept {
    Link link = link_of(hash);
    if (link.part() == nullptr) return;
    __builtin_prefetch(link.part(), 1);
    __builtin_prefetch(&link.part()->slot(home_of(hash, link.last_slot())), 1);
  }

  // Calls `change(Node* current, replace)` under the lock of the part where `key` belongs;
  // `current` is nullptr when the key is not there. `change` may call `replace(Node* next)`, once
  // and when nothing can fail any more: another node with an equal key takes the place, or, with
  // nullptr, the key is erased. With `may_insert` false, `change` must not insert. In a
  // ReadSection. Returns what `change` does; kMemory; kClosed: the table is sealed, `change` was
  // not called.
  template <typename Change>
  Status update(uint64_t hash, std::string_view key, bool may_insert, Change&& change) noexcept {
    for (;;) {
      Part* part = part_of(hash);
      if (part == nullptr && !may_insert) return change(nullptr, [](Node*) {});
      if (part != nullptr) {
        std::lock_guard guard(part->lock);
        if (part->dead) continue;
        if (sealed_.load(std::memory_order_relaxed)) return Status::kClosed;
        const Place place = locate(*part, hash, key);
        if (place.current != nullptr || !may_insert || !part->full()) {
          return change(place.current, [&](Node* next) { replace(*part, place, hash, next); });
        }
      }
      Status status = grow(hash, part);
      if (status != Status::kOk) return status;
    }
  }

  // Ends the table, and says what it holds; with `only_if_empty`, only when that is nothing. False:
  // it was sealed before, or it is not empty. In a ReadSection.
  bool seal(bool only_if_empty, TableTotals* totals) noexcept {
    std::lock_guard guard(grow_lock_);
    if (sealed_.load(std::memory_order_relaxed)) return false;
    sealed_.store(true, std::memory_order_relaxed);
    // Whoever held a part's lock before us is done after us; whoever takes it next sees the seal.
    *totals = {};
    each_part([&](Part& part) {
      std::lock_guard part_guard(part.lock);
      totals->count += part.count;
      totals->key_bytes += part.key_bytes;
      totals->value_bytes += part.value_bytes;
    });
    if (totals->count == 0) return true;
    if (only_if_empty) {
      sealed_.store(false, std::memory_order_relaxed);
    } else {
      figures_.occupied.fetch_sub(1);
    }
    return !only_if_empty;
  }

  // Copies the nodes of one instant to `nodes`, which has room for `capacity`, while all writers
  // wait. Returns how many there are; when they are more than `capacity`, nothing was copied. In a
  // ReadSection, during which the nodes stay readable.
  uint64_t snapshot(Node** nodes, uint64_t capacity) noexcept {
    std::lock_guard guard(grow_lock_);
    uint64_t count = 0;
    each_part([&](Part& part) {
      part.lock.lock();
      count += part.count;
    });
    bool fits = count <= capacity;
    each_part([&](Part& part) {
      for (uint32_t i = 0; fits && i < part.slots(); i++) {
        if (Word word = part.word(i); holds_node(word)) *nodes++ = node_of(word);
      }
    });
    each_part([&](Part& part) { part.lock.unlock(); });
    return count;
  }

  // Calls `visit(Node*)`, which returns a Status, for each node in the part that `cursor` falls in,
  // under its lock, and moves the cursor behind it; 0 is the beginning and, again, the end. A visit
  // of all parts meets every node that is there all the while, in a sealed table too. In a
  // ReadSection.
  // Returns the first status but kOk of `visit`; the cursor stays.
  template <typename Visit>
  Status visit_part(uint64_t* cursor, Visit&& visit) noexcept {
    while (Part* part = part_of(*cursor)) {
      for (uint32_t i = 0; i < part->slots(); i++) __builtin_prefetch(node_of(part->word(i)));
      std::lock_guard guard(part->lock);
      if (part->dead) continue;
      for (uint32_t i = 0; i < part->slots(); i++) {
        Word word = part->word(i);
        if (!holds_node(word)) continue;
        Status status = visit(node_of(word));
        if (status != Status::kOk) return status;
      }
      *cursor = behind(*cursor, part->depth);
      return Status::kOk;
    }
    *cursor = 0;
    return Status::kOk;
  }
  // Likewise, but copies them to `nodes`, which has room for kPartNodesMax. Returns how many.
  uint32_t copy_part(uint64_t* cursor, Node** nodes) noexcept {
    uint32_t count = 0;
    (void)visit_part(cursor, [&](Node* node) {
      nodes[count++] = node;
      return Status::kOk;
    });
    return count;
  }

  // Calls `take(Node*)` for each node in the part that `cursor` falls in, and moves the cursor as
  // visit_part() does; at the end all parts are freed, not the nodes. Only in a table that nobody
  // else is in any more.
  template <typename Take>
  void take_part(uint64_t* cursor, Take&& take) noexcept {
    Part* part = part_of(*cursor);
    *cursor = part == nullptr ? 0 : behind(*cursor, part->depth);
    for (uint32_t i = 0; part != nullptr && i < part->slots(); i++) {
      if (i + 16 < part->slots()) __builtin_prefetch(node_of(part->word(i + 16)));
      if (Word word = part->word(i); holds_node(word)) take(node_of(word));
    }
    if (*cursor == 0) clear();
  }
  // Likewise, of all parts.
  template <typename Take>
  void take_all(Take&& take) noexcept {
    uint64_t cursor = 0;
    do {
      take_part(&cursor, take);
    } while (cursor != 0);
  }

 private:
  using Word = uint64_t;
  static constexpr Word kAddressMask = 0x0000'FFFF'FFFF'FFF8;
  static constexpr Word kTagMask = ~kAddressMask;
  static constexpr Word kEmpty = 0;   // ends a probe
  static constexpr Word kErased = 8;  // does not; no node has this address
  static constexpr uint32_t kSlotsMin = 2;
  static constexpr uint32_t kSlotsMax = kPartNodesMax;
  static constexpr uint32_t kDepthMax = 32;
  static constexpr uint32_t kLearntAtOnce = 8;  // divides kSlotsMax

  // Behind the slots of a part whose split needs other hash bits than its words have: the levels_of
  // its nodes after that. Known are those of the nodes in the first `known` slots. Only writers
  // look at it, under the part's lock.
  struct Ahead {
    uint16_t known = 0;
    uint8_t levels[kSlotsMax];
  };
  static bool has_ahead(uint32_t slots, uint32_t depth) noexcept {
    return slots == kSlotsMax && (depth & 7) == 7;
  }

  struct Part {
    SpinLock lock;        // guards all but `depth` and `last_slot`, which are constant
    bool dead = false;    // replaced: look again in the directory
    uint8_t depth;        // how many upper hash bits its keys share
    uint8_t last_slot;    // number of slots - 1
    uint16_t count = 0;   // nodes
    uint16_t erased = 0;  // slots that are kErased
    // Only their sums over all parts of a table mean something: a split leaves both to one half,
    // rather than look at each node. A single part's may have passed below 0.
    uint64_t key_bytes = 0;
    uint64_t value_bytes = 0;

    Part(uint32_t slots_count, uint32_t depth_) noexcept
        : depth(static_cast<uint8_t>(depth_)), last_slot(static_cast<uint8_t>(slots_count - 1)) {
      for (uint32_t i = 0; i < slots_count; i++) new (&slot(i)) std::atomic<Word>(kEmpty);
      if (has_ahead(slots_count, depth_)) new (&ahead()) Ahead;
    }
    std::atomic<Word>& slot(uint32_t i) noexcept {
      return reinterpret_cast<std::atomic<Word>*>(this + 1)[i];
    }
    // For writers.
    Word word(uint32_t i) noexcept { return slot(i).load(std::memory_order_relaxed); }
    uint32_t slots() const noexcept { return uint32_t{last_slot} + 1; }
    bool full() const noexcept { return (count + erased + 1u) * 8 > slots() * 7; }
    uint32_t after(uint32_t i) const noexcept { return i == last_slot ? 0 : i + 1; }
    uint32_t before(uint32_t i) const noexcept { return i == 0 ? last_slot : i - 1; }
    Ahead& ahead() noexcept { return *reinterpret_cast<Ahead*>(&slot(slots())); }

    static size_t bytes(uint32_t slots, uint32_t depth) noexcept {
      return sizeof(Part) + slots * sizeof(Word) + (has_ahead(slots, depth) ? sizeof(Ahead) : 0);
    }
    size_t bytes() const noexcept { return bytes(slots(), depth); }
  };
  static_assert(sizeof(Part) == 24);

  // The way to a part: its address, its depth, and its last slot; constant like those. Or, with bit
  // 0 set, to the directory: its address and depth.
  class Link {
   public:
    Link() = default;
    explicit Link(Part* part) noexcept
        : word_(reinterpret_cast<uintptr_t>(part) | uintptr_t{part->depth} << 48 |
                uintptr_t{part->last_slot} << 56) {}
    Link(std::atomic<Link>* links, uint32_t depth) noexcept
        : word_(reinterpret_cast<uintptr_t>(links) | uintptr_t{depth} << 48 | 1) {}

    bool leads_to_directory() const noexcept { return (word_ & 1) != 0; }
    std::atomic<Link>* links() const noexcept {
      return reinterpret_cast<std::atomic<Link>*>(word_ & kAddressMask);
    }
    Part* part() const noexcept { return reinterpret_cast<Part*>(word_ & kAddressMask); }
    uint32_t depth() const noexcept { return word_ >> 48 & 0xFF; }
    uint32_t last_slot() const noexcept { return static_cast<uint32_t>(word_ >> 56); }

   private:
    uintptr_t word_ = 0;
  };
  // 2^depth links.
  struct Directory {
    std::atomic<Link>* links;
    uint32_t depth;
    size_t bytes() const noexcept { return sizeof(Link) << depth; }
  };
  struct Place {
    uint32_t at;  // the slot of the key, or where it would go
    Node* current;
  };
  using Halves = std::array<uint32_t, 2>;  // nodes that go to the lower and the upper half

  static Node* node_of(Word word) noexcept { return reinterpret_cast<Node*>(word & kAddressMask); }
  static bool holds_node(Word word) noexcept { return (word & kAddressMask) > kErased; }

  // 8 bits of position, 3 bits that nothing else uses, and the 8 bits that choose the part in the
  // current group of eight directory levels: splitting within the group needs no other bits.
  static Word tag_of(uint64_t hash, uint32_t depth) noexcept {
    return (levels_of(hash, depth) << 56) | ((hash & 0xFF) << 48) | (hash >> 8 & 7);
  }
  static uint64_t levels_of(uint64_t hash, uint32_t depth) noexcept {
    return hash << (depth & ~7u) >> 56;
  }
  // Where probing begins.
  static uint32_t home_of(uint64_t hash, uint32_t last_slot) noexcept {
    return static_cast<uint32_t>(((hash & 0xFF) * (last_slot + 1)) >> 8);
  }
  static Word with_levels(Word word, uint64_t levels) noexcept {
    return (word & ~(Word{0xFF} << 56)) | levels << 56;
  }
  // Of a word in a part of this depth: does it belong in the upper half, when the part splits?
  static bool in_upper_half(Word word, uint32_t depth) noexcept {
    return word >> (63 - (depth & 7)) & 1;
  }
  static uint64_t behind(uint64_t cursor, uint32_t depth) noexcept {
    return depth == 0 ? 0 : ((cursor >> (64 - depth)) + 1) << (64 - depth);
  }
  // The fewest slots that so many nodes fill to three quarters; beyond kSlotsMax when none do.
  static uint32_t slots_for(uint32_t nodes) noexcept {
    uint32_t slots = kSlotsMin;
    while (nodes * 4 > slots * 3) slots += slots < kSlotsMax / 2 ? slots : kSlotsMax / 4;
    return slots;
  }

  Link link_of(uint64_t hash) const noexcept {
    Link root = root_.load(std::memory_order_seq_cst);
    if (!root.leads_to_directory()) return root;
    return root.links()[hash >> (64 - root.depth())].load(std::memory_order_seq_cst);
  }
  Part* part_of(uint64_t hash) const noexcept { return link_of(hash).part(); }
  // While there is none, root_ is one of a single link.
  Directory directory() noexcept {
    Link root = root_.load(std::memory_order_acquire);
    return root.leads_to_directory() ? Directory{root.links(), root.depth()} : Directory{&root_, 0};
  }

  // Needs grow_lock_, or that nobody else is in the table.
  template <typename Each>
  void each_part(Each&& each) noexcept {
    uint64_t cursor = 0;
    do {
      Part* part = part_of(cursor);
      if (part == nullptr) return;
      cursor = behind(cursor, part->depth);
      each(*part);
    } while (cursor != 0);
  }

  // ---- Changes of one part, under its lock.

  Place locate(Part& part, uint64_t hash, std::string_view key) const noexcept {
    constexpr uint32_t kNone = UINT32_MAX;
    uint32_t vacant = kNone;
    Word tag = tag_of(hash, part.depth);
    for (uint32_t i = home_of(hash, part.last_slot);; i = part.after(i)) {
      Word word = part.word(i);
      if (((word ^ tag) & kTagMask) == 0 && holds_node(word) && node_of(word)->key() == key) {
        return {i, node_of(word)};
      }
      if (vacant == kNone && (word == kErased || word == kEmpty)) vacant = i;
      if (word == kEmpty) return {vacant, nullptr};
    }
  }

  void replace(Part& part, Place place, uint64_t hash, Node* next) noexcept {
    const auto [at, current] = place;
    if (current != nullptr) {
      part.key_bytes -= current->key().size();
      part.value_bytes -= current->value_size();
    }
    if (next == nullptr) {
      if (current == nullptr) return;
      erase_slot(part, at);
      if (count_.fetch_sub(1, std::memory_order_seq_cst) == 1) figures_.occupied.fetch_sub(1);
      return;
    }
    part.key_bytes += next->key().size();
    part.value_bytes += next->value_size();
    if (current == nullptr) {
      part.count++;
      if (part.word(at) == kErased) part.erased--;
      if (count_.fetch_add(1, std::memory_order_seq_cst) == 0) figures_.occupied.fetch_add(1);
    }
    const Word word = reinterpret_cast<Word>(next) | tag_of(hash, part.depth);
    part.slot(at).store(word, std::memory_order_seq_cst);
    if (has_ahead(part.slots(), part.depth)) learn_ahead(part, at, hash);
  }

  static void erase_slot(Part& part, uint32_t at) noexcept {
    part.count--;
    // A probe that comes this far goes on to an empty slot, so it may as well end here.
    if (part.word(part.after(at)) != kEmpty) {
      part.slot(at).store(kErased, std::memory_order_seq_cst);
      part.erased++;
      return;
    }
    part.slot(at).store(kEmpty, std::memory_order_seq_cst);
    for (uint32_t i = part.before(at); part.word(i) == kErased; i = part.before(i)) {
      part.slot(i).store(kEmpty, std::memory_order_seq_cst);
      part.erased--;
    }
  }

  // A node was put in slot `at`. A part of 256 slots is made for 192 nodes at most, and splits with
  // 224: so 32 inserts, or more, learn of 8 slots each.
  static void learn_ahead(Part& part, uint32_t at, uint64_t hash) noexcept {
    part.ahead().levels[at] = static_cast<uint8_t>(levels_of(hash, part.depth + 1u));
    if (part.ahead().known < part.slots()) learn_slots(part);
  }

  // Of the next slots. Their nodes are fetched at the same time, and so are then the keys in them.
  static void learn_slots(Part& part) noexcept {
    Ahead& ahead = part.ahead();
    Node* nodes[kLearntAtOnce];
    for (uint32_t i = 0; i < kLearntAtOnce; i++) {
      Word word = part.word(ahead.known + i);
      nodes[i] = holds_node(word) ? node_of(word) : nullptr;
      __builtin_prefetch(nodes[i]);
    }
    for (Node* node : nodes) {
      if (node != nullptr) __builtin_prefetch(node->key().data());
    }
    for (Node* node : nodes) {
      uint64_t hash = node != nullptr ? Hash{}(node->key()) : 0;
      ahead.levels[ahead.known++] = static_cast<uint8_t>(levels_of(hash, part.depth + 1u));
    }
  }

  // By nodes, not by what was erased.
  static bool is_to_split(Part& part) noexcept { return slots_for(part.count + 1u) > kSlotsMax; }
  // All nodes count for the lower half if the part is not to split.
  static Halves count_halves(Part& part) noexcept {
    if (!is_to_split(part)) return {part.count, 0};
    Halves halves{};
    for (uint32_t i = 0; i < part.slots(); i++) {
      if (Word word = part.word(i); holds_node(word)) halves[in_upper_half(word, part.depth)]++;
    }
    return halves;
  }

  static void insert_word(Part& part, Word word) noexcept {
    uint32_t i = home_of(word >> 48, part.last_slot);
    while (part.word(i) != kEmpty) i = part.after(i);
    part.slot(i).store(word, std::memory_order_relaxed);
    part.count++;
  }

  // ---- Changes of the directory.

  // Replaces a part that is full by a larger one, or by two.
  Status grow(uint64_t hash, Part* full) noexcept {
    std::lock_guard guard(grow_lock_);
    if (sealed_.load(std::memory_order_relaxed)) return Status::kClosed;
    Part* old = part_of(hash);
    if (old != full) return Status::kOk;  // somebody else was first
    if (old == nullptr) {
      Part* first = make_part(kSlotsMin, 0);
      if (first == nullptr) return Status::kMemory;
      root_.store(Link(first), std::memory_order_seq_cst);
      return Status::kOk;
    }
    // Only growing makes a part dead, and that needs the lock which we hold. Memory is taken with
    // no lock of the part: what is in it may change meanwhile.
    old->lock.lock();
    const bool splits = is_to_split(*old);
    const Halves expected = count_halves(*old);
    old->lock.unlock();
    if (splits) {
      // Only keys made against the seed can share so many bits.
      if (old->depth == kDepthMax) return Status::kMemory;
      if (directory().depth == old->depth && !double_directory()) return Status::kMemory;
    }
    const auto make_half = [&](uint32_t nodes) {
      return make_part(std::min(slots_for(nodes + 1), kSlotsMax), old->depth + (splits ? 1u : 0u));
    };
    Part* const lower = make_half(expected[0]);
    Part* const upper = splits ? make_half(expected[1]) : lower;
    std::unique_lock part_guard(old->lock);
    const bool as_expected = count_halves(*old) == expected;
    if (lower == nullptr || upper == nullptr || !as_expected) {
      part_guard.unlock();
      free_part(lower);
      if (splits) free_part(upper);
      return as_expected ? Status::kMemory : Status::kOk;
    }
    const bool new_group = splits && has_ahead(old->slots(), old->depth);
    while (new_group && old->ahead().known < kSlotsMax) learn_slots(*old);
    for (uint32_t i = 0; i < old->slots(); i++) {
      Word word = old->word(i);
      if (!holds_node(word)) continue;
      Part& half = in_upper_half(word, old->depth) ? *upper : *lower;
      insert_word(half, new_group ? with_levels(word, old->ahead().levels[i]) : word);
    }
    lower->key_bytes = old->key_bytes;
    lower->value_bytes = old->value_bytes;
    relink(hash, old->depth, lower, upper);
    old->dead = true;
    retire(old, old->bytes());
    return Status::kOk;
  }

  // False: no memory.
  bool double_directory() noexcept {
    const Directory old = directory();
    const uint32_t depth = old.depth + 1;
    auto* links = static_cast<std::atomic<Link>*>(allocate(sizeof(Link) << depth));
    if (links == nullptr) return false;
    for (uint64_t i = 0; i < uint64_t{1} << depth; i++) {
      new (&links[i]) std::atomic<Link>(old.links[i / 2].load(std::memory_order_relaxed));
    }
    root_.store(Link(links, depth), std::memory_order_seq_cst);
    if (old.depth != 0) retire(old.links, old.bytes());
    return true;
  }

  // Points the directory at the two halves of what the part of this hash and depth covered.
  void relink(uint64_t hash, uint32_t depth, Part* lower, Part* upper) noexcept {
    const Directory now = directory();
    uint64_t size = uint64_t{1} << (now.depth - depth);
    uint64_t first = depth == 0 ? 0 : hash >> (64 - depth) << (now.depth - depth);
    for (uint64_t i = 0; i < size; i++) {
      now.links[first + i].store(Link(i * 2 < size ? lower : upper), std::memory_order_seq_cst);
    }
  }

  void clear() noexcept {
    const Directory now = directory();
    each_part([&](Part& part) { free_part(&part); });
    if (now.depth != 0) free_memory(now.links, now.bytes());
    root_.store(Link(), std::memory_order_relaxed);
    if (count_.exchange(0) != 0 && !sealed_.load()) figures_.occupied.fetch_sub(1);
  }

  // ---- Memory.

  void* allocate(size_t bytes) noexcept {
    void* memory = arena_allocate(bytes);
    if (memory != nullptr) figures_.memory_bytes.fetch_add(bytes, std::memory_order_relaxed);
    return memory;
  }
  void retire(void* memory, size_t bytes) noexcept {
    figures_.memory_bytes.fetch_sub(bytes, std::memory_order_relaxed);
    reclaimer::retire(memory, bytes, arena_free);
  }
  // Of what nobody else ever saw, or can see any more.
  void free_memory(void* memory, size_t bytes) noexcept {
    figures_.memory_bytes.fetch_sub(bytes, std::memory_order_relaxed);
    arena_free(memory);
  }
  Part* make_part(uint32_t slots, uint32_t depth) noexcept {
    void* memory = allocate(Part::bytes(slots, depth));
    return memory == nullptr ? nullptr : new (memory) Part(slots, depth);
  }
  void free_part(Part* part) noexcept {
    if (part != nullptr) free_memory(part, part->bytes());
  }

  std::atomic<Link> root_{};  // leads nowhere while nothing was ever inserted
  std::atomic<uint64_t> count_{0};
  TableFigures& figures_;
  SpinLock grow_lock_;
  std::atomic<bool> sealed_{false};  // set under grow_lock_; writers look under their part's lock
};

}  // namespace dskvs
