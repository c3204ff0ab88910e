// Goal: no misuse is undefined behaviour: every wrong argument of every function has its status,
// leaves NULL or 0 in the outputs and the store as it was, and gives away no byte of key or value.
// Method: the table of functions.h, whole by comparison with dskvs_dl.h (whose list is compared
// with the library's exported symbols elsewhere); one wrong argument at a time with the status that
// it must give; every combination of them with NULL, 0 and SIZE_MAX, on every kind of store; then
// random ones, for the sanitizers to watch.
#include <dskvs/dskvs_dl.h>

#include <random>
#include <set>

#include "functions.h"
#include "support/seed.h"

using namespace dskvs::test;

namespace {

// What holds of every call, whatever it was given.
void check_outcome(const Function& function, const std::vector<uint64_t>& words, int32_t status,
                   Scene& scene) {
  INFO(function.name << " -> " << dskvs_status_name(status) << ": " << dskvs_last_error());
  if (status == kNoStatus) return;
  REQUIRE(status != DSKVS_ERR_INTERNAL);
  if (status >= 0) {
    if (status == DSKVS_OK) give_back(function.name, scene);
    return;
  }
  string text = dskvs_last_error();
  REQUIRE_FALSE(text.empty());
  REQUIRE(text.find(Scene::kMark) == string::npos);
  bool size_needed = status == DSKVS_ERR_BUFFER;
  for (size_t i = 0; i < words.size() && !size_needed; i++) {
    for (uint64_t& slot : scene.outputs)
      if (words[i] == reinterpret_cast<uintptr_t>(&slot)) REQUIRE(slot == 0);
  }
}

void require_call(const Function& function, Scene& scene, const std::vector<uint64_t>& words,
                  int32_t expected) {
  for (uint64_t& slot : scene.outputs) slot = Scene::kDirt;
  int32_t status = function.call(words);
  INFO(function.name << " gave " << dskvs_status_name(status) << ", expected "
                     << dskvs_status_name(expected) << ": " << dskvs_last_error());
  REQUIRE(status == expected);
  check_outcome(function, words, status, scene);
}

// Calls `body` for each argument of each function that is of one of `kinds`, on a fresh stage.
void each_argument(const std::set<Kind>& kinds,
                   void (*body)(const Function& function, size_t argument, Scene& scene)) {
  for (const string& name : function_names()) {
    for (size_t i = 0;; i++) {
      Stage stage;
      Function function = function_named(name, stage.scene);
      if (i == function.arguments.size()) break;
      if (kinds.count(function.arguments[i].kind) == 0) continue;
      CAPTURE(name, i);
      body(function, i, stage.scene);
    }
  }
}

// The combination `number` of good arguments, NULL, 0 and SIZE_MAX; nothing behind the last.
std::optional<std::vector<uint64_t>> combination(const Function& function, uint64_t number,
                                                 dskvs_t store) {
  std::vector<uint64_t> words = good_words(function, store);
  for (size_t i = 0; i < words.size(); i++) {
    const Kind kind = function.arguments[i].kind;
    std::vector<uint64_t> choices = {words[i]};
    if (kind != Kind::kHandle && kind != Kind::kNumber && words[i] != 0) choices.push_back(0);
    if (kind == Kind::kSize) choices.push_back(SIZE_MAX);
    words[i] = choices[number % choices.size()];
    number /= choices.size();
  }
  if (number != 0) return {};
  return words;
}

// Whether `status` is what one of the wrong arguments gives, or the store (`at_store`), and an
// error when one of them gives one.
bool is_explained(const Function& function, const std::vector<uint64_t>& words,
                  const std::vector<uint64_t>& good, int32_t at_store, int32_t status) {
  if (function.at_good == kNoStatus) return status == kNoStatus;
  std::set<int32_t> reasons;
  if (at_store != DSKVS_OK) reasons.insert(at_store);
  for (size_t i = 0; i < words.size(); i++) {
    const Argument& argument = function.arguments[i];
    if (words[i] == good[i]) continue;
    if (argument.kind == Kind::kSize) {
      const bool whole_store = function.name == "dskvs_count" && words[i - 1] == 0;
      if (words[i] != 0) reasons.insert(argument.at_max);
      if (words[i] == 0 && !whole_store) reasons.insert(argument.at_zero);
    } else {
      const bool empty = i + 1 < words.size() && words[i + 1] == 0 &&
                         function.arguments[i + 1].kind == Kind::kSize;
      if (!empty) reasons.insert(argument.at_null);
    }
  }
  const bool wrong = !reasons.empty() && *reasons.begin() < 0;
  return wrong ? status < 0 && reasons.count(status) > 0
               : status == function.at_good || reasons.count(status) > 0;
}

}  // namespace

TEST_CASE("The table has every function of dskvs.h, once") {
  std::multiset<string> expected;
#define NAME(result, name, parameters) expected.insert(#name);
  DSKVS_DL_FUNCTIONS(NAME)
#undef NAME
  std::vector<string> names = function_names();
  REQUIRE(std::multiset<string>(names.begin(), names.end()) == expected);
}

TEST_CASE("With good arguments every function does what it is for") {
  for (const string& name : function_names()) {
    Stage stage;
    Function function = function_named(name, stage.scene);
    require_call(function, stage.scene, good_words(function, stage.scene.store), function.at_good);
  }
}

TEST_CASE("Every pointer that is NULL gives its status") {
  each_argument(
      {Kind::kInput, Kind::kOutput}, [](const Function& function, size_t i, Scene& scene) {
        std::vector<uint64_t> words = good_words(function, scene.store);
        words[i] = 0;
        require_call(function, scene, words,
                     function.at_good == kNoStatus ? kNoStatus : function.arguments[i].at_null);
      });
}

TEST_CASE("Every size that is SIZE_MAX gives its status") {
  each_argument({Kind::kSize}, [](const Function& function, size_t i, Scene& scene) {
    std::vector<uint64_t> words = good_words(function, scene.store);
    words[i] = SIZE_MAX;
    require_call(function, scene, words, function.arguments[i].at_max);
  });
}

TEST_CASE("Every size that is 0 gives its status, with a pointer and with NULL") {
  each_argument({Kind::kSize}, [](const Function& function, size_t i, Scene& scene) {
    std::vector<uint64_t> words = good_words(function, scene.store);
    words[i] = 0;
    require_call(function, scene, words, function.arguments[i].at_zero);
  });
  each_argument({Kind::kSize}, [](const Function& function, size_t i, Scene& scene) {
    std::vector<uint64_t> words = good_words(function, scene.store);
    words[i - 1] = words[i] = 0;
    bool whole_store = function.name == "dskvs_count";
    require_call(function, scene, words, whole_store ? DSKVS_OK : function.arguments[i].at_zero);
  });
}

TEST_CASE(
    "NULL and 0 together name no collection, but for dskvs_count, where they mean the store") {
  Stage stage;
  dskvs_list* list = nullptr;
  uint64_t members = 0;
  REQUIRE(dskvs_get_all(stage.scene.store, nullptr, 0, &list) == DSKVS_ERR_KEY);
  REQUIRE(dskvs_delete_all(stage.scene.store, nullptr, 0, &members) == DSKVS_ERR_KEY);
  REQUIRE(dskvs_count(stage.scene.store, nullptr, 0, &members) == DSKVS_OK);
  REQUIRE(members == 1);
}

TEST_CASE("A handle that is zero, foreign, closed or stale is closed, for every function") {
  for (const string& name : function_names()) {
    Stage stage;
    Function function = function_named(name, stage.scene);
    if (!has_handle(function)) continue;
    dskvs_t closed = stage.scene.store;
    REQUIRE(dskvs_close(closed) == DSKVS_OK);
    std::vector<uint64_t> foreign = {0, 1, closed, UINT64_MAX, UINT64_MAX - 1, uint64_t{1} << 63};
    for (int bit = 0; bit < 64; bit++) foreign.push_back(uint64_t{1} << bit);
    for (uint64_t handle : foreign)
      require_call(function, stage.scene, good_words(function, handle), DSKVS_ERR_CLOSED);

    // Stale: its place is another store's now.
    REQUIRE(dskvs_open(stage.scene.path.c_str(), nullptr, &stage.scene.store) == DSKVS_OK);
    REQUIRE(stage.scene.store != closed);
    require_call(function, stage.scene, good_words(function, closed), DSKVS_ERR_CLOSED);
    for (int bit = 0; bit < 64; bit++)
      require_call(function, stage.scene,
                   good_words(function, stage.scene.store ^ uint64_t{1} << bit), DSKVS_ERR_CLOSED);
    REQUIRE(contains(stage.scene.store, stage.scene.key) == DSKVS_OK);
  }
}

TEST_CASE("On a read-only store every write is refused, and every read works") {
  for (const string& name : function_names()) {
    Stage stage(true);
    Function function = function_named(name, stage.scene);
    int32_t expected = function.at_read_only == DSKVS_OK ? function.at_good : function.at_read_only;
    require_call(function, stage.scene, good_words(function, stage.scene.store), expected);
  }
}

TEST_CASE("In a forked child every handle is the parent's, and what needs none works") {
  Stage stage;
  Pinned value(stage.scene.store, stage.scene.key);
  Child child([&] {
    int failures = 0;
    for (const Function& function : all_functions(stage.scene)) {
      if (!has_handle(function)) continue;
      const std::vector<uint64_t> good = good_words(function, stage.scene.store);
      for (uint64_t number = 0; auto words = combination(function, number, stage.scene.store);
           number++) {
        int32_t status = function.call(*words);
        if (number == 0 ? status == DSKVS_ERR_FORKED
                        : is_explained(function, *words, good, DSKVS_ERR_FORKED, status))
          continue;
        std::fprintf(stderr, "%s in a child, combination %d: %s\n", function.name.c_str(),
                     static_cast<int>(number), dskvs_status_name(status));
        failures++;
      }
    }
    if (value.view() != stage.scene.value) failures++;
    if (drain(stage.scene.list).size() != 1) failures++;
    if (!kThreadsAfterFork) return failures;
    dskvs_t own = 0;
    if (dskvs_open(stage.scene.missing.c_str(), nullptr, &own) != DSKVS_OK) failures++;
    if (put(own, "a/b", "child") != DSKVS_OK || get(own, "a/b") != "child") failures++;
    if (dskvs_close(own) != DSKVS_OK) failures++;
    return failures;
  });
  REQUIRE(child.join() == 0);
  REQUIRE(get(stage.scene.store, stage.scene.key) == stage.scene.value);
  REQUIRE(put(stage.scene.store, "a/b", "parent") == DSKVS_OK);
}

TEST_CASE("Every combination of NULL, 0 and SIZE_MAX, on every kind of store, has its status") {
  enum Of { kOpen, kReadOnly, kClosed };
  uint64_t calls = 0;
  for (const string& name : function_names()) {
    for (Of kind : {kOpen, kReadOnly, kClosed}) {
      for (uint64_t number = 0;; number++) {
        Stage stage(kind == kReadOnly);
        Function function = function_named(name, stage.scene);
        if (kind == kClosed && !has_handle(function)) break;
        if (kind == kClosed) REQUIRE(dskvs_close(stage.scene.store) == DSKVS_OK);
        auto words = combination(function, number, stage.scene.store);
        if (!words) break;
        const int32_t of_store[] = {DSKVS_OK, function.at_read_only, DSKVS_ERR_CLOSED};
        for (uint64_t& slot : stage.scene.outputs) slot = Scene::kDirt;
        int32_t status = function.call(*words);
        CAPTURE(name, kind, number, status, dskvs_last_error());
        REQUIRE(is_explained(function, *words, good_words(function, stage.scene.store),
                             of_store[kind], status));
        check_outcome(function, *words, status, stage.scene);
        calls++;
      }
    }
  }
  std::printf("misuse: %llu combinations\n", static_cast<unsigned long long>(calls));
}

TEST_CASE("After a refusal the store is as it was") {
  Stage stage;
  dskvs_stats_t before = stats(stage.scene.store);
  REQUIRE(dskvs_put(stage.scene.store, nullptr, 5, "v", 1) == DSKVS_ERR_ARGUMENT);
  REQUIRE(dskvs_put(stage.scene.store, "a/b", 3, nullptr, 1) == DSKVS_ERR_ARGUMENT);
  REQUIRE(dskvs_put(stage.scene.store, "a/b", 3, "v", SIZE_MAX) == DSKVS_ERR_MEMORY);
  REQUIRE(dskvs_put(stage.scene.store, "a/b", 3, "v", SIZE_MAX - 4096) == DSKVS_ERR_MEMORY);
  REQUIRE(dskvs_put(stage.scene.store, "a/b", 3, "v", SIZE_MAX / 2) == DSKVS_ERR_MEMORY);
  REQUIRE(put(stage.scene.store, "no slash", "v") == DSKVS_ERR_KEY);
  dskvs_stats_t after = stats(stage.scene.store);
  REQUIRE(after.entries == before.entries);
  REQUIRE(after.key_bytes == before.key_bytes);
  REQUIRE(after.value_bytes == before.value_bytes);
  REQUIRE(after.collections == before.collections);
  REQUIRE(contains(stage.scene.store, "a/b") == DSKVS_NOT_FOUND);
}

TEST_CASE("Random combinations of wrong arguments are survived") {
  std::mt19937_64 random(announce_seed("misuse"));
  Stage stage;
  Scene& scene = stage.scene;
  dskvs_t closed = 0;
  {
    Stage other;
    closed = other.scene.store;
  }
  const uint64_t kCalls = rounds("DSKVS_MISUSE_CALLS", 20000);
  for (uint64_t call = 0; call < kCalls; call++) {
    std::vector<Function> functions = all_functions(scene);
    const Function& function = functions[random() % functions.size()];
    std::vector<uint64_t> words = good_words(function, scene.store);
    for (size_t i = 0; i < words.size(); i++) {
      if (random() % 2 == 0) continue;
      switch (function.arguments[i].kind) {
        case Kind::kHandle:
          words[i] = random() % 2 == 0 ? closed : random();
          break;
        case Kind::kInput:
        case Kind::kOutput:
          words[i] = 0;
          break;
        case Kind::kSize:
          words[i] = random() % 2 == 0 ? 0 : SIZE_MAX - random() % 4096 / 8 * 8;
          break;
        case Kind::kNumber:
          words[i] = random();
          break;
      }
    }
    // These cost a sync each, or an hour: the cases above have them.
    if (function.name == "dskvs_open" || function.name == "dskvs_backup" ||
        function.name == "dskvs_salvage" || function.name == "dskvs_compact" ||
        function.name == "dskvs_close" || function.name == "dskvs_sync")
      if (words == good_words(function, scene.store) || random() % 64 != 0) continue;
    for (uint64_t& slot : scene.outputs) slot = Scene::kDirt;
    scene.options = default_options();
    scene.figures = DSKVS_STATS_INIT;
    int32_t status = function.call(words);
    if (status == kNoStatus) continue;
    REQUIRE(string(dskvs_status_name(status)).rfind("DSKVS_", 0) == 0);
    check_outcome(function, words, status, scene);
    std::error_code ignored;
    std::filesystem::remove_all(scene.target, ignored);
    std::filesystem::remove_all(scene.missing, ignored);
  }
  stage.fill();
  REQUIRE(get(scene.store, scene.key) == scene.value);
}
