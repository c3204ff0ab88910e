#include "crash/subject.h"

#include <cstring>

#include "store.h"
#include "support/sim_environment.h"

namespace dskvs::test {
namespace {

struct ParsedKey {
  explicit ParsedKey(const std::string& operand) : text(operand) {
    parsed = parse_key(text, &key) == Status::kOk;
  }

  const std::string text;
  Key key;
  bool parsed = false;
};

}  // namespace

struct Subject::Inside {
  Inside(FileSystem& files, std::string store_path, const LogShape& log_shape, uint64_t look_us)
      : clock(look_us),
        environment{files, clock, fixed_random, true, log_shape},
        path(std::move(store_path)) {}

  Status put(const Operation& operation) {
    const ParsedKey key(key_of(operation));
    const std::string value = value_of(operation);
    Entry* entry = Entry::make(key.key.member, value.size());
    if (entry == nullptr) return fail(Status::kMemory, "no memory for the value");
    std::memcpy(entry->value(), value.data(), value.size());
    const Status status = in_section([&] { return store->put(HashedKey(key.key), entry, {}); });
    if (status != Status::kOk) entry->unpin();
    return status;
  }

  Status remove(const Operation& operation) {
    const ParsedKey key(key_of(operation));
    return in_section([&] { return store->remove(HashedKey(key.key), {}); });
  }

  Status drop(const Operation& operation) {
    uint64_t removed = 0;
    const Status status =
        in_section([&] { return store->drop(collection_of(operation), &removed); });
    return status == Status::kOk && removed == 0 ? Status::kNotFound : status;
  }

  template <typename Body>
  Status in_section(Body&& body) {
    if (!reclaimer::register_thread()) return fail(Status::kMemory, "no memory for the thread");
    reclaimer::prepare_to_retire();
    Status status;
    {
      ReadSection section;
      status = body();
    }
    reclaimer::reclaim_if_due();
    return status;
  }

  SimClock clock;
  const Environment environment;
  const std::string path;
  std::unique_ptr<Store> store;
};

Subject::Subject(FileSystem& files, std::string path, const LogShape& log_shape, uint64_t look_us)
    : inside_(std::make_unique<Inside>(files, std::move(path), log_shape, look_us)) {}
Subject::~Subject() = default;

Status Subject::open(bool read_only, uint64_t sync_interval_ms) {
  Options options;
  options.sync_interval_ms = sync_interval_ms;
  options.read_only = read_only;
  if (read_only) options.presence = Presence::kMustExist;
  return Store::open(inside_->path.c_str(), options, inside_->environment, &inside_->store);
}

Status Subject::close() {
  inside_->store->begin_close();
  const Status status = inside_->store->close();
  inside_->store.reset();
  return status;
}

bool Subject::is_open() const { return inside_->store != nullptr; }

Status Subject::apply(const Operation& operation) {
  const bool put = operation.verb == Verb::kPut;
  if (put || operation.verb == Verb::kDelete) {
    const Change change = put ? Change::kPut : Change::kRemoval;
    const uint64_t bytes = key_of(operation).size() + operation.value_size;
    while (!inside_->store->has_room(change, bytes)) {
      const Status status = inside_->store->wait_for_room(change, bytes);
      if (status != Status::kOk) return status;
    }
  }
  return apply_amid(operation);
}

Status Subject::apply_amid(const Operation& operation) {
  switch (operation.verb) {
    case Verb::kPut:
      return inside_->put(operation);
    case Verb::kDelete:
      return inside_->remove(operation);
    case Verb::kDeleteAll:
      return inside_->drop(operation);
    case Verb::kSync:
      return inside_->store->sync(DSKVS_FOREVER);
    case Verb::kCompact:
      return inside_->store->compact();
    case Verb::kStep:
    case Verb::kReopen:
    case Verb::kFault:
    case Verb::kHeal:
      break;
  }
  return Status::kArgument;
}

Status Subject::backup(const std::string& path) { return inside_->store->backup(path.c_str()); }

bool Subject::step(bool hurry) { return inside_->store->step(hurry); }

uint64_t Subject::pause_us() const { return inside_->store->pause_us(); }

void Subject::pass(uint64_t us) { inside_->clock.pass(us); }

Marks Subject::marks() const {
  dskvs_stats_t stats = DSKVS_STATS_INIT;
  inside_->store->stats(&stats);
  return {.accepted = stats.accepted_epoch,
          .written = stats.written_epoch,
          .durable = stats.durable_epoch,
          .recovered = stats.recovered_epoch,
          .lost = stats.lost_epochs,
          .dirty_bytes = stats.dirty_bytes,
          .failing = stats.last_error != 0};
}

Model Subject::contents() const {
  Model model;
  std::vector<Entry*> names;
  {
    ReadSection section;
    inside_->store->collections(&names);
  }
  for (Entry* name : names) {
    std::vector<Entry*> members;
    {
      ReadSection section;
      uint64_t count = inside_->store->count(name->key());
      members.resize(count);  // all: nobody else puts
      inside_->store->get_all(name->key(), members.data(), members.size(), &count);
    }
    for (Entry* member : members) {
      model[std::string(name->key()) + "/" + std::string(member->key())] =
          std::string(member->value(), member->value_size());
      member->unpin();
    }
    name->unpin();
  }
  return model;
}

}  // namespace dskvs::test
