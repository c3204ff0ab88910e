#include "functions.h"

#include <fstream>

#include "support/read_file.h"

namespace dskvs::test {
namespace {

uint64_t word(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }
uint64_t word(const std::string& text) { return word(text.data()); }

Argument handle() { return {Kind::kHandle, 0}; }
Argument input(uint64_t good, int32_t at_null = DSKVS_ERR_ARGUMENT) {
  return {Kind::kInput, good, at_null};
}
Argument output(const void* good, int32_t at_null = DSKVS_ERR_ARGUMENT) {
  return {Kind::kOutput, word(good), at_null};
}
Argument size(uint64_t good, int32_t at_zero, int32_t at_max) {
  return {Kind::kSize, good, 0, at_zero, at_max};
}
Argument number(uint64_t good) { return {Kind::kNumber, good}; }

Argument name_size(const std::string& name) {
  return size(name.size(), DSKVS_ERR_KEY, DSKVS_ERR_KEY);
}
Argument value_size(const std::string& value) {
  return size(value.size(), DSKVS_OK, DSKVS_ERR_MEMORY);
}

constexpr int32_t kWrite = DSKVS_ERR_READ_ONLY;

// Changes one byte of `value`, wherever in the closed store it lies.
void damage(const string& store, string_view value) {
  for (const auto& file : std::filesystem::directory_iterator(store)) {
    const size_t at = read_file(file.path()).find(value);
    if (at == string::npos) continue;
    std::fstream bytes(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(static_cast<std::streamoff>(at)).put('#');
    return;
  }
  FAIL("the value is in no file");
}

}  // namespace

#define FUNCTION(name, ...) describe(#name, name, __VA_ARGS__)

std::vector<Function> all_functions(Scene& s) {
  uint64_t* out = s.outputs;
  const Argument key = input(word(s.key));
  const Argument absent = input(word(s.absent));
  const Argument collection = input(word(s.collection));
  const Argument value = input(word(s.value));
  const Argument list = input(word(s.list));
  const Argument no_options = input(word(&s.options), DSKVS_OK);
  return {
      FUNCTION(dskvs_options_init, {output(&s.options), size(sizeof s.options, DSKVS_ERR_ARGUMENT,
                                                             DSKVS_ERR_ARGUMENT)}),
      FUNCTION(dskvs_open, {input(word(s.missing)), no_options, output(&out[0])}),
      FUNCTION(dskvs_close, {handle()}),
      FUNCTION(dskvs_put, {handle(), key, name_size(s.key), value, value_size(s.value)}, DSKVS_OK,
               kWrite),
      FUNCTION(dskvs_get, {handle(), key, name_size(s.key), output(&out[0]), output(&out[1])}),
      FUNCTION(dskvs_release, {input(0)}, kNoStatus, kNoStatus),
      FUNCTION(dskvs_get_into,
               {handle(), key, name_size(s.key), output(s.buffer),
                size(sizeof s.buffer, DSKVS_ERR_BUFFER, DSKVS_OK), output(&out[0])}),
      FUNCTION(dskvs_contains, {handle(), key, name_size(s.key)}),
      FUNCTION(dskvs_delete, {handle(), key, name_size(s.key)}, DSKVS_OK, kWrite),
      FUNCTION(
          dskvs_put_if,
          {handle(), absent, name_size(s.absent), input(0, DSKVS_OK), value, value_size(s.value)},
          DSKVS_OK, kWrite),
      FUNCTION(dskvs_delete_if, {handle(), absent, name_size(s.absent), input(0, DSKVS_NOT_FOUND)},
               DSKVS_NOT_FOUND, kWrite),
      FUNCTION(dskvs_get_all, {handle(), collection, name_size(s.collection), output(&out[0])}),
      FUNCTION(dskvs_delete_all,
               {handle(), collection, name_size(s.collection), output(&out[0], DSKVS_OK)}, DSKVS_OK,
               kWrite),
      FUNCTION(dskvs_collections, {handle(), output(&out[0])}),
      FUNCTION(dskvs_count, {handle(), collection, name_size(s.collection), output(&out[0])}),
      FUNCTION(dskvs_list_size, {input(word(s.list), kNoStatus)}, kNoStatus, kNoStatus),
      FUNCTION(dskvs_list_next,
               {list, output(&out[0]), output(&out[1]), output(&out[2]), output(&out[3])}),
      FUNCTION(dskvs_list_read,
               {list, output(s.buffer), size(sizeof s.buffer, DSKVS_ERR_BUFFER, DSKVS_OK),
                output(&out[0])}),
      FUNCTION(dskvs_list_free, {input(0, kNoStatus)}, kNoStatus, kNoStatus),
      FUNCTION(dskvs_mark, {handle(), output(&out[0])}),
      FUNCTION(dskvs_wait,
               {handle(), number(s.mark), number(DSKVS_DURABLE), number(DSKVS_FOREVER)}),
      FUNCTION(dskvs_sync, {handle(), number(DSKVS_FOREVER)}),
      FUNCTION(dskvs_stats, {handle(), output(&s.figures)}),
      FUNCTION(dskvs_compact, {handle()}, DSKVS_OK, kWrite),
      FUNCTION(dskvs_backup, {handle(), input(word(s.target))}),
      FUNCTION(dskvs_verify, {input(word(s.path)), no_options, output(&out[0], DSKVS_OK)}),
      FUNCTION(dskvs_salvage, {input(word(s.damaged)), input(word(s.target)), no_options,
                               output(&out[0], DSKVS_OK)}),
      FUNCTION(dskvs_version, {}, kNoStatus, kNoStatus),
      FUNCTION(dskvs_abi_version, {}, kNoStatus, kNoStatus),
      FUNCTION(dskvs_status_name, {number(0)}, kNoStatus, kNoStatus),
      FUNCTION(dskvs_last_error, {}, kNoStatus, kNoStatus),
  };
}

#undef FUNCTION

std::vector<string> function_names() {
  Stage stage;
  std::vector<string> names;
  for (const Function& function : all_functions(stage.scene)) names.push_back(function.name);
  return names;
}

Function function_named(const string& name, Scene& scene) {
  for (Function& function : all_functions(scene))
    if (function.name == name) return function;
  FAIL("no function " << name);
  std::abort();
}

std::vector<uint64_t> good_words(const Function& function, dskvs_t store) {
  std::vector<uint64_t> words;
  for (const Argument& argument : function.arguments)
    words.push_back(argument.kind == Kind::kHandle ? store : argument.good);
  return words;
}

bool has_handle(const Function& function) {
  return !function.arguments.empty() && function.arguments[0].kind == Kind::kHandle;
}

void give_back(const string& name, Scene& scene) {
  uint64_t* out = scene.outputs;
  if (out[0] == Scene::kDirt) return;
  if (name == "dskvs_get") dskvs_release(reinterpret_cast<void*>(out[0]));
  if (name == "dskvs_open") dskvs_close(out[0]);
  if (name == "dskvs_get_all" || name == "dskvs_collections" || name == "dskvs_verify" ||
      name == "dskvs_salvage")
    dskvs_list_free(reinterpret_cast<dskvs_list*>(out[0]));
}

Stage::Stage(bool read_only) : dir_(TempDir::fast_base()), scene(dir_) {
  REQUIRE(dskvs_open(scene.damaged.c_str(), nullptr, &scene.store) == DSKVS_OK);
  REQUIRE(put(scene.store, "a/whole", "whole") == DSKVS_OK);
  REQUIRE(put(scene.store, "a/damaged", "will be damaged") == DSKVS_OK);
  REQUIRE(dskvs_close(scene.store) == DSKVS_OK);
  damage(scene.damaged, "will be damaged");
  REQUIRE(dskvs_open(scene.path.c_str(), nullptr, &scene.store) == DSKVS_OK);
  fill();
  REQUIRE(dskvs_sync(scene.store, DSKVS_FOREVER) == DSKVS_OK);
  if (read_only) {
    REQUIRE(dskvs_close(scene.store) == DSKVS_OK);
    dskvs_options options = default_options();
    options.read_only = 1;
    REQUIRE(dskvs_open(scene.path.c_str(), &options, &scene.store) == DSKVS_OK);
  }
  string_view name = scene.collection;
  REQUIRE(dskvs_get_all(scene.store, name.data(), name.size(), &scene.list) == DSKVS_OK);
}

}  // namespace dskvs::test
