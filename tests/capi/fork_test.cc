// Goal: a fork at any moment, with writers running, harms neither side: in the child every call on
// an inherited handle says so and takes no lock, pinned values stay readable, other stores may be
// opened; the parent loses nothing, and its lock stays its own.
// Method: the main thread forks again and again while threads write, and keeps what it forked with
// the parent's handle; each child calls everything and exits with its number of failures, or is
// killed by an alarm when it hangs. DSKVS_FORKS sets how many.
#include <atomic>
#include <thread>
#include <vector>

#include "functions.h"
#include "support/seed.h"

using namespace dskvs::test;

namespace {

int call_everything(Scene& scene, const std::vector<Function>& functions) {
  int failures = 0;
  for (const Function& function : functions) {
    if (function.arguments.empty() || function.arguments[0].kind != Kind::kHandle) continue;
    std::vector<uint64_t> words;
    for (const Argument& argument : function.arguments) words.push_back(argument.good);
    words[0] = scene.store;
    int32_t status = function.call(words);
    if (status != DSKVS_ERR_FORKED) {
      std::fprintf(stderr, "%s in a child: %s\n", function.name.c_str(), dskvs_status_name(status));
      failures++;
    }
  }
  return failures;
}

int open_another(const string& path) {
  dskvs_t own = 0;
  if (dskvs_open(path.c_str(), nullptr, &own) != DSKVS_OK) return 1;
  int failures = put(own, "a/b", "child") != DSKVS_OK || get(own, "a/b") != "child";
  return failures + (dskvs_close(own) != DSKVS_OK);
}

}  // namespace

TEST_CASE("fork with writers running, and the child calls everything") {
  const uint64_t kForks = rounds("DSKVS_FORKS", 1000);
  TempDir dir;
  Scene scene(dir);
  REQUIRE(dskvs_open(scene.path.c_str(), nullptr, &scene.store) == DSKVS_OK);
  REQUIRE(put(scene.store, scene.key, scene.value) == DSKVS_OK);
  const std::vector<Function> functions = all_functions(scene);

  std::atomic<bool> stop{false};
  std::atomic<uint64_t> failed_puts{0};
  std::vector<uint64_t> accepted(2, 0);
  std::vector<std::thread> writers;
  for (size_t i = 0; i < accepted.size(); i++) {
    writers.emplace_back([&, i] {
      string prefix = "w" + std::to_string(i) + "/";
      while (!stop.load()) {
        string number = std::to_string(accepted[i] + 1);
        if (put(scene.store, prefix + std::to_string(accepted[i] % 1000), number) == DSKVS_OK) {
          accepted[i]++;
        } else {
          failed_puts++;
        }
      }
    });
  }

  uint64_t failed_children = 0;
  for (uint64_t i = 0; i < kForks; i++) {
    Pinned value(scene.store, scene.key);
    Child child([&] {
      int failures = call_everything(scene, functions);
      failures += value.view() != scene.value;
      // The parent's lock is not the child's to give back, nor to take.
      dskvs_t same = 0;
      if (i % 10 == 0)
        failures += dskvs_open(scene.path.c_str(), nullptr, &same) != DSKVS_ERR_LOCKED;
      if (kThreadsAfterFork && i % 20 == 0)
        failures += open_another(dir / ("child" + std::to_string(i)));
      return failures;
    });
    failed_children += child.join() != 0;
    // A child that came and went has not taken the lock along.
    if (i % 10 == 0) {
      dskvs_t same = 0;
      failed_children += dskvs_open(scene.path.c_str(), nullptr, &same) != DSKVS_ERR_LOCKED;
    }
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
  CHECK(failed_children == 0);
  CHECK(failed_puts == 0);

  REQUIRE(dskvs_close(scene.store) == DSKVS_OK);
  REQUIRE(dskvs_open(scene.path.c_str(), nullptr, &scene.store) == DSKVS_OK);
  REQUIRE(get(scene.store, scene.key) == scene.value);
  for (size_t i = 0; i < accepted.size(); i++) {
    string last = "w" + std::to_string(i) + "/" + std::to_string((accepted[i] - 1) % 1000);
    CHECK(get(scene.store, last) == std::to_string(accepted[i]));
  }
  REQUIRE(dskvs_close(scene.store) == DSKVS_OK);
}

TEST_CASE("Threads make their first call while another forks") {
  if (!kThreadsAfterFork) return;
  const uint64_t kForks = rounds("DSKVS_FIRST_CALL_FORKS", 400);
  TempDir dir;
  TempStore store;
  REQUIRE(put(store, "a/b", "parent") == DSKVS_OK);

  // All stay until the end, so that each is new to the library.
  std::atomic<uint64_t> round{0};
  std::atomic<uint64_t> failed_gets{0};
  std::vector<std::thread> readers;
  for (uint64_t i = 0; i < kForks; i++) {
    readers.emplace_back([&, i] {
      round.wait(i);
      while (round.load() == i + 1) failed_gets += get(store, "a/b") != "parent";
      for (uint64_t now = round.load(); now <= kForks; now = round.load()) round.wait(now);
    });
    round = i + 1;
    round.notify_all();
    Child child([&] { return open_another(dir / ("child" + std::to_string(i))); });
    CHECK(child.join() == 0);
  }
  round = kForks + 1;
  round.notify_all();
  for (std::thread& reader : readers) reader.join();
  CHECK(failed_gets == 0);
}

TEST_CASE("A child's exit closes nothing, and a grandchild is no parent either") {
  TempStore store;
  REQUIRE(put(store, "a/b", "parent") == DSKVS_OK);
  Child child([&] {
    Child grandchild([&] { return contains(store, "a/b") == DSKVS_ERR_FORKED ? 0 : 1; });
    return grandchild.join() + (dskvs_close(store) == DSKVS_ERR_FORKED ? 0 : 1);
  });
  REQUIRE(child.join() == 0);
  REQUIRE(put(store, "a/b", "still") == DSKVS_OK);
  store.reopen();
  REQUIRE(get(store, "a/b") == "still");
}

TEST_CASE("A child may open the store once the parent has closed it") {
  if (!kThreadsAfterFork) return;
  TempStore store;
  REQUIRE(put(store, "a/b", "parent") == DSKVS_OK);
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  Child child([&] {
    char byte;
    ::close(ready[1]);
    if (::read(ready[0], &byte, 1) != 0) return 1;
    dskvs_t own = 0;
    if (dskvs_open(store.path().c_str(), nullptr, &own) != DSKVS_OK) return 2;
    if (get(own, "a/b") != "parent" || put(own, "a/b", "child") != DSKVS_OK) return 3;
    return dskvs_close(own) == DSKVS_OK ? 0 : 4;
  });
  ::close(ready[0]);
  store.close();
  ::close(ready[1]);
  REQUIRE(child.join() == 0);
  store.open(default_options());
  REQUIRE(get(store, "a/b") == "child");
}
