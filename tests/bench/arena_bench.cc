// What the arena costs beside malloc: time per operation, and resident memory beyond what is asked.
// One process measures one allocator with one workload; another malloc is put in with LD_PRELOAD.
//
//   arena_bench arena|malloc  fill|touch|provisioned|large|overwrite|churn|handoff|exchange|pair
//   [seconds]
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "memory/arena.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Allocator {
  void* (*allocate)(size_t bytes);
  void (*free)(void* memory);
};

constexpr Allocator kArena{dskvs::arena_allocate, dskvs::arena_free};
constexpr Allocator kMalloc{std::malloc, std::free};

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kObjects = 1'000'000;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double ns_each(Clock::time_point start, size_t operations) {
  return seconds_since(start) * 1e9 / static_cast<double>(operations);
}

double resident_bytes() {
  std::FILE* statm = std::fopen("/proc/self/statm", "r");
  unsigned long total = 0;
  unsigned long resident = 0;
  const int fields = statm != nullptr ? std::fscanf(statm, "%lu %lu", &total, &resident) : 0;
  if (statm != nullptr) std::fclose(statm);
  if (fields != 2) std::abort();
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

void trim(size_t spare_bytes) {
  while (dskvs::arena_trim(spare_bytes)) {
  }
}

void* make(const Allocator& allocator, size_t bytes) {
  void* memory = allocator.allocate(bytes);
  if (memory == nullptr) std::abort();
  std::memset(memory, 1, bytes);
  return memory;
}

// 1 M entries of 132 B: time, resident bytes beyond 132, and what is resident after all are freed.
void fill(const Allocator& allocator) {
  std::vector<void*> objects(kObjects, nullptr);
  std::memset(objects.data(), 1, kObjects * sizeof(void*));
  const double resident_before = resident_bytes();
  auto start = Clock::now();
  for (void*& object : objects) object = make(allocator, 132);
  const double fill_ns = ns_each(start, kObjects);
  const double extra = (resident_bytes() - resident_before) / kObjects - 132;
  std::shuffle(objects.begin(), objects.end(), std::mt19937_64(1));
  start = Clock::now();
  for (void* object : objects) allocator.free(object);
  const double free_ns = ns_each(start, kObjects);
  fmt::print(
      "fill: {:.1f} ns, {:.1f} B beyond 132; free in random order: {:.1f} ns, leaves {:.1f} MiB\n",
      fill_ns, extra, free_ns, (resident_bytes() - resident_before) / kMiB);
}

// Values of 700 KiB, 1.5 MiB and 5 MiB, overwritten.
void large(const Allocator& allocator) {
  for (size_t bytes : {kMiB * 7 / 10, kMiB * 3 / 2, kMiB * 5}) {
    std::vector<void*> objects(32);
    for (void*& object : objects) object = make(allocator, bytes);
    constexpr size_t kRounds = 20;
    const auto start = Clock::now();
    for (size_t i = 0; i < kRounds * objects.size(); ++i) {
      void*& object = objects[i % objects.size()];
      void* old = object;
      object = make(allocator, bytes);
      allocator.free(old);
    }
    fmt::print("large: {} KiB in {:.0f} us; ", bytes / 1024,
               ns_each(start, kRounds * objects.size()) / 1e3);
    for (void* object : objects) allocator.free(object);
  }
  fmt::print("\n");
}

// 2,048 values of 10,000 B where none was before.
void touch(const Allocator& allocator) {
  std::vector<void*> objects(2'048);
  std::vector<double> each_ns;
  const auto start = Clock::now();
  for (void*& object : objects) {
    const auto one = Clock::now();
    object = make(allocator, 10'032);
    each_ns.push_back(ns_each(one, 1));
  }
  const double first_ns = ns_each(start, objects.size());
  std::sort(each_ns.begin(), each_ns.end());
  for (void*& object : objects) {
    void* old = object;
    object = make(allocator, 10'032);
    allocator.free(old);
  }
  const auto again = Clock::now();
  for (void*& object : objects) {
    void* old = object;
    object = make(allocator, 10'032);
    allocator.free(old);
  }
  fmt::print("touch: {:.0f} ns (p50 {:.0f}, p99 {:.0f}, max {:.0f}), rewrite {:.0f} ns\n", first_ns,
             each_ns[each_ns.size() / 2], each_ns[each_ns.size() * 99 / 100], each_ns.back(),
             ns_each(again, objects.size()));
}

// Objects of one size replaced in random order, each with a reference count as an entry has.
void overwrite(const Allocator& allocator) {
  std::vector<void*> objects(kObjects);
  for (void*& object : objects) object = make(allocator, 132);
  std::mt19937_64 random(1);
  const auto start = Clock::now();
  for (size_t i = 0; i < 4 * kObjects; ++i) {
    void*& object = objects[random() % kObjects];
    void* old = object;
    object = make(allocator, 132);
    std::atomic_ref(*static_cast<uint32_t*>(old)).fetch_sub(1);
    allocator.free(old);
  }
  fmt::print("overwrite: {:.1f} ns\n", ns_each(start, 4 * kObjects));
}

// 1 M objects overwritten with sizes that change, the sizes themselves drifting: does what is
// resident creep away from what is used?
void churn(const Allocator& allocator, double seconds) {
  struct Slot {
    void* memory;
    size_t bytes;
  };
  std::vector<Slot> slots(kObjects);
  std::mt19937_64 random(1);
  const double resident_before = resident_bytes();
  double used = 0;
  auto put = [&](Slot& slot, size_t bytes) {
    void* old = slot.memory;
    slot.memory = make(allocator, bytes);
    if (old != nullptr) allocator.free(old);
    used += static_cast<double>(bytes) - static_cast<double>(slot.bytes);
    slot.bytes = bytes;
  };
  for (Slot& slot : slots) put(slot, 10 + random() % 1'990);
  const auto start = Clock::now();
  double next_report = 0;
  for (size_t round = 0; seconds_since(start) < seconds; ++round) {
    // The sizes wander between 10..1,000 and 1,000..2,000.
    const size_t low = 10 + round % 100 * 10;
    for (size_t i = 0; i < kObjects / 10; ++i) {
      put(slots[random() % kObjects], low + random() % 1'000);
    }
    if (seconds_since(start) >= next_report) {
      trim(4 * kMiB);
      const double resident = resident_bytes() - resident_before;
      fmt::print("churn: {:.0f} s, round {}, used {:.0f} MiB, resident {:.0f} MiB, ratio {:.3f}\n",
                 seconds_since(start), round, used / kMiB, resident / kMiB, resident / used);
      std::fflush(stdout);
      next_report += seconds / 12;
    }
  }
  for (Slot& slot : slots) allocator.free(slot.memory);
  trim(0);
  fmt::print("churn: after freeing all {:.1f} MiB\n", (resident_bytes() - resident_before) / kMiB);
}

// One thread allocates, another frees, in batches as a reclaimer does.
void handoff(const Allocator& allocator) {
  constexpr size_t kBatch = 64;
  constexpr size_t kRing = 64;
  constexpr size_t kBatches = 60'000;
  std::vector<std::vector<void*>> ring(kRing, std::vector<void*>(kBatch));
  std::atomic<size_t> produced{0};
  std::atomic<size_t> consumed{0};
  const auto start = Clock::now();
  std::thread consumer([&] {
    for (size_t batch = 0; batch < kBatches; ++batch) {
      while (produced.load(std::memory_order_acquire) <= batch) std::this_thread::yield();
      for (void* object : ring[batch % kRing]) allocator.free(object);
      consumed.store(batch + 1, std::memory_order_release);
    }
  });
  for (size_t batch = 0; batch < kBatches; ++batch) {
    while (batch >= consumed.load(std::memory_order_acquire) + kRing) std::this_thread::yield();
    for (void*& object : ring[batch % kRing]) {
      object = allocator.allocate(132);
      std::memset(object, 1, 132);
    }
    produced.store(batch + 1, std::memory_order_release);
  }
  consumer.join();
  fmt::print("handoff: {:.1f} ns\n", ns_each(start, kBatches * kBatch));
}

// More threads than processors, each freeing what any of them allocated, as writers of one store
// do.
void exchange(const Allocator& allocator) {
  constexpr size_t kThreads = 10;
  constexpr size_t kEach = 1'000'000;
  std::vector<std::atomic<void*>> slots(100'000);
  std::vector<std::vector<double>> slow_ns(kThreads);
  auto work = [&](size_t thread) {
    std::mt19937_64 random(thread);
    for (size_t i = 0; i < kEach; ++i) {
      const auto start = Clock::now();
      void* old = slots[random() % slots.size()].exchange(make(allocator, 132));
      if (old != nullptr) allocator.free(old);
      const double ns = ns_each(start, 1);
      if (ns > 10'000) slow_ns[thread].push_back(ns);
    }
  };
  std::vector<std::thread> threads;
  const auto start = Clock::now();
  for (size_t i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
  const double ns = ns_each(start, kThreads * kEach);
  std::vector<double> slow;
  for (const auto& some : slow_ns) slow.insert(slow.end(), some.begin(), some.end());
  std::sort(slow.begin(), slow.end());
  fmt::print("exchange: {:.1f} ns; over 10 us: {} of {}, p50 of these {:.0f} us, max {:.0f} us\n",
             ns, slow.size(), kThreads * kEach, slow.empty() ? 0 : slow[slow.size() / 2] / 1e3,
             slow.empty() ? 0 : slow.back() / 1e3);
  for (auto& slot : slots) allocator.free(slot.load());
}

// Allocate and free at once: the shortest path.
void pair(const Allocator& allocator) {
  constexpr size_t kPairs = 20'000'000;
  void* other = allocator.allocate(132);
  const auto start = Clock::now();
  for (size_t i = 0; i < kPairs; ++i) {
    void* object = allocator.allocate(132);
    *static_cast<volatile char*>(object) = 1;
    allocator.free(object);
  }
  fmt::print("pair: {:.1f} ns\n", ns_each(start, kPairs));
  allocator.free(other);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view name = argc > 1 ? argv[1] : "";
  const std::string_view workload = argc > 2 ? argv[2] : "";
  const double seconds = argc > 3 ? std::atof(argv[3]) : 30;
  const Allocator& allocator = name == "arena" ? kArena : kMalloc;
  if (name != "arena" && name != "malloc") return 2;
  if (workload == "fill") {
    fill(allocator);
  } else if (workload == "touch") {
    touch(allocator);
  } else if (workload == "provisioned") {
    while (dskvs::arena_provision(24 * kMiB)) {
    }
    touch(allocator);
  } else if (workload == "large") {
    large(allocator);
  } else if (workload == "overwrite") {
    overwrite(allocator);
  } else if (workload == "churn") {
    churn(allocator, seconds);
  } else if (workload == "handoff") {
    handoff(allocator);
  } else if (workload == "exchange") {
    exchange(allocator);
  } else if (workload == "pair") {
    pair(allocator);
  } else {
    return 2;
  }
  return 0;
}
