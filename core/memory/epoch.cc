#include "memory/epoch.h"

#include "memory/graveyard.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace dskvs {
namespace {

uint64_t key_bytes_of(const Collection& collection, const Entry& entry) noexcept {
  return collection.key().size() + 1 + entry.member_size();
}

// The table's reference and a dirty record's.
void dispose_both(void* entry) noexcept { static_cast<Entry*>(entry)->unpin(2); }
void dispose_one(void* entry) noexcept { static_cast<Entry*>(entry)->unpin(1); }

}  // namespace

uint64_t dirty_bytes_of(const Collection& collection, uintptr_t word) noexcept {
  const Entry& entry = *DirtyRecord::entry(word);
  uint64_t bytes = kRecordOverheadBytes + key_bytes_of(collection, entry);
  return (word & DirtyRecord::kTombstone) != 0 ? bytes : bytes + entry.value_size();
}

Totals totals_of(const Collection& collection, const Entry& entry) noexcept {
  return {.entries = 1,
          .key_bytes = static_cast<int64_t>(key_bytes_of(collection, entry)),
          .value_bytes = static_cast<int64_t>(entry.value_size()),
          .entry_bytes = static_cast<int64_t>(entry.bytes())};
}

Epochs::Epochs(Clock& clock, uint64_t first_open, uint64_t dirty_bytes_step) noexcept
    : clock_(clock),
      dirty_bytes_step_(static_cast<int64_t>(dirty_bytes_step)),
      open_(first_open),
      newest_change_(first_open - 1) {}

// Records that were never written still hold references; those of free chunks are void. Nor were
// all that ended taken.
Epochs::~Epochs() {
  Graveyard leftovers;
  leftovers.add(take_ended(kNeverEnded));
  for (uint32_t id = 0; id < blocks_used_ * kIdsPerBlock; id++) {
    uintptr_t place = place_of_id(id)->load(std::memory_order_relaxed);
    if ((place & 1) != 0) continue;
    auto* chunk = reinterpret_cast<DirtyChunk*>(place);
    for (DirtyRecord& record : chunk->records) {
      uintptr_t word = record.word.load(std::memory_order_relaxed);
      if (word != 0) DirtyRecord::entry(word)->unpin();
    }
    arena_free(chunk);
  }
  for (auto& block : blocks_) arena_free(block.load(std::memory_order_relaxed));
}

// ---- Writers.

Status Epochs::no_memory() noexcept {
  return fail(Status::kMemory, "out of memory for a change's record");
}

// For one record, of the open epoch or of the next. Needs lane.lock.
bool Epochs::make_room(Lane& lane) noexcept {
  if (lane.spare == nullptr) [[unlikely]]
    lane.spare = take_chunk();
  return lane.spare != nullptr;
}

Status Epochs::record_removal(Collection& collection, Entry& old, bool* first) noexcept {
  Lane& lane = my_lane();
  std::lock_guard guard(lane.lock);
  if (!make_room(lane)) return no_memory();
  const uint32_t old_home = old.home();
  const uint64_t before = open();
  old.begin_removal();
  lane.removals = true;
  record(lane, {collection, nullptr, &old, old_home, join(old, before, first)});
  return Status::kOk;
}

// The writer's settle(): says which epoch it is. That is `before`, which was open earlier in this
// section, or the next one: no other can be opened before the section ends.
uint64_t Epochs::join(Entry& entry, uint64_t before, bool* first) noexcept {
  (void)settle(entry, first);
  return before + ((before ^ entry.home()) & 1);
}

// The epoch counts as changed before anybody sees that it is.
bool Epochs::settle(Entry& entry, bool* first) noexcept {
  const uint32_t state = entry.home();
  if (state == Entry::kPutting || state == Entry::kRemoving) {
    const uint64_t epoch = open();
    if (note_change(epoch)) *first = true;
    entry.change_home(state, Entry::joined(state, epoch));
  }
  return state < Entry::kRemoving;
}

bool Epochs::settle(Collection& collection, bool* first) noexcept {
  uint64_t ending = kEnding;
  if (collection.dropped_epoch.load(std::memory_order_seq_cst) == ending) {
    const uint64_t epoch = open();
    if (note_change(epoch)) *first = true;
    collection.dropped_epoch.compare_exchange_strong(ending, epoch, std::memory_order_seq_cst);
  }
  return false;
}

// Needs lane.lock.
void Epochs::record(Lane& lane, const Change& change) noexcept {
  const auto& [collection, entry, old, old_home, epoch] = change;
  const Entry& either = entry != nullptr ? *entry : *old;
  const auto key_bytes = static_cast<int64_t>(key_bytes_of(collection, either));
  const auto put_bytes = static_cast<int64_t>(entry != nullptr ? entry->value_size() : 0);
  const auto gone_bytes = static_cast<int64_t>(old != nullptr ? old->value_size() : 0);
  const auto member_bytes = static_cast<int64_t>(sizeof(Entry) + either.member_size());
  const int64_t entries = (old == nullptr ? 1 : 0) - (entry == nullptr ? 1 : 0);
  const Totals totals{.entries = entries,
                      .key_bytes = entries * key_bytes,
                      .value_bytes = put_bytes - gone_bytes,
                      .entry_bytes = put_bytes - gone_bytes + entries * member_bytes,
                      .bytes_accepted = key_bytes + put_bytes};
  DirtyRecord* record = old != nullptr ? own_record(old, old_home, epoch) : nullptr;
  const bool own = record != nullptr;
  uint32_t home = old_home;
  if (!own) record = append(lane, epoch, &home);
  uintptr_t fresh = old == nullptr ? DirtyRecord::kFresh : 0;
  if (own) fresh = record->word.load(std::memory_order_relaxed) & DirtyRecord::kFresh;
  uintptr_t word = entry != nullptr ? reinterpret_cast<uintptr_t>(entry) | fresh
                                    : reinterpret_cast<uintptr_t>(old) | DirtyRecord::kTombstone;
  int64_t dirty_bytes = kRecordOverheadBytes + totals.bytes_accepted;
  // Given back, when no reader can be looking any more: the table's reference and an own record's.
  // A tombstone keeps one, which the persister gives back after the seal.
  uint32_t references = own ? 2 : 1;
  if (entry != nullptr) {
    entry->set_home(home);
  } else if (fresh != 0) {
    word = 0;
    dirty_bytes = kRecordOverheadBytes;  // the record stays until the epoch is written
  } else {
    references--;
  }
  record->collection = &collection;
  record->word.store(word, std::memory_order_relaxed);
  if (own) dirty_bytes -= kRecordOverheadBytes + key_bytes + gone_bytes;
  count(lane, totals, dirty_bytes);
  if (old != nullptr && references != 0) {
    reclaimer::retire(old, old->bytes(), references == 2 ? dispose_both : dispose_one);
  }
}

void Epochs::record_drop(Collection& collection, const TableTotals& totals, bool* first) noexcept {
  {
    // One drop after the other joins an epoch, so the list is in their order.
    std::lock_guard guard(ended_lock_);
    collection.dropped_epoch.store(kEnding, std::memory_order_seq_cst);
    (void)settle(collection, first);
    append_ended(collection, collection.dropped_epoch.load(std::memory_order_relaxed));
  }
  const auto count_of = static_cast<int64_t>(totals.count);
  const auto member_bytes = static_cast<int64_t>(totals.key_bytes);
  const auto value_bytes = static_cast<int64_t>(totals.value_bytes);
  const auto name_bytes = static_cast<int64_t>(collection.key().size());
  const auto header_bytes = static_cast<int64_t>(sizeof(Entry));
  const Totals change{.entries = -count_of,
                      .key_bytes = -member_bytes - count_of * (name_bytes + 1),
                      .value_bytes = -value_bytes,
                      .entry_bytes = -count_of * header_bytes - member_bytes - value_bytes,
                      .bytes_accepted = name_bytes};
  Lane& lane = my_lane();
  std::lock_guard guard(lane.lock);
  lane.removals = true;
  count(lane, change, static_cast<int64_t>(dirty_bytes_of_drop(collection)));
}

// The record that `entry`, whose home that is or was, has in this epoch, or nullptr. Needs the lock
// of the entry's part.
DirtyRecord* Epochs::own_record(const Entry* entry, uint32_t home, uint64_t epoch) noexcept {
  if ((home & Entry::kDirty) == 0) return nullptr;
  home &= ~Entry::kDirty;
  uintptr_t place = place_of_id(home >> DirtyChunk::kIndexBits)->load(std::memory_order_acquire);
  if ((place & 1) != 0) return nullptr;
  auto* chunk = reinterpret_cast<DirtyChunk*>(place);
  if (chunk->epoch.load(std::memory_order_acquire) != epoch) return nullptr;
  DirtyRecord& record = chunk->records[home & ((1u << DirtyChunk::kIndexBits) - 1)];
  uintptr_t word = record.word.load(std::memory_order_relaxed);
  return DirtyRecord::entry(word) == entry ? &record : nullptr;
}

// After make_room(). Needs lane.lock.
DirtyRecord* Epochs::append(Lane& lane, uint64_t epoch, uint32_t* home) noexcept {
  DirtyChunk* chunk = lane.chunks.last();
  if (chunk == nullptr || chunk->count == DirtyChunk::kRecords ||
      chunk->epoch.load(std::memory_order_relaxed) != epoch) [[unlikely]] {
    chunk = std::exchange(lane.spare, nullptr);
    chunk->epoch.store(epoch, std::memory_order_release);
    chunk->count = 0;
    lane.chunks.push_last(chunk);
  }
  *home = chunk->home_of(chunk->count);
  return &chunk->records[chunk->count++];
}

// Needs lane.lock.
void Epochs::count(Lane& lane, const Totals& change, int64_t dirty_bytes) noexcept {
  lane.totals.add(change);
  lane.dirty_not_added += dirty_bytes;
  if (std::abs(lane.dirty_not_added) < dirty_bytes_step_) return;
  dirty_.fetch_add(lane.dirty_not_added, std::memory_order_relaxed);
  lane.dirty_not_added = 0;
}

// A full barrier when it returns true, so that whoever then finds the persister awake can rely on
// its seeing the change before it goes to sleep.
bool Epochs::note_change(uint64_t epoch) noexcept {
  uint64_t seen = newest_change_.load(std::memory_order_seq_cst);
  if (seen >= epoch) return false;
  uint64_t none = 0;  // before the change is seen; the first of those who come at once
  first_write_us_[epoch % 2].compare_exchange_strong(none, clock_.now_us(),
                                                     std::memory_order_relaxed);
  while (seen < epoch) {
    if (newest_change_.compare_exchange_weak(seen, epoch, std::memory_order_seq_cst)) return true;
  }
  return false;
}

// ---- Anyone.

uint64_t Epochs::open_since_us() const noexcept {
  const uint64_t epoch = open();
  return newest_change() == epoch ? first_write_us_[epoch % 2].load(std::memory_order_relaxed) : 0;
}

Totals Epochs::totals() const noexcept {
  Totals sum;
  for (const Lane& lane : lanes_) {
    std::lock_guard guard(lane.lock);
    sum.add(lane.totals);
  }
  // What one lane lost, another that was read earlier may have gained since.
  for (int64_t* part : {&sum.entries, &sum.key_bytes, &sum.value_bytes, &sum.entry_bytes}) {
    *part = std::max<int64_t>(0, *part);
  }
  return sum;
}

// ---- The persister.

Status Epochs::record_rescue(Collection& collection, Entry* entry) noexcept {
  uint64_t epoch = open();
  Lane& lane = my_lane();
  std::lock_guard guard(lane.lock);
  if (!make_room(lane)) return no_memory();
  uint32_t home;
  DirtyRecord* record = append(lane, epoch, &home);
  entry->pin();
  entry->set_home(home);
  record->collection = &collection;
  uintptr_t word = reinterpret_cast<uintptr_t>(entry) | DirtyRecord::kRescued;
  record->word.store(word, std::memory_order_relaxed);
  count(lane, {}, static_cast<int64_t>(dirty_bytes_of(collection, word)));
  note_change(epoch);
  return Status::kOk;
}

void Epochs::touch() noexcept { note_change(open()); }

void Epochs::end_if_empty(Catalog& catalog, Collection& collection) noexcept {
  TableTotals totals;
  if (!collection.members().seal(true, &totals)) return;
  const std::string_view name = collection.key();
  (void)catalog.update(KeyHash{}(name), name, false, [&](Collection*, auto&& replace) {
    note_ended(collection);
    replace(nullptr);
    return Status::kOk;
  });
}

void Epochs::note_ended(Collection& collection) noexcept {
  std::lock_guard guard(ended_lock_);
  append_ended(collection, open());
}

// Needs ended_lock_.
void Epochs::append_ended(Collection& collection, uint64_t epoch) noexcept {
  collection.ended_epoch = epoch;
  *ended_end_ = &collection;
  ended_end_ = &collection.next_ended;
}

bool Epochs::has_ended() noexcept {
  std::lock_guard guard(ended_lock_);
  return ended_first_ != nullptr;
}

Collection* Epochs::take_ended(uint64_t epoch) noexcept {
  std::lock_guard guard(ended_lock_);
  Collection* taken = ended_first_;
  Collection** end = &taken;
  while (*end != nullptr && (*end)->ended_epoch <= epoch) end = &(*end)->next_ended;
  ended_first_ = std::exchange(*end, nullptr);
  if (ended_first_ == nullptr) ended_end_ = &ended_first_;
  return taken;
}

SealedEpoch Epochs::seal() noexcept {
  SealedEpoch sealed;
  sealed.epoch = open_.load(std::memory_order_relaxed);
  open_.store(sealed.epoch + 1, std::memory_order_seq_cst);
  reclaimer::wait_for_readers();
  sealed.first_write_us = first_write_us_[sealed.epoch % 2].exchange(0, std::memory_order_relaxed);
  bool removals = false;
  for (Lane& lane : lanes_) {
    std::lock_guard guard(lane.lock);
    for (DirtyChunk* chunk = lane.chunks.first(); chunk != nullptr;) {
      DirtyChunk* next = chunk->links.next;
      if (chunk->epoch.load(std::memory_order_relaxed) == sealed.epoch) {
        lane.chunks.remove(chunk);
        sealed.chunks.push_last(chunk);
      }
      chunk = next;
    }
    dirty_.fetch_add(lane.dirty_not_added, std::memory_order_relaxed);
    lane.dirty_not_added = 0;
    removals |= std::exchange(lane.removals, false);
  }
  if (removals) reclaimer::wait_for_readers();
  return sealed;
}

void Epochs::add_totals(const Totals& totals) noexcept {
  std::lock_guard guard(lanes_[0].lock);
  lanes_[0].totals.add(totals);
}

// ---- Chunks.

std::atomic<uintptr_t>* Epochs::place_of_id(uint32_t id) noexcept {
  return blocks_[id / kIdsPerBlock].load(std::memory_order_acquire) + id % kIdsPerBlock;
}

DirtyChunk* Epochs::take_chunk() noexcept {
  std::lock_guard guard(chunks_lock_);
  DirtyChunk* chunk = free_chunks_.pop_first();
  if (chunk == nullptr) return make_chunk();
  free_count_--;
  return chunk;
}

// Needs chunks_lock_.
DirtyChunk* Epochs::make_chunk() noexcept {
  if (free_id_ == kNoId && !add_ids()) return nullptr;
  void* memory = arena_allocate(sizeof(DirtyChunk));
  if (memory == nullptr) return nullptr;
  auto* chunk = new (memory) DirtyChunk;
  chunk->id = free_id_;
  std::atomic<uintptr_t>& place = *place_of_id(free_id_);
  free_id_ = static_cast<uint32_t>(place.load(std::memory_order_relaxed) >> 1);
  place.store(reinterpret_cast<uintptr_t>(chunk), std::memory_order_release);
  return chunk;
}

// Needs chunks_lock_. A block of them, when there is no free one.
bool Epochs::add_ids() noexcept {
  if (blocks_used_ == kBlocks) return false;
  auto* block = static_cast<std::atomic<uintptr_t>*>(
      arena_allocate(kIdsPerBlock * sizeof(std::atomic<uintptr_t>)));
  if (block == nullptr) return false;
  const uint32_t first = blocks_used_ * kIdsPerBlock;
  for (uint32_t i = 0; i < kIdsPerBlock; i++) {
    const uint32_t next = i + 1 < kIdsPerBlock ? first + i + 1 : kNoId;
    new (&block[i]) std::atomic<uintptr_t>(uintptr_t{next} << 1 | 1);
  }
  blocks_[blocks_used_++].store(block, std::memory_order_release);
  free_id_ = first;
  return true;
}

void Epochs::free_chunk(DirtyChunk* chunk) noexcept {
  std::lock_guard guard(chunks_lock_);
  free_chunks_.push_first(chunk);
  free_count_++;
}

// Chunks that a burst left behind are taken out of reach, and freed after a grace period.
void Epochs::free_excess_chunks() noexcept {
  DirtyChunks excess;
  {
    std::lock_guard guard(chunks_lock_);
    for (; free_count_ > kFreeChunksMin; free_count_--) {
      DirtyChunk* chunk = free_chunks_.pop_first();
      place_of_id(chunk->id)->store(uintptr_t{free_id_} << 1 | 1, std::memory_order_release);
      free_id_ = chunk->id;
      excess.push_last(chunk);
    }
  }
  if (excess.empty()) return;
  reclaimer::wait_for_readers();
  while (DirtyChunk* chunk = excess.pop_first()) arena_free(chunk);
}

}  // namespace dskvs
