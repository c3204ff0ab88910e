// The concurrent hash map: names to collections in the catalog, members to entries in a collection.
//
// Extendible hashing. The upper bits of a key's hash choose a Part through a directory of pointers;
// in a part the lower bits choose a slot, and linear probing does the rest. A part begins with 2
// slots, doubles to 256, and then splits in two, the directory doubling when need be. So growing
// never moves more than one part's slots at a time, and a small table is one small part without a
// directory.
//
// A slot is one word: the node's address, and 19 bits of its hash where the address has none to say
// (a node is aligned to 8 bytes and lies below 2^48). Those bits are enough to tell nearly all
// other keys apart without looking at their nodes, and to double and split a part without hashing
// keys again, but for every eighth level of splits. Likewise the word that leads to a part or to
// the directory says in its upper bits how deep and how large it is, so that a reader's way is
// three loads that miss the cache at worst: of the directory, of a slot, of the node.
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
// Stores to slots and a reader's loads of them are seq_cst: a change must be visible to all before
// its call returns. With release alone a thread's next read may pass its own put, and two threads
// that each put one key and then read the other's may both miss it.
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
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
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

  explicit Table(TableFigures& figures) noexcept : figures_(figures) {}
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  // No thread may be in the table any more. Nodes are not freed: take them out first.
  ~Table() { clear(); }

  TableFigures& figures() noexcept { return figures_; }
  [[nodiscard]] uint64_t count() const noexcept { return count_.load(std::memory_order_acquire); }

  // nullptr: not there. In a ReadSection, during which the node stays readable.
  [[nodiscard]] Node* find(uint64_t hash, std::string_view key) const noexcept;

  // Fetches into the cache where find() and update() will look first. In a ReadSection.
  void prefetch(uint64_t hash) const noexcept {
    PartLink link = link_of(hash);
    if (link.part() == nullptr) return;
    __builtin_prefetch(&link.part()->slot(static_cast<uint32_t>(hash) & link.slots_mask()), 1);
  }

  // Calls `change(Node* current, Node** next)` under the lock of the part where `key` belongs;
  // `current` is nullptr when the key is not there, `*next` is preset to `current`. When it returns
  // kOk, `*next` takes the place: another node with an equal key, or nullptr to erase. Otherwise
  // nothing changes. With `may_insert` false, `change` must not insert. In a ReadSection.
  // Returns what `change` does; kMemory; kClosed: the table is sealed, `change` was not called.
  template <typename Change>
  Status update(uint64_t hash, std::string_view key, bool may_insert, Change&& change) noexcept;

  // Ends the table, and says what it holds; with `only_if_empty`, only when that is nothing. False:
  // it was sealed before, or it is not empty. In a ReadSection.
  bool seal(bool only_if_empty, TableTotals* totals) noexcept;

  // Copies the nodes of one instant to `nodes`, which has room for `capacity`, while all writers
  // wait. Returns how many there are; when they are more than `capacity`, nothing was copied. In a
  // ReadSection, during which the nodes stay readable.
  uint64_t snapshot(Node** nodes, uint64_t capacity) noexcept;

  // Calls `visit(Node*)`, which returns a Status, for each node in the part that `cursor` falls in,
  // under its lock, and moves the cursor behind it; 0 is the beginning and, again, the end. A visit
  // of all parts meets every node that is there all the while. In a ReadSection.
  // Returns the first status but kOk of `visit`; the cursor stays.
  template <typename Visit>
  Status visit_part(uint64_t* cursor, Visit&& visit) noexcept;

  // Calls `take(Node*)` for each node in the part that `cursor` falls in. Only in a table that
  // nobody else is in any more.
  template <typename Take>
  void take_part(uint64_t* cursor, Take&& take) noexcept;
  // take_part() for all parts, then clear(). Likewise.
  template <typename Take>
  void take_all(Take&& take) noexcept {
    uint64_t cursor = 0;
    do {
      take_part(&cursor, take);
    } while (cursor != 0);
    clear();
  }
  // Frees parts and directory, not the nodes. Likewise.
  void clear() noexcept;

 private:
  using Word = uint64_t;
  static constexpr Word kAddressMask = 0x0000'FFFF'FFFF'FFF8;
  static constexpr Word kTagMask = ~kAddressMask;
  static constexpr Word kEmpty = 0;   // ends a probe
  static constexpr Word kErased = 8;  // does not; no node has this address
  static constexpr uint32_t kSlotsMin = 2;
  static constexpr uint32_t kSlotsMax = kPartNodesMax;
  static constexpr uint32_t kDepthMax = 32;

  struct Part {
    SpinLock lock;        // guards all but `depth` and `slots_mask`, which are constant
    bool dead = false;    // replaced: look again in the directory
    uint8_t depth;        // how many upper hash bits its keys share
    uint8_t slots_mask;   // number of slots - 1
    uint16_t count = 0;   // nodes
    uint16_t erased = 0;  // slots that are kErased
    // Only their sums over all parts of a table mean something: a split leaves both to one half,
    // rather than look at each node. A single part's may have passed below 0.
    uint64_t key_bytes = 0;
    uint64_t value_bytes = 0;

    Part(uint32_t slots_count, uint32_t depth_) noexcept
        : depth(static_cast<uint8_t>(depth_)), slots_mask(static_cast<uint8_t>(slots_count - 1)) {
      for (uint32_t i = 0; i < slots_count; i++) new (&slot(i)) std::atomic<Word>(kEmpty);
    }
    std::atomic<Word>& slot(uint32_t i) noexcept {
      return reinterpret_cast<std::atomic<Word>*>(this + 1)[i];
    }
    uint32_t slots() const noexcept { return uint32_t{slots_mask} + 1; }
    bool full() const noexcept { return (count + erased + 1u) * 8 > slots() * 7; }
  };
  static_assert(sizeof(Part) == 24);
  // A part's address, its depth, and the logarithm of its slots' number; constant like those.
  class PartLink {
   public:
    PartLink() = default;
    explicit PartLink(Part* part) noexcept
        : word_(reinterpret_cast<uintptr_t>(part) | uintptr_t{part->depth} << 48 |
                static_cast<uintptr_t>(std::countr_zero(part->slots())) << 56) {}
    explicit PartLink(uintptr_t word) noexcept : word_(word) {}

    uintptr_t word() const noexcept { return word_; }
    Part* part() const noexcept { return reinterpret_cast<Part*>(word_ & kAddressMask); }
    uint32_t depth() const noexcept { return word_ >> 48 & 0xFF; }
    uint32_t slots_mask() const noexcept { return (1u << (word_ >> 56)) - 1; }

   private:
    uintptr_t word_ = 0;
  };
  struct Directory {
    uint32_t depth;
    uint32_t unused = 0;
    std::atomic<PartLink>& link(uint64_t i) noexcept {
      return reinterpret_cast<std::atomic<PartLink>*>(this + 1)[i];
    }
    static size_t bytes(uint32_t depth) noexcept {
      return sizeof(Directory) + (size_t{8} << depth);
    }
  };
  struct Place {
    uint32_t found;   // slot of the key, or kNone
    uint32_t vacant;  // where it would go, or kNone
  };
  static constexpr uint32_t kNone = UINT32_MAX;

  static Node* node_of(Word word) noexcept { return reinterpret_cast<Node*>(word & kAddressMask); }
  static bool holds_node(Word word) noexcept { return (word & kAddressMask) > kErased; }

  // 8 bits of position, 3 bits that nothing else uses, and the 8 bits that choose the part in the
  // current group of eight directory levels: splitting within the group needs no other bits.
  static Word tag_of(uint64_t hash, uint32_t depth) noexcept {
    uint64_t levels = hash << (depth & ~7u) >> 56;
    return (levels << 56) | ((hash & 0xFF) << 48) | (hash >> 8 & 7);
  }
  static uint32_t home_of_tag(Word word) noexcept { return (word >> 48) & 0xFF; }
  // Of a word in a part of this depth: does it belong in the upper half, when the part splits?
  static bool in_upper_half(Word word, uint32_t depth) noexcept {
    return word >> (63 - (depth & 7)) & 1;
  }

  PartLink link_of(uint64_t hash) const noexcept {
    uintptr_t root = root_.load(std::memory_order_acquire);
    if ((root & 1) == 0) return PartLink(root);
    auto* directory = reinterpret_cast<Directory*>(root & kAddressMask);
    return directory->link(hash >> (64 - (root >> 48))).load(std::memory_order_acquire);
  }
  Part* part_of(uint64_t hash) const noexcept { return link_of(hash).part(); }
  Directory* directory() const noexcept {
    uintptr_t root = root_.load(std::memory_order_acquire);
    return (root & 1) != 0 ? reinterpret_cast<Directory*>(root & kAddressMask) : nullptr;
  }
  static uintptr_t root_of(Directory* directory) noexcept {
    return reinterpret_cast<uintptr_t>(directory) | 1 | uintptr_t{directory->depth} << 48;
  }
  Place locate(Part& part, uint64_t hash, std::string_view key) const noexcept;
  static void insert_word(Part& part, Word word) noexcept;
  static void erase_slot(Part& part, uint32_t at) noexcept;

  Status grow(uint64_t hash, Part* full) noexcept;
  Status copy_part(uint64_t hash, Part& old, uint32_t slots) noexcept;
  Status split(uint64_t hash, Part& old) noexcept;
  static void prefetch_key(Part& part, uint32_t at) noexcept;
  Status double_directory() noexcept;
  void replace(uint64_t hash, uint32_t depth, Part* lower, Part* upper) noexcept;
  Part* make_part(uint32_t slots, uint32_t depth) noexcept;
  void retire_part(Part& part) noexcept;
  static size_t part_bytes(uint32_t slots) noexcept { return sizeof(Part) + slots * sizeof(Word); }
  template <typename Each>
  void each_part(Each&& each) noexcept;
  static uint64_t behind(uint64_t cursor, uint32_t depth) noexcept {
    return depth == 0 ? 0 : ((cursor >> (64 - depth)) + 1) << (64 - depth);
  }

  // A PartLink, or a Directory with its depth above and bit 0 set, or 0 while nothing was ever
  // inserted.
  std::atomic<uintptr_t> root_{0};
  std::atomic<uint64_t> count_{0};
  TableFigures& figures_;
  SpinLock grow_lock_;
  std::atomic<bool> sealed_{false};  // set under grow_lock_; writers look under their part's lock
};

template <typename Node, typename Hash>
inline Node* Table<Node, Hash>::find(uint64_t hash, std::string_view key) const noexcept {
  PartLink link = link_of(hash);
  Part* part = link.part();
  if (part == nullptr) return nullptr;
  Word tag = tag_of(hash, link.depth());
  uint32_t mask = link.slots_mask();
  for (uint32_t i = static_cast<uint32_t>(hash) & mask;; i = (i + 1) & mask) {
    Word word = part->slot(i).load(std::memory_order_seq_cst);
    if (((word ^ tag) & kTagMask) == 0 && holds_node(word)) {
      Node* node = node_of(word);
      if (node->key() == key) return node;
    }
    if (word == kEmpty) return nullptr;
  }
}

template <typename Node, typename Hash>
typename Table<Node, Hash>::Place Table<Node, Hash>::locate(Part& part, uint64_t hash,
                                                            std::string_view key) const noexcept {
  Place place{kNone, kNone};
  Word tag = tag_of(hash, part.depth);
  uint32_t mask = part.slots_mask;
  for (uint32_t i = static_cast<uint32_t>(hash) & mask;; i = (i + 1) & mask) {
    Word word = part.slot(i).load(std::memory_order_relaxed);
    if (((word ^ tag) & kTagMask) == 0 && holds_node(word) && node_of(word)->key() == key) {
      place.found = i;
      return place;
    }
    if (word == kErased && place.vacant == kNone) place.vacant = i;
    if (word == kEmpty) {
      if (place.vacant == kNone) place.vacant = i;
      return place;
    }
  }
}

template <typename Node, typename Hash>
template <typename Change>
Status Table<Node, Hash>::update(uint64_t hash, std::string_view key, bool may_insert,
                                 Change&& change) noexcept {
  for (;;) {
    Part* part = part_of(hash);
    if (part != nullptr) {
      std::unique_lock guard(part->lock);
      if (part->dead) continue;
      if (sealed_.load(std::memory_order_relaxed)) return Status::kClosed;
      Place place = locate(*part, hash, key);
      bool inserts = place.found == kNone && may_insert;
      if (!inserts || !part->full()) {
        uint32_t at = place.found != kNone ? place.found : place.vacant;
        Node* current = place.found != kNone ? node_of(part->slot(at)) : nullptr;
        Node* next = current;
        Status status = change(current, &next);
        if (status != Status::kOk || next == current) return status;
        if (next == nullptr) {
          part->key_bytes -= current->key().size();
          part->value_bytes -= current->value_size();
          erase_slot(*part, at);
          if (count_.fetch_sub(1, std::memory_order_release) == 1) figures_.occupied.fetch_sub(1);
          return status;
        }
        part->value_bytes += next->value_size();
        if (current != nullptr) {
          part->value_bytes -= current->value_size();
        } else {
          part->key_bytes += next->key().size();
          part->count++;
          if (part->slot(at).load(std::memory_order_relaxed) == kErased) part->erased--;
          if (count_.fetch_add(1, std::memory_order_release) == 0) figures_.occupied.fetch_add(1);
        }
        Word word = reinterpret_cast<Word>(next) | tag_of(hash, part->depth);
        part->slot(at).store(word, std::memory_order_seq_cst);
        return status;
      }
    } else if (!may_insert) {
      Node* next = nullptr;
      return change(nullptr, &next);
    }
    Status status = grow(hash, part);
    if (status != Status::kOk) return status;
  }
}

template <typename Node, typename Hash>
void Table<Node, Hash>::insert_word(Part& part, Word word) noexcept {
  uint32_t mask = part.slots_mask;
  uint32_t i = home_of_tag(word) & mask;
  while (part.slot(i).load(std::memory_order_relaxed) != kEmpty) i = (i + 1) & mask;
  part.slot(i).store(word, std::memory_order_relaxed);
  part.count++;
}

template <typename Node, typename Hash>
void Table<Node, Hash>::erase_slot(Part& part, uint32_t at) noexcept {
  uint32_t mask = part.slots_mask;
  part.count--;
  // A probe that comes this far goes on to an empty slot, so it may as well end here.
  if (part.slot((at + 1) & mask).load(std::memory_order_relaxed) != kEmpty) {
    part.slot(at).store(kErased, std::memory_order_seq_cst);
    part.erased++;
    return;
  }
  part.slot(at).store(kEmpty, std::memory_order_seq_cst);
  for (uint32_t i = (at - 1) & mask; part.slot(i).load(std::memory_order_relaxed) == kErased;
       i = (i - 1) & mask) {
    part.slot(i).store(kEmpty, std::memory_order_seq_cst);
    part.erased--;
  }
}

template <typename Node, typename Hash>
typename Table<Node, Hash>::Part* Table<Node, Hash>::make_part(uint32_t slots,
                                                               uint32_t depth) noexcept {
  void* memory = arena_allocate(part_bytes(slots));
  if (memory == nullptr) return nullptr;
  figures_.memory_bytes.fetch_add(part_bytes(slots), std::memory_order_relaxed);
  return new (memory) Part(slots, depth);
}

template <typename Node, typename Hash>
void Table<Node, Hash>::retire_part(Part& part) noexcept {
  figures_.memory_bytes.fetch_sub(part_bytes(part.slots()), std::memory_order_relaxed);
  reclaimer::retire(&part, part_bytes(part.slots()), arena_free);
}

template <typename Node, typename Hash>
Status Table<Node, Hash>::grow(uint64_t hash, Part* full) noexcept {
  std::lock_guard guard(grow_lock_);
  if (sealed_.load(std::memory_order_relaxed)) return Status::kClosed;
  Part* part = part_of(hash);
  if (part != full) return Status::kOk;  // somebody else was first
  if (part == nullptr) {
    Part* first = make_part(kSlotsMin, 0);
    if (first == nullptr) return Status::kMemory;
    root_.store(PartLink(first).word(), std::memory_order_release);
    return Status::kOk;
  }
  // Only growing makes a part dead, and that needs the lock which we hold. Its counts are a hint
  // here, and either way is right.
  uint32_t count;
  {
    std::lock_guard part_guard(part->lock);
    count = part->count;
  }
  bool crowded = count * 2 >= part->slots();  // by nodes, not by what was erased
  if (crowded && part->slots() == kSlotsMax) return split(hash, *part);
  return copy_part(hash, *part, crowded ? part->slots() * 2 : part->slots());
}

template <typename Node, typename Hash>
Status Table<Node, Hash>::copy_part(uint64_t hash, Part& old, uint32_t slots) noexcept {
  Part* next = make_part(slots, old.depth);
  if (next == nullptr) return Status::kMemory;
  {
    std::lock_guard guard(old.lock);
    for (uint32_t i = 0; i < old.slots(); i++) {
      Word word = old.slot(i).load(std::memory_order_relaxed);
      if (holds_node(word)) insert_word(*next, word);
    }
    next->key_bytes = old.key_bytes;
    next->value_bytes = old.value_bytes;
    replace(hash, old.depth, next, next);
    old.dead = true;
  }
  retire_part(old);
  return Status::kOk;
}

template <typename Node, typename Hash>
Status Table<Node, Hash>::split(uint64_t hash, Part& old) noexcept {
  // Only keys made against the seed can share so many bits.
  if (old.depth == kDepthMax) return Status::kMemory;
  Directory* now = directory();
  if (now == nullptr || now->depth == old.depth) {
    Status status = double_directory();
    if (status != Status::kOk) return status;
  }
  Part* halves[2] = {make_part(kSlotsMax, old.depth + 1u), make_part(kSlotsMax, old.depth + 1u)};
  if (halves[0] == nullptr || halves[1] == nullptr) {
    for (Part* half : halves) {
      if (half == nullptr) continue;
      figures_.memory_bytes.fetch_sub(part_bytes(kSlotsMax), std::memory_order_relaxed);
      arena_free(half);
    }
    return Status::kMemory;
  }
  bool new_group = ((old.depth + 1u) & 7) == 0;
  std::lock_guard guard(old.lock);
  for (uint32_t i = 0; i < old.slots(); i++) {
    Word word = old.slot(i).load(std::memory_order_relaxed);
    if (new_group) prefetch_key(old, i);
    if (!holds_node(word)) continue;
    Part& half = *halves[in_upper_half(word, old.depth)];
    if (new_group) {
      Node* node = node_of(word);
      word = reinterpret_cast<Word>(node) | tag_of(Hash{}(node->key()), old.depth + 1u);
    }
    insert_word(half, word);
  }
  halves[0]->key_bytes = old.key_bytes;
  halves[0]->value_bytes = old.value_bytes;
  replace(hash, old.depth, halves[0], halves[1]);
  old.dead = true;
  retire_part(old);
  return Status::kOk;
}

// Of the nodes that come after this slot: of one far ahead its header, of one that is closer, and
// whose header is there by now, the key.
template <typename Node, typename Hash>
void Table<Node, Hash>::prefetch_key(Part& part, uint32_t at) noexcept {
  constexpr uint32_t kFar = 32;
  constexpr uint32_t kNear = 16;
  if (at + kFar < part.slots()) {
    __builtin_prefetch(node_of(part.slot(at + kFar).load(std::memory_order_relaxed)));
  }
  if (at + kNear >= part.slots()) return;
  Word word = part.slot(at + kNear).load(std::memory_order_relaxed);
  if (holds_node(word)) __builtin_prefetch(node_of(word)->key().data());
}

template <typename Node, typename Hash>
Status Table<Node, Hash>::double_directory() noexcept {
  Directory* old = directory();
  uint32_t depth = old == nullptr ? 1 : old->depth + 1;
  void* memory = arena_allocate(Directory::bytes(depth));
  if (memory == nullptr) return Status::kMemory;
  figures_.memory_bytes.fetch_add(Directory::bytes(depth), std::memory_order_relaxed);
  auto* next = new (memory) Directory{depth};
  for (uint64_t i = 0; i < uint64_t{1} << depth; i++) {
    PartLink link = old == nullptr ? link_of(0) : old->link(i / 2).load(std::memory_order_relaxed);
    new (&next->link(i)) std::atomic<PartLink>(link);
  }
  root_.store(root_of(next), std::memory_order_release);
  if (old != nullptr) {
    figures_.memory_bytes.fetch_sub(Directory::bytes(old->depth), std::memory_order_relaxed);
    reclaimer::retire(old, Directory::bytes(old->depth), arena_free);
  }
  return Status::kOk;
}

// Points the directory at the two halves of what the part of this hash and depth covered.
template <typename Node, typename Hash>
void Table<Node, Hash>::replace(uint64_t hash, uint32_t depth, Part* lower, Part* upper) noexcept {
  Directory* now = directory();
  if (now == nullptr) {
    root_.store(PartLink(lower).word(), std::memory_order_release);
    return;
  }
  uint64_t size = uint64_t{1} << (now->depth - depth);
  uint64_t first = depth == 0 ? 0 : hash >> (64 - depth) << (now->depth - depth);
  for (uint64_t i = 0; i < size; i++) {
    now->link(first + i).store(PartLink(i * 2 < size ? lower : upper), std::memory_order_release);
  }
}

// Needs grow_lock_, or that nobody else is in the table.
template <typename Node, typename Hash>
template <typename Each>
void Table<Node, Hash>::each_part(Each&& each) noexcept {
  uint64_t cursor = 0;
  do {
    Part* part = part_of(cursor);
    if (part == nullptr) return;
    cursor = behind(cursor, part->depth);
    each(*part);
  } while (cursor != 0);
}

template <typename Node, typename Hash>
bool Table<Node, Hash>::seal(bool only_if_empty, TableTotals* totals) noexcept {
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
  if (only_if_empty && totals->count != 0) {
    sealed_.store(false, std::memory_order_relaxed);
    return false;
  }
  if (totals->count != 0) figures_.occupied.fetch_sub(1);
  return true;
}

template <typename Node, typename Hash>
uint64_t Table<Node, Hash>::snapshot(Node** nodes, uint64_t capacity) noexcept {
  std::lock_guard guard(grow_lock_);
  uint64_t count = 0;
  each_part([&](Part& part) {
    part.lock.lock();
    count += part.count;
  });
  bool fits = count <= capacity;
  each_part([&](Part& part) {
    for (uint32_t i = 0; fits && i < part.slots(); i++) {
      Word word = part.slot(i).load(std::memory_order_relaxed);
      if (holds_node(word)) *nodes++ = node_of(word);
    }
  });
  each_part([&](Part& part) { part.lock.unlock(); });
  return count;
}

template <typename Node, typename Hash>
template <typename Visit>
Status Table<Node, Hash>::visit_part(uint64_t* cursor, Visit&& visit) noexcept {
  for (;;) {
    Part* part = part_of(*cursor);
    if (part == nullptr) {
      *cursor = 0;
      return Status::kOk;
    }
    for (uint32_t i = 0; i < part->slots(); i++) {
      __builtin_prefetch(node_of(part->slot(i).load(std::memory_order_relaxed)));
    }
    std::lock_guard guard(part->lock);
    if (part->dead) continue;
    if (sealed_.load(std::memory_order_relaxed)) {
      *cursor = 0;
      return Status::kOk;
    }
    for (uint32_t i = 0; i < part->slots(); i++) {
      Word word = part->slot(i).load(std::memory_order_relaxed);
      if (!holds_node(word)) continue;
      Status status = visit(node_of(word));
      if (status != Status::kOk) return status;
    }
    *cursor = behind(*cursor, part->depth);
    return Status::kOk;
  }
}

template <typename Node, typename Hash>
template <typename Take>
void Table<Node, Hash>::take_part(uint64_t* cursor, Take&& take) noexcept {
  Part* part = part_of(*cursor);
  *cursor = part == nullptr ? 0 : behind(*cursor, part->depth);
  for (uint32_t i = 0; part != nullptr && i < part->slots(); i++) {
    if (i + 16 < part->slots()) {
      __builtin_prefetch(node_of(part->slot(i + 16).load(std::memory_order_relaxed)));
    }
    Word word = part->slot(i).load(std::memory_order_relaxed);
    if (holds_node(word)) take(node_of(word));
  }
}

template <typename Node, typename Hash>
void Table<Node, Hash>::clear() noexcept {
  Directory* now = directory();
  each_part([&](Part& part) {
    figures_.memory_bytes.fetch_sub(part_bytes(part.slots()), std::memory_order_relaxed);
    arena_free(&part);
  });
  if (now != nullptr) {
    figures_.memory_bytes.fetch_sub(Directory::bytes(now->depth), std::memory_order_relaxed);
    arena_free(now);
  }
  root_.store(0, std::memory_order_relaxed);
  if (count_.exchange(0) != 0 && !sealed_.load()) figures_.occupied.fetch_sub(1);
}

}  // namespace dskvs
