// Goal: when memory ends at any allocation, once or for good, a call that fails changes nothing,
// the store goes on serving, and once there is memory again everything becomes durable. Method:
// operator new and the arena are made to fail at each allocation in turn that a random script
// makes, on real files; contents are compared with the reference model after every call, and after
// a reopening without a close. DSKVS_ALLOCATION_RUNS sets how many runs, at least.
#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <set>
#include <thread>

#include "crash/scripts.h"
#include "crash/subject.h"
#include "memory/arena.h"
#include "store.h"
#include "support/catch.h"
#include "support/core_seed.h"
#include "support/crafted_segment.h"
#include "support/passing_directory.h"
#include "support/temp_dir.h"

namespace {

// Allocations are counted, and fail, only while armed, and only on the thread that armed it; on
// others those that do not throw.
thread_local bool armed = false;
uint64_t counted = 0;
uint64_t fail_at = UINT64_MAX;
bool fail_for_good = false;
thread_local bool is_main = false;
std::atomic<bool> fail_elsewhere{false};
std::atomic<uint64_t> failed_elsewhere{0};

bool due_elsewhere() {
  const bool due = !is_main && fail_elsewhere;
  if (due) ++failed_elsewhere;
  return due;
}

bool due() {
  if (!armed) return false;
  const uint64_t number = counted++;
  return number == fail_at || (fail_for_good && number > fail_at);
}

bool arena_is_due(size_t) { return due(); }

void* allocate(size_t size) noexcept { return due() ? nullptr : std::malloc(size); }

void* allocate_aligned(size_t size, std::align_val_t alignment) noexcept {
  return due() ? nullptr : std::aligned_alloc(static_cast<size_t>(alignment), size);
}

// Not inlined: gcc would see what is new'd be freed.
[[gnu::noinline]] void give_back(void* memory) noexcept { std::free(memory); }

void* or_throw(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(size_t size) { return or_throw(allocate(size)); }
void* operator new[](size_t size) { return or_throw(allocate(size)); }
void* operator new(size_t size, std::align_val_t alignment) {
  return or_throw(allocate_aligned(size, alignment));
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return due_elsewhere() ? nullptr : allocate(size);
}
void* operator new(size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return due_elsewhere() ? nullptr : allocate_aligned(size, alignment);
}
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void operator delete(void* memory) noexcept { give_back(memory); }
void operator delete[](void* memory) noexcept { give_back(memory); }
void operator delete(void* memory, size_t) noexcept { give_back(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { give_back(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { give_back(memory); }
void operator delete[](void* memory, size_t) noexcept { give_back(memory); }

namespace dskvs::test {
namespace {

// Calls as the door of the library does: what the allocator throws becomes a status.
template <typename Body>
Status armed_call(Body&& body) {
  struct Armed {
    Armed() { armed = true; }
    ~Armed() { armed = false; }
  };
  try {
    const Armed guard;
    return body();
  } catch (const std::bad_alloc&) {
    return Status::kMemory;
  }
}

class Run {
 public:
  explicit Run(const std::string& path) : path_(path), subject_(make()) { open(); }

  void perform(const Operation& operation) {
    switch (operation.verb) {
      case Verb::kStep:
        (void)armed_call([&] { return subject_->step(), Status::kOk; });
        break;
      case Verb::kReopen:
        (void)armed_call([&] { return subject_->close(); });
        reopen();
        break;
      case Verb::kFault:
      case Verb::kHeal:
        break;
      default:
        call(operation);
    }
    const Marks marks = subject_->marks();
    durable_ = std::max(durable_, marks.durable);
    REQUIRE(subject_->contents() == history_.newest());
  }

  // With memory again.
  void finish() {
    fail_at = UINT64_MAX;
    fail_for_good = false;
    for (int i = 0; i < 100 && subject_->step(); ++i) {
    }
    REQUIRE(subject_->apply({Verb::kSync}) == Status::kOk);
    REQUIRE(subject_->marks().durable >= history_.newest_epoch());
    durable_ = history_.newest_epoch();
    reopen();  // as after a kill: without a close
    REQUIRE(subject_->contents() == history_.newest());
    REQUIRE(subject_->close() == Status::kOk);
  }

 private:
  std::unique_ptr<Subject> make() const {
    return std::make_unique<Subject>(posix_file_system(), path_);
  }

  void open() {
    Status status = armed_call([&] { return subject_->open(); });
    if (status == Status::kMemory) {
      subject_ = make();
      status = subject_->open();
    }
    INFO(last_error());
    REQUIRE(status == Status::kOk);
    const Marks marks = subject_->marks();
    REQUIRE(marks.recovered >= durable_);
    history_.forget_after(marks.recovered);
    REQUIRE(subject_->contents() == history_.newest());
  }

  void reopen() {
    subject_ = make();
    open();
  }

  void call(const Operation& operation) {
    const bool changes = history_.changes(operation);
    const Status status = armed_call([&] { return subject_->apply(operation); });
    if (status == Status::kOk && changes) history_.accept(operation, subject_->marks().accepted);
    const bool excused = status == Status::kMemory || (!changes && status == Status::kNotFound);
    INFO(describe(operation) << ": " << last_error());
    REQUIRE((status == Status::kOk || excused));
  }

  const std::string path_;
  std::unique_ptr<Subject> subject_;
  History history_;
  uint64_t durable_ = 0;
};

// Returns how many allocations it made while they could fail.
uint64_t run(const Script& script, uint64_t at, bool for_good) {
  const TempDir directory(TempDir::fast_base());
  counted = 0;
  fail_at = at;
  fail_for_good = for_good;
  Run run(directory / "store");
  for (const Operation& operation : script) run.perform(operation);
  const uint64_t allocations = counted;
  run.finish();
  return allocations;
}

TEST_CASE("every allocation fails in turn, and nothing breaks") {
  const uint64_t seed = announce_core_seed("allocation_test");
  const uint64_t wanted = rounds("DSKVS_ALLOCATION_RUNS", 20'000);
  arena_set_fault(arena_is_due);
  uint64_t runs = 0;
  for (uint64_t number = 0; runs < wanted; ++number) {
    const Script script = random_script(seed + number);
    const uint64_t allocations = run(script, UINT64_MAX, false);
    for (uint64_t at = 0; at < allocations; ++at) {
      INFO("seed " << seed << ", script " << number << ", allocation " << at);
      run(script, at, false);
      run(script, at, true);
      runs += 2;
    }
  }
  arena_set_fault(nullptr);
  fmt::print("{} runs, each with a failed allocation; 0 violations\n", runs);
}

TEST_CASE("memory that ends while a killed store is opened ends that, and all is there next time") {
  const TempDir directory(TempDir::fast_base());
  const std::string path = directory / "store";
  const std::string copy = directory / "copy";
  Model model;
  {
    // Written, and not durable: puts, removals and a drop of everything.
    Subject subject(posix_file_system(), path);
    REQUIRE(subject.open() == Status::kOk);
    for (uint32_t key = 0; key < 12; ++key) {
      REQUIRE(subject.apply({Verb::kPut, key, key * 100, key}) == Status::kOk);
    }
    REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
    REQUIRE(subject.apply({Verb::kDeleteAll, 1}) == Status::kOk);
    REQUIRE(subject.apply({Verb::kDelete, 4}) == Status::kOk);
    REQUIRE(subject.apply({Verb::kDelete, 8}) == Status::kOk);
    REQUIRE(subject.apply({Verb::kPut, 3, 10, 1}) == Status::kOk);
    REQUIRE(subject.apply({Verb::kPut, 6, 10, 2}) == Status::kOk);
    REQUIRE(subject.step());
    const Marks marks = subject.marks();
    REQUIRE((marks.written == marks.accepted && marks.durable < marks.written));
    model = subject.contents();
  }
  arena_set_fault(arena_is_due);
  for (const bool for_good : {false, true}) {
    fail_for_good = for_good;
    uint64_t failures = 0;
    bool failed = true;
    for (fail_at = 0; failed; ++fail_at) {
      std::filesystem::remove_all(copy);
      std::filesystem::copy(path, copy, std::filesystem::copy_options::recursive);
      counted = 0;
      Subject subject(posix_file_system(), copy);
      const Status status = armed_call([&] { return subject.open(); });
      failed = counted > fail_at;
      failures += status == Status::kMemory;
      INFO("allocation " << fail_at << ": " << last_error());
      REQUIRE((status == Status::kOk || (failed && status == Status::kMemory)));
      if (status != Status::kOk) continue;
      REQUIRE(subject.contents() == model);
      REQUIRE(subject.close() == Status::kOk);  // what was not durable is written again
      REQUIRE(subject.open() == Status::kOk);
      REQUIRE(subject.contents() == model);
      REQUIRE(subject.close() == Status::kOk);
    }
    REQUIRE(failures > 20);
  }
  fail_at = UINT64_MAX;
  fail_for_good = false;
  arena_set_fault(nullptr);
}

TEST_CASE("memory that ends during a backup ends that, and nothing else") {
  const TempDir directory(TempDir::fast_base());
  const std::string target = directory / "target";
  Subject subject(posix_file_system(), directory / "store");
  REQUIRE(subject.open() == Status::kOk);
  for (uint32_t key = 0; key < 12; ++key) {
    REQUIRE(subject.apply({Verb::kPut, key, key * 100, key}) == Status::kOk);
  }
  const Model model = subject.contents();
  arena_set_fault(arena_is_due);
  for (const bool for_good : {false, true}) {
    fail_for_good = for_good;
    bool failed = true;
    uint64_t failures = 0;
    for (fail_at = 0; failed; ++fail_at) {
      std::filesystem::remove_all(target);
      counted = 0;
      const Status status = armed_call([&] { return subject.backup(target); });
      failed = counted > fail_at;
      failures += status != Status::kOk;
      // kTimeout: the persister tries again when it is moved again, and nobody else moves it.
      const bool excused = status == Status::kMemory || status == Status::kTimeout;
      INFO("allocation " << fail_at << ", status " << int(status) << ": " << last_error());
      REQUIRE((status == Status::kOk || (failed && excused)));
      REQUIRE(subject.contents() == model);
      for (int i = 0; i < 100 && subject.marks().failing; ++i) subject.step();
      if (status != Status::kOk) continue;
      Subject copy(posix_file_system(), target);
      REQUIRE(copy.open() == Status::kOk);
      REQUIRE(copy.contents() == model);
    }
    REQUIRE(failures > 5);
  }
  fail_at = UINT64_MAX;
  fail_for_good = false;
  arena_set_fault(nullptr);
  REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
  REQUIRE(subject.close() == Status::kOk);
}

// A store with threads of its own.
std::unique_ptr<Store> open_real(const std::string& path, Status* status) {
  std::unique_ptr<Store> store;
  *status = Store::open(path.c_str(), {}, real_environment(), &store);
  return store;
}

void close(Store& store) {
  store.begin_close();
  REQUIRE(store.close() == Status::kOk);
}

void wait_for_failures(uint64_t more) {
  const uint64_t before = failed_elsewhere;
  while (failed_elsewhere < before + more) std::this_thread::yield();
}

// Each thread takes memory once: what the first of them had is not to be there for the others.
TEST_CASE("a thread that gets no memory to begin with does without, or its call fails") {
  is_main = true;
  const TempDir directory(TempDir::fast_base());
  const std::string large = directory / "large";
  Model model;
  {
    Subject subject(posix_file_system(), large);
    REQUIRE(subject.open() == Status::kOk);
    for (uint32_t key = 0; key < 40; ++key) {
      const Operation operation{Verb::kPut, key, 5'000, key};
      REQUIRE(subject.apply(operation) == Status::kOk);
      REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
    }
    model = subject.contents();
    REQUIRE(subject.close() == Status::kOk);
  }
  // The persister says so until it has what it needs.
  const auto put_without_memory_elsewhere = [](Store& store) {
    const std::string text = "a/b";
    Key key;
    REQUIRE(parse_key(text, &key) == Status::kOk);
    Entry* entry = Entry::make(key.member, 0);
    reclaimer::prepare_to_retire();
    {
      ReadSection section;
      fail_elsewhere = true;
      REQUIRE(store.put(HashedKey(key), entry, {}) == Status::kOk);
    }
    wait_for_failures(2);
    REQUIRE(store.sync(DSKVS_FOREVER) == Status::kMemory);
  };
  Status status;
  {
    const std::unique_ptr<Store> closed = open_real(directory / "closed", &status);
    REQUIRE(status == Status::kOk);
    put_without_memory_elsewhere(*closed);
    closed->begin_close();
    REQUIRE(closed->close() == Status::kMemory);
    fail_elsewhere = false;
  }
  const std::unique_ptr<Store> store = open_real(directory / "store", &status);
  REQUIRE(status == Status::kOk);
  put_without_memory_elsewhere(*store);
  fail_elsewhere = false;
  while ((status = store->sync(DSKVS_FOREVER)) == Status::kMemory) std::this_thread::yield();
  REQUIRE(status == Status::kOk);
  // While its thread has what it has, those that read segments have nothing.
  for (const bool fails : {true, false}) {
    fail_elsewhere = fails;
    const std::unique_ptr<Store> opened = open_real(large, &status);
    REQUIRE(status == (fails ? Status::kMemory : Status::kOk));
    if (opened != nullptr) close(*opened);
  }
  close(*store);
  Subject subject(posix_file_system(), large);
  REQUIRE(subject.open() == Status::kOk);
  REQUIRE(subject.contents() == model);
}

// Two damaged segments with large values; the first is read ahead by a thread.
void write_damaged_log(const std::string& path) {
  CraftedSegment first;
  for (int i = 0; i < 12; ++i) {
    first.put("a/" + std::to_string(i), std::string(i % 6 == 1 ? 800'000 : 100, 'x'));
    first.commit();
  }
  CraftedSegment second(first, 2);
  second.put("b/1", std::string(300'000, 'y'));
  second.add(FrameType::kRemove, "a/2", 0, "");
  second.add(FrameType::kDrop, "c", 0, "");
  second.commit();
  CommitPayload closing = second.next_commit();
  closing.last_epoch = second.epoch;
  closing.durable_epoch = second.epoch;
  second.commit(closing);
  std::filesystem::create_directory(path);
  for (CraftedSegment* segment : {&first, &second}) {
    segment->bytes[kSegmentStart + 50] ^= 1;
    std::ofstream(path + "/" + SegmentName(segment->header.segment_id).text, std::ios::binary)
        .write(reinterpret_cast<const char*>(segment->bytes.data()),
               std::streamsize(segment->bytes.size()));
  }
}

// Stores that exist are on a disk that cannot read a block of their second segment.
class BadDisk : public FileSystem {
 public:
  Status open_directory(const char* path, Presence presence, const char* marker,
                        std::unique_ptr<Directory>* directory) override {
    std::unique_ptr<Directory> inner;
    const Status status = posix_file_system().open_directory(path, presence, marker, &inner);
    if (status != Status::kOk || presence != Presence::kMustExist) {
      *directory = std::move(inner);
      return status;
    }
    *directory = std::make_unique<BadDirectory>(std::move(inner));
    return status;
  }

 private:
  class BadDirectory : public BadSectors {
   public:
    explicit BadDirectory(std::unique_ptr<Directory> inner)
        : BadSectors(*inner, SegmentName(2).text, 3 * kBlockBytes, 3 * kBlockBytes + 1),
          owned_(std::move(inner)) {}

   private:
    const std::unique_ptr<Directory> owned_;
  };
};

TEST_CASE("memory that ends while a store is checked or rescued ends that, and nothing else") {
  const TempDir directory(TempDir::fast_base());
  write_damaged_log(directory / "store");
  const std::string path = directory / "store";
  const std::string target = directory / "target";
  arena_set_fault(arena_is_due);
  // Where a call gets through all the same, it found what it always finds.
  const auto fail_each = [&](auto&& call) {
    for (const bool for_good : {false, true}) {
      fail_for_good = for_good;
      std::set<std::string> found;
      uint64_t failures = 0;
      bool failed = true;
      for (fail_at = 0; failed; ++fail_at) {
        std::filesystem::remove_all(target);
        counted = 0;
        std::vector<Entry*> damage;
        const Status status = armed_call([&] { return call(&damage); });
        std::string text;
        for (Entry* entry : damage) {
          text += std::string(entry->key()) + std::string(entry->value(), entry->value_size());
          entry->unpin();
        }
        failed = counted > fail_at;
        failures += status == Status::kMemory;
        if (status != Status::kMemory) found.insert(text);
        REQUIRE((failed || status != Status::kMemory));
      }
      REQUIRE(found.size() == 1);
      REQUIRE_FALSE(found.begin()->empty());
      REQUIRE(failures > 20);
    }
  };
  const Environment environment = real_environment();
  fail_each([&](std::vector<Entry*>* damage) {
    const Status status = verify_store(path.c_str(), {}, environment, damage);
    REQUIRE((status == Status::kCorrupt || status == Status::kMemory));
    return status;
  });
  BadDisk bad_disk;
  const Environment unreadable{bad_disk, environment.clock, environment.random, false};
  for (const Environment& where : {environment, unreadable}) {
    fail_each([&](std::vector<Entry*>* damage) {
      return salvage_store(path.c_str(), target.c_str(), {}, where, damage);
    });
  }
  fail_at = UINT64_MAX;
  fail_for_good = false;
  arena_set_fault(nullptr);
}

TEST_CASE(
    "memory that ends while a store is cleaned ends that, and all is well when there is some") {
  constexpr uint32_t kKeys = 1'000;  // of a collection each: more records than a chunk has
  arena_set_fault(arena_is_due);
  for (const bool for_good : {false, true}) {
    uint64_t failures = 0;
    bool failed = true;
    for (uint64_t at = 0; failed; ++at) {
      const TempDir directory(TempDir::fast_base());
      Subject subject(posix_file_system(), directory / "store");
      REQUIRE(subject.open() == Status::kOk);
      for (uint32_t key = 0; key < 2 * kKeys; ++key) {
        REQUIRE(subject.apply({Verb::kPut, key, 8, key}) == Status::kOk);
      }
      REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
      const Model model = subject.contents();
      REQUIRE(model.size() == 2 * kKeys);
      counted = 0;
      fail_at = at;
      fail_for_good = for_good;
      const Status status = armed_call([&] { return subject.apply({Verb::kCompact}); });
      failed = counted > at;
      fail_at = UINT64_MAX;
      fail_for_good = false;
      INFO("allocation " << at << ": " << last_error());
      REQUIRE((status == Status::kOk || (failed && status == Status::kMemory)));
      failures += status == Status::kMemory;
      for (int i = 0; i < 100 && subject.step(); ++i) {
      }
      REQUIRE(subject.apply({Verb::kSync}) == Status::kOk);
      REQUIRE(subject.apply({Verb::kCompact}) == Status::kOk);
      REQUIRE(subject.contents() == model);
      REQUIRE(subject.close() == Status::kOk);
      REQUIRE(subject.open() == Status::kOk);
      REQUIRE(subject.contents() == model);
    }
    REQUIRE(failures > 0);
  }
  arena_set_fault(nullptr);
}

}  // namespace
}  // namespace dskvs::test
