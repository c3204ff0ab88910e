// Goal: the arena hands out aligned memory that overlaps nothing, keeps what is written to it,
// takes little more than was asked for, gives memory back to the system, and survives threads,
// forks and the lack of memory. Method: every object is filled with a pattern of its own, which is
// checked before it is freed; a model of all address ranges finds overlaps; the figures are
// compared with what was allocated.
#include "memory/arena.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "support/catch.h"
#include "support/seed.h"

namespace dskvs {
namespace {

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;
constexpr size_t kGiB = 1024 * kMiB;

// An object that knows its size and is filled with bytes that depend on a seed: wholly when small,
// else at both ends.
struct Object {
  std::byte* memory = nullptr;
  size_t bytes = 0;
  uint64_t seed = 0;
};

constexpr size_t kEndBytes = 256;

template <typename Visit>
void visit_pattern(const Object& object, Visit visit) {
  const size_t head = std::min(object.bytes, kEndBytes);
  const size_t tail = object.bytes <= 4 * kEndBytes ? head : object.bytes - kEndBytes;
  for (size_t i = 0; i < object.bytes; i = i + 1 == head ? tail : i + 1) {
    visit(object.memory[i], static_cast<std::byte>((object.seed + i) * 0x9e3779b97f4a7c15U >> 56));
  }
}

Object make_object(size_t bytes, uint64_t seed) {
  Object object{static_cast<std::byte*>(arena_allocate(bytes)), bytes, seed};
  if (object.memory != nullptr) {
    visit_pattern(object, [](std::byte& at, std::byte value) { at = value; });
  }
  return object;
}

bool intact(const Object& object) {
  bool same = true;
  visit_pattern(object, [&](std::byte at, std::byte value) { same = same && at == value; });
  return same;
}

bool aligned(const Object& object) {
  const auto address = reinterpret_cast<uintptr_t>(object.memory);
  return address % (object.bytes >= 256 ? 16 : 8) == 0;
}

std::vector<size_t> edge_sizes() {
  std::vector<size_t> sizes;
  for (size_t bytes = 0; bytes <= 600; ++bytes) sizes.push_back(bytes);
  for (size_t power = kKiB; power <= 8 * kMiB; power *= 2) {
    for (size_t step = 0; step < 16; ++step) {
      const size_t edge = power + power / 16 * step;
      sizes.insert(sizes.end(), {edge - 1, edge, edge + 1});
    }
  }
  return sizes;
}

// Mostly small, now and then up to 6 MiB: every layer of the arena takes part.
size_t random_size(std::mt19937_64& random) {
  switch (random() % 32) {
    case 0:
      return random() % (300 * kKiB);
    case 1:
      return random() % 64 == 0 ? random() % (6 * kMiB) : random() % (20 * kKiB);
    default:
      return random() % 2000;
  }
}

// Fails on overlap, and on an object that was not there.
class AddressModel {
 public:
  bool add(const Object& object) {
    const auto start = reinterpret_cast<uintptr_t>(object.memory);
    const uintptr_t end = start + std::max<size_t>(object.bytes, 1);
    auto next = ranges_.lower_bound(start);
    if (next != ranges_.end() && next->first < end) return false;
    if (next != ranges_.begin() && std::prev(next)->second > start) return false;
    ranges_.emplace(start, end);
    return true;
  }
  void remove(const Object& object) { ranges_.erase(reinterpret_cast<uintptr_t>(object.memory)); }

 private:
  std::map<uintptr_t, uintptr_t> ranges_;
};

uint64_t used_bytes() { return arena_figures().used_bytes; }
uint64_t mapped_bytes() { return arena_figures().mapped_bytes; }

uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t pages = 0;
  statm >> pages >> pages;
  REQUIRE(statm);
  return pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

void trim(size_t spare_bytes) {
  while (arena_trim(spare_bytes)) {
  }
}

void provision(size_t spare_bytes) {
  while (arena_provision(spare_bytes)) {
  }
}

}  // namespace

// Comes first: no mapping was freed yet that is used again and larger.
TEST_CASE("what an object takes grows with its size, and little is wasted") {
  if (kArenaIsMalloc) return;
  const auto footprint_of = [](size_t bytes) {
    const uint64_t used_before = used_bytes();
    void* memory = arena_allocate(bytes);
    const uint64_t footprint = used_bytes() - used_before;
    arena_free(memory);
    return footprint;
  };
  uint64_t previous = 0;
  for (size_t bytes : edge_sizes()) {
    const uint64_t footprint = footprint_of(bytes);
    REQUIRE(footprint >= bytes);
    REQUIRE(footprint >= previous);
    previous = footprint;
    if (bytes >= 16 && bytes <= 256) REQUIRE(footprint < bytes + 8);
    if (bytes > 256 && bytes <= kMiB) REQUIRE(footprint <= bytes + bytes / 16);
    if (bytes > kMiB) REQUIRE(footprint <= bytes + 5 * kKiB);
  }
  CHECK(footprint_of(132) == 136);
  CHECK(footprint_of(10'032) <= 10'240);
}

TEST_CASE("every size is aligned, keeps its bytes and is accounted for") {
  const uint64_t used_before = used_bytes();
  AddressModel model;
  std::vector<Object> objects;
  uint64_t bytes_sum = 0;
  for (size_t bytes : edge_sizes()) {
    objects.push_back(make_object(bytes, bytes));
    REQUIRE(objects.back().memory != nullptr);
    REQUIRE(aligned(objects.back()));
    REQUIRE(model.add(objects.back()));
    bytes_sum += bytes;
  }
  CHECK(used_bytes() - used_before >= bytes_sum);
  for (const Object& object : objects) {
    REQUIRE(intact(object));
    arena_free(object.memory);
  }
  CHECK(used_bytes() == used_before);
}

TEST_CASE("an object of 1 GiB and more", "[.figures]") {
  for (size_t bytes : {kGiB, 4 * kGiB + 1}) {
    Object object = make_object(bytes, 7);
    REQUIRE(object.memory != nullptr);
    CHECK(aligned(object));
    CHECK(intact(object));
    const uint64_t mapped = mapped_bytes();
    arena_free(object.memory);
    CHECK(mapped_bytes() <= mapped - bytes);
  }
}

TEST_CASE("sizes beyond any memory are refused, nullptr is freed") {
  for (size_t bytes : {std::numeric_limits<size_t>::max(), std::numeric_limits<size_t>::max() - 63,
                       std::numeric_limits<size_t>::max() / 2, (size_t{1} << 47) + 1}) {
    CHECK(arena_allocate(bytes) == nullptr);
  }
  arena_free(nullptr);
}

TEST_CASE("random allocations against a model of the addresses") {
  std::mt19937_64 random(test::announce_seed("arena model"));
  const uint64_t used_before = used_bytes();
  AddressModel model;
  std::vector<Object> objects;
  const uint64_t steps = test::rounds("DSKVS_ARENA_STEPS", 300'000);
  for (uint64_t step = 0; step < steps; ++step) {
    // Alternately growing and shrinking, so that slabs and chunks fill and empty.
    const bool growing = step / 20'000 % 2 == 0;
    if (objects.empty() || random() % 8 < (growing ? 6 : 2)) {
      objects.push_back(make_object(random_size(random), random()));
      REQUIRE(objects.back().memory != nullptr);
      REQUIRE(aligned(objects.back()));
      REQUIRE(model.add(objects.back()));
    } else {
      std::swap(objects[random() % objects.size()], objects.back());
      REQUIRE(intact(objects.back()));
      model.remove(objects.back());
      arena_free(objects.back().memory);
      objects.pop_back();
    }
  }
  for (const Object& object : objects) {
    REQUIRE(intact(object));
    arena_free(object.memory);
  }
  CHECK(used_bytes() == used_before);
}

// Threads put objects in slots and free what they find there; `beside` runs until they are done.
void exchange_objects(uint64_t seed, const std::function<void()>& beside) {
  const uint64_t steps = test::rounds("DSKVS_ARENA_STEPS", 60'000);
  constexpr size_t kThreads = 6;
  std::array<std::atomic<Object*>, 4096> slots{};
  std::atomic<uint64_t> damaged{0};
  std::atomic<size_t> busy{kThreads};
  auto free_object = [&](Object* object) {
    if (object == nullptr) return;
    if (!intact(*object)) ++damaged;
    arena_free(object->memory);
    arena_free(object);
  };
  auto work = [&](size_t thread) {
    std::mt19937_64 random(seed + thread);
    for (uint64_t step = 0; step < steps; ++step) {
      auto* object = static_cast<Object*>(arena_allocate(sizeof(Object)));
      *object = make_object(random_size(random), random());
      free_object(slots[random() % slots.size()].exchange(object));
      // Now and then many objects go, so that slabs, runs and chunks become free.
      if (step % 10'000 == 9'999) {
        for (auto& slot : slots) free_object(slot.exchange(nullptr));
      }
    }
    --busy;
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
  while (busy != 0) beside();
  for (std::thread& thread : threads) thread.join();
  for (auto& slot : slots) free_object(slot.load());
  CHECK(damaged == 0);
}

TEST_CASE("threads free what other threads allocated") {
  const uint64_t used_before = used_bytes();
  exchange_objects(test::announce_seed("arena threads"), [] { sched_yield(); });
  CHECK(used_bytes() == used_before);
}

TEST_CASE("threads go on while memory is provisioned and trimmed") {
  const uint64_t used_before = used_bytes();
  exchange_objects(test::announce_seed("arena trimmed"), [] {
    arena_provision(4 * kMiB);
    trim(0);
  });
  CHECK(used_bytes() == used_before);
}

TEST_CASE("small objects are dense, and their memory goes back to the system", "[.figures]") {
  if (kArenaIsMalloc) return;
  trim(0);
  const uint64_t before = mapped_bytes();
  constexpr size_t kObjects = 300'000;
  for (size_t bytes : {132U, 1'040U, 10'032U}) {
    const size_t count = kObjects * 132 / bytes;
    std::vector<void*> objects;
    for (size_t i = 0; i < count; ++i) {
      objects.push_back(arena_allocate(bytes));
      REQUIRE(objects.back() != nullptr);
    }
    const auto waste = static_cast<double>(mapped_bytes() - before) / static_cast<double>(count) -
                       static_cast<double>(bytes);
    INFO("waste in bytes per object of " << bytes << ": " << waste);
    CHECK(waste <= 4 + 0.05 * static_cast<double>(bytes) + 4.0 * kMiB / static_cast<double>(count));
    std::shuffle(objects.begin(), objects.end(), std::mt19937_64(1));
    for (void* object : objects) arena_free(object);
    CHECK(mapped_bytes() <= before + 8 * kMiB);
    trim(0);
    CHECK(mapped_bytes() <= before);
  }
}

// Leaves one object in twenty, and many slabs and units without any.
std::vector<void*> make_holes(size_t objects_count, std::mt19937_64& random) {
  std::vector<void*> objects(objects_count);
  for (void*& object : objects) object = arena_allocate(200);
  std::shuffle(objects.begin(), objects.end(), random);
  for (size_t i = objects_count / 20; i < objects_count; ++i) arena_free(objects[i]);
  objects.resize(objects_count / 20);
  // The survivors are replaced in random order a few times.
  for (size_t i = 0; i < 10 * objects.size(); ++i) {
    void*& object = objects[random() % objects.size()];
    arena_free(std::exchange(object, arena_allocate(200)));
  }
  return objects;
}

TEST_CASE("holes between objects go back to the system, and are used again", "[.figures]") {
  if (kArenaIsMalloc) return;
  std::mt19937_64 random(test::announce_seed("arena holes"));
  constexpr size_t kObjects = 400'000;
  trim(0);
  const uint64_t before = mapped_bytes();
  for (bool refill : {false, true}) {
    std::vector<void*> objects = make_holes(kObjects, random);
    const uint64_t mapped_untrimmed = mapped_bytes();
    const uint64_t resident_untrimmed = resident_bytes();
    trim(0);
    const uint64_t mapped = mapped_bytes();
    CHECK(resident_untrimmed - resident_bytes() >= (mapped_untrimmed - mapped) / 2);
    CHECK(mapped - before <= 3 * objects.size() * 200);

    while (refill && objects.size() < kObjects) {
      objects.push_back(arena_allocate(200));
      std::memset(objects.back(), 1, 200);
    }
    CHECK(mapped_bytes() - before >= objects.size() * 200);
    std::shuffle(objects.begin(), objects.end(), random);
    for (void* object : objects) arena_free(object);
    // What counts as spare has no holes.
    provision(16 * kMiB);
    CHECK(mapped_bytes() >= before + 16 * kMiB);
    trim(0);
    CHECK(mapped_bytes() <= before);
  }
}

TEST_CASE("provisioned memory is there, is used, and is given back", "[.figures]") {
  if (kArenaIsMalloc) return;
  trim(0);
  const uint64_t before = mapped_bytes();
  provision(20 * kMiB);
  const uint64_t provisioned = mapped_bytes();
  CHECK(provisioned >= before + 20 * kMiB);
  provision(20 * kMiB);
  CHECK(mapped_bytes() == provisioned);
  std::vector<void*> objects;
  for (size_t i = 0; i < 1'900; ++i) objects.push_back(arena_allocate(10'000));
  CHECK(mapped_bytes() == provisioned);
  for (void* object : objects) arena_free(object);
  trim(4 * kMiB);
  CHECK(mapped_bytes() <= before + 4 * kMiB);
}

TEST_CASE("mappings of large objects are kept for the next, and given back", "[.figures]") {
  if (kArenaIsMalloc) return;
  trim(0);
  const uint64_t before = mapped_bytes();
  Object object = make_object(5 * kMiB, 1);
  Object next = make_object(5 * kMiB, 2);
  for (uint64_t seed = 3; seed < 100; ++seed) {
    std::byte* freed = object.memory;
    REQUIRE(intact(object));
    arena_free(freed);
    object = std::exchange(next, make_object(5 * kMiB - 1 - seed * 4'096, seed));
    REQUIRE(next.memory == freed);
  }
  CHECK(mapped_bytes() <= before + 11 * kMiB);
  std::byte* freed = object.memory;
  arena_free(freed);
  Object smaller = make_object(3 * kMiB, 1);
  CHECK(smaller.memory != freed);
  arena_free(smaller.memory);
  arena_free(next.memory);
  CHECK(mapped_bytes() <= before + 11 * kMiB);
  trim(0);
  CHECK(mapped_bytes() == before);
}

TEST_CASE("an allocation that is made to fail returns nullptr and changes nothing") {
  const uint64_t used_before = used_bytes();
  arena_set_fault([](size_t bytes) { return bytes >= 100; });
  CHECK(arena_allocate(100) == nullptr);
  CHECK(arena_allocate(10 * kMiB) == nullptr);
  void* small = arena_allocate(99);
  CHECK(small != nullptr);
  arena_set_fault(nullptr);
  void* large = arena_allocate(100);
  CHECK(large != nullptr);
  arena_free(small);
  arena_free(large);
  CHECK(used_bytes() == used_before);
}

TEST_CASE("between prepare_fork and its end no other thread is inside the arena") {
  if (kArenaIsMalloc) return;
  // Of small objects the first stays, so that to free the second needs a shard's lock only.
  struct Case {
    void* stays;
    std::function<void()> call;
  };
  auto free_second = [](size_t bytes) {
    void* first = arena_allocate(bytes);
    return Case{first, [second = arena_allocate(bytes)] { arena_free(second); }};
  };
  auto allocate_large = [](size_t bytes) {
    return Case{nullptr, [bytes] { arena_free(arena_allocate(bytes)); }};
  };
  for (const Case& one : {free_second(100), free_second(70 * kKiB), allocate_large(300 * kKiB),
                          allocate_large(3 * kMiB)}) {
    std::atomic<bool> begun{false};
    std::atomic<bool> done{false};
    arena_prepare_fork();
    std::thread thread([&] {
      begun = true;
      one.call();
      done = true;
    });
    while (!begun) sched_yield();
    // Time enough for a thread that nothing holds up.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const bool held_up = !done;
    arena_after_fork();
    thread.join();
    CHECK(held_up);
    arena_free(one.stays);
  }
}

TEST_CASE("a child forked among busy threads allocates and frees") {
  if (kArenaIsMalloc) return;  // AddressSanitizer's malloc does not promise it
  // One thread a lock of the arena, each taking it all the time.
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (size_t bytes : {size_t{100}, 300 * kKiB, 3 * kMiB}) {
    threads.emplace_back([&stop, bytes] {
      while (!stop) arena_free(arena_allocate(bytes));
    });
  }
  const uint64_t forks = test::rounds("DSKVS_FORKS", 50);
  uint64_t failed = 0;
  for (uint64_t i = 0; i < forks; ++i) {
    Object inherited = make_object(1'000, i);
    arena_prepare_fork();
    const pid_t child = ::fork();
    if (child == 0) {
      arena_after_fork();
      ::alarm(60);  // a deadlock fails
      std::mt19937_64 random(i);
      bool good = intact(inherited) && used_bytes() >= inherited.bytes;
      arena_free(inherited.memory);
      for (size_t k = 0; k < 100 && good; ++k) {
        Object object = make_object(random_size(random), k);
        good = object.memory != nullptr && intact(object);
        arena_free(object.memory);
      }
      ::_exit(good ? 0 : 1);
    }
    arena_after_fork();
    REQUIRE(child > 0);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    if (status != 0) ++failed;
    if (!intact(inherited)) ++failed;
    arena_free(inherited.memory);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
}

}  // namespace dskvs
