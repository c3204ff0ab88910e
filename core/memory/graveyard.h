// What has ended and still is of use: dropped collections until their drop is durable, and removals
// until they are. Both belong to the persister's thread.
#pragma once

#include "memory/epoch.h"

#include <utility>

namespace dskvs {

// Ended collections, in the order of their ended_epoch. Their entries are freed in small steps, and
// they themselves when their names are no longer needed.
class Graveyard {
 public:
  Graveyard() = default;
  Graveyard(const Graveyard&) = delete;
  Graveyard& operator=(const Graveyard&) = delete;
  ~Graveyard() {
    while (emptying_ != nullptr) empty_one_part();
    free_up_to(kNeverEnded);
  }

  // A list through next_ended; no section that could see their entries is open any more.
  void add(Collection* list) noexcept {
    *end_ = list;
    if (emptying_ == nullptr) emptying_ = list;
    while (*end_ != nullptr) end_ = &(*end_)->next_ended;
  }

  [[nodiscard]] bool has_entries() const noexcept { return emptying_ != nullptr; }

  void empty_one_part() noexcept {
    emptying_->members().take_part(&cursor_, [](Entry* entry) { entry->unpin(); });
    if (cursor_ == 0) emptying_ = emptying_->next_ended;
  }

  // Frees those that ended in epochs up to this one and are empty.
  void free_up_to(uint64_t epoch) noexcept {
    while (first_ != nullptr && first_ != emptying_ && first_->ended_epoch <= epoch) {
      Collection::free(std::exchange(first_, first_->next_ended));
    }
    if (first_ == nullptr) end_ = &first_;
  }

  [[nodiscard]] const Collection* first() const noexcept { return first_; }

 private:
  Collection* first_ = nullptr;
  Collection** end_ = &first_;      // where the next one goes
  Collection* emptying_ = nullptr;  // the first that still has entries
  uint64_t cursor_ = 0;             // in it
};

// Tombstones that are written and not yet durable, in the order of their epochs. They stand in the
// chunks that they came in, moved together, so keeping them takes no memory that was not there; a
// chunk's epoch is that of its youngest. They name collections that may have ended since: none that
// ended in oldest_epoch() or later may be freed.
class RetainedRemovals {
 public:
  explicit RetainedRemovals(Epochs& epochs) noexcept : epochs_(epochs) {}
  RetainedRemovals(const RetainedRemovals&) = delete;
  RetainedRemovals& operator=(const RetainedRemovals&) = delete;
  ~RetainedRemovals() { release_up_to(kNeverEnded); }

  // Takes the chunk, and its records that are not void: tombstones, all of them, of epochs up to
  // `epoch`.
  void add(DirtyChunk* chunk, uint64_t epoch) noexcept {
    if (chunks_.empty()) oldest_epoch_ = epoch;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < chunk->count; i++) {
      DirtyRecord& record = chunk->records[i];
      uintptr_t word = record.word.exchange(0, std::memory_order_relaxed);
      if (word == 0) continue;
      DirtyChunk* last = chunks_.last();
      bool room = last != nullptr && last->count < DirtyChunk::kRecords;
      DirtyRecord& place = room ? last->records[last->count++] : chunk->records[kept++];
      place.collection = record.collection;
      place.word.store(word, std::memory_order_relaxed);
      (room ? last : chunk)->epoch.store(epoch, std::memory_order_relaxed);
      newest_epoch_ = epoch;
    }
    chunk->count = kept;
    if (kept == 0) return epochs_.free_chunk(chunk);
    chunks_.push_last(chunk);
  }

  // Gives back chunk by chunk, as far as these epochs have all of it.
  void release_up_to(uint64_t epoch) noexcept {
    while (chunks_.first() != nullptr &&
           chunks_.first()->epoch.load(std::memory_order_relaxed) <= epoch) {
      DirtyChunk* chunk = chunks_.pop_first();
      oldest_epoch_ = chunk->epoch.load(std::memory_order_relaxed);
      for (uint32_t i = 0; i < chunk->count; i++) {
        uintptr_t word = chunk->records[i].word.exchange(0, std::memory_order_relaxed);
        DirtyRecord::entry(word)->unpin();
      }
      epochs_.free_chunk(chunk);
    }
  }

  [[nodiscard]] const DirtyChunk* first() const noexcept { return chunks_.first(); }
  // All are of epochs from the oldest to the newest; kNeverEnded: there are none.
  [[nodiscard]] uint64_t oldest_epoch() const noexcept {
    return chunks_.empty() ? kNeverEnded : oldest_epoch_;
  }
  [[nodiscard]] uint64_t newest_epoch() const noexcept { return newest_epoch_; }

 private:
  Epochs& epochs_;
  DirtyChunks chunks_;
  uint64_t oldest_epoch_ = 0;
  uint64_t newest_epoch_ = 0;
};

}  // namespace dskvs
