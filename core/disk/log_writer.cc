#include "disk/log_writer.h"

#include "checksum.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace dskvs {
namespace {

constexpr size_t kStagingBytes = size_t{512} << 10;
constexpr size_t kPiecesMax = 512;
constexpr uint64_t kLargeValueBytes = uint64_t{16} << 10;  // from here on not copied
// For headers and padding, and for what threads change that all saw the same room.
constexpr uint64_t kSpareBytes = uint64_t{512} << 10;
constexpr uint64_t kRotateBytes = uint64_t{1} << 20;  // so much may be left for a rotation to sync

static_assert(kStagingBytes >
              kFrameHeaderBytes + kKeyBytesMax + kLargeValueBytes + 8 + kCommitFrameBytes);

}  // namespace

LogWriter::LogWriter(Directory& directory, LogPosition position, uint64_t segment_bytes,
                     Worker* worker)
    : directory_(directory),
      worker_(worker),
      store_id_(position.store_id),
      segment_bytes_(segment_bytes),
      next_segment_id_(position.next_segment_id),
      written_{.epoch = position.recovered_epoch},
      durable_{.epoch = position.durable_epoch,
               .segment = position.durable_segment,
               .end = position.durable_offset},
      head_(position.head),
      live_(std::move(position.chain)),
      zombies_(std::move(position.zombies)),
      staging_(new std::byte[kStagingBytes]) {
  if (!live_.empty()) durable_.first_live = live_.front().id;
  pieces_.reserve(kPiecesMax);
  (void)find_reserve();
  look_for_room();
}

LogWriter::~LogWriter() {
  if (has_errand()) (void)worker_->wait();
}

Status LogWriter::begin(uint64_t last_epoch) {
  if (Status status = reserve_lists(); status != Status::kOk) return status;
  if (must_rotate()) {
    if (Status status = rotate(); status != Status::kOk) return status;
  }
  const bool fresh = file_ == nullptr;
  if (fresh) {
    if (Status status = create_segment(); status != Status::kOk) return status;
  }
  rotate_wanted_ = false;
  const uint64_t first_epoch = (fresh ? durable_.epoch : written_.epoch) + 1;
  batch_ = {.first_epoch = first_epoch, .last_epoch = last_epoch, .store_id = store_id_};
  return Status::kOk;
}

// So that nothing has to grow while a segment changes its place from one list to another.
Status LogWriter::reserve_lists() try {
  for (auto* list : {&live_, &abandoned_, &garbage_}) list->reserve(segments() + 4);
  return Status::kOk;
} catch (const std::bad_alloc&) {
  return fail(Status::kMemory, "no memory to write the log of '{}'", directory_.path());
}

bool LogWriter::must_rotate() const {
  if (file_ == nullptr) return false;
  if (rotate_wanted_ || offset_ >= 2 * segment_bytes_) return true;
  return segment_full() && !full_is_undurable() && !has_errand();
}

bool LogWriter::full_is_undurable() const {
  return segment_full() && undurable_bytes() > kRotateBytes;
}

uint64_t LogWriter::undurable_bytes() const {
  if (file_ == nullptr) return 0;
  return offset_ - (live_.back().id == durable_.segment ? durable_.end : kSegmentStart);
}

// What the full segment holds becomes durable before its successor is there.
Status LogWriter::rotate() {
  if (Status status = sync(); status != Status::kOk) return status;
  return file_ == nullptr ? Status::kOk : std::exchange(file_, nullptr)->close();
}

Status LogWriter::create_segment() {
  if (next_segment_id_ > kSegmentIdMax) {
    return fail(Status::kIo, "'{}' has used up all segment numbers", directory_.path());
  }
  const uint64_t id = next_segment_id_++;
  const SegmentName name(id);
  Status status =
      with_room([&] { return directory_.open_file(name.text, FileMode::kCreate, &file_); });
  if (status != Status::kOk) return status;
  live_.push_back({id, 0, 0});
  status = write_segment_header(id);
  if (status != Status::kOk) return abandon(status);
  written_.first_live = durable_.first_live == 0 ? id : durable_.first_live;
  seed_ = FrameSeed(store_id_, id);
  offset_ = kSegmentStart;
  make_reserve();
  return Status::kOk;
}

// The header is durable before the first frame is written: a segment that holds more than a bad
// header is then damaged, and never merely torn.
Status LogWriter::write_segment_header(uint64_t id) {
  encode_segment_header({.store_id = store_id_,
                         .segment_id = id,
                         .previous_segment = durable_.segment,
                         .previous_end = durable_.end,
                         .first_epoch = durable_.epoch + 1},
                        staging_.get());
  const Piece piece{staging_.get(), kBlockBytes};
  if (Status status = write({&piece, 1}, kBlockBytes); status != Status::kOk) return status;
  if (Status status = file_->sync(); status != Status::kOk) return status;
  return directory_.sync();
}

Status LogWriter::append(FrameType type, std::string_view collection, std::string_view member,
                         const void* value, uint64_t value_size) {
  if (file_ == nullptr) return fail(Status::kIo, "the log's batch has failed before");
  const size_t key_size = collection.size() + (type == FrameType::kDrop ? 0 : 1 + member.size());
  const bool large = value_size >= kLargeValueBytes;
  const uint64_t to_stage = frame_bytes(key_size, large ? 8 : value_size);
  if (Status status = make_room(to_stage); status != Status::kOk) return status;

  std::byte* to = staging_.get() + staged_bytes_ + kFrameHeaderBytes;
  std::memcpy(to, collection.data(), collection.size());
  if (type != FrameType::kDrop) {
    to[collection.size()] = std::byte{'/'};
    std::memcpy(to + collection.size() + 1, member.data(), member.size());
  }
  if (!large && value_size != 0) std::memcpy(to + key_size, value, value_size);
  const uint64_t sum =
      stage_frame(type, static_cast<uint16_t>(key_size), value_size, large ? value : nullptr);
  ++batch_.frames;
  batch_.bytes += frame_bytes(key_size, value_size);
  batch_.digest = add_to_digest(batch_.digest, sum);
  return Status::kOk;
}

// Makes a frame of the key, and the value unless it is large, that stand behind the place of its
// header. Returns its checksum.
uint64_t LogWriter::stage_frame(FrameType type, uint16_t key_size, uint64_t value_size,
                                const void* large_value) {
  std::byte* const frame = staging_.get() + staged_bytes_;
  const size_t staged = kFrameHeaderBytes + key_size + (large_value == nullptr ? value_size : 0);
  const uint64_t seed = seed_.at(offset_);
  encode_frame_header(type, key_size, value_size, seed, frame);
  staged_bytes_ += staged;
  uint64_t hash;
  if (large_value == nullptr) {
    hash = checksum(seed, frame + kChecksumFrom, staged - kChecksumFrom);
  } else {
    RunningChecksum running(seed);
    running.add(frame + kChecksumFrom, staged - kChecksumFrom);
    running.add(large_value, value_size);
    hash = running.value();
    cut_piece();
    pieces_.push_back({large_value, value_size});
  }
  const uint64_t bytes = frame_bytes(key_size, value_size);
  const size_t padding = bytes - kFrameHeaderBytes - key_size - value_size;
  std::memset(staging_.get() + staged_bytes_, 0, padding);
  staged_bytes_ += padding;
  offset_ += bytes;
  return store_checksum(hash, frame);
}

// And leaves room for the commit.
Status LogWriter::make_room(size_t bytes) {
  const bool fits =
      staged_bytes_ + bytes + kCommitFrameBytes <= kStagingBytes && pieces_.size() + 2 < kPiecesMax;
  if (fits) return Status::kOk;
  const Status status = flush();
  return status == Status::kOk ? status : abandon_after_write(status);
}

void LogWriter::cut_piece() {
  if (staged_bytes_ == cut_bytes_) return;
  pieces_.push_back({staging_.get() + cut_bytes_, staged_bytes_ - cut_bytes_});
  cut_bytes_ = staged_bytes_;
}

Status LogWriter::flush() {
  cut_piece();
  const Status status = write(pieces_, offset_ - live_.back().bytes);
  staged_bytes_ = cut_bytes_ = 0;
  pieces_.clear();
  return status;
}

// A full disk may be helped: a write that failed for want of room was refused before anything got
// dirty that could be forgotten, so the same bytes may be written to the same place again.
template <typename Call>
Status LogWriter::with_room(Call&& call) {
  const Status status = call();
  return status == Status::kSpace && free_room() ? call() : status;
}

Status LogWriter::write(std::span<const Piece> pieces, uint64_t bytes) {
  const Status status = with_room([&] { return file_->write(live_.back().bytes, pieces); });
  if (status != Status::kOk) return status;
  live_.back().bytes += bytes;
  bytes_written_ += bytes;
  if (free_bytes_ != UINT64_MAX) free_bytes_ -= std::min(free_bytes_, bytes);
  return Status::kOk;
}

Status LogWriter::commit(uint64_t first_live_segment) {
  if (file_ == nullptr) return fail(Status::kIo, "the log's batch has failed before");
  const uint64_t first_live = std::max(first_live_segment, written_.first_live);
  if (Status status = write_commit(first_live); status != Status::kOk) {
    return abandon_after_write(status);
  }
  written_ = {batch_.last_epoch, live_.back().id, offset_, first_live};
  live_.back().end = offset_;
  return Status::kOk;
}

Status LogWriter::write_commit(uint64_t first_live_segment) {
  batch_.durable_epoch = durable_.epoch;
  batch_.first_live_segment = first_live_segment;
  encode_commit_payload(batch_, staging_.get() + staged_bytes_ + kFrameHeaderBytes);
  stage_frame(FrameType::kCommit, 0, kCommitPayloadBytes, nullptr);
  return flush();
}

Status LogWriter::sync(bool waits) {
  if (Status status = finish_sync(); status != Status::kOk) return status;
  if (file_ == nullptr || durable_.epoch == written_.epoch) return Status::kOk;
  // When the padding cannot be written the segment is abandoned; that may have made all durable.
  if (Status status = write_padding(); status != Status::kOk) {
    status = abandon_after_write(status);
    return durable_.epoch == written_.epoch ? Status::kOk : status;
  }
  goal_ = written_;
  if (waits) return end_sync(file_->sync());
  errand_ = Errand::kSync;
  worker_->start([this] { return file_->sync(); });
  return Status::kOk;
}

void LogWriter::start_unlink() {
  errand_ = Errand::kUnlink;
  worker_->start(
      [this, id = garbage_.front().id] { return directory_.unlink(SegmentName(id).text); });
}

Status LogWriter::finish_errand() {
  if (errand_ == Errand::kUnlink) {
    errand_ = Errand::kNone;
    end_unlink(worker_->wait());
  }
  return finish_sync();
}

Status LogWriter::finish_sync() {
  if (errand_ != Errand::kSync) return Status::kOk;
  errand_ = Errand::kNone;
  return end_sync(worker_->wait());
}

// Of the first of the garbage. What cannot be unlinked now is tried again when something new
// happens; a file too many harms nobody.
void LogWriter::end_unlink(Status status) {
  --unlinks_to_try_;
  const SegmentFile segment = garbage_.front();
  garbage_.erase(garbage_.begin());
  look_for_room();
  if (status == Status::kOk || status == Status::kNotFound) return;
  garbage_.push_back(segment);
  unlink_error_ = KeptFailure(status);
}

Status LogWriter::end_sync(Status status) {
  if (status != Status::kOk) return abandon(status);
  became_durable();
  make_reserve();
  look_for_room();
  return Status::kOk;
}

// Up to the next block, so that what is about to be durable shares none with what comes after it.
Status LogWriter::write_padding() {
  uint64_t bytes = -offset_ % kBlockBytes;
  if (bytes == 0) return Status::kOk;
  if (bytes < kFrameHeaderBytes) bytes += kBlockBytes;
  bytes -= kFrameHeaderBytes;
  std::memset(staging_.get() + staged_bytes_ + kFrameHeaderBytes, 0, bytes);
  stage_frame(FrameType::kPad, 0, bytes, nullptr);
  return flush();
}

void LogWriter::became_durable() {
  durable_ = goal_;
  ++syncs_;
  const auto first_live = first_in_use(durable_);
  garbage_.insert(garbage_.end(), live_.cbegin(), first_live);
  live_.erase(live_.cbegin(), first_live);
  garbage_.insert(garbage_.end(), zombies_.begin(), zombies_.end());
  zombies_.clear();
  garbage_.insert(garbage_.end(), abandoned_.begin(), abandoned_.end());
  abandoned_.clear();
  retry_unlinks();
}

// After a failed write, unlike after a failed sync, the batches before it can still be made
// durable; what the failed write left behind them is no part of the log.
Status LogWriter::abandon_after_write(Status status) {
  if (Status synced = finish_sync(); synced != Status::kOk) return synced;  // abandoned already
  const bool holds_undurable = live_.back().end != 0 && written_.epoch > durable_.epoch;
  if (holds_undurable && file_->sync() == Status::kOk) {
    goal_ = written_;
    became_durable();
  }
  SegmentFile& left = live_.back();
  if (left.end != 0) cut_behind(left, left.end);
  return abandon(status);
}

Status LogWriter::abandon(Status status) {
  (void)std::exchange(file_, nullptr)->close();
  written_.first_live = durable_.first_live;
  SegmentFile left = live_.back();
  live_.pop_back();
  if (left.id == durable_.segment) {
    left.end = durable_.end;
    live_.push_back(left);
  } else if (left.end == 0) {
    garbage_.push_back(left);
  } else {  // it repeats all that the one left before it holds
    garbage_.insert(garbage_.end(), abandoned_.begin(), abandoned_.end());
    abandoned_.assign(1, left);
  }
  retry_unlinks();
  look_for_room();
  return status;
}

void LogWriter::pin() {
  if (pins_++ == 0) pinned_from_ = live_.empty() ? next_segment_id_ : live_.front().id;
  pinned_through_ = next_segment_id_ - 1;
}

void LogWriter::unpin() {
  --pins_;
  retry_unlinks();
}

void LogWriter::retry_unlinks() {
  // What is being unlinked stays in front.
  const auto first = garbage_.begin() + (errand_ == Errand::kUnlink ? 1 : 0);
  const auto pinned = std::stable_partition(first, garbage_.end(), [&](const SegmentFile& s) {
    return pins_ == 0 || s.id < pinned_from_ || s.id > pinned_through_;
  });
  unlinks_to_try_ = static_cast<size_t>(pinned - garbage_.begin());
  unlink_error_ = {};
  if (worker_ == nullptr) unlink_garbage();
}

void LogWriter::unlink_garbage() {
  while (has_files_to_unlink()) {
    end_unlink(directory_.unlink(SegmentName(garbage_.front().id).text));
  }
}

// The last record says that all before it was durable, so that the next open has nothing to write
// again. It needs no sync of its own: without it the next open only trusts less.
Status LogWriter::close() {
  if (Status status = finish_errand(); status != Status::kOk) return status;
  if (Status status = sync(); status != Status::kOk) return status;
  unlink_garbage();
  if (file_ == nullptr) return Status::kOk;
  // An empty range: it commits nothing.
  batch_ = {.first_epoch = written_.epoch + 1, .last_epoch = written_.epoch, .store_id = store_id_};
  (void)write_commit(written_.first_live);
  return std::exchange(file_, nullptr)->close();
}

void LogWriter::give_up() {
  (void)finish_errand();
  unlink_garbage();
  make_reserve();
}

std::vector<SegmentFile>::const_iterator LogWriter::first_in_use(const Point& commit) const {
  return std::ranges::lower_bound(live_, commit.first_live, {}, &SegmentFile::id);
}

uint64_t LogWriter::bytes_in_use() const {
  uint64_t bytes = 0;
  for (const SegmentFile& segment : segments_in_use()) bytes += segment.bytes;
  return bytes;
}

uint64_t LogWriter::segments() const {
  return live_.size() + zombies_.size() + abandoned_.size() + garbage_.size();
}

uint64_t LogWriter::disk_bytes() const {
  uint64_t bytes = reserve_bytes_;
  for (const auto* list : {&live_, &zombies_, &abandoned_, &garbage_}) {
    for (const SegmentFile& segment : *list) bytes += segment.bytes;
  }
  return bytes;
}

uint64_t LogWriter::room_bytes() const {
  if (free_bytes_ == UINT64_MAX) return UINT64_MAX;
  const uint64_t bytes = free_bytes_ + std::min(kReserveBytes, reserve_bytes_);
  return bytes - std::min(bytes, kSpareBytes);
}

// Whether there is one, of whatever size.
bool LogWriter::find_reserve() {
  std::unique_ptr<File> file;
  Status status = directory_.open_file(kReserveName, FileMode::kRead, &file);
  if (status == Status::kOk) status = file->size(&reserve_bytes_);
  reserve_works_ = status == Status::kOk || status == Status::kNotFound;
  return status == Status::kOk;
}

// Room that is given up when the disk is full, so that removals, and the close, still get through.
// Not before anything is durable: where there is a reserve, recovery misses a log that is gone.
void LogWriter::make_reserve() {
  if (reserve_bytes_ >= kReserveBytes || !reserve_works_ || durable_.epoch == 0) return;
  const bool too_small = find_reserve();  // as a crash may leave it
  if (too_small && directory_.unlink(kReserveName) != Status::kOk) reserve_works_ = false;
  if (!reserve_works_) return;
  reserve_bytes_ = 0;
  std::unique_ptr<File> file;
  if (directory_.open_file(kReserveName, FileMode::kCreate, &file) != Status::kOk) return;
  const Status status = file->allocate(kReserveBytes);
  if (status == Status::kOk) {
    reserve_bytes_ = kReserveBytes;
    look_for_room();
    return;
  }
  file.reset();
  reserve_works_ = directory_.unlink(kReserveName) == Status::kOk && status == Status::kSpace;
}

// On a full disk: the reserve, and what the session before could not write either.
bool LogWriter::free_room() {
  bool freed = reserve_bytes_ != 0 && directory_.unlink(kReserveName) == Status::kOk;
  reserve_bytes_ = 0;
  const auto useless = std::stable_partition(zombies_.begin(), zombies_.end(),
                                             [](const SegmentFile& s) { return s.end != 0; });
  for (auto segment = useless; segment != zombies_.end(); ++segment) {
    if (directory_.unlink(SegmentName(segment->id).text) == Status::kOk) freed = true;
  }
  zombies_.erase(useless, zombies_.end());
  for (auto* list : {&live_, &zombies_}) {
    for (SegmentFile& found : *list) {
      // Behind the durable point, what was written in this session may stand.
      if (found.id == segment() || (found.id == durable_.segment && found.id != head_.id)) continue;
      const uint64_t bytes = found.bytes;
      cut_behind(found, found.id == head_.id ? head_.end : found.end);
      if (found.bytes < bytes) freed = true;
    }
  }
  return freed;
}

// Whole blocks: durable bytes share none with what changes.
void LogWriter::cut_behind(SegmentFile& segment, uint64_t end) {
  const uint64_t bytes = (end + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
  directory_.cut(SegmentName(segment.id).text, bytes);
  segment.bytes = std::min(segment.bytes, bytes);
}

}  // namespace dskvs
