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

Totals& Totals::operator+=(const Totals& other) noexcept {
  entries += other.entries;
  key_bytes += other.key_bytes;
  value_bytes += other.value_bytes;
  entry_bytes += other.entry_bytes;
  dirty_bytes += other.dirty_bytes;
  bytes_accepted += other.bytes_accepted;
  return *this;
}

Totals totals_of(const Collection& collection, const Entry& entry) noexcept {
  return {.entries = 1,
          .key_bytes = static_cast<int64_t>(key_bytes_of(collection, entry)),
          .value_bytes = static_cast<int64_t>(entry.value_size()),
          .entry_bytes = static_cast<int64_t>(entry.bytes())};
}

Totals operator-(const Totals& totals) noexcept {
  return {.entries = -totals.entries,
          .key_bytes = -totals.key_bytes,
          .value_bytes = -totals.value_bytes,
          .entry_bytes = -totals.entry_bytes,
          .dirty_bytes = -totals.dirty_bytes,
          .bytes_accepted = -totals.bytes_accepted};
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
  for (uint32_t id = 0; id < ids_used_; id++) {
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

Status Epochs::record_put(Collection& collection, Entry* entry, Entry* old, bool* first) noexcept {
  uint64_t epoch = open();
  Totals change;
  uint64_t key_bytes = key_bytes_of(collection, *entry);
  change.value_bytes = static_cast<int64_t>(entry->value_size());
  change.entry_bytes = static_cast<int64_t>(entry->bytes());
  if (old != nullptr) {
    change.value_bytes -= static_cast<int64_t>(old->value_size());
    change.entry_bytes -= static_cast<int64_t>(old->bytes());
  }
  change.bytes_accepted = static_cast<int64_t>(key_bytes + entry->value_size());
  Lane& lane = my_lane();
  std::lock_guard guard(lane.lock);
  DirtyRecord* record = old != nullptr ? own_record(old, epoch) : nullptr;
  if (record != nullptr) {
    uintptr_t fresh = record->word.load(std::memory_order_relaxed) & DirtyRecord::kFresh;
    entry->set_references(2);
    entry->set_home(old->home());
    record->word.store(reinterpret_cast<uintptr_t>(entry) | fresh, std::memory_order_relaxed);
    change.dirty_bytes = change.value_bytes;
    count(lane, change);
    reclaimer::retire(old, old->bytes(), dispose_both);
    *first = false;
    return Status::kOk;
  }
  uint32_t home;
  record = append(lane, epoch, &home);
  if (record == nullptr) return fail(Status::kMemory, "out of memory for a change's record");
  uintptr_t fresh = old == nullptr ? DirtyRecord::kFresh : 0;
  entry->set_references(2);
  entry->set_home(home);
  record->collection = &collection;
  record->word.store(reinterpret_cast<uintptr_t>(entry) | fresh, std::memory_order_relaxed);
  change.dirty_bytes = static_cast<int64_t>(kRecordOverheadBytes + key_bytes + entry->value_size());
  if (old == nullptr) {
    change.entries = 1;
    change.key_bytes = static_cast<int64_t>(key_bytes);
  } else {
    reclaimer::retire(old, old->bytes(), dispose_one);
  }
  count(lane, change);
  *first = note_change(epoch);
  return Status::kOk;
}

Status Epochs::record_remove(Collection& collection, Entry* old, bool* first) noexcept {
  uint64_t epoch = open();
  uint64_t key_bytes = key_bytes_of(collection, *old);
  Totals change = -totals_of(collection, *old);
  change.bytes_accepted = static_cast<int64_t>(key_bytes);
  Lane& lane = my_lane();
  std::lock_guard guard(lane.lock);
  lane.removals = true;
  DirtyRecord* record = own_record(old, epoch);
  if (record != nullptr) {
    uintptr_t word = record->word.load(std::memory_order_relaxed);
    if ((word & DirtyRecord::kFresh) != 0) {
      change.dirty_bytes = -static_cast<int64_t>(dirty_bytes_of(collection, word));
      record->word.store(0, std::memory_order_relaxed);
      reclaimer::retire(old, old->bytes(), dispose_both);
    } else {
      change.dirty_bytes = change.value_bytes;
      record->word.store(reinterpret_cast<uintptr_t>(old) | DirtyRecord::kTombstone,
                         std::memory_order_relaxed);
      reclaimer::retire(old, old->bytes(), dispose_one);
    }
    count(lane, change);
    *first = false;
    return Status::kOk;
  }
  uint32_t home;
  record = append(lane, epoch, &home);
  if (record == nullptr) return fail(Status::kMemory, "out of memory for a change's record");
  // The table's reference becomes the record's: the persister gives it back after the seal, when
  // nobody can be looking at the entry any more.
  record->collection = &collection;
  record->word.store(reinterpret_cast<uintptr_t>(old) | DirtyRecord::kTombstone,
                     std::memory_order_relaxed);
  change.dirty_bytes = static_cast<int64_t>(kRecordOverheadBytes + key_bytes);
  count(lane, change);
  *first = note_change(epoch);
  return Status::kOk;
}

void Epochs::record_drop(Collection& collection, const TableTotals& totals, bool* first) noexcept {
  uint64_t epoch;
  {
    std::lock_guard guard(ended_lock_);
    epoch = open();
    collection.dropped_epoch.store(epoch, std::memory_order_release);
    append_ended(collection, epoch);
  }
  Totals change;
  change.entries = -static_cast<int64_t>(totals.count);
  change.key_bytes =
      -static_cast<int64_t>(totals.key_bytes + totals.count * (collection.key().size() + 1));
  change.value_bytes = -static_cast<int64_t>(totals.value_bytes);
  change.entry_bytes =
      -static_cast<int64_t>(totals.count * sizeof(Entry) + totals.key_bytes + totals.value_bytes);
  change.bytes_accepted = static_cast<int64_t>(collection.key().size());
  Lane& lane = my_lane();
  std::lock_guard guard(lane.lock);
  lane.removals = true;
  count(lane, change);
  *first = note_change(epoch);
}

// The record that `entry` has in this epoch, or nullptr. Needs the lock of the entry's part.
DirtyRecord* Epochs::own_record(const Entry* entry, uint64_t epoch) noexcept {
  uint32_t home = entry->home();
  if ((home & Entry::kDirty) == 0) return nullptr;
  home &= ~Entry::kDirty;
  uintptr_t place = place_of_id(home >> kIndexBits)->load(std::memory_order_acquire);
  if (place == 0 || (place & 1) != 0) return nullptr;
  auto* chunk = reinterpret_cast<DirtyChunk*>(place);
  if (chunk->epoch.load(std::memory_order_acquire) != epoch) return nullptr;
  DirtyRecord& record = chunk->records[home & ((1u << kIndexBits) - 1)];
  uintptr_t word = record.word.load(std::memory_order_relaxed);
  return DirtyRecord::entry(word) == entry ? &record : nullptr;
}

// Needs lane.lock. nullptr: no memory.
DirtyRecord* Epochs::append(Lane& lane, uint64_t epoch, uint32_t* home) noexcept {
  DirtyChunk* chunk = lane.current;
  if (chunk == nullptr || chunk->count == DirtyChunk::kRecords ||
      chunk->epoch.load(std::memory_order_relaxed) != epoch) [[unlikely]] {
    chunk = take_chunk();
    if (chunk == nullptr) return nullptr;
    chunk->epoch.store(epoch, std::memory_order_release);
    chunk->count = 0;
    chunk->next = nullptr;
    (lane.current == nullptr ? lane.first : lane.current->next) = chunk;
    lane.current = chunk;
  }
  *home = Entry::kDirty | chunk->id << kIndexBits | chunk->count;
  return &chunk->records[chunk->count++];
}

// Needs lane.lock.
void Epochs::count(Lane& lane, const Totals& change) noexcept {
  lane.totals += change;
  lane.dirty_not_added += change.dirty_bytes;
  if (std::abs(lane.dirty_not_added) < dirty_bytes_step_) return;
  dirty_.fetch_add(lane.dirty_not_added, std::memory_order_relaxed);
  lane.dirty_not_added = 0;
}

// A full barrier when it returns true, so that whoever then finds the persister awake can rely on
// its seeing the change before it goes to sleep.
bool Epochs::note_change(uint64_t epoch) noexcept {
  uint64_t seen = newest_change_.load(std::memory_order_relaxed);
  while (seen < epoch) {
    if (newest_change_.compare_exchange_weak(seen, epoch, std::memory_order_seq_cst)) {
      first_write_us_.store(clock_.now_us(), std::memory_order_relaxed);
      return true;
    }
  }
  return false;
}

// ---- Anyone.

uint64_t Epochs::open_since_us() const noexcept {
  return newest_change() == open() ? first_write_us_.load(std::memory_order_relaxed) : 0;
}

Totals Epochs::totals() const noexcept {
  Totals sum;
  for (const Lane& lane : lanes_) {
    std::lock_guard guard(lane.lock);
    sum += lane.totals;
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
  uint32_t home;
  DirtyRecord* record = append(lane, epoch, &home);
  if (record == nullptr) return fail(Status::kMemory, "out of memory for a change's record");
  uintptr_t word = reinterpret_cast<uintptr_t>(entry) | DirtyRecord::kRescued;
  entry->pin();
  entry->set_home(home);
  record->collection = &collection;
  record->word.store(word, std::memory_order_relaxed);
  Totals change;
  change.dirty_bytes = static_cast<int64_t>(dirty_bytes_of(collection, word));
  count(lane, change);
  note_change(epoch);
  return Status::kOk;
}

void Epochs::touch() noexcept { note_change(open()); }

void Epochs::note_ended(Collection& collection) noexcept {
  std::lock_guard guard(ended_lock_);
  append_ended(collection, open());
}

// Needs ended_lock_.
void Epochs::append_ended(Collection& collection, uint64_t epoch) noexcept {
  collection.ended_epoch = epoch;
  (ended_last_ == nullptr ? ended_first_ : ended_last_->next_ended) = &collection;
  ended_last_ = &collection;
}

Collection* Epochs::take_ended(uint64_t epoch) noexcept {
  std::lock_guard guard(ended_lock_);
  Collection* taken = ended_first_;
  Collection* last = nullptr;
  while (ended_first_ != nullptr && ended_first_->ended_epoch <= epoch) {
    last = ended_first_;
    ended_first_ = ended_first_->next_ended;
  }
  if (last == nullptr) return nullptr;
  last->next_ended = nullptr;
  if (ended_first_ == nullptr) ended_last_ = nullptr;
  return taken;
}

SealedEpoch Epochs::seal() noexcept {
  SealedEpoch sealed;
  sealed.epoch = open_.load(std::memory_order_relaxed);
  sealed.first_write_us = first_write_us_.load(std::memory_order_relaxed);
  open_.store(sealed.epoch + 1, std::memory_order_seq_cst);
  reclaimer::wait_for_readers();
  bool removals = false;
  DirtyChunk** tail = &sealed.chunks;
  for (Lane& lane : lanes_) {
    std::lock_guard guard(lane.lock);
    DirtyChunk* later = nullptr;
    DirtyChunk** later_tail = &later;
    lane.current = nullptr;
    for (DirtyChunk* chunk = lane.first; chunk != nullptr;) {
      DirtyChunk* next = chunk->next;
      chunk->next = nullptr;
      if (chunk->epoch.load(std::memory_order_relaxed) == sealed.epoch) {
        *tail = chunk;
        tail = &chunk->next;
      } else {
        *later_tail = chunk;
        later_tail = &chunk->next;
        lane.current = chunk;
      }
      chunk = next;
    }
    lane.first = later;
    dirty_.fetch_add(lane.dirty_not_added, std::memory_order_relaxed);
    lane.dirty_not_added = 0;
    removals |= std::exchange(lane.removals, false);
  }
  if (removals) reclaimer::wait_for_readers();
  return sealed;
}

void Epochs::add_totals(const Totals& totals) noexcept {
  std::lock_guard guard(lanes_[0].lock);
  lanes_[0].totals += totals;
}

// ---- Chunks.

std::atomic<uintptr_t>* Epochs::place_of_id(uint32_t id) noexcept {
  return blocks_[id / kIdsPerBlock].load(std::memory_order_acquire) + id % kIdsPerBlock;
}

DirtyChunk* Epochs::take_chunk() noexcept {
  std::lock_guard guard(chunks_lock_);
  if (free_chunks_ == nullptr) return make_chunk();
  DirtyChunk* chunk = free_chunks_;
  free_chunks_ = chunk->next;
  free_count_--;
  return chunk;
}

// Needs chunks_lock_.
DirtyChunk* Epochs::make_chunk() noexcept {
  uint32_t id = free_id_ != kNoId ? free_id_ : ids_used_;
  if (id == kNoId) return nullptr;
  if (id == ids_used_ && id % kIdsPerBlock == 0 &&
      blocks_[id / kIdsPerBlock].load(std::memory_order_relaxed) == nullptr) {
    void* memory = arena_allocate(kIdsPerBlock * sizeof(std::atomic<uintptr_t>));
    if (memory == nullptr) return nullptr;
    auto* block = static_cast<std::atomic<uintptr_t>*>(memory);
    for (uint32_t i = 0; i < kIdsPerBlock; i++) new (&block[i]) std::atomic<uintptr_t>(0);
    blocks_[id / kIdsPerBlock].store(block, std::memory_order_release);
  }
  void* memory = arena_allocate(sizeof(DirtyChunk));
  if (memory == nullptr) return nullptr;
  auto* chunk = new (memory) DirtyChunk;
  chunk->id = id;
  if (id == ids_used_) {
    ids_used_++;
  } else {
    free_id_ = static_cast<uint32_t>(place_of_id(id)->load(std::memory_order_relaxed) >> 1);
  }
  place_of_id(id)->store(reinterpret_cast<uintptr_t>(chunk), std::memory_order_release);
  return chunk;
}

void Epochs::free_chunk(DirtyChunk* chunk) noexcept {
  std::lock_guard guard(chunks_lock_);
  chunk->next = free_chunks_;
  free_chunks_ = chunk;
  free_count_++;
}

void Epochs::free_excess_chunks() noexcept {
  DirtyChunk* excess = take_excess_chunks();
  if (excess == nullptr) return;
  reclaimer::wait_for_readers();
  while (excess != nullptr) {
    DirtyChunk* next = excess->next;
    arena_free(excess);
    excess = next;
  }
}

// Chunks that a burst left behind, taken out of reach: they can be freed after a grace period.
DirtyChunk* Epochs::take_excess_chunks() noexcept {
  std::lock_guard guard(chunks_lock_);
  DirtyChunk* excess = nullptr;
  while (free_count_ > kFreeChunksMin) {
    DirtyChunk* chunk = free_chunks_;
    free_chunks_ = chunk->next;
    free_count_--;
    place_of_id(chunk->id)->store(uintptr_t{free_id_} << 1 | 1, std::memory_order_release);
    free_id_ = chunk->id;
    chunk->next = excess;
    excess = chunk;
  }
  return excess;
}

}  // namespace dskvs
