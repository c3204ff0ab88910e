#include "store_copy.h"

#include "disk/log_writer.h"
#include "disk/salvage.h"
#include "loader.h"
#include "memory/sweep.h"
#include "store.h"

#include <utility>

namespace dskvs {
namespace {

// From here on an epoch ends, so that no segment grows without bound.
constexpr uint64_t kSegmentBytes = uint64_t{256} << 20;

Status add_damage(const std::vector<Damage>& found, std::vector<Entry*>* damage) {
  if (damage == nullptr) return Status::kOk;
  damage->reserve(found.size());  // what is made next is added without throwing
  for (const Damage& place : found) {
    std::string text = "offset " + std::to_string(place.offset) + ": " + place.kind;
    Entry* entry = Entry::make(place.file, text.size());
    if (entry == nullptr) return fail(Status::kMemory, "no memory to list the damage");
    std::memcpy(entry->value(), text.data(), text.size());
    damage->push_back(entry);
  }
  return Status::kOk;
}

// Entries on their way from one store to another.
struct Rescued {
  ~Rescued() { clear_catalog(catalog); }

  TableFigures figures;
  Catalog catalog{figures};
};

}  // namespace

Status write_copy(Catalog& catalog, Directory& target, const Environment& environment) {
  // Written outside of the sweep: in its section the disk would keep all stores of the process
  // waiting. Nobody changes this catalog, so the entries stay.
  std::vector<std::pair<const Collection*, const Entry*>> part;
  part.reserve(Catalog::kPartNodesMax);
  LogPosition position;
  environment.random(position.store_id.data(), position.store_id.size());
  LogWriter log(target, position, kSegmentBytes);
  uint64_t epoch = 1;
  Status status = log.begin(epoch);
  if (status != Status::kOk) return status;
  Sweep sweep;
  for (sweep.begin(); sweep.active();) {
    part.clear();
    status = sweep.advance(catalog, [&](const Collection& collection, const Entry* entry) {
      part.emplace_back(&collection, entry);
      return Status::kOk;
    });
    for (size_t i = 0; i < part.size() && status == Status::kOk; i++) {
      const auto& [collection, entry] = part[i];
      status = log.put(collection->key(), entry->key(), entry->value(), entry->value_size());
    }
    if (status == Status::kOk && log.segment_full()) {
      status = log.commit(0);
      log.rotate_at_next_begin();
      if (status == Status::kOk) status = log.begin(++epoch);
    }
    if (status != Status::kOk) return status;
  }
  status = log.commit(0);
  return status == Status::kOk ? log.close() : status;
}

Status verify_store(const char* path, const Options& options, const Environment& environment,
                    std::vector<Entry*>* damage) {
  std::unique_ptr<Directory> directory;
  Status status = open_store_directory(environment.files, path, Presence::kMustExist, &directory);
  if (status == Status::kOk) status = refuse_unfinished(*directory);
  if (status != Status::kOk) return status;
  std::vector<Damage> found;
  status =
      read_beside_writer(*directory, [&] { return verify(*directory, options.progress, &found); });
  if (status != Status::kOk) return status;
  status = add_damage(found, damage);
  if (status != Status::kOk || found.empty()) return status;
  return fail(Status::kCorrupt, "'{}' is damaged in {} places; the first is {}, offset {}: {}",
              directory->path(), found.size(), found[0].file, found[0].offset, found[0].kind);
}

Status salvage_store(const char* path, const char* target_path, const Options& options,
                     const Environment& environment, std::vector<Entry*>* damage) {
  if (!reclaimer::register_thread()) return fail(Status::kMemory, "no memory to rescue '{}'", path);
  std::unique_ptr<Directory> source;
  Status status = open_store_directory(environment.files, path, Presence::kMustExist, &source);
  if (status != Status::kOk) return status;
  if (!source->is_read_only()) status = source->lock(kLockName);
  if (status == Status::kOk) status = refuse_unfinished(*source);
  if (status != Status::kOk) return status;
  NewStore target;
  status = target.open(environment.files, target_path);
  if (status != Status::kOk) return status;

  Rescued rescued;
  std::vector<Damage> found;
  {
    Loader loader(rescued.catalog, rescued.figures);
    status = salvage(*source, options.progress, loader.begin_segment(0), &found);
    if (status == Status::kOk) status = loader.end_segment();
  }
  if (status == Status::kOk) status = add_damage(found, damage);
  if (status == Status::kOk) {
    status = write_copy(rescued.catalog, target.directory(), environment);
  }
  return status == Status::kOk ? target.keep() : status;
}

}  // namespace dskvs
