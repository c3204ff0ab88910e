#include "crash/explorer.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <deque>
#include <optional>
#include <utility>

#include "support/in_order.h"

namespace dskvs::test {

// ---- Counting -------------------------------------------------------------------------------

void DistinctCounter::add(uint64_t hash) {
  const uint64_t index = hash >> (64 - kIndexBits);
  const auto rank = static_cast<uint8_t>(std::countl_zero(hash << kIndexBits | 1) + 1);
  std::atomic<uint8_t>& slot = ranks_[index];
  uint8_t seen = slot.load(std::memory_order_relaxed);
  while (rank > seen && !slot.compare_exchange_weak(seen, rank)) {
  }
}

// HyperLogLog, with linear counting while it is nearly empty.
uint64_t DistinctCounter::estimate() const {
  constexpr double kSlots = 1 << kIndexBits;
  double sum = 0, empty = 0;
  for (const std::atomic<uint8_t>& rank : ranks_) {
    sum += std::ldexp(1.0, -rank.load());
    empty += rank.load() == 0 ? 1 : 0;
  }
  const double raw = 0.7213 / (1 + 1.079 / kSlots) * kSlots * kSlots / sum;
  const bool few = raw <= 2.5 * kSlots && empty > 0;
  return static_cast<uint64_t>(few ? kSlots * std::log(kSlots / empty) : raw);
}

std::string Statistics::text() const {
  return fmt::format(
      "{} scripts, {} crash states visited, {} recovered ({} distinct within 0.5 %; {} of a second "
      "crash in a row, {} of a third), {} gone on from by the whole store; {} calls failed on "
      "purpose",
      scripts.load(), visited.load(), recovered.load(), distinct.estimate(), second.load(),
      third.load(), reopened.load(), faults.load());
}

// ---- Recovery alone -------------------------------------------------------------------------

namespace {

constexpr int kStepsToHealMax = 8;

class ModelSink : public RecoverySink {
 public:
  Status add(FrameType type, std::string_view key, uint64_t value_size, void** value) override {
    batch_.push_back({type, std::string(key), std::string(value_size, '\0')});
    *value = batch_.back().value.data();
    return Status::kOk;
  }
  Status commit(uint64_t) override {
    for (Change& change : batch_) {
      if (change.type == FrameType::kPut) {
        model[change.key] = std::move(change.value);
      } else if (change.type == FrameType::kRemove) {
        model.erase(change.key);
      } else {
        std::erase_if(model, [&](const auto& e) { return e.first.starts_with(change.key + "/"); });
      }
    }
    batch_.clear();
    return Status::kOk;
  }

  Model model;

 private:
  struct Change {
    FrameType type;
    std::string key;
    std::string value;
  };
  std::deque<Change> batch_;
};

}  // namespace

Recovered recover_model(const SimDisk& disk) {
  Recovered result;
  if (!disk.has_directory(kStorePath)) return result;
  SimFileSystem files(disk);
  std::unique_ptr<Directory> directory;
  ModelSink sink;
  LogPosition position;
  RecoveryReport report;
  result.status = files.open_directory(kStorePath, Presence::kMayCreate, kLockName, &directory);
  if (result.status == Status::kOk) {
    result.status = recover(*directory, {}, sink, &position, &report);
  }
  if (result.status != Status::kOk) result.error = last_error();
  result.epoch = report.recovered_epoch;
  result.highest_seen = report.highest_epoch_seen;
  result.model = std::move(sink.model);
  return result;
}

// ---- One process ----------------------------------------------------------------------------

// The life of one process, from open to its crash or its end, and all states that crashes in it
// leave.
class Process : public SimObserver {
 public:
  Process(Explorer& explorer, Explorer::Branch branch)
      : explorer_(explorer),
        options_(explorer.options_),
        statistics_(explorer.statistics_),
        crashes_(branch.crashes),
        history_(std::move(branch.history)),
        floors_(branch.floors),
        trail_(std::move(branch.trail)),
        script_(std::move(branch.script)),
        files_(std::move(branch.disk)),
        subject_(std::make_unique<Subject>(files_)),
        highest_accepted_(branch.highest_accepted) {}

  void run() {
    files_.set_observer(this);
    try {
      live();
    } catch (const Violation&) {
      if (!broken_) throw;
    }
    if (broken_) throw *broken_;
    files_.kill();
  }

  uint64_t calls() const { return files_.calls(); }
  uint64_t faults() const { return files_.faults_raised(); }

  void before(const SimCall& call, const SimDisk& disk) override {
    watch([&] {
      if (subject_->is_open() && serving_) {
        interleave();
        take_marks();  // whatever is reported while the call is under way counts as well
      }
      if (!options_.crash_everywhere) return;
      if (call.op == SimOp::kWrite) {
        for_each_kill(disk, call, options_.power_cut.unit_bytes,
                      [&](const SimDisk& killed) { return check(killed, false); });
      } else if (call.op == SimOp::kSync || call.op == SimOp::kSyncDirectory ||
                 call.op == SimOp::kSyncEntry) {
        cut_power(disk);
      }
    });
  }

  void after(const SimCall& call, Status status, const SimDisk& disk) override {
    watch([&] {
      const bool missing = call.op == SimOp::kOpen && status == Status::kNotFound;
      if (status != Status::kOk && !missing && !faulty_) {
        violation("{} failed without a fault", sim_op_name(call.op));
      }
      if (!options_.crash_everywhere) return;
      if (call.op == SimOp::kCreate || call.op == SimOp::kUnlink || call.op == SimOp::kLock) {
        check(disk.after_kill(), false);
      }
    });
  }

 private:
  void live() {
    open();
    for (const Operation& operation : script_) {
      trail_ += " " + describe(operation);
      perform(operation);
      if (options_.crash_everywhere) look();
      if (broken_) return;
    }
    look();
    if (faulted_) heal();
    settle();
  }

  // Inside a call of the store nothing may be thrown: the first violation is kept until it returns.
  template <typename Look>
  void watch(Look&& look_at) {
    if (broken_) return;
    try {
      look_at();
    } catch (const Violation& violation) {
      broken_ = violation;
    }
  }

  template <typename... Args>
  [[noreturn]] void violation(fmt::format_string<Args...> format, Args&&... args) const {
    throw Violation(
        fmt::format("{}\n  after:{}\n  seed {}, crashes before {}, written {}, durable "
                    "{}, accepted {}",
                    fmt::format(format, std::forward<Args>(args)...), trail_, options_.seed,
                    crashes_, floors_.written, floors_.durable, history_.newest_epoch()));
  }

  void must(Status status, const char* call) const {
    if (status == Status::kOk) return;
    violation("{}: {}: {}", call, status_name(static_cast<int32_t>(status)), last_error());
  }

  void open() {
    Status status = subject_->open();
    if (status != Status::kOk && faulty_) {
      stop_faults();
      subject_ = std::make_unique<Subject>(files_);
      status = subject_->open();
    }
    must(status, "open");
    const Marks marks = subject_->marks();
    if (marks.recovered < floors_.written) {
      violation("open recovered {}, {} was there", marks.recovered, floors_.written);
    }
    compare_contents(history_.at(marks.recovered), "open shows another state than C(R)");
    if (marks.recovered + marks.lost > highest_accepted_ + 2) {
      violation("open reports {} lost epochs behind {}", marks.lost, marks.recovered);
    }
    history_.forget_after(marks.recovered);
    highest_accepted_ = std::max(highest_accepted_, marks.recovered);
    serving_ = true;
    take_marks();
    look();
  }

  void compare_contents(const History::Point& point, const char* what) const {
    const Model model = subject_->contents();
    if (model_hash(model) == point.hash) return;
    violation("{}: {} entries, not {}", what, model.size(), point.model->size());
  }

  // What the store reports counts from now on.
  void take_marks() {
    const Marks marks = subject_->marks();
    if (marks.durable > marks.written || marks.written > marks.accepted + 1) {
      violation("reported durable {}, written {}, accepted {}", marks.durable, marks.written,
                marks.accepted);
    }
    highest_accepted_ = std::max(highest_accepted_, marks.accepted);
    floors_.written = std::max(floors_.written, marks.written);
    floors_.durable = std::max(floors_.durable, marks.durable);
  }

  void perform(const Operation& operation) {
    switch (operation.verb) {
      case Verb::kStep:
        for (uint64_t i = 0; i <= operation.value_seed && !broken_; ++i) {
          subject_->step();
          take_marks();
        }
        break;
      case Verb::kReopen:
        reopen();
        break;
      case Verb::kFault:
        faulty_ = faulted_ = true;
        files_.set_fault({files_.calls() + operation.key,
                          kSimErrors[operation.value_seed % kSticky],
                          operation.value_seed >= kSticky});
        break;
      case Verb::kHeal:
        stop_faults();
        break;
      default:
        call(operation);
    }
    take_marks();
    // Whatever the disk does, memory serves.
    compare_contents(history_.at(UINT64_MAX), "the store shows another state than was accepted");
  }

  void reopen() {
    serving_ = false;
    const Status status = subject_->close();
    if (!faulty_) must(status, "close");
    if (status == Status::kOk) {
      floors_.durable = std::max(floors_.durable, history_.newest_epoch());
      floors_.written = std::max(floors_.written, floors_.durable);
    }
    subject_ = std::make_unique<Subject>(files_);
    faulted_ = faulty_;
    if (options_.crash_everywhere) look();
    open();
  }

  void call(const Operation& operation) {
    const bool changes = history_.changes(operation);
    const bool disk = operation.verb == Verb::kSync || operation.verb == Verb::kCompact;
    const Status status = disk ? apply_to_disk(operation) : subject_->apply(operation);
    const bool excused = disk ? faulty_ : !changes && status == Status::kNotFound;
    if (status != Status::kOk && !excused) must(status, "call");
    if (operation.verb == Verb::kSync && status == Status::kOk &&
        subject_->marks().durable < newest_returned()) {
      violation("sync returned too early");
    }
    if (changes) accept(operation);
  }

  // An error stays until it is healed, which is the persister's next step, not the disk's; and what
  // failed before the disk was well may be learnt only now.
  Status apply_to_disk(const Operation& operation) {
    Status status = subject_->apply(operation);
    const bool heals = faulted_ && !faulty_;
    for (int steps = 0; status != Status::kOk && heals && steps < kStepsToHealMax; ++steps) {
      subject_->step();
      status = subject_->apply(operation);
    }
    return status;
  }

  void accept(const Operation& operation) {
    const uint64_t epoch = subject_->marks().accepted;
    if (epoch < history_.newest_epoch() || epoch <= floors_.written) {
      violation("accepted into epoch {}", epoch);
    }
    history_.accept(operation, epoch);
    highest_accepted_ = std::max(highest_accepted_, epoch);
  }

  // What another thread may do while the persister waits for the disk. What a call of this thread
  // was asked to make durable is what came before.
  void interleave() {
    if (options_.interleave_every == 0 || explorer_.random_() % options_.interleave_every != 0) {
      return;
    }
    static constexpr Verb kVerbs[] = {Verb::kPut, Verb::kPut, Verb::kDelete, Verb::kDeleteAll};
    const Operation operation{
        kVerbs[explorer_.random_() % 4], static_cast<uint32_t>(explorer_.random_() % 4),
        static_cast<uint32_t>(explorer_.random_() % 60), explorer_.random_() % 16};
    if (interleaved_++ >= kInterleavedMax || !history_.changes(operation)) return;
    trail_ += " [" + describe(operation) + "]";
    must(subject_->apply_amid(operation), "interleaved call");
    accept(operation);
    ++interleaved_in_call_;
  }

  // The newest epoch that the call under way has to cover, less what came in beside it.
  uint64_t newest_returned() {
    const bool alone = std::exchange(interleaved_in_call_, 0) == 0;
    return alone ? history_.newest_epoch() : 0;
  }

  void stop_faults() {
    files_.clear_fault();
    faulty_ = false;
  }

  // The disk is well again: the store catches up by itself.
  void heal() {
    trail_ += " heal";
    stop_faults();
    for (int steps = 0; steps < 100 && subject_->step(); ++steps) take_marks();
    take_marks();
    if (floors_.durable < history_.newest_epoch()) violation("did not catch up by itself");
  }

  // At rest all is durable, and nothing is dirty.
  void settle() {
    serving_ = false;
    must(apply_to_disk({Verb::kSync}), "sync");
    take_marks();
    if (floors_.durable < history_.newest_epoch()) violation("sync returned too early");
    look();
    compare_contents(history_.at(UINT64_MAX), "the store shows another state than was accepted");
    rot();
  }

  // Bytes that change while they lie there are found out, or were of no use: never handed out.
  void rot() {
    SimDisk disk = files_.disk().after_kill();
    const std::vector<std::string> paths = disk.files(kStorePath);
    const std::string& path = paths[explorer_.random_() % paths.size()];
    std::vector<uint8_t> bytes = disk.read_file(path);
    if (bytes.empty()) return;
    // Where the log's bytes are, mostly: in the first blocks.
    const uint64_t at = explorer_.random_() % std::min<uint64_t>(bytes.size(), 12'288);
    bytes[at] ^= static_cast<uint8_t>(1u << explorer_.random_() % 8);
    disk.plant_file(path, std::move(bytes));
    const Recovered recovered = recover_model(disk);
    if (recovered.status == Status::kCorrupt || recovered.status == Status::kVersion) return;
    if (recovered.status != Status::kOk ||
        model_hash(recovered.model) != history_.at(recovered.epoch).hash) {
      violation("rot at {} of {} shows as a state that never was", at, path);
    }
  }

  void look() {
    const SimDisk disk = files_.disk();
    check(disk.after_kill(), false);
    cut_power(disk);
  }

  void cut_power(const SimDisk& disk) {
    for_each_power_cut(disk, options_.power_cut, explorer_.random_,
                       [&](const SimDisk& image) { return check(image, true); });
  }

  bool check(const SimDisk& disk, bool power_lost) {
    ++statistics_.visited;
    const uint64_t floor = power_lost ? floors_.durable : floors_.written;
    const uint64_t hash = disk.hash();
    auto [seen, fresh] = seen_.try_emplace(hash, 0);
    if (fresh) {
      seen->second = recover_and_compare(disk);
      count(hash);
    }
    const uint64_t recovered = seen->second;
    if (recovered < floor) {
      violation("{}: epoch {} came back, {} was reported", power_lost ? "power lost" : "killed",
                recovered, floor);
    }
    if (fresh) consider_going_on(disk, recovered, power_lost);
    return true;
  }

  uint64_t recover_and_compare(const SimDisk& disk) const {
    const Recovered recovered = recover_model(disk);
    if (recovered.status != Status::kOk) {
      violation("recovery: {}: {}", status_name(static_cast<int32_t>(recovered.status)),
                recovered.error);
    }
    const History::Point& point = history_.at(recovered.epoch);
    if (model_hash(recovered.model) != point.hash) {
      violation("epoch {} came back, but not C({}): {} entries, not {}", recovered.epoch,
                recovered.epoch, recovered.model.size(), point.model->size());
    }
    return recovered.epoch;
  }

  void count(uint64_t hash) {
    ++statistics_.recovered;
    statistics_.distinct.add(hash);
    if (crashes_ == 1) ++statistics_.second;
    if (crashes_ >= 2) ++statistics_.third;
  }

  void consider_going_on(const SimDisk& disk, uint64_t recovered, bool power_lost) {
    if (crashes_ + 1 >= options_.depth || gone_on_ >= options_.go_on_max[crashes_]) return;
    if (explorer_.random_() % options_.go_on_every[crashes_] != 0) return;
    ++gone_on_;
    Explorer::Floors floors{recovered, floors_.durable};
    explorer_.go_on_from(disk, history_, floors, recovered, crashes_ + 1,
                         trail_ + (power_lost ? " POWER-CUT" : " KILL"), highest_accepted_);
  }

  Explorer& explorer_;
  const ExplorerOptions& options_;
  Statistics& statistics_;
  const unsigned crashes_;
  History history_;
  Explorer::Floors floors_;
  std::string trail_;
  const std::vector<Operation> script_;
  SimFileSystem files_;
  std::unique_ptr<Subject> subject_;
  std::unordered_map<uint64_t, uint64_t> seen_;  // state to the epoch that it recovers
  uint64_t gone_on_ = 0;
  uint64_t highest_accepted_;
  bool faulty_ = false;   // calls fail now
  bool faulted_ = false;  // some did since the store was opened
  bool serving_ = false;  // other threads may call
  static constexpr uint64_t kInterleavedMax = 12;
  uint64_t interleaved_ = 0;
  uint64_t interleaved_in_call_ = 0;
  std::optional<Violation> broken_;
};

// ---- Explorer -------------------------------------------------------------------------------

uint64_t Explorer::run(const std::vector<Operation>& script) {
  uint64_t faults = 0;
  branches_.clear();
  branches_.push_back({SimDisk(), History(), {}, script, 0, "", 0});
  // Branches wait here until the process that left them has ended: a store is not re-entrant.
  while (!branches_.empty()) {
    Branch branch = std::move(branches_.back());
    branches_.pop_back();
    if (branch.crashes > 0) ++statistics_.reopened;
    Process process(*this, std::move(branch));
    process.run();
    faults += process.faults();
  }
  statistics_.faults += faults;
  ++statistics_.scripts;
  return faults;
}

uint64_t Explorer::calls_of(const std::vector<Operation>& script) {
  Process process(*this, {SimDisk(), History(), {}, script, 0, "", 0});
  process.run();
  return process.calls();
}

// The process that comes after a crash repeats what was lost, as users do, then does some more.
void Explorer::go_on_from(const SimDisk& disk, const History& history, Floors floors,
                          uint64_t recovered, unsigned crashes, const std::string& trail,
                          uint64_t highest_accepted) {
  std::vector<Operation> script = history.lost_after(recovered);
  if (random_() % 4 == 0) script.clear();
  if (random_() % 2 == 0) script.push_back({Verb::kStep});
  script.push_back({Verb::kPut, static_cast<uint32_t>(random_() % 4),
                    static_cast<uint32_t>(random_() % 2 == 0 ? 40 : 1700), random_() % 16});
  for (uint64_t steps = random_() % 4; steps > 0; --steps) script.push_back({Verb::kStep});
  if (random_() % 4 == 0) script.push_back({Verb::kReopen});
  branches_.push_back({disk, history, floors, std::move(script), crashes, trail, highest_accepted});
}

}  // namespace dskvs::test
