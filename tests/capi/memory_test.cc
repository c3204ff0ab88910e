// Goal: when memory ends at any allocation of any function, the function says so: nothing is thrown
// or aborted across the header, nothing is left half done, and the store goes on.
// Method: operator new, which the library takes from the program, fails on the calling thread at
// each allocation in turn, once and for good, until a call makes no more; then the same call again,
// with memory. (What the core loses by it is tested in tests/crash/allocation_test.cc.)
#include <cstdlib>
#include <cstring>
#include <new>
#include <semaphore>
#include <thread>

#include "functions.h"

using namespace dskvs::test;

namespace {

// Allocations are counted, and fail, only while armed, on the thread that armed it.
thread_local bool armed = false;
thread_local uint64_t counted = 0;
thread_local uint64_t fail_at = 0;
thread_local bool fail_for_good = false;

bool memory_ends() noexcept {
  if (!armed) return false;
  const uint64_t number = counted++;
  return number == fail_at || (fail_for_good && number > fail_at);
}

void* allocate(size_t size) noexcept { return memory_ends() ? nullptr : std::malloc(size); }

void* allocate(size_t size, std::align_val_t alignment) noexcept {
  const auto align = static_cast<size_t>(alignment);
  return memory_ends() ? nullptr : std::aligned_alloc(align, (size + align - 1) / align * align);
}

void* or_throw(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

using Align = std::align_val_t;
void* operator new(size_t size) { return or_throw(allocate(size)); }
void* operator new[](size_t size) { return or_throw(allocate(size)); }
void* operator new(size_t size, Align align) { return or_throw(allocate(size, align)); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void* operator new(size_t size, Align align, const std::nothrow_t&) noexcept {
  return allocate(size, align);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, Align) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, Align) noexcept { std::free(memory); }

namespace {

// Calls while memory ends at allocation `at`; `ended` tells whether the call came to it.
int32_t call_without_memory(const Function& function, const std::vector<uint64_t>& words,
                            uint64_t at, bool for_good, bool* ended) {
  counted = 0;
  fail_at = at;
  fail_for_good = for_good;
  armed = true;
  const int32_t status = function.call(words);
  armed = false;
  *ended = counted > at;
  return status;
}

bool is_empty_or_missing(const string& directory) {
  std::error_code missing;
  return std::filesystem::directory_iterator(directory, missing) ==
         std::filesystem::directory_iterator();
}

// Returns whether the call came to allocation `at`.
bool fail_one_allocation(const string& name, uint64_t at, bool for_good) {
  Stage stage;
  Scene& scene = stage.scene;
  const Function function = function_named(name, scene);
  const std::vector<uint64_t> words = good_words(function, scene.store);
  for (uint64_t& slot : scene.outputs) slot = Scene::kDirt;
  bool ended = false;
  const int32_t status = call_without_memory(function, words, at, for_good, &ended);
  CAPTURE(name, at, for_good, dskvs_status_name(status), dskvs_last_error());
  if (status == function.at_good) {
    if (status == DSKVS_OK) give_back(name, scene);
    return ended;
  }
  REQUIRE(ended);
  REQUIRE(status == DSKVS_ERR_MEMORY);
  for (uint64_t word : words) {
    for (uint64_t& slot : scene.outputs)
      if (word == reinterpret_cast<uintptr_t>(&slot)) REQUIRE(slot == 0);
  }
  REQUIRE(is_empty_or_missing(scene.target));
  REQUIRE(get(scene.store, scene.key) == scene.value);
  // Nothing holds it up from now on.
  REQUIRE(function.call(words) == function.at_good);
  if (function.at_good == DSKVS_OK) give_back(name, scene);
  if (name != "dskvs_close") REQUIRE(dskvs_compact(scene.store) == DSKVS_OK);
  return true;
}

}  // namespace

TEST_CASE("Memory that ends at any allocation of any function is a status, and no more") {
  uint64_t failed = 0;
  for (const string& name : function_names()) {
    for (bool for_good : {false, true}) {
      uint64_t at = 0;
      while (fail_one_allocation(name, at, for_good)) at++;
      failed += at;
    }
  }
  std::printf("memory: %llu allocations failed\n", static_cast<unsigned long long>(failed));
  REQUIRE(failed > 100);
}

TEST_CASE(
    "A first change that finds no thread for the persister is refused, and may be made again") {
  uint64_t refused = 0;
  for (bool made = false; !made; refused++) {
    TempDir dir;
    dskvs_t store = 0;
    REQUIRE(dskvs_open((dir / "store").c_str(), nullptr, &store) == DSKVS_OK);
    counted = 0;
    fail_at = refused;
    fail_for_good = false;
    armed = true;
    const int32_t status = put(store, "a/b", "v");
    armed = false;
    made = counted <= refused;
    REQUIRE(status == (made ? DSKVS_OK : DSKVS_ERR_MEMORY));
    REQUIRE(put(store, "a/b", "v") == DSKVS_OK);
    REQUIRE(dskvs_close(store) == DSKVS_OK);
  }
  REQUIRE(refused > 1);
}

namespace {

// The library keeps a place for each thread, and gives those of threads that ended to new ones.
// These threads take places, and keep them.
class ParkedThreads {
 public:
  ~ParkedThreads() {
    leave_.release(static_cast<std::ptrdiff_t>(threads_.size()));
    for (std::thread& thread : threads_) thread.join();
  }

  void add(int threads) {
    for (int i = 0; i < threads; i++) {
      threads_.emplace_back([this] {
        (void)contains(0, "a/b");
        arrived_.release();
        leave_.acquire();
      });
    }
    for (int i = 0; i < threads; i++) arrived_.acquire();
  }

 private:
  std::counting_semaphore<> arrived_{0};
  std::counting_semaphore<> leave_{0};
  std::vector<std::thread> threads_;
};

}  // namespace

TEST_CASE("A thread whose first call finds no memory has done nothing, and may call again") {
  ParkedThreads parked;
  parked.add(64);
  for (const string& name : function_names()) {
    {
      Stage stage;
      const Function function = function_named(name, stage.scene);
      const std::vector<uint64_t> words = good_words(function, stage.scene.store);
      Scene& scene = stage.scene;
      std::memset(scene.outputs, 0xdd, sizeof scene.outputs);
      std::memset(&scene.figures, 0xdd, sizeof scene.figures);
      scene.figures.size = sizeof scene.figures;
      std::vector<uint64_t> left;  // in the outputs, by the first call
      int32_t first = DSKVS_OK;
      int32_t second = DSKVS_OK;
      bool ended = false;
      std::thread([&] {
        first = call_without_memory(function, words, 0, true, &ended);
        for (uint64_t word : words) {
          for (uint64_t& slot : scene.outputs)
            if (word == reinterpret_cast<uintptr_t>(&slot)) left.push_back(slot);
          if (word == reinterpret_cast<uintptr_t>(&scene.figures))
            left.push_back(scene.figures.entries);
        }
        second = function.call(words);
      }).join();
      CAPTURE(name, dskvs_status_name(first), dskvs_status_name(second));
      if (function.at_good != kNoStatus) REQUIRE(first == DSKVS_ERR_MEMORY);
      REQUIRE(left == std::vector<uint64_t>(left.size()));
      REQUIRE(second == function.at_good);
      if (second == DSKVS_OK) give_back(name, stage.scene);
    }
    parked.add(2);  // the places of that thread, and of the store's
  }
}
