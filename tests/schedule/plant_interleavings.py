#!/usr/bin/env python3
"""Faults that only an interleaving of threads brings to light, for ../crash/plant.py to plant.

Beside the files with faults it puts copies of all others: headers have faults, too, and a header
finds first what lies beside it. What is read stands in a depfile.
"""

from __future__ import annotations

import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "crash"))
import plant  # noqa: E402

FAULTS = [
    ("sealed_passed_over", "a sweep passes over a collection that is sealed and not yet dropped",
     "memory/table.h", "      if (part->dead) continue;\n      for (uint32_t i = 0;",
     "      if (part->dead) continue;\n"
     "      if (PLANTED && sealed_.load(std::memory_order_relaxed)) break;\n"
     "      for (uint32_t i = 0;"),
    ("straggler_not_awaited", "a writer joins an epoch that is sealed",
     "memory/epoch.cc",
     "  open_.store(sealed.epoch + 1, std::memory_order_seq_cst);\n  reclaimer::wait_for_readers();",
     "  open_.store(sealed.epoch + 1, std::memory_order_seq_cst);\n"
     "  if (!PLANTED) reclaimer::wait_for_readers();"),
    ("sleep_after_look", "the persister looks for changes and then says that it sleeps",
     "persister/reception.cc",
     "  sleeping_.store(until_change, std::memory_order_seq_cst);\n",
     "  const uint64_t looked_us = PLANTED ? pause_us(false) : 0;\n"
     "  sleeping_.store(until_change, std::memory_order_seq_cst);\n"),
    ("sleep_after_look", "and sleeps as long as it seemed before",
     "persister/reception.cc", "std::min(pause_us(requests), kPauseUsMax);",
     "std::min(PLANTED ? looked_us : pause_us(requests), kPauseUsMax);"),
    ("errand_end_unseen", "the end of a sync is not looked for under the lock",
     "persister/persister.cc", "  if (log_.errand_has_ended()) return 0;\n  uint64_t due",
     "  if (!PLANTED && log_.errand_has_ended()) return 0;\n  uint64_t due"),
    ("reader_not_awaited", "what a reader looks at is freed",
     "memory/reclaimer.cc", "  return entered != 0 && entered < before;",
     "  return entered != 0 && entered < before && !PLANTED;"),
    ("epoch_taken_early", "a put takes its epoch's number before the lock of its part",
     "memory/epoch.h", "class Epochs {\n public:\n",
     "inline thread_local uint64_t early_epoch = 0;\n\nclass Epochs {\n public:\n"),
    ("epoch_taken_early", "early", "store.cc", "  return collection.members().update(",
     "  early_epoch = epochs_->open();\n  return collection.members().update("),
    ("epoch_taken_early", "and uses it",
     "memory/epoch.h", "    record(lane, {collection, &entry, old, old_home, join(entry, before, first)});",
     "    uint64_t epoch = join(entry, before, first);\n    if (PLANTED) epoch = early_epoch;\n"
     "    record(lane, {collection, &entry, old, old_home, epoch});"),
    ("entry_not_settled", "a reader does not let a put or removal join an epoch",
     "store.cc", "entry->home() < Entry::kPutting ||", "entry->home() < Entry::kPutting || PLANTED ||"),
    ("reader_wakes_nobody", "a reader who makes an epoch's first change join it wakes nobody",
     "store.cc", "  if (first) persister_->reception().wake();\n  return is_there",
     "  if (first && !PLANTED) persister_->reception().wake();\n  return is_there"),
    ("drop_not_settled", "a reader does not let a delete_all join an epoch",
     "store.cc", "dropped == kNeverEnded ||", "dropped == kNeverEnded || PLANTED ||"),
    ("drop_taken_early", "delete_all takes its epoch's number before it seals the collection",
     "store.cc", "    TableTotals totals;\n    if (!collection->members().seal(",
     "    const uint64_t early = epochs_->open();\n"
     "    TableTotals totals;\n    if (!collection->members().seal("),
    ("drop_taken_early", "and uses it",
     "store.cc", "      epochs_->record_drop(*collection, totals, &first);\n",
     "      epochs_->record_drop(*collection, totals, &first);\n"
     "      if (PLANTED) collection->dropped_epoch.store(early);\n"),
    ("new_collection_lost", "two that make a collection at once both put it into the catalog",
     "store.cc", "        if (current != nullptr) return Status::kClosed;",
     "        if (current != nullptr && !(PLANTED)) return Status::kClosed;"),
    ("seal_without_locks", "who ends a collection does not wait for who is inside",
     "memory/table.h", "      std::lock_guard part_guard(part.lock);\n",
     "      std::unique_lock part_guard(part.lock, std::defer_lock);\n"
     "      if (!(PLANTED)) part_guard.lock();\n"),
    ("ended_before_end", "the Worker wakes the persister before its job counts as ended",
     "disk/worker.cc", "    result_ = KeptFailure(job_());\n    state_.store(State::kEnded",
     "    result_ = KeptFailure(job_());\n    if (PLANTED) ended_();\n    state_.store(State::kEnded"),
    ("ended_before_end", "and not after it",
     "disk/worker.cc", "    state_.notify_all();\n    ended_();",
     "    state_.notify_all();\n    if (!(PLANTED)) ended_();"),
    ("wake_not_sent", "the first change of an epoch wakes nobody",
     "store.cc", "    if (first) persister_->reception().wake();\n    if (status == Status::kMemory",
     "    if (first && !PLANTED) persister_->reception().wake();\n    if (status == Status::kMemory"),
]


def main():
    core, output = map(pathlib.Path, sys.argv[1:])
    plant.FAULTS = FAULTS
    shutil.rmtree(output, ignore_errors=True)  # a header that is gone must not be found there
    shutil.copytree(core, output, copy_function=shutil.copyfile)
    plant.main()
    files = sorted(str(path).replace(" ", "\\ ") for path in core.rglob("*") if path.is_file())
    (output / "planted_faults.d").write_text(f"{output}/planted_faults.inc: {' '.join(files)}\n")


if __name__ == "__main__":
    main()
