#include "persister/epoch_writer.h"

#include <algorithm>
#include <utility>

namespace dskvs {
namespace {

static_assert(kRecordOverheadBytes == kFrameHeaderBytes + 7, "a frame ends with up to 7 bytes");

constexpr uint32_t kEmptyPartsAtOnce = 32;

// The entry of a record that comes up soon.
void prefetch_entry(const DirtyChunk& chunk, uint32_t i) noexcept {
  constexpr uint32_t kAhead = 8;
  if (i + kAhead >= chunk.count) return;
  const DirtyRecord& later = chunk.records[i + kAhead];
  __builtin_prefetch(DirtyRecord::entry(later.word.load(std::memory_order_relaxed)));
}

}  // namespace

EpochWriter::EpochWriter(Catalog& catalog, Epochs& epochs, LogWriter& log,
                         DirtyChunks removals) noexcept
    : catalog_(catalog), epochs_(epochs), log_(log), retained_(epochs) {
  while (DirtyChunk* chunk = removals.pop_first()) retained_.add(chunk, log_.written_epoch());
}

Status EpochWriter::write(const SealedEpoch& sealed, uint64_t cleaned_through) {
  Collection* const ended = epochs_.take_ended(sealed.epoch);
  for (const Collection* c = ended; c != nullptr; c = c->next_ended) {
    const bool dropped = c->dropped_epoch.load(std::memory_order_relaxed) == sealed.epoch;
    if (dropped) dropped_bytes_ += dirty_bytes_of_drop(*c);
  }
  graveyard_.add(ended);
  Status status = log_.begin(sealed.epoch);
  if (status != Status::kOk) return status;
  status = write_drops(log_.batch_first_epoch() - 1);
  // What was removed above the range's beginning, in batches that failed among others. In a range
  // that begins later they would come after puts that are written and need not be rescued.
  bool begins_before = log_.batch_first_epoch() <= retained_.newest_epoch();
  if (status == Status::kOk && begins_before) status = write_records(true, retained_.first(), 0);
  if (status == Status::kOk) status = write_records(true, sealed.chunks.first(), sealed.epoch);
  if (status == Status::kOk) status = write_records(false, sealed.chunks.first(), sealed.epoch);
  if (status != Status::kOk) return status;
  return log_.commit(cleaned_through + 1);
}

Status EpochWriter::write_drops(uint64_t above_epoch) {
  for (const Collection* c = graveyard_.first(); c != nullptr; c = c->next_ended) {
    uint64_t dropped = c->dropped_epoch.load(std::memory_order_relaxed);
    if (dropped == kNeverEnded || dropped <= above_epoch) continue;
    Status status = log_.drop(c->key());
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

// The removals among the records of an epoch, or its puts. Those of a collection that the epoch
// drops are void: the drop stands in front of them, and what was put after it belongs to a new
// collection of that name.
Status EpochWriter::write_records(bool removals, const DirtyChunk* chunks, uint64_t epoch) {
  for (const DirtyChunk* chunk = chunks; chunk != nullptr; chunk = chunk->links.next) {
    for (uint32_t i = 0; i < chunk->count; i++) {
      if (!removals) prefetch_entry(*chunk, i);
      const DirtyRecord& record = chunk->records[i];
      uintptr_t word = record.word.load(std::memory_order_relaxed);
      if (word == 0 || ((word & DirtyRecord::kTombstone) != 0) != removals) continue;
      const Collection& collection = *record.collection;
      if (collection.dropped_epoch.load(std::memory_order_relaxed) <= epoch) continue;
      const Entry& entry = *DirtyRecord::entry(word);
      Status status =
          removals ? log_.remove(collection.key(), entry.key())
                   : log_.put(collection.key(), entry.key(), entry.value(), entry.value_size());
      if (status != Status::kOk) return status;
    }
  }
  return Status::kOk;
}

uint64_t EpochWriter::settle(SealedEpoch& sealed, uint32_t home) noexcept {
  const bool failed = home == Entry::kNowhere;
  uint64_t put_bytes = 0;
  uint64_t removed_bytes = std::exchange(dropped_bytes_, 0);
  uint64_t rescued_bytes = 0;
  while (DirtyChunk* chunk = sealed.chunks.pop_first()) {
    for (uint32_t i = 0; i < chunk->count; i++) {
      prefetch_entry(*chunk, i);
      DirtyRecord& record = chunk->records[i];
      uintptr_t word = record.word.load(std::memory_order_relaxed);
      bool tombstone = (word & DirtyRecord::kTombstone) != 0;
      if (word == 0 || tombstone) remove_if_empty(*record.collection);
      if (word == 0) {
        put_bytes += kRecordOverheadBytes;
        continue;
      }
      uint64_t bytes = dirty_bytes_of(*record.collection, word);
      (tombstone ? removed_bytes : put_bytes) += bytes;
      if ((word & DirtyRecord::kRescued) != 0) rescued_bytes += bytes;
      uint64_t dropped = record.collection->dropped_epoch.load(std::memory_order_relaxed);
      if (tombstone && dropped > sealed.epoch) {  // retained
        if (failed) shed_value(record);
        continue;
      }
      Entry* entry = DirtyRecord::entry(word);
      // Unless it is being removed.
      if (!tombstone) entry->change_home(chunk->home_of(i), home);
      record.word.store(0, std::memory_order_relaxed);
      entry->unpin();
    }
    retained_.add(chunk, sealed.epoch);
  }
  if (failed) {
    failed_put_bytes_ += put_bytes;
    failed_removed_bytes_ += removed_bytes;
  } else {
    epochs_.subtract_dirty(put_bytes + removed_bytes + std::exchange(failed_removed_bytes_, 0));
  }
  return rescued_bytes;
}

// Of a removal, only the key is needed; and while the disk fails, removals pile up.
void EpochWriter::shed_value(DirtyRecord& record) noexcept {
  Entry* whole = DirtyRecord::entry(record.word.load(std::memory_order_relaxed));
  Entry* name = whole->value_size() == 0 ? nullptr : Entry::make(whole->key(), 0);
  if (name == nullptr) return;
  record.word.store(reinterpret_cast<uintptr_t>(name) | DirtyRecord::kTombstone,
                    std::memory_order_relaxed);
  whole->unpin();
}

void EpochWriter::forget_failed() noexcept {
  epochs_.subtract_dirty(std::exchange(failed_put_bytes_, 0));
}

void EpochWriter::became_durable(bool sweeping) noexcept {
  retained_.release_up_to(log_.durable_epoch());
  if (!sweeping) free_ended();
}

void EpochWriter::free_ended() noexcept {
  graveyard_.free_up_to(std::min(log_.durable_epoch(), retained_.oldest_epoch() - 1));
}

bool EpochWriter::empty_ended(bool sweeping) noexcept {
  if (!graveyard_.has_entries()) return false;
  for (uint32_t i = 0; i < kEmptyPartsAtOnce && graveyard_.has_entries(); i++) {
    graveyard_.empty_one_part();
  }
  if (!sweeping) free_ended();
  return true;
}

// Takes a collection out of the catalog when its last member is gone.
void EpochWriter::remove_if_empty(Collection& collection) noexcept {
  if (collection.members().count() != 0) return;
  reclaimer::prepare_to_retire();
  ReadSection section;
  epochs_.end_if_empty(catalog_, collection);
}

}  // namespace dskvs
