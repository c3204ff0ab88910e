"""Plants faults in a copy of the core, so that the crash tests can show that they would find them.

Each fault is a replacement of text in one source. The copies decide at run time, by the number in
planted_fault, whether they run the replacement or the original, so one build holds all faults, and
the product's sources hold none. A text that is not there exactly once fails the build: a fault that
can no longer be planted is not silently lost.

usage: plant.py CORE_DIRECTORY OUTPUT_DIRECTORY
"""

import pathlib
import re
import sys

# (name, what it breaks, source, original, replacement); in the replacement, PLANTED is a condition.
FAULTS = [
    ("directory_not_synced", "a new segment's name is not durable",
     "disk/log_writer.cc", "  return directory_.sync();\n",
     "  return PLANTED ? Status::kOk : directory_.sync();\n"),
    ("entry_not_synced", "the store's directory is not durable",
     "disk/store_directory.cc", "  return found.store ? Status::kOk : (*directory)->sync_entry();\n",
     "  return found.store || PLANTED ? Status::kOk : (*directory)->sync_entry();\n"),
    ("header_not_synced", "frames are durable before their segment's header",
     "disk/log_writer.cc",
     "  if (Status status = file_->sync(); status != Status::kOk) return status;\n",
     "  if (Status status = PLANTED ? Status::kOk : file_->sync(); status != Status::kOk) {\n"
     "    return status;\n  }\n"),
    ("data_not_synced", "durable is reported without a sync",
     "disk/log_writer.cc", "end_sync(file_->sync());",
     "end_sync(PLANTED ? Status::kOk : file_->sync());"),
    ("data_not_synced", "and without one on the other thread",
     "disk/log_writer.cc", "  worker_->start([this] { return file_->sync(); });\n",
     "  worker_->start([this] { return PLANTED ? Status::kOk : file_->sync(); });\n"),
    ("sync_retried", "a failed sync is tried again on the same file",
     "disk/log_writer.cc",
     "  if (status != Status::kOk) return abandon(status);\n  became_durable();\n  make_reserve();\n",
     "  if (status != Status::kOk && (!(PLANTED) || file_->sync() != Status::kOk)) {\n"
     "    return abandon(status);\n  }\n  became_durable();\n  make_reserve();\n"),
    ("sync_error_ignored", "a failed sync counts as one",
     "disk/log_writer.cc",
     "  if (status != Status::kOk) return abandon(status);\n  became_durable();\n  make_reserve();\n",
     "  if (status != Status::kOk && !(PLANTED)) return abandon(status);\n"
     "  became_durable();\n  make_reserve();\n"),
    ("sync_covers_later_epochs", "what is written while a sync is under way counts as durable with it",
     "disk/log_writer.cc", "  durable_ = goal_;\n",
     "  durable_ = goal_;\n  durable_.epoch = written_.epoch;\n"),
    ("sync_covers_later_cleaning", "segments go though the commit that says so came after the sync began",
     "disk/log_writer.cc", "  durable_ = goal_;\n",
     "  durable_ = goal_;\n  durable_.first_live = written_.first_live;\n"),
    ("write_error_ignored", "a short or failed write counts as one",
     "disk/log_writer.cc",
     "  if (status != Status::kOk) return status;\n  live_.back().bytes += bytes;",
     "  if (status != Status::kOk && !(PLANTED)) return status;\n  live_.back().bytes += bytes;"),
    ("no_padding", "durable bytes share a block with later writes",
     "disk/log_writer.cc", "  if (bytes == 0) return Status::kOk;\n  if (bytes < kFrameHeaderBytes)",
     "  if (bytes == 0 || PLANTED) return Status::kOk;\n  if (bytes < kFrameHeaderBytes)"),
    ("rotation_without_sync", "a segment has a successor before it is durable",
     "disk/log_writer.cc",
     "  if (Status status = sync(); status != Status::kOk) return status;\n"
     "  return file_ == nullptr ?",
     "  if (Status status = PLANTED ? Status::kOk : sync(); status != Status::kOk) return status;\n"
     "  return file_ == nullptr ?"),
    ("append_to_torn_tail", "after an unclean open the old file is written to",
     "disk/log_writer.cc",
     "  if (fresh) {\n    if (Status status = create_segment(); status != Status::kOk) return status;",
     "  if (PLANTED && fresh && !live_.empty() && live_.back().end > kSegmentStart &&\n"
     "      directory_.open_file(SegmentName(live_.back().id).text, FileMode::kRead, &file_) ==\n"
     "          Status::kOk) {\n"
     "    written_.first_live = durable_.first_live;\n"
     "    seed_ = FrameSeed(store_id_, live_.back().id);\n"
     "    offset_ = live_.back().bytes = live_.back().end;\n"
     "    staged_bytes_ = cut_bytes_ = 0;\n"
     "    pieces_.clear();\n"
     "  } else if (fresh) {\n"
     "    if (Status status = create_segment(); status != Status::kOk) return status;"),
    ("commit_claims_durable", "a commit records its own past as durable when it is only written",
     "disk/log_writer.cc", "batch_.durable_epoch = durable_.epoch;",
     "batch_.durable_epoch = PLANTED ? written_.epoch : durable_.epoch;"),
    ("unlink_before_durable", "cleaned segments go before the commit that replaces them is durable",
     "disk/log_writer.cc", "  live_.back().end = offset_;\n  return Status::kOk;\n}\n\n"
     "Status LogWriter::write_commit",
     "  live_.back().end = offset_;\n"
     "  while (PLANTED && !has_errand() && live_.front().id < first_live) {\n"
     "    garbage_.push_back(live_.front());\n    live_.erase(live_.begin());\n  }\n"
     "  if (PLANTED && !has_errand()) {\n"
     "    unlinks_to_try_ = garbage_.size();\n    unlink_garbage();\n  }\n  return Status::kOk;\n}\n\n"
     "Status LogWriter::write_commit"),
    ("zombies_unlinked_early", "what a crash left goes before its contents are durable again",
     "disk/log_writer.cc", "  live_.push_back({id, 0, 0});\n",
     "  if (PLANTED && !has_errand()) {\n"
     "    garbage_.insert(garbage_.end(), zombies_.begin(), zombies_.end());\n"
     "    zombies_.clear();\n    unlinks_to_try_ = garbage_.size();\n    unlink_garbage();\n  }\n"
     "  live_.push_back({id, 0, 0});\n"),
    ("abandoned_unlinked_early", "an abandoned segment goes while it holds written epochs",
     "disk/log_writer.cc", "    abandoned_.assign(1, left);\n",
     "    if (PLANTED) {\n      garbage_.push_back(left);\n    } else {\n"
     "      abandoned_.assign(1, left);\n    }\n"),
    ("close_without_sync", "close reports success and syncs nothing",
     "disk/log_writer.cc",
     "  if (Status status = sync(); status != Status::kOk) return status;\n  unlink_garbage();",
     "  if (Status status = PLANTED ? Status::kOk : sync(); status != Status::kOk) return status;\n"
     "  unlink_garbage();"),
    ("close_without_sync", "and thinks that all is durable",
     "persister/persister.cc",
     "while (heal_wanted_ || something_changed() || !all_is_durable()) {",
     "while (heal_wanted_ || something_changed() || !(PLANTED || all_is_durable())) {"),
    ("close_without_sync", "and does not look again",
     "persister/persister.cc",
     "if (status != Status::kOk || log_.durable_epoch() >= epochs_.newest_change()) return",
     "if (status != Status::kOk || PLANTED || log_.durable_epoch() >= epochs_.newest_change()) return"),
    ("range_from_written", "after an abandonment the next batch claims to follow the written epoch",
     "disk/log_writer.cc", "(fresh ? durable_.epoch : written_.epoch) + 1;",
     "(fresh && !(PLANTED) ? durable_.epoch : written_.epoch) + 1;"),
    ("checksum_skips_value", "the frame's checksum does not cover the value",
     "disk/log_writer.cc", "checksum(seed, frame + kChecksumFrom, staged - kChecksumFrom);",
     "checksum(seed, frame + kChecksumFrom,\n"
     "                 staged - kChecksumFrom - (PLANTED && type == FrameType::kPut ? value_size : 0));"),
    ("checksum_skips_value", "and the reader's neither",
     "disk/segment_reader.cc",
     "    const uint64_t hash = checksum(seed, at + kChecksumFrom, unpadded - kChecksumFrom);",
     "    const bool skips = PLANTED && header.type == FrameType::kPut;\n"
     "    const uint64_t hash = checksum(seed, at + kChecksumFrom,\n"
     "                                   unpadded - kChecksumFrom - (skips ? header.value_size : 0));"),
    ("checksum_not_checked", "a frame counts though its checksum is wrong",
     "disk/segment_reader.cc", "if (stored_checksum(hash) != header.checksum)",
     "if (stored_checksum(hash) != header.checksum && !(PLANTED))"),
    ("large_checksum_not_checked", "a large value counts though its checksum is wrong",
     "disk/segment_reader.cc", "  const bool right = stored_checksum(hash.value()) == frame->checksum;",
     "  const bool right = PLANTED || stored_checksum(hash.value()) == frame->checksum;"),
    ("resync_past_bad_frame", "reading goes on behind a bad frame, and epochs may be missing",
     "disk/segment_replay.cc", "    if (kind != nullptr) {\n",
     "    if (PLANTED && frame.what == Next::kBad) {\n"
     "      reader.seek(reader.offset() + 8);\n"
     "      if (Status status = reader.find_header(false); status != Status::kOk) return status;\n"
     "      continue;\n    }\n"
     "    if (kind != nullptr) {\n"),
    ("resync_past_bad_frame", "its commit is taken though another epoch should come first",
     "disk/segment_replay.cc", "payload.first_epoch == to->last_epoch + 1 &&",
     "(PLANTED || payload.first_epoch == to->last_epoch + 1) &&"),
    ("uncommitted_frames_count", "a batch counts without its commit",
     "disk/recovery.cc", "  chain_.push_back({head_, head_found_->end});",
     "  chain_.push_back({head_, PLANTED ? head_found_->stop : head_found_->end});"),
    ("reserve_before_durable", "the reserve is there before there is a log that could be missed",
     "disk/log_writer.cc", "!reserve_works_ || durable_.epoch == 0) return;",
     "!reserve_works_ || (durable_.epoch == 0 && !(PLANTED))) return;"),
    ("first_live_ignored", "segments that were cleaned away are missed",
     "disk/recovery.cc",
     "if (header.previous_segment == 0 || header.previous_segment < first_live) return",
     "if (header.previous_segment == 0 || (header.previous_segment < first_live && !(PLANTED))) "
     "return"),
    ("head_is_newest_file", "a segment counts before its first commit does",
     "disk/recovery.cc", "    if (found->end == 0) continue;",
     "    if (found->end == 0 && !(PLANTED)) continue;"),
    ("recovered_claims_durable", "what open finds is called durable",
     "disk/recovery.cc", "    position.durable_epoch = head_found_->durable_epoch;",
     "    position.durable_epoch = PLANTED ? head_found_->last_epoch : head_found_->durable_epoch;"),
    ("torn_header_is_damage", "a segment that was being created when the power went ends the store",
     "disk/log_survey.cc",
     "info->bytes > kSegmentStart ? SegmentState::kBad : SegmentState::kTorn;",
     "info->bytes > kSegmentStart || PLANTED ? SegmentState::kBad : SegmentState::kTorn;"),
    ("tombstones_not_written", "removals stay in memory",
     "persister/epoch_writer.cc", "          removals ? log_.remove(collection.key(), entry.key())\n",
     "          removals && PLANTED ? Status::kOk\n"
     "          : removals ? log_.remove(collection.key(), entry.key())\n"),
    ("drops_not_written", "delete_all stays in memory",
     "persister/epoch_writer.cc", "    Status status = log_.drop(c->key());",
     "    if (PLANTED) continue;\n    Status status = log_.drop(c->key());"),
    ("drop_after_puts", "delete_all takes what was put after it in the same epoch",
     "persister/epoch_writer.cc", "  if (status != Status::kOk) return status;\n  return log_.commit(",
     "  if (PLANTED && status == Status::kOk) status = write_drops(log_.batch_first_epoch() - 1);\n"
     "  if (status != Status::kOk) return status;\n  return log_.commit("),
    ("removals_not_retained", "after a failure, or an unclean open, removals are forgotten",
     "persister/epoch_writer.cc", "status = write_records(true, retained_.first(), 0);",
     "status = PLANTED ? Status::kOk : write_records(true, retained_.first(), 0);"),
    ("drops_not_retained", "and so are dropped collections",
     "persister/epoch_writer.cc", "status = write_drops(log_.batch_first_epoch() - 1);",
     "status = write_drops(PLANTED ? log_.written_epoch() : log_.batch_first_epoch() - 1);"),
    ("recovered_not_relogged", "what open found above the durable epoch is not written again",
     "persister/persister.cc", "heal_wanted_(!all_is_durable())",
     "heal_wanted_(!all_is_durable() && !(PLANTED))"),
    ("failed_not_rescued", "what a failed file held is not written again",
     "persister/rescuer.cc", "if (home > clean_through_ && home < lost_from_) return",
     "if (home > clean_through_ && (home < lost_from_ || PLANTED)) return"),
    ("last_segment_not_cleaned", "cleaning leaves the entries of its last segment behind",
     "persister/rescuer.cc", "if (home > clean_through_ && home < lost_from_) return",
     "if ((home > clean_through_ || (PLANTED && home == clean_through_)) && home < lost_from_) return"),
    ("cleaned_too_early", "segments are called dead while the sweep is under way",
     "persister/rescuer.cc", "return sweep_.active() ? 0 : clean_through_;",
     "return sweep_.active() && !(PLANTED) ? 0 : clean_through_;"),
    ("written_before_write", "written is reported before the write",
     "persister/persister.cc", "  Status status = writer_.write(",
     "  if (PLANTED) {\n    figures_.written_epoch = sealed.epoch;\n"
     "    reception_.publish(figures_);\n  }\n"
     "  Status status = writer_.write("),
    ("durable_with_write", "durable is reported with the write",
     "persister/persister.cc", "  figures_.durable_epoch = log_.durable_epoch();\n  figures_.disk_bytes",
     "  figures_.durable_epoch = PLANTED ? log_.written_epoch() : log_.durable_epoch();\n"
     "  figures_.disk_bytes"),
    ("newest_is_written", "coalescing writes what came after the seal",
     "persister/epoch_writer.cc", "      const Entry& entry = *DirtyRecord::entry(word);\n",
     "      const Entry* newest = nullptr;\n"
     "      if (PLANTED && !removals) {\n        ReadSection section;\n"
     "        std::string_view member = DirtyRecord::entry(word)->key();\n"
     "        newest = const_cast<Collection&>(collection).members().find(KeyHash{}(member), member);\n      }\n"
     "      const Entry& entry = newest != nullptr ? *newest : *DirtyRecord::entry(word);\n"),
    ("loaded_not_unsettled", "recovered puts above the durable epoch are taken for durable",
     "loader.cc", " puts_.front()->set_home(Entry::kNowhere);",
     " if (!(PLANTED)) puts_.front()->set_home(Entry::kNowhere);"),
    ("loaded_removals_lost", "recovered removals above the durable epoch are forgotten",
     "loader.cc", "    Status status = add_removal(removals_.front(), epochs, removals);",
     "    Status status = PLANTED ? Status::kOk : add_removal(removals_.front(), epochs, removals);"),
    ("epoch_numbers_reused", "after a crash epochs begin behind the durable one",
     "store.cc", "position.recovered_epoch + 1,", "(PLANTED ? position.durable_epoch : position.recovered_epoch) + 1,"),
    ("always_fresh", "a removal of what is already on disk leaves no tombstone",
     "memory/epoch.cc", "  uintptr_t fresh = old == nullptr ? DirtyRecord::kFresh : 0;",
     "  uintptr_t fresh = old == nullptr || PLANTED ? DirtyRecord::kFresh : 0;"),
    ("overwrite_not_recorded", "an overwrite within an epoch is not written",
     "memory/epoch.cc", "  record->word.store(word, std::memory_order_relaxed);\n  if (own)",
     "  if (PLANTED && own && entry != nullptr) {\n    entry->unpin();\n"
     "    entry->set_home(Entry::kNowhere);\n  } else {\n"
     "    record->word.store(word, std::memory_order_relaxed);\n  }\n  if (own)"),
]


def numbers():
    """The fault's number by its name, from 1; one fault may change several places."""
    result = {}
    for name, *_ in FAULTS:
        result.setdefault(name, len(result) + 1)
    return result


def apply_all(text, faults, number, source):
    """Replaces each original once. Faults that share an original are nested as alternatives."""
    by_original = {}
    for name, _, _, original, replacement in faults:
        by_original.setdefault(original, []).append((name, replacement))
    places = []
    for original, plants in by_original.items():
        if text.count(original) != 1:
            sys.exit(f"plant.py: {source}: {plants[0][0]}: found {text.count(original)} times, "
                     f"not once: {original!r}")
        if len(plants) == 1:
            name, replacement = plants[0]
            new = replacement.replace("PLANTED", f"::dskvs::planted({number[name]})")
        else:
            new = alternatives(original, plants, number)
        places.append((text.index(original), len(original), new))
    for at, size, new in sorted(places, reverse=True):
        text = text[:at] + new + text[at + size:]
    return text


# Which of several faults at one place is planted is a question of the condition, and of whole
# statements: `if (planted(a)) { ... } else if (planted(b)) { ... } else { original }`.
def alternatives(original, plants, number):
    lead = re.match(r"\s*", original).group(0)
    rest = original.strip()
    if rest.endswith(";"):
        chain = "".join(
            f"if (::dskvs::planted({number[name]})) {{\n"
            f"{replacement.strip().replace('PLANTED', 'true')}\n}} else "
            for name, replacement in plants)
        return f"{lead}{chain}{{\n{rest}\n}}\n"
    if rest.endswith(" return"):
        # A guarded return: the conditions of all, joined.
        conditions = [re.fullmatch(r"if \((.*)\) return", r.strip().replace(
            "PLANTED", f"::dskvs::planted({number[n]})"), re.S).group(1) for n, r in plants]
        return f"if (({conditions[0]}) || ({conditions[1]})) return"
    sys.exit(f"plant.py: no way to plant two faults at {original!r}")


def main():
    core, output = map(pathlib.Path, sys.argv[1:])
    number = numbers()
    for source in sorted({fault[2] for fault in FAULTS}):
        faults = [fault for fault in FAULTS if fault[2] == source]
        text = apply_all((core / source).read_text(), faults, number, source)
        target = output / source
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text('#include "crash/planted.h"\n' + text)
    said = {}
    for name, breaks, *_ in FAULTS:
        said.setdefault(name, breaks)
    lines = [f'{{{number[name]}, "{name}", "{breaks}"}},\n' for name, breaks in said.items()]
    (output / "planted_faults.inc").write_text("".join(lines))


if __name__ == "__main__":
    main()
