// Goal: dskvs.hpp says in C++ what dskvs.h says in C, and owns what it should; the list in
// dskvs_dl.h has the header's own types.
// Method: each member once, moved and dropped objects under the sanitizers; the compiler compares
// the types.
#include <dskvs/dskvs_dl.h>
#include <dskvs/dskvs.hpp>

#include <array>
#include <map>
#include <ranges>
#include <string>
#include <type_traits>

#include "support/catch.h"
#include "support/temp_dir.h"

using dskvs::Store;
using dskvs::test::TempDir;

#define SAME_TYPE(result, name, parameters) \
  static_assert(std::is_same_v<decltype(&::name), decltype(dskvs_api::name)>);
DSKVS_DL_FUNCTIONS(SAME_TYPE)
#undef SAME_TYPE

static_assert(!std::is_copy_constructible_v<Store>);
static_assert(std::is_nothrow_move_constructible_v<Store>);
static_assert(!std::is_copy_constructible_v<dskvs::Value>);
static_assert(std::is_nothrow_move_assignable_v<dskvs::Value>);
static_assert(!std::is_copy_constructible_v<dskvs::List>);
static_assert(std::input_iterator<dskvs::List::Iterator>);
static_assert(std::ranges::input_range<dskvs::List>);

namespace {

std::map<std::string, std::string> all_of(dskvs::List list) {
  std::map<std::string, std::string> all;
  for (const auto& [member, value] : list) all.emplace(member, value);
  return all;
}

template <typename Call>
int32_t status_of(const Call& call) {
  try {
    call();
  } catch (const dskvs::Error& error) {
    REQUIRE(std::string(error.what()).rfind(dskvs_status_name(error.status()), 0) == 0);
    return error.status();
  }
  return DSKVS_OK;
}

}  // namespace

TEST_CASE("One key") {
  TempDir dir;
  Store store(dir / "store");
  store.put("artist/daft_punk", "house");
  REQUIRE(store.contains("artist/daft_punk"));
  REQUIRE(store.get("artist/daft_punk")->view() == "house");
  REQUIRE(store.get("artist/daft_punk")->bytes().size() == 5);
  REQUIRE_FALSE(store.get("artist/nobody").has_value());
  REQUIRE_FALSE(store.contains("artist/nobody"));

  std::array<char, 8> buffer{};
  REQUIRE(store.get_into("artist/daft_punk", buffer.data(), buffer.size()) == size_t{5});
  REQUIRE(std::string(buffer.data()) == "house");
  REQUIRE(store.get_into("artist/daft_punk", buffer.data(), 2) == size_t{5});
  REQUIRE_FALSE(store.get_into("artist/nobody", buffer.data(), 2).has_value());

  REQUIRE(store.erase("artist/daft_punk"));
  REQUIRE_FALSE(store.erase("artist/daft_punk"));
}

TEST_CASE("Conditional writes") {
  TempDir dir;
  Store store(dir / "store");
  REQUIRE(store.put_if("a/b", {}, "one"));
  REQUIRE_FALSE(store.put_if("a/b", {}, "two"));
  auto held = store.get("a/b");
  REQUIRE(store.put_if("a/b", held, "two"));
  REQUIRE_FALSE(store.put_if("a/b", held, "three"));
  REQUIRE_FALSE(store.erase_if("a/b", *held));
  REQUIRE(held->view() == "one");
  held = store.get("a/b");
  REQUIRE(store.erase_if("a/b", *held));
  REQUIRE_FALSE(store.contains("a/b"));
}

TEST_CASE("Values and lists move, and outlive the store") {
  TempDir dir;
  auto store = std::make_unique<Store>(dir / "store");
  store->put("a/b", "value");
  dskvs::Value value = *store->get("a/b");
  dskvs::Value moved = std::move(value);
  dskvs::List list = store->get_all("a");
  dskvs::List moved_list = std::move(list);
  store.reset();
  REQUIRE(moved.view() == "value");
  REQUIRE(moved_list.size() == 1);
  REQUIRE(all_of(std::move(moved_list)).at("b") == "value");
}

TEST_CASE("Collections") {
  TempDir dir;
  Store store(dir / "store");
  for (int i = 0; i < 300; i++) store.put("many/" + std::to_string(i), std::to_string(i));
  store.put("one/m", "");
  REQUIRE(store.count() == 301);
  REQUIRE(store.count("many") == 300);
  REQUIRE(store.get_all("many").size() == 300);
  REQUIRE(all_of(store.get_all("many")).at("77") == "77");
  REQUIRE(all_of(store.get_all("none")).empty());
  std::map<std::string, uint64_t> sizes;
  for (const auto& [name, members] : store.collections()) sizes[name] = members;
  REQUIRE(sizes == std::map<std::string, uint64_t>{{"many", 300}, {"one", 1}});
  REQUIRE(store.erase_all("many") == 300);
  REQUIRE(store.erase_all("many") == 0);
  REQUIRE(store.count() == 1);
}

TEST_CASE("The disk") {
  TempDir dir;
  Store store(dir / "store");
  store.put("a/b", "v");
  REQUIRE(store.wait(store.mark(), DSKVS_WRITTEN));
  REQUIRE(store.sync());
  REQUIRE(store.stats().entries == 1);
  store.compact();
  store.backup(dir / "copy");
  store.close();
  REQUIRE(status_of([&] { store.count(); }) == DSKVS_ERR_CLOSED);

  dskvs_options options = dskvs::default_options();
  options.read_only = 1;
  Store copy(dir / "copy", options);
  REQUIRE(copy.get("a/b")->view() == "v");
  REQUIRE(status_of([&] { copy.put("a/b", "w"); }) == DSKVS_ERR_READ_ONLY);
  REQUIRE(dskvs::verify(dir / "copy").empty());
  REQUIRE(dskvs::salvage(dir / "copy", dir / "rescued").empty());
  REQUIRE(Store(dir / "rescued").get("a/b")->view() == "v");
}

TEST_CASE("Errors are thrown, with the status and its words") {
  TempDir dir;
  Store store(dir / "store");
  REQUIRE(status_of([&] { store.put("no slash", "v"); }) == DSKVS_ERR_KEY);
  REQUIRE(status_of([&] { store.get(""); }) == DSKVS_ERR_KEY);
  for (const std::string_view none : {std::string_view(), std::string_view("")}) {
    REQUIRE(status_of([&] { store.get_all(none); }) == DSKVS_ERR_KEY);
    REQUIRE(status_of([&] { store.erase_all(none); }) == DSKVS_ERR_KEY);
    REQUIRE(status_of([&] { store.count(none); }) == DSKVS_ERR_KEY);
  }
  REQUIRE(status_of([&] { Store again(dir / "store"); }) == DSKVS_ERR_LOCKED);
  REQUIRE(status_of([&] { dskvs::verify(dir / "missing"); }) == DSKVS_ERR_PATH);
  Store moved = std::move(store);
  moved.put("a/b", "v");
  REQUIRE(status_of([&] { store.count(); }) == DSKVS_ERR_CLOSED);  // moved from: no store
}
