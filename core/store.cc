#include "store.h"

#include "disk/store_directory.h"
#include "loader.h"
#include "store_copy.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace dskvs {
namespace {

// One for each processor and one that waits for the disk, and few enough that what they hold is a
// small part of the store.
uint32_t segments_at_once(const Environment& environment) noexcept {
  constexpr uint32_t kMax = 8;
  if (environment.manual_persister) return 1;
  return std::clamp(std::thread::hardware_concurrency() + 1, 1u, kMax);
}

int64_t growth(const Entry* entry, const Entry* old) noexcept {
  return static_cast<int64_t>((entry == nullptr ? 0 : entry->bytes()) -
                              (old == nullptr ? 0 : old->bytes()));
}

// Not a yield: a thread of lower priority may have to run.
void sleep_a_little() noexcept { std::this_thread::sleep_for(std::chrono::microseconds(20)); }

}  // namespace

// ---- Open.

Store::Store(const Environment& environment, const Options& options,
             std::unique_ptr<Directory> directory)
    : environment_(environment),
      options_(options),
      directory_(std::move(directory)),
      catalog_(catalog_figures_) {}

Store::~Store() {
  persister_.reset();
  clear_catalog(catalog_);
}

Status Store::open(const char* path, const Options& options, const Environment& environment,
                   std::unique_ptr<Store>* store) {
  if (!reclaimer::register_thread()) return fail(Status::kMemory, "no memory to open '{}'", path);
  std::unique_ptr<Directory> directory;
  Status status = open_store_directory(environment.files, path, options.presence, &directory);
  if (status == Status::kOk && !options.read_only) status = directory->lock(kLockName);
  if (status == Status::kOk) status = refuse_unfinished(*directory);
  if (status != Status::kOk) return status;
  std::unique_ptr<Store> opened(new Store(environment, options, std::move(directory)));
  status = opened->load();
  if (status == Status::kOk) *store = std::move(opened);
  return status;
}

Status Store::load() {
  std::optional<Loader> loader;
  LogPosition position;
  Status status = read_beside_writer(*directory_, [&] {
    loader.reset();
    clear_catalog(catalog_);
    loader.emplace(catalog_, collection_figures_);
    return recover(*directory_, options_.progress, &*loader, segments_at_once(environment_),
                   &position, &report_);
  });
  if (status != Status::kOk) return status;
  if (position.store_id == StoreId{}) {
    environment_.random(position.store_id.data(), position.store_id.size());
  }
  // Little beside what may be dirty, and, with 32 lanes, beside the slack of the log.
  const uint64_t dirty_bytes_step =
      std::min(environment_.log_shape.slack_bytes / 4096, options_.dirty_bytes_max / 64);
  epochs_.emplace(environment_.clock, position.recovered_epoch + 1, dirty_bytes_step);
  DirtyChunks removals;
  status = loader->finish(*epochs_, &removals);
  charged_bytes_.store(epochs_->totals().entry_bytes);
  const bool start = position.recovered_epoch > position.durable_epoch;
  persister_.emplace(environment_, options_, *directory_, std::move(position), catalog_, *epochs_,
                     removals);
  if (status != Status::kOk) return status;
  return start && !options_.read_only ? persister_->start() : Status::kOk;
}

// ---- One key.

// A reader who comes to a change that is in no epoch yet lets it join one, see Epochs.

Entry* Store::find(const HashedKey& key) noexcept {
  Collection* collection = find(key.collection_hash, key.collection);
  if (collection == nullptr) return nullptr;
  Entry* entry = collection->members().find(key.member_hash, key.member);
  const bool is_there = entry == nullptr || entry->home() < Entry::kPutting || settle(*entry);
  return is_there ? entry : nullptr;
}

inline Collection* Store::find(uint64_t hash, std::string_view name) noexcept {
  Collection* collection = catalog_.find(hash, name);
  if (collection == nullptr) return nullptr;
  const uint64_t dropped = collection->dropped_epoch.load(std::memory_order_seq_cst);
  return dropped == kNeverEnded || settle(*collection) ? collection : nullptr;
}

template <typename Node>
bool Store::settle(Node& node) noexcept {
  bool first = false;
  const bool is_there = epochs_->settle(node, &first);
  if (first) persister_->reception().wake();
  return is_there;
}

void Store::prefetch(const HashedKey& key) const noexcept {
  Collection* collection = catalog_.find(key.collection_hash, key.collection);
  if (collection != nullptr) collection->members().prefetch(key.member_hash);
}

Status Store::check_writable() noexcept {
  if (options_.read_only) return fail(Status::kReadOnly, "the store was opened with read_only");
  return persister_->start();
}

Status Store::put(const HashedKey& key, Entry* entry, Condition condition) noexcept {
  Status status = check_writable();
  if (status != Status::kOk) return status;
  const bool must_exist = condition && *condition != nullptr;
  const bool may_insert = entry != nullptr && !must_exist;
  for (;;) {
    bool first = false;
    if (Collection* collection = catalog_.find(key.collection_hash, key.collection)) {
      status = put_in(*collection, key, entry, condition, may_insert, &first, [] {});
    } else if (may_insert) {
      status = put_in_new(key, entry, condition, &first);
    } else {
      return must_exist ? Status::kConflict : Status::kNotFound;
    }
    if (first) persister_->reception().wake();
    if (status == Status::kMemory && entry != nullptr) return fail(status, "no memory to put");
    if (status != Status::kClosed) return status;
    sleep_a_little();  // another thread makes or drops the collection: go on after it
  }
}

// kClosed: it is being dropped. `publish()` does what else has to be done to make a put visible.
template <typename Publish>
Status Store::put_in(Collection& collection, const HashedKey& key, Entry* entry,
                     Condition condition, bool may_insert, bool* first,
                     Publish&& publish) noexcept {
  return collection.members().update(
      key.member_hash, key.member, may_insert, [&](Entry* current, auto&& replace) {
        const void* held = current == nullptr ? nullptr : current->value();
        if (condition && *condition != held) return Status::kConflict;
        if (entry == nullptr && current == nullptr) return Status::kNotFound;
        Status status = charge(entry, current);
        if (status != Status::kOk) return status;
        if (entry == nullptr) {
          status = epochs_->record_removal(collection, *current, first);
          if (status == Status::kOk) replace(nullptr);
        } else {
          status = epochs_->record_put(collection, *entry, current, first, [&] {
            replace(entry);
            publish();
          });
        }
        if (status != Status::kOk) refund(growth(entry, current));
        return status;
      });
}

// The collection comes with its first member, or not at all. kClosed: it is there.
Status Store::put_in_new(const HashedKey& key, Entry* entry, Condition condition,
                         bool* first) noexcept {
  Collection* made = Collection::make(key.collection, collection_figures_);
  if (made == nullptr) return Status::kMemory;
  const Status status = catalog_.update(
      key.collection_hash, key.collection, true, [&](Collection* current, auto&& replace) {
        if (current != nullptr) return Status::kClosed;
        return put_in(*made, key, entry, condition, true, first, [&] { replace(made); });
      });
  if (status == Status::kOk) return status;
  made->members().take_all([](Entry*) {});
  Collection::free(made);
  return status;
}

uint64_t Store::table_bytes() const noexcept {
  return catalog_figures_.memory_bytes.load(std::memory_order_relaxed) +
         collection_figures_.memory_bytes.load(std::memory_order_relaxed);
}

// Counts an entry in for another, if there is a limit to keep. kFull: nothing was counted.
Status Store::charge(const Entry* entry, const Entry* old) noexcept {
  if (options_.memory_bytes_max == 0) return Status::kOk;
  const int64_t bytes = growth(entry, old);
  int64_t charged = charged_bytes_.load(std::memory_order_relaxed);
  do {
    const Status status = bytes <= 0 ? Status::kOk : check_room(charged + bytes);
    if (status != Status::kOk) return status;
  } while (
      !charged_bytes_.compare_exchange_weak(charged, charged + bytes, std::memory_order_relaxed));
  return Status::kOk;
}

Status Store::check_room(int64_t charged_bytes) const noexcept {
  if (options_.memory_bytes_max == 0) return Status::kOk;
  const uint64_t after = static_cast<uint64_t>(std::max<int64_t>(0, charged_bytes)) + table_bytes();
  if (after <= options_.memory_bytes_max) return Status::kOk;
  return fail(Status::kFull, "the store would hold {} bytes; memory_bytes_max is {}", after,
              options_.memory_bytes_max);
}

void Store::refund(int64_t bytes) noexcept {
  if (options_.memory_bytes_max == 0) return;
  charged_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
}

// ---- One collection.

Status Store::drop(std::string_view name, uint64_t* removed) noexcept {
  *removed = 0;
  Status status = check_writable();
  if (status != Status::kOk) return status;
  uint64_t hash = KeyHash{}(name);
  for (;;) {
    Collection* collection = catalog_.find(hash, name);
    if (collection == nullptr || collection->members().count() == 0) return Status::kOk;
    TableTotals totals;
    if (!collection->members().seal(false, &totals)) {
      sleep_a_little();  // another thread ends it
      continue;
    }
    bool first = false;
    // Never fails: it inserts nothing, and the catalog is never sealed.
    (void)catalog_.update(hash, name, false, [&](Collection*, auto&& replace) {
      epochs_->record_drop(*collection, totals, &first);
      replace(nullptr);
      return Status::kOk;
    });
    refund(
        static_cast<int64_t>(totals.count * sizeof(Entry) + totals.key_bytes + totals.value_bytes));
    *removed = totals.count;
    if (first) persister_->reception().wake();
    return Status::kOk;
  }
}

void Store::get_all(std::string_view name, Entry** entries, uint64_t capacity,
                    uint64_t* count) noexcept {
  *count = 0;
  Collection* collection = find(KeyHash{}(name), name);
  if (collection == nullptr) return;
  *count = collection->members().count();
  if (*count <= capacity) *count = collection->members().snapshot(entries, capacity);
  if (*count > capacity) return;
  constexpr uint64_t kAhead = 16;
  for (uint64_t i = 0; i < *count; i++) {
    if (i + kAhead < *count) __builtin_prefetch(entries[i + kAhead], 1);
    entries[i]->pin();
  }
}

void Store::collections(std::vector<Entry*>* entries) {
  uint64_t cursor = 0;
  do {  // in short sections, however many there are, and with room for what each finds
    if (entries->capacity() - entries->size() < Catalog::kPartNodesMax) {
      entries->reserve(2 * entries->capacity() + Catalog::kPartNodesMax);
    }
    const ReadSection section;
    Collection* part[Catalog::kPartNodesMax];
    const uint32_t size = catalog_.copy_part(&cursor, part);
    for (uint32_t i = 0; i < size; i++) {
      const uint64_t members = part[i]->members().count();
      if (members == 0) continue;
      Entry* entry = Entry::make(part[i]->key(), sizeof members);
      if (entry == nullptr) throw std::bad_alloc();
      std::memcpy(entry->value(), &members, sizeof members);
      entries->push_back(entry);
    }
  } while (cursor != 0);
}

uint64_t Store::count(std::string_view name) noexcept {
  Collection* collection = find(KeyHash{}(name), name);
  return collection == nullptr ? 0 : collection->members().count();
}

uint64_t Store::count() const noexcept { return static_cast<uint64_t>(epochs_->totals().entries); }

// ---- The disk.

Status Store::wait(uint64_t mark, Level level, uint64_t timeout_ms) noexcept {
  if (mark > epochs_->newest_change()) {
    return fail(Status::kArgument, "mark {} is from the future; the newest is {}", mark,
                epochs_->newest_change());
  }
  return persister_->reception().wait(mark, level, patience_ms(timeout_ms));
}

Status Store::sync(uint64_t timeout_ms) noexcept {
  return persister_->reception().sync(mark(), patience_ms(timeout_ms));
}

Status Store::wait_for_room(Change change, uint64_t bytes) noexcept {
  Status status = check_writable();
  return status == Status::kOk ? persister_->reception().wait_for_room(change, bytes) : status;
}

Status Store::compact() noexcept {
  Status status = check_writable();
  return status == Status::kOk ? persister_->reception().compact() : status;
}

Status Store::backup(const char* path) {
  NewStore target;
  Status status = target.open(environment_.files, path);
  if (status != Status::kOk) return status;
  status = options_.read_only ? write_copy(catalog_, target.directory(), environment_)
                              : copy_log(target.directory());
  return status == Status::kOk ? target.keep() : status;
}

Status Store::copy_log(Directory& target) {
  std::vector<SegmentFile> segments;
  Status status = persister_->start();
  if (status == Status::kOk) status = persister_->reception().begin_snapshot(&segments);
  if (status != Status::kOk) return status;
  status = copy_segments(*directory_, target, segments);
  persister_->reception().end_snapshot();
  return status;
}

void Store::stats(dskvs_stats_t* stats) noexcept {
  Totals totals = epochs_->totals();
  PersisterFigures figures = persister_->reception().figures();
  uint64_t now = environment_.clock.now_us();
  auto age = [now](uint64_t since) { return since == 0 || since > now ? 0 : now - since; };
  uint64_t unwritten = figures.unwritten_since_us;
  if (unwritten == 0) unwritten = epochs_->open_since_us();
  uint64_t undurable = figures.undurable_since_us;
  if (undurable == 0) undurable = unwritten;

  stats->collections = collection_figures_.occupied.load();
  stats->entries = static_cast<uint64_t>(totals.entries);
  stats->key_bytes = static_cast<uint64_t>(totals.key_bytes);
  stats->value_bytes = static_cast<uint64_t>(totals.value_bytes);
  stats->memory_bytes = static_cast<uint64_t>(totals.entry_bytes) + table_bytes();
  stats->dirty_bytes = epochs_->dirty_bytes();
  stats->accepted_epoch = epochs_->newest_change();
  stats->written_epoch = figures.written_epoch;
  stats->durable_epoch = figures.durable_epoch;
  stats->written_lag_us = age(unwritten);
  stats->durable_lag_us = age(undurable);
  stats->disk_bytes = figures.disk_bytes;
  stats->segments = figures.segments;
  stats->bytes_written = figures.bytes_written;
  stats->syncs = figures.syncs;
  stats->last_error = static_cast<uint64_t>(static_cast<int64_t>(figures.error));
  stats->recovered_epoch = report_.recovered_epoch;
  stats->lost_epochs = report_.highest_epoch_seen - report_.recovered_epoch;
  stats->frames_cut = report_.frames_cut;
  stats->live_bytes = live_log_bytes(totals);
  stats->bytes_accepted = static_cast<uint64_t>(totals.bytes_accepted);
  stats->bytes_cleaned = figures.bytes_cleaned;
  stats->heals = figures.heals;
  stats->dirty_bytes_max = persister_->reception().dirty_bytes_max();
}

// ---- Close.

void Store::begin_close() noexcept {
  persister_->reception().begin_close();
  while (pins_.load(std::memory_order_acquire) != 0) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

Status Store::close() noexcept {
  if (options_.read_only) return Status::kOk;
  Status status = persister_->close();
  if (status == Status::kOk) return status;
  uint64_t durable = persister_->reception().figures().durable_epoch;
  uint64_t dirty = epochs_->dirty_bytes();
  const KeptFailure failure(status);
  return fail(status, "what came after epoch {} is not durable, {} bytes of it not written: {}",
              durable, dirty, failure.text());
}

}  // namespace dskvs
