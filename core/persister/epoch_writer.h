// What the log gets of an epoch: its drops, removals and puts, in this order, and a commit.
//
// Removals leave no entry that could be written again (see Rescuer). They are retained, with the
// names of dropped collections, until they are durable. A range of epochs that continues from the
// durable one, after a failure or an open that was not clean, begins with all of them.
// Why the range is right: it must hold each key that changed above the durable epoch, as it is at
// the range's end. The newest change of such a key is in the epoch being sealed (a record), or it
// was written, or failed to be, and its entry is still current (rescued, which makes a record), or
// it was a removal (retained).
//
// The persister's thread alone.
#pragma once

#include "disk/log_writer.h"
#include "memory/epoch.h"
#include "memory/graveyard.h"

namespace dskvs {

class EpochWriter {
 public:
  EpochWriter(Catalog& catalog, Epochs& epochs, LogWriter& log, DirtyChunks removals) noexcept;

  // Writes the epoch as one batch, led, if the log continues from the durable epoch, by all that is
  // retained. Its commit says that everything of use stands behind segment `cleaned_through`, if
  // that is not 0.
  Status write(const SealedEpoch& sealed, uint64_t cleaned_through);
  // After write(): the entries stand in segment `home`, or, because it failed, in kNowhere. Gives
  // the records' references back, but for removals. Returns how many bytes of it were rescued.
  uint64_t settle(SealedEpoch& sealed, uint32_t home) noexcept;
  // The puts that failed to be written are about to be recorded anew.
  void forget_failed() noexcept;
  // The log's durable epoch may have moved; `sweeping`: no Collection may be freed.
  void became_durable(bool sweeping) noexcept;
  // Frees some entries of ended collections. False: there are none.
  bool empty_ended(bool sweeping) noexcept;

 private:
  Status write_drops(uint64_t above_epoch);
  Status write_records(bool removals, const DirtyChunk* chunks, uint64_t epoch);
  void remove_if_empty(Collection& collection) noexcept;
  void shed_value(DirtyRecord& record) noexcept;
  void free_ended() noexcept;

  Catalog& catalog_;
  Epochs& epochs_;
  LogWriter& log_;
  Graveyard graveyard_;
  RetainedRemovals retained_;
  // Of failed batches: dirty, the puts without records, the removals until a batch has led with
  // them.
  uint64_t failed_put_bytes_ = 0;
  uint64_t failed_removed_bytes_ = 0;
  uint64_t dropped_bytes_ = 0;  // dirty, of the drops of the epoch between write() and settle()
};

}  // namespace dskvs
