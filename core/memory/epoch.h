// The cut. Time is divided into numbered epochs; every change belongs to the epoch that was open
// when it took effect, and leaves a record there. Sealing an epoch yields its records: exactly what
// changed in it, no more and no less, without stopping anyone and without copying a value.
//
// Why the cut is consistent:
// - A change takes effect when it joins an epoch, at one instant, though no processor changes two
//   places at once. A put first makes its entry visible as one that is in no epoch yet
//   (Entry::kPutting). Whoever comes to such an entry, a reader as well as the writer, makes it
//   join before going on: each reads the open epoch's number, and the first to exchange the entry's
//   state has decided; the instant is that of its reading. So nobody has seen a change that is in
//   no epoch, nor missed one that is in an epoch which had ended: the changes of the epochs up to E
//   are exactly those that took effect before E was sealed. A removal does the same with the entry
//   that goes, and erases the key then; a drop with its collection.
// - Memory ordering. What makes a change visible (the store to the table's slot, of kRemoving, or
//   of kEnding), the reading of the open epoch's number, the opening of the next, and a reader's
//   loads of slots and states are seq_cst. A change reads the number after it became visible, so
//   who has read a later number and then looks cannot miss it. The epoch counts as changed
//   (newest_change_) before the state says so, and is read seq_cst, so a mark covers what was seen
//   before it.
// - A writer holds the lock of the part that it changes all the while, inside one ReadSection, so
//   the epochs of one key never decrease.
// - seal() opens the next epoch, and then waits until every section that was open has ended: of all
//   who read the number before, and of those whose changes they made join. So no straggler can join
//   a sealed epoch, and whatever did has its record. If something was removed in it, seal() waits
//   once more: whoever began while such a writer had made its record and not yet erased the key may
//   have found what is gone now, and the persister is about to give back what the record holds.
// - A record holds a reference to its entry. A version that is superseded in a later epoch stays
//   alive for the persister; one that is superseded in the same epoch gives its record to its
//   successor, so a hot key costs one record, and one write, an epoch.
//
// Records stand in chunks, of 16 KiB, of a lane. A lane belongs to a few threads, in practice to
// one, and its lock is taken once a change. A record belongs to one key: after it was made, only
// who holds the lock of that key's part changes it, until its epoch is sealed; then the persister
// has it alone.
//
// Entry::home() of a dirty entry names its record (chunk and index). A writer who supersedes an
// entry follows it to see whether the record is of the open epoch. That may be stale: meanwhile the
// persister may have finished with the record and the chunk may serve another epoch. So the writer
// checks that the chunk is of the open epoch and that the record names this very entry. It cannot
// be there by chance: the persister clears records that it has finished with, the entry is alive
// (the writer holds the lock of its part), and an entry has at most one record in an epoch. Chunks
// are used again at once, but freed only when every section that may have found them has ended.
#pragma once

#include "clock.h"
#include "memory/catalog.h"
#include "memory/list.h"

namespace dskvs {

// One change of one key.
struct DirtyRecord {
  static constexpr uintptr_t kTombstone = 1;  // the key was removed; the entry is its last version
  static constexpr uintptr_t kFresh = 2;      // the key was absent: removing it leaves nothing
  static constexpr uintptr_t kRescued = 4;    // not a change: written again by the persister
  static constexpr uintptr_t kFlags = 7;

  std::atomic<uintptr_t> word{0};  // address of the entry | flags; 0: void
  Collection* collection = nullptr;

  static Entry* entry(uintptr_t word) noexcept { return reinterpret_cast<Entry*>(word & ~kFlags); }
};

struct DirtyChunk {
  static constexpr uint32_t kRecords = 1022;
  static constexpr uint32_t kIndexBits = 10;

  std::atomic<uint64_t> epoch{0};
  Links<DirtyChunk> links{};
  uint32_t id = 0;
  uint32_t count = 0;
  DirtyRecord records[kRecords];

  // Entry::home() of the entry that a record names.
  uint32_t home_of(uint32_t index) const noexcept {
    return Entry::kDirty | id << kIndexBits | index;
  }
};
using DirtyChunks = List<DirtyChunk, &DirtyChunk::links>;

// What dirty_bytes counts for one record beyond key and value: no less than it takes in the log.
inline constexpr int64_t kRecordOverheadBytes = 31;
uint64_t dirty_bytes_of(const Collection& collection, uintptr_t word) noexcept;
inline uint64_t dirty_bytes_of_drop(const Collection& collection) noexcept {
  return kRecordOverheadBytes + collection.key().size();
}

// Sums over the life of a store; differences may pass through negative values in one lane.
struct Totals {
  int64_t entries = 0;
  int64_t key_bytes = 0;
  int64_t value_bytes = 0;
  int64_t entry_bytes = 0;     // of the entries in memory
  int64_t bytes_accepted = 0;  // keys and values put and removed
  void add(const Totals& other, int64_t sign = 1) noexcept {
    entries += sign * other.entries;
    key_bytes += sign * other.key_bytes;
    value_bytes += sign * other.value_bytes;
    entry_bytes += sign * other.entry_bytes;
    bytes_accepted += sign * other.bytes_accepted;
  }
};
// What one current entry counts.
Totals totals_of(const Collection& collection, const Entry& entry) noexcept;

struct SealedEpoch {
  uint64_t epoch = 0;
  uint64_t first_write_us = 0;  // when its first change was accepted
  DirtyChunks chunks;
};

class Epochs {
 public:
  // The first epoch is `first_open`.
  Epochs(Clock& clock, uint64_t first_open, uint64_t dirty_bytes_step) noexcept;
  ~Epochs();

  // ---- Writers: in a ReadSection, after reclaimer::prepare_to_retire(), with the lock of the
  // key's part. They decide about the references of `old`: leave it alone afterwards. `*first`
  // becomes true when an epoch has its first change: wake the persister then.

  // `publish()`, called under the lane's lock, lets `entry` take the place of `old`, or of nothing:
  // nullptr. kMemory: it was not called, nothing happened.
  template <typename Publish>
  Status record_put(Collection& collection, Entry& entry, Entry* old, bool* first,
                    Publish&& publish) noexcept {
    Lane& lane = my_lane();
    std::lock_guard guard(lane.lock);
    if (!make_room(lane)) return no_memory();
    const uint32_t old_home = old == nullptr ? Entry::kNowhere : old->home();
    const uint64_t before = open();
    entry.set_references(2);
    entry.set_home(Entry::kPutting);
    publish();
    record(lane, {collection, &entry, old, old_home, join(entry, before, first)});
    return Status::kOk;
  }
  // `old` is to be erased afterwards. kMemory: nothing happened.
  Status record_removal(Collection& collection, Entry& old, bool* first) noexcept;
  // `collection`, sealed with `totals`, is to leave the catalog afterwards with all its members.
  void record_drop(Collection& collection, const TableTotals& totals, bool* first) noexcept;

  // ---- Readers, in a ReadSection. `*first` as above.

  // Of what a reader came to, if its home is kPutting or above. False: it is removed.
  bool settle(Entry& entry, bool* first) noexcept;
  // Likewise, if its dropped_epoch is not kNeverEnded. False: it is dropped.
  bool settle(Collection& collection, bool* first) noexcept;

  // ---- Anyone.

  // All that returned, or that anybody saw, is in this epoch or before. It may hold no change: who
  // noted it may have come second to make its change join. seq_cst: the persister goes to sleep by
  // it, see note_change().
  uint64_t newest_change() const noexcept { return newest_change_.load(std::memory_order_seq_cst); }
  uint64_t open() const noexcept { return open_.load(std::memory_order_seq_cst); }
  // When the first change of the open epoch was accepted; 0: there is none.
  uint64_t open_since_us() const noexcept;
  // Approximately (by dirty_bytes_step a lane) the bytes that the persister has yet to write.
  uint64_t dirty_bytes() const noexcept {
    return static_cast<uint64_t>(std::max<int64_t>(0, dirty_.load(std::memory_order_relaxed)));
  }
  Totals totals() const noexcept;

  // ---- The persister, or recovery before anyone else is there.

  // The entry is to be written again in the open epoch. In a ReadSection, with the lock of its
  // part.
  Status record_rescue(Collection& collection, Entry* entry) noexcept;
  // Makes the open epoch count as changed, so that it will be sealed though it may hold no record.
  void touch() noexcept;
  // Takes `collection`, if it has no member, out of the catalog. In a ReadSection.
  void end_if_empty(Catalog& catalog, Collection& collection) noexcept;
  // `collection`, which is not in the catalog, goes to the list of the ended.
  void note_ended(Collection& collection) noexcept;
  // Seals the open epoch.
  [[nodiscard]] SealedEpoch seal() noexcept;
  // A chunk that no lane has; nullptr: no memory.
  [[nodiscard]] DirtyChunk* take_chunk() noexcept;
  // Gives a chunk back, all of whose records are cleared.
  void free_chunk(DirtyChunk* chunk) noexcept;
  // Frees chunks that are not in use, but for some. Outside of sections.
  void free_excess_chunks() noexcept;
  // Bytes of records that are no longer dirty.
  void subtract_dirty(uint64_t bytes) noexcept {
    dirty_.fetch_sub(static_cast<int64_t>(bytes), std::memory_order_relaxed);
  }
  // What recovery found.
  void add_totals(const Totals& totals) noexcept;
  [[nodiscard]] bool has_ended() noexcept;  // collections that nobody took
  // Takes the collections that ended in epochs up to `epoch`, oldest first, through next_ended.
  [[nodiscard]] Collection* take_ended(uint64_t epoch) noexcept;

 private:
  struct alignas(64) Lane {
    mutable SpinLock lock;  // guards all but the records
    DirtyChunks chunks;     // of the open epoch, and while it is being sealed of two
    // Taken before a change becomes visible, since it may join an epoch that has no chunk here yet,
    // and can fail no more.
    DirtyChunk* spare = nullptr;
    Totals totals;
    int64_t dirty_not_added = 0;  // to dirty_ yet
    bool removals = false;        // keys or collections, since the last seal
  };
  static constexpr uint32_t kLanes = 32;
  static constexpr uint32_t kIdsPerBlock = 1024;
  static constexpr uint32_t kBlocks = 2047;
  static constexpr uint32_t kNoId = kBlocks * kIdsPerBlock;
  static_assert((Entry::kDirty | kNoId << DirtyChunk::kIndexBits) <= Entry::kPutting);
  static constexpr uint32_t kFreeChunksMin = 16;

  struct Change {
    Collection& collection;
    Entry* entry;  // one of them may be nullptr: the key was absent, or is removed
    Entry* old;
    uint32_t old_home;
    uint64_t epoch;
  };

  Lane& my_lane() noexcept { return lanes_[reclaimer::slot->index % kLanes]; }
  static Status no_memory() noexcept;
  bool make_room(Lane& lane) noexcept;
  uint64_t join(Entry& entry, uint64_t before, bool* first) noexcept;
  void record(Lane& lane, const Change& change) noexcept;
  DirtyRecord* own_record(const Entry* entry, uint32_t home, uint64_t epoch) noexcept;
  DirtyRecord* append(Lane& lane, uint64_t epoch, uint32_t* home) noexcept;
  DirtyChunk* make_chunk() noexcept;
  bool add_ids() noexcept;
  std::atomic<uintptr_t>* place_of_id(uint32_t id) noexcept;
  void append_ended(Collection& collection, uint64_t epoch) noexcept;
  void count(Lane& lane, const Totals& change, int64_t dirty_bytes) noexcept;
  bool note_change(uint64_t epoch) noexcept;

  Clock& clock_;
  const int64_t dirty_bytes_step_;

  alignas(64) std::atomic<uint64_t> open_;
  std::atomic<uint64_t> newest_change_;
  // Of the open epoch and the one that is being sealed, by their numbers; 0: nothing changed yet.
  std::atomic<uint64_t> first_write_us_[2] = {};
  alignas(64) std::atomic<int64_t> dirty_{0};
  Lane lanes_[kLanes];

  SpinLock chunks_lock_;  // guards the chunks that no lane has, and the giving of ids
  DirtyChunks free_chunks_;
  uint32_t free_count_ = 0;
  uint32_t blocks_used_ = 0;
  uint32_t free_id_ = kNoId;  // a list, through the places of the free ids
  std::atomic<std::atomic<uintptr_t>*> blocks_[kBlocks] = {};  // chunk by id; free: next << 1 | 1

  SpinLock ended_lock_;  // guards the list of ended collections, in the order of ended_epoch
  Collection* ended_first_ = nullptr;
  Collection** ended_end_ = &ended_first_;  // where the next one goes
};

}  // namespace dskvs
