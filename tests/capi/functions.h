// Every function of dskvs.h as a row: what a good argument is in each place, and the status that
// each bad one must give. The kinds of the arguments come from the header's own types.
#pragma once

#include <dskvs/dskvs.h>

#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include "door.h"

namespace dskvs::test {

enum class Kind {
  kHandle,  // a store
  kInput,   // a pointer that is read
  kOutput,  // a pointer that is written
  kSize,    // bytes behind the pointer before it
  kNumber,  // anything else
};

// No status is expected: the function has none.
inline constexpr int32_t kNoStatus = 1000;

struct Argument {
  Kind kind;
  uint64_t good;
  int32_t at_null = DSKVS_ERR_ARGUMENT;  // of a pointer that is NULL
  int32_t at_zero = DSKVS_OK;            // of a size that is 0
  int32_t at_max = DSKVS_OK;             // of a size that is SIZE_MAX
};

struct Function {
  std::string name;
  std::vector<Argument> arguments;
  int32_t at_good;       // when all is well
  int32_t at_read_only;  // on a store opened with read_only
  std::function<int32_t(const std::vector<uint64_t>&)> call;
};

namespace detail {

template <typename T>
T from_word(uint64_t word) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<T>(static_cast<uintptr_t>(word));
  } else {
    return static_cast<T>(word);
  }
}

template <typename Result, typename... Params, size_t... I>
int32_t call_with(Result (*function)(Params...), const std::vector<uint64_t>& words,
                  std::index_sequence<I...>) {
  if constexpr (std::is_same_v<Result, int32_t>) {
    return function(from_word<Params>(words[I])...);
  } else {
    function(from_word<Params>(words[I])...);
    return kNoStatus;
  }
}

}  // namespace detail

// The arguments must be as many, and be pointers where the header says so.
template <typename Result, typename... Params>
Function describe(std::string name, Result (*function)(Params...), std::vector<Argument> arguments,
                  int32_t at_good = DSKVS_OK, int32_t at_read_only = DSKVS_OK) {
  const std::vector<bool> pointers = {std::is_pointer_v<Params>...};
  REQUIRE(arguments.size() == pointers.size());
  for (size_t i = 0; i < pointers.size(); i++) {
    INFO(name << " argument " << i);
    bool pointer = arguments[i].kind == Kind::kInput || arguments[i].kind == Kind::kOutput;
    REQUIRE(pointer == pointers[i]);
  }
  return {std::move(name), std::move(arguments), at_good, at_read_only,
          [function](const std::vector<uint64_t>& words) {
            return detail::call_with(function, words, std::index_sequence_for<Params...>());
          }};
}

// What the good arguments point to. The key's and the value's bytes are marked, so that a message
// that gives them away is found out.
struct Scene {
  static constexpr std::string_view kMark = "s3cr3t";

  explicit Scene(const TempDir& directory)
      : path(directory / "scene"),
        missing(directory / "missing"),
        damaged(directory / "damaged"),
        target(directory / "target") {
    for (int i = 0; i < kOutputs; i++) outputs[i] = kDirt;
  }

  static constexpr int kOutputs = 8;
  static constexpr uint64_t kDirt = 0xdddddddddddddddd;

  std::string path;     // of the store
  std::string missing;  // may be created
  std::string damaged;  // a store that is not open, with a damaged value
  std::string target;   // of backup and salvage
  std::string key = "coll-s3cr3t/member-s3cr3t";
  std::string absent = "coll-s3cr3t/absent-s3cr3t";
  std::string collection = "coll-s3cr3t";
  std::string value = "value-s3cr3t";
  char buffer[4096] = {};
  uint64_t outputs[kOutputs];
  dskvs_options options = DSKVS_OPTIONS_INIT;
  dskvs_stats_t figures = DSKVS_STATS_INIT;
  uint64_t mark = 0;
  dskvs_t store = 0;
  dskvs_list* list = nullptr;  // fresh, of `collection`
};

// All functions of dskvs.h, with arguments out of `scene`.
std::vector<Function> all_functions(Scene& scene);
std::vector<std::string> function_names();
Function function_named(const std::string& name, Scene& scene);

bool has_handle(const Function& function);
std::vector<uint64_t> good_words(const Function& function, dskvs_t store);

// Gives back what a call that succeeded has handed out.
void give_back(const std::string& name, Scene& scene);

// A scene with an open store and a list in it, afresh for each call.
class Stage {
 public:
  explicit Stage(bool read_only = false);
  ~Stage() {
    dskvs_list_free(scene.list);
    dskvs_close(scene.store);
  }

  void fill() { REQUIRE(put(scene.store, scene.key, scene.value) == DSKVS_OK); }

 private:
  TempDir dir_;

 public:
  Scene scene;
};

}  // namespace dskvs::test
