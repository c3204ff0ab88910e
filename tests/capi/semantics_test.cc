// Goal: every sentence on the meaning of the calls holds through the C ABI, and what the Go dskvs
// did, where it was right.
// Method: one test case a sentence, on a store of its own; what is written is read back from
// memory and, where the disk has a say in it, after a reopen.
#include <sys/stat.h>

#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include "door.h"

using namespace dskvs::test;

TEST_CASE("A key is cut at its first slash, and any other byte may be in it") {
  TempStore store;
  const std::vector<string> keys = {
      "artist/daft_punk",
      "artist/a/b",
      "x//",
      "x///y",
      string("\0/\0", 3),
      " / ",
      "../x",
      "./.",
      "\xff/\xfe",
      "a/..",
      string(1000, 'c') + "/" + string(1000, 'm'),
  };
  for (const string& key : keys) {
    REQUIRE(put(store, key, "value of " + key) == DSKVS_OK);
    REQUIRE(contains(store, key) == DSKVS_OK);
  }
  store.reopen();
  for (const string& key : keys) REQUIRE(get(store, key) == "value of " + key);
  REQUIRE(get_all(store, "x") ==
          std::map<string, string>{{"/", "value of x//"}, {"//y", "value of x///y"}});
  REQUIRE(get_all(store, "artist").count("a/b") == 1);
}

TEST_CASE("Invalid keys are refused by every call on a key, and change nothing") {
  TempStore store;
  REQUIRE(put(store, "acoll/member", "there") == DSKVS_OK);
  for (string key :
       {"", "x", "/x", "x/", "/", "//", ".", "..", "../", "./", "/a member", "acoll/"}) {
    CAPTURE(key);
    REQUIRE(put(store, key, "v") == DSKVS_ERR_KEY);
    REQUIRE(Pinned(store, key).status == DSKVS_ERR_KEY);
    REQUIRE(contains(store, key) == DSKVS_ERR_KEY);
    REQUIRE(remove(store, key) == DSKVS_ERR_KEY);
    REQUIRE(put_if(store, key, nullptr, "v") == DSKVS_ERR_KEY);
    REQUIRE(remove_if(store, key, nullptr) == DSKVS_ERR_KEY);
    size_t size = 1;
    REQUIRE(dskvs_get_into(store, key.data(), key.size(), nullptr, 0, &size) == DSKVS_ERR_KEY);
    REQUIRE(size == 0);
  }
  REQUIRE(stats(store).entries == 1);
}

TEST_CASE(
    "Collection names are bare: not empty, no slash, and no longer than a key leaves room for") {
  TempStore store;
  dskvs_list* list = nullptr;
  uint64_t number = 1;
  for (const string& name :
       {string(), string("a/b"), string("a/"), string("/"), string(DSKVS_KEY_SIZE_MAX + 1, 'c')}) {
    CAPTURE(name.size());
    REQUIRE(dskvs_get_all(store, name.data(), name.size(), &list) == DSKVS_ERR_KEY);
    REQUIRE(list == nullptr);
    REQUIRE(dskvs_delete_all(store, name.data(), name.size(), &number) == DSKVS_ERR_KEY);
    REQUIRE(number == 0);
    REQUIRE(dskvs_count(store, name.data(), name.size(), &number) == DSKVS_ERR_KEY);
  }
  string longest(DSKVS_KEY_SIZE_MAX - 2, 'c');
  REQUIRE(put(store, longest + "/m", "v") == DSKVS_OK);
  REQUIRE(get_all(store, longest) == std::map<string, string>{{"m", "v"}});
}

TEST_CASE("Keys have up to 65,535 bytes, wherever the slash stands") {
  TempStore store;
  for (size_t slash : {size_t{1}, size_t{255}, size_t{256}, size_t{32768}, size_t{65533}}) {
    string key(DSKVS_KEY_SIZE_MAX, 'k');
    key[slash] = '/';
    REQUIRE(put(store, key, std::to_string(slash)) == DSKVS_OK);
    string longer = key + "k";
    REQUIRE(put(store, longer, "v") == DSKVS_ERR_KEY);
    REQUIRE(Pinned(store, longer).status == DSKVS_ERR_KEY);
  }
  store.reopen();
  REQUIRE(stats(store).entries == 5);
  string key(DSKVS_KEY_SIZE_MAX, 'k');
  key[32768] = '/';
  REQUIRE(get(store, key) == "32768");
}

TEST_CASE("What is not there is a status, and no error") {
  TempStore store;
  REQUIRE(put(store, "here/a", "v") == DSKVS_OK);
  for (string key : {"here/b", "nowhere/a"}) {
    Pinned value(store, key);
    REQUIRE(value.status == DSKVS_NOT_FOUND);
    REQUIRE(value.data == nullptr);
    REQUIRE(value.size == 0);
    REQUIRE(contains(store, key) == DSKVS_NOT_FOUND);
    REQUIRE(remove(store, key) == DSKVS_NOT_FOUND);
  }
  REQUIRE(get_all(store, "nowhere").empty());
  REQUIRE(count(store, "nowhere") == 0);
  uint64_t removed = 7;
  REQUIRE(dskvs_delete_all(store, "nowhere", 7, &removed) == DSKVS_OK);
  REQUIRE(removed == 0);
  REQUIRE(dskvs_delete_all(store, "nowhere", 7, nullptr) == DSKVS_OK);
}

TEST_CASE("put copies, replaces, and lasts over a reopen") {
  TempStore store;
  char key[] = "artist/daft_punk";
  char value[] = "house";
  REQUIRE(dskvs_put(store, key, 16, value, 5) == DSKVS_OK);
  std::memset(key, 'x', 16);
  std::memset(value, 'x', 5);
  REQUIRE(get(store, "artist/daft_punk") == "house");
  REQUIRE(put(store, "artist/daft_punk", "disco") == DSKVS_OK);
  REQUIRE(get(store, "artist/daft_punk") == "disco");
  store.reopen();
  REQUIRE(get(store, "artist/daft_punk") == "disco");
  REQUIRE(stats(store).entries == 1);
}

TEST_CASE("An empty value is a value, with an identity") {
  TempStore store;
  REQUIRE(dskvs_put(store, "a/empty", 7, nullptr, 0) == DSKVS_OK);
  for (int time = 0; time < 2; time++) {
    Pinned value(store, "a/empty");
    REQUIRE(value.status == DSKVS_OK);
    REQUIRE(value.data != nullptr);
    REQUIRE(value.size == 0);
    REQUIRE(contains(store, "a/empty") == DSKVS_OK);
    REQUIRE(get_all(store, "a") == std::map<string, string>{{"empty", ""}});
    store.reopen();
  }
}

TEST_CASE("Values of every size near a boundary come back whole, aligned to 8") {
  TempStore store;
  std::vector<size_t> sizes;
  for (size_t edge : {8, 16, 64, 512, 4096, 16384, 65536, 1 << 20, 4 << 20})
    for (int off = -1; off <= 1; off++) sizes.push_back(edge + static_cast<size_t>(off));
  auto value_of = [](size_t size) {
    string value(size, '\0');
    for (size_t i = 0; i < size; i++) value[i] = static_cast<char>(i * 31 + size);
    return value;
  };
  for (size_t size : sizes)
    REQUIRE(put(store, "sizes/" + std::to_string(size), value_of(size)) == DSKVS_OK);
  for (int time = 0; time < 2; time++) {
    for (size_t size : sizes) {
      Pinned value(store, "sizes/" + std::to_string(size));
      REQUIRE(value.status == DSKVS_OK);
      REQUIRE(reinterpret_cast<uintptr_t>(value.data) % 8 == 0);
      REQUIRE((value.view() == value_of(size)));
    }
    store.reopen();
  }
}

TEST_CASE("get_into copies what fits, and says the size when it does not") {
  TempStore store;
  REQUIRE(put(store, "a/b", "house") == DSKVS_OK);
  char buffer[8];
  size_t size = 0;
  std::memset(buffer, '#', sizeof buffer);
  REQUIRE(dskvs_get_into(store, "a/b", 3, buffer, 4, &size) == DSKVS_ERR_BUFFER);
  REQUIRE(size == 5);
  REQUIRE(string(buffer, 8) == "########");
  REQUIRE(dskvs_get_into(store, "a/b", 3, nullptr, 0, &size) == DSKVS_ERR_BUFFER);
  REQUIRE(size == 5);
  REQUIRE(dskvs_get_into(store, "a/b", 3, buffer, 5, &size) == DSKVS_OK);
  REQUIRE(size == 5);
  REQUIRE(string(buffer, 8) == "house###");
  REQUIRE(dskvs_get_into(store, "a/c", 3, buffer, 5, &size) == DSKVS_NOT_FOUND);
  REQUIRE(size == 0);
  REQUIRE(put(store, "a/empty", "") == DSKVS_OK);
  REQUIRE(dskvs_get_into(store, "a/empty", 7, nullptr, 0, &size) == DSKVS_OK);
}

TEST_CASE("delete says whether there was something, and lasts over a reopen") {
  TempStore store;
  REQUIRE(put(store, "a/b", "v") == DSKVS_OK);
  REQUIRE(put(store, "a/c", "v") == DSKVS_OK);
  store.reopen();
  REQUIRE(remove(store, "a/b") == DSKVS_OK);
  REQUIRE(remove(store, "a/b") == DSKVS_NOT_FOUND);
  store.reopen();
  REQUIRE(contains(store, "a/b") == DSKVS_NOT_FOUND);
  REQUIRE(contains(store, "a/c") == DSKVS_OK);
}

TEST_CASE("A collection exists exactly while it has a member") {
  TempStore store;
  auto names = [&] {
    dskvs_list* list = nullptr;
    REQUIRE(dskvs_collections(store, &list) == DSKVS_OK);
    std::map<string, uint64_t> found;
    for (const auto& [name, bytes] : drain(list)) {
      REQUIRE(bytes.size() == 8);
      for (size_t i = 8; i-- > 0;)
        found[name] = found[name] << 8 | static_cast<unsigned char>(bytes[i]);
    }
    REQUIRE(stats(store).collections == found.size());
    return found;
  };
  using Names = std::map<string, uint64_t>;
  REQUIRE(names() == Names{});
  for (int i = 0; i < 300; i++) REQUIRE(put(store, "many/" + std::to_string(i), "v") == DSKVS_OK);
  REQUIRE(put(store, "one/m", "v") == DSKVS_OK);
  REQUIRE(put(store, "one/m", "again") == DSKVS_OK);
  REQUIRE(names() == Names{{"many", 300}, {"one", 1}});
  REQUIRE(remove(store, "one/m") == DSKVS_OK);
  REQUIRE(names() == Names{{"many", 300}});
  store.reopen();
  REQUIRE(names() == Names{{"many", 300}});
  REQUIRE(dskvs_delete_all(store, "many", 4, nullptr) == DSKVS_OK);
  REQUIRE(names() == Names{});
  store.reopen();
  REQUIRE(names() == Names{});
}

TEST_CASE("get_all hands out all of one collection, and nothing else") {
  TempStore store;
  std::map<string, string> expected;
  for (int i = 0; i < 2000; i++) {
    string member = std::to_string(i);
    expected[member] = "value " + member;
    REQUIRE(put(store, "a/" + member, expected[member]) == DSKVS_OK);
    REQUIRE(put(store, "b/" + member, "other") == DSKVS_OK);
  }
  REQUIRE(get_all(store, "a") == expected);
  store.reopen();
  REQUIRE(get_all(store, "a") == expected);
}

TEST_CASE("delete_all removes one collection at once, at a cost in the log that does not grow") {
  TempStore store;
  for (int i = 0; i < 5000; i++) {
    REQUIRE(put(store, "gone/" + std::to_string(i), "value") == DSKVS_OK);
    if (i < 10) REQUIRE(put(store, "stays/" + std::to_string(i), "value") == DSKVS_OK);
  }
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  uint64_t written = stats(store).bytes_written;
  uint64_t removed = 0;
  REQUIRE(dskvs_delete_all(store, "gone", 4, &removed) == DSKVS_OK);
  REQUIRE(removed == 5000);
  REQUIRE(get_all(store, "gone").empty());
  REQUIRE(contains(store, "gone/1") == DSKVS_NOT_FOUND);
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  REQUIRE(stats(store).bytes_written - written <= 8192);

  REQUIRE(put(store, "gone/1", "back") == DSKVS_OK);
  store.reopen();
  REQUIRE(get_all(store, "gone") == std::map<string, string>{{"1", "back"}});
  REQUIRE(count(store, "stays") == 10);
}

TEST_CASE("count knows each collection and the whole store") {
  TempStore store;
  for (int i = 0; i < 100; i++) REQUIRE(put(store, "a/" + std::to_string(i), "v") == DSKVS_OK);
  REQUIRE(put(store, "b/0", "v") == DSKVS_OK);
  uint64_t all = 0;
  REQUIRE(dskvs_count(store, nullptr, 0, &all) == DSKVS_OK);
  REQUIRE(all == 101);
  REQUIRE(count(store, "a") == 100);
  REQUIRE(remove(store, "a/5") == DSKVS_OK);
  REQUIRE(count(store, "a") == 99);
  REQUIRE(dskvs_delete_all(store, "a", 1, nullptr) == DSKVS_OK);
  REQUIRE(dskvs_count(store, nullptr, 0, &all) == DSKVS_OK);
  REQUIRE(all == 1);
}

TEST_CASE("Names never become file names") {
  TempStore store;
  for (string key : {"../up", "..//up", "artist/name", "lock/dskvs.lock", "/"})
    if (key != "/") REQUIRE(put(store, key, "v") == DSKVS_OK);
  REQUIRE(dskvs_delete_all(store, "..", 2, nullptr) == DSKVS_OK);
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  for (const auto& file : std::filesystem::recursive_directory_iterator(store.dir().path())) {
    string name = file.path().filename().string();
    CAPTURE(name);
    REQUIRE(name.find("up") == string::npos);
    REQUIRE(name.find("artist") == string::npos);
  }
  REQUIRE(std::filesystem::is_directory(store.path()));
}

TEST_CASE("Open creates the directory 0700 and its files 0600, whatever the umask") {
  mode_t before = ::umask(0);
  TempStore store;
  REQUIRE(put(store, "a/b", "v") == DSKVS_OK);
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  ::umask(before);
  namespace fs = std::filesystem;
  REQUIRE(fs::status(store.path()).permissions() == fs::perms::owner_all);
  size_t files = 0;
  for (const auto& file : fs::directory_iterator(store.path())) {
    CAPTURE(file.path().string());
    REQUIRE(file.status().permissions() == (fs::perms::owner_read | fs::perms::owner_write));
    files++;
  }
  REQUIRE(files >= 2);
}

TEST_CASE("create: 0 must exist, 1 may be created, 2 must be new") {
  TempDir dir;
  string path = dir / "store";
  dskvs_t store = 1;
  dskvs_options options = default_options();

  options.create = 0;
  REQUIRE(dskvs_open(path.c_str(), &options, &store) == DSKVS_ERR_PATH);
  REQUIRE(store == 0);
  REQUIRE_FALSE(std::filesystem::exists(path));

  options.create = 2;
  REQUIRE(dskvs_open(path.c_str(), &options, &store) == DSKVS_OK);
  REQUIRE(dskvs_close(store) == DSKVS_OK);
  REQUIRE(dskvs_open(path.c_str(), &options, &store) == DSKVS_ERR_PATH);

  options.create = 0;
  REQUIRE(dskvs_open(path.c_str(), &options, &store) == DSKVS_OK);
  REQUIRE(dskvs_close(store) == DSKVS_OK);
  REQUIRE(dskvs_open(path.c_str(), nullptr, &store) == DSKVS_OK);
  REQUIRE(dskvs_close(store) == DSKVS_OK);
}

TEST_CASE("An empty directory may become a store, lost+found aside") {
  TempDir dir;
  std::filesystem::create_directories(dir / "store/lost+found");
  dskvs_options options = default_options();
  options.create = 2;
  dskvs_t store = 0;
  REQUIRE(dskvs_open((dir / "store").c_str(), &options, &store) == DSKVS_OK);
  REQUIRE(put(store, "a/b", "v") == DSKVS_OK);
  REQUIRE(dskvs_close(store) == DSKVS_OK);
  REQUIRE(dskvs_open((dir / "store").c_str(), nullptr, &store) == DSKVS_OK);
  REQUIRE(get(store, "a/b") == "v");
  REQUIRE(dskvs_close(store) == DSKVS_OK);
}

TEST_CASE("Several stores in one process do not know of each other") {
  TempStore one;
  TempStore two;
  REQUIRE(put(one, "a/b", "one") == DSKVS_OK);
  REQUIRE(put(two, "a/b", "two") == DSKVS_OK);
  REQUIRE(get(one, "a/b") == "one");
  one.close();
  REQUIRE(get(two, "a/b") == "two");
  one.open(default_options());
  REQUIRE(get(one, "a/b") == "one");
}

TEST_CASE("stats add up") {
  TempStore store;
  dskvs_stats_t empty = stats(store);
  REQUIRE(empty.entries == 0);
  REQUIRE(empty.value_bytes == 0);
  REQUIRE(empty.last_error == 0);
  for (int i = 0; i < 100; i++)
    REQUIRE(put(store, "c/" + std::to_string(1000 + i), string(50, 'v')) == DSKVS_OK);
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  dskvs_stats_t full = stats(store);
  REQUIRE(full.size == sizeof full);
  REQUIRE(full.collections == 1);
  REQUIRE(full.entries == 100);
  REQUIRE(full.key_bytes == 600);
  REQUIRE(full.value_bytes == 5000);
  REQUIRE(full.memory_bytes >= 5600);
  REQUIRE(full.dirty_bytes == 0);
  REQUIRE(full.written_lag_us == 0);
  REQUIRE(full.durable_lag_us == 0);
  REQUIRE(full.accepted_epoch >= 1);
  REQUIRE(full.written_epoch >= full.accepted_epoch);
  REQUIRE(full.durable_epoch >= full.accepted_epoch);
  REQUIRE(full.bytes_accepted == 5600);
  REQUIRE(full.bytes_written >= 5600);
  REQUIRE(full.disk_bytes >= 5600);
  REQUIRE(full.live_bytes >= 5600);
  REQUIRE(full.live_bytes <= full.bytes_written);
  REQUIRE(full.segments >= 1);
  REQUIRE(full.syncs >= 1);
  REQUIRE(full.heals == 0);
  store.reopen();
  dskvs_stats_t again = stats(store);
  REQUIRE(again.entries == 100);
  REQUIRE(again.key_bytes == 600);
  REQUIRE(again.value_bytes == 5000);
  REQUIRE(again.recovered_epoch >= full.durable_epoch);
  REQUIRE(again.lost_epochs == 0);
  REQUIRE(again.frames_cut == 0);
  REQUIRE(again.bytes_accepted == 0);
  REQUIRE(again.live_bytes == full.live_bytes);
}

TEST_CASE("Words: the version, the ABI's, and a name for every status") {
  REQUIRE(string(dskvs_version()) == std::to_string(DSKVS_VERSION_MAJOR) + "." +
                                         std::to_string(DSKVS_VERSION_MINOR) + "." +
                                         std::to_string(DSKVS_VERSION_PATCH));
  REQUIRE(string(dskvs_abi_version()) == "0");
  const std::map<int32_t, string> names = {
#define ROW(status) {status, #status}
      ROW(DSKVS_OK),
      ROW(DSKVS_NOT_FOUND),
      ROW(DSKVS_TIMEOUT),
      ROW(DSKVS_CONFLICT),
      ROW(DSKVS_ERR_ARGUMENT),
      ROW(DSKVS_ERR_KEY),
      ROW(DSKVS_ERR_PATH),
      ROW(DSKVS_ERR_LOCKED),
      ROW(DSKVS_ERR_CLOSED),
      ROW(DSKVS_ERR_FORKED),
      ROW(DSKVS_ERR_READ_ONLY),
      ROW(DSKVS_ERR_BUFFER),
      ROW(DSKVS_ERR_CANCELLED),
      ROW(DSKVS_ERR_MEMORY),
      ROW(DSKVS_ERR_FULL),
      ROW(DSKVS_ERR_SPACE),
      ROW(DSKVS_ERR_IO),
      ROW(DSKVS_ERR_CORRUPT),
      ROW(DSKVS_ERR_VERSION),
      ROW(DSKVS_ERR_INTERNAL),
#undef ROW
  };
  for (const auto& [status, name] : names) REQUIRE(dskvs_status_name(status) == name);
  for (int32_t status : {INT32_MIN, -1000, -10, 4, 1000, INT32_MAX}) {
    REQUIRE(dskvs_status_name(status) != nullptr);
    REQUIRE(names.count(status) == 0);
  }
}
