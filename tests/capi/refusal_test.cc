// Goal: every refusal has its status and a message that names the thing: the path, the owner's pid,
// the file and the offset, the rule; never the bytes of a key. And it leaves everything as it was.
// Method: each wrong place, option and key is tried; bytes of a closed store are changed one place
// at a time, and open and verify must both name the file, or find the store whole.
#define XXH_INLINE_ALL
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <cstring>
#include <fstream>
#include <random>
#include <thread>
#include <vector>

#include "door.h"
#include "support/read_file.h"
#include "support/seed.h"

using namespace dskvs::test;
namespace fs = std::filesystem;

namespace {

bool says(const string& part) { return string(dskvs_last_error()).find(part) != string::npos; }

void require_refused(const string& path, int32_t expected, const dskvs_options* options = nullptr) {
  dskvs_t store = 1;
  int32_t status = dskvs_open(path.c_str(), options, &store);
  INFO(path << ": " << dskvs_status_name(status) << ": " << dskvs_last_error());
  if (status == DSKVS_OK) dskvs_close(store);
  REQUIRE(status == expected);
  REQUIRE(store == 0);
  if (expected != DSKVS_ERR_ARGUMENT) REQUIRE(says(path));
}

std::vector<string> entries(const string& directory) {
  std::vector<string> names;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    names.push_back(entry.path().string());
  std::sort(names.begin(), names.end());
  return names;
}

void write_file(const string& path, const string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

// The log file of a closed store that holds `bytes`, and where.
std::pair<string, size_t> find_in_store(const string& store, const string& bytes) {
  for (const auto& entry : fs::directory_iterator(store)) {
    size_t at = read_file(entry.path().string()).find(bytes);
    if (at != string::npos) return {entry.path().string(), at};
  }
  FAIL("the bytes are in no file of the store");
  std::abort();
}

}  // namespace

TEST_CASE("A place where no store can be is refused, and left as it was") {
  TempDir dir;
  write_file(dir / "file", "content");
  fs::create_directory(dir / "foreign");
  write_file(dir / "foreign/notes.txt", "mine");
  fs::create_directory_symlink(dir / "nowhere", dir / "dangling");
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  fs::create_symlink(dir / "loop", dir / "loop");
  auto before = entries(dir.path());

  require_refused(dir / "file", DSKVS_ERR_PATH);
  require_refused(dir / "file/store", DSKVS_ERR_PATH);
  require_refused(dir / "missing/store", DSKVS_ERR_PATH);
  require_refused(dir / "foreign", DSKVS_ERR_PATH);
  require_refused(dir / "fifo", DSKVS_ERR_PATH);
  require_refused(dir / "loop", DSKVS_ERR_PATH);
  require_refused(dir / string(300, 'n'), DSKVS_ERR_PATH);
  require_refused("", DSKVS_ERR_PATH);
  dskvs_options options = default_options();
  options.create = 2;
  require_refused(dir / "foreign", DSKVS_ERR_PATH, &options);
  options.create = 0;
  require_refused(dir / "missing", DSKVS_ERR_PATH, &options);
  options = default_options();
  options.read_only = 1;
  require_refused(dir / "missing", DSKVS_ERR_PATH, &options);
  require_refused(dir / "file", DSKVS_ERR_PATH, &options);
  require_refused(dir / "foreign", DSKVS_ERR_PATH, &options);
  REQUIRE(entries(dir.path()) == before);
  REQUIRE(read_file(dir / "foreign/notes.txt") == "mine");
}

namespace {

constexpr int kSkipped = 100;

// In a child: becomes a user to whom modes apply. False: it cannot.
bool become_nobody(const string& owned) {
  constexpr uid_t kNobody = 65534;
  if (::geteuid() != 0) return true;
  for (const string& path : entries(owned))
    if (::lchown(path.c_str(), kNobody, kNobody) != 0) return false;
  if (::lchown(owned.c_str(), kNobody, kNobody) != 0) return false;
  return ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0;
}

int32_t open_and_close(const string& path, const dskvs_options* options = nullptr) {
  dskvs_t store = 0;
  int32_t status = dskvs_open(path.c_str(), options, &store);
  return status == DSKVS_OK ? dskvs_close(store) : status;
}

// A store in which a value is damaged, another is not.
void make_damaged(const string& path) {
  const string value = "this value will be damaged";
  dskvs_t store = 0;
  REQUIRE(dskvs_open(path.c_str(), nullptr, &store) == DSKVS_OK);
  REQUIRE(put(store, "a/damaged", value) == DSKVS_OK);
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  REQUIRE(put(store, "a/whole", "whole") == DSKVS_OK);
  REQUIRE(dskvs_close(store) == DSKVS_OK);
  auto [file, offset] = find_in_store(path, value);
  string bytes = read_file(file);
  bytes[offset] = '#';
  write_file(file, bytes);
}

}  // namespace

TEST_CASE("A directory that may not be written is refused, also when a store is in it") {
  TempDir dir;
  fs::create_directory(dir / "locked");
  REQUIRE(open_and_close(dir / "store") == DSKVS_OK);
  const auto readable = fs::perms::owner_read | fs::perms::owner_exec;
  fs::permissions(dir / "locked", readable);
  fs::permissions(dir / "store", readable);
  Child child([&] {
    if (!become_nobody(dir.path())) return kSkipped;
    for (const char* name : {"locked/store", "locked", "store"}) {
      if (open_and_close(dir / name) != DSKVS_ERR_PATH) return 1;
      if (!says(dir / name)) return 2;
    }
    dskvs_options read_only = default_options();
    read_only.read_only = 1;
    return open_and_close(dir / "store", &read_only) == DSKVS_OK ? 0 : 3;
  });
  const int result = child.join();
  fs::permissions(dir / "locked", fs::perms::owner_all);
  fs::permissions(dir / "store", fs::perms::owner_all);
  if (result == kSkipped) std::printf("refusal: skipped what root may do\n");
  REQUIRE((result == 0 || result == kSkipped));
}

TEST_CASE("What lies on a read-only file system is rescued, and not opened for writing") {
  TempDir dir;
  const string path = dir / "store";
  make_damaged(path);
  Child child([&] {
    // Read-only for this child alone.
    if (::unshare(CLONE_NEWNS | (::geteuid() == 0 ? 0 : CLONE_NEWUSER)) != 0) return kSkipped;
    const char* mounted = path.c_str();
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount(mounted, mounted, nullptr, MS_BIND, nullptr) != 0 ||
        ::mount(nullptr, mounted, nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) != 0) {
      return kSkipped;
    }
    if (open_and_close(path) != DSKVS_ERR_PATH || !says(path)) return 1;
    const int32_t status = dskvs_salvage(mounted, (dir / "rescued").c_str(), nullptr, nullptr);
    if (status != DSKVS_OK) std::fprintf(stderr, "salvage: %s\n", dskvs_last_error());
    return status == DSKVS_OK ? 0 : 2;
  });
  const int result = child.join();
  if (result == kSkipped) {
    std::printf("refusal: skipped what needs a mount\n");
    return;
  }
  REQUIRE(result == 0);
  dskvs_t store = 0;
  REQUIRE(dskvs_open((dir / "rescued").c_str(), nullptr, &store) == DSKVS_OK);
  REQUIRE(get_all(store, "a") == std::map<string, string>{{"whole", "whole"}});
  REQUIRE(dskvs_close(store) == DSKVS_OK);
}

namespace {

struct Intruder {
  string target;
  int32_t status = DSKVS_OK;
};

// While the source is read: somebody opens the target.
int32_t intrude(void* context, uint64_t, uint64_t) {
  auto& intruder = *static_cast<Intruder*>(context);
  dskvs_t store = 0;
  intruder.status = dskvs_open(intruder.target.c_str(), nullptr, &store);
  if (intruder.status != DSKVS_OK) return 0;
  REQUIRE(put(store, "a/b", "the intruder's") == DSKVS_OK);
  REQUIRE(dskvs_close(store) == DSKVS_OK);
  return 0;
}

}  // namespace

TEST_CASE("The target of a salvage is locked from the beginning, and empty after a failure") {
  TempDir dir;
  Intruder intruder{dir / "rescued"};
  make_damaged(dir / "store");
  dskvs_options options = default_options();
  options.progress = intrude;
  options.progress_context = &intruder;
  REQUIRE(dskvs_salvage((dir / "store").c_str(), (dir / "rescued").c_str(), &options, nullptr) ==
          DSKVS_OK);
  REQUIRE(intruder.status == DSKVS_ERR_LOCKED);
  dskvs_t store = 0;
  REQUIRE(dskvs_open((dir / "rescued").c_str(), nullptr, &store) == DSKVS_OK);
  REQUIRE(get_all(store, "a") == std::map<string, string>{{"whole", "whole"}});
  REQUIRE(dskvs_close(store) == DSKVS_OK);

  options.progress = [](void*, uint64_t, uint64_t) { return int32_t{1}; };
  REQUIRE(dskvs_salvage((dir / "store").c_str(), (dir / "cancelled").c_str(), &options, nullptr) ==
          DSKVS_ERR_CANCELLED);
  REQUIRE(fs::is_empty(dir / "cancelled"));
}

TEST_CASE("Two stores never share a tree") {
  TempStore store;
  require_refused(store.path() + "/inner", DSKVS_ERR_PATH);
  fs::create_directories(store.path() + "/deep/deeper");
  require_refused(store.path() + "/deep/deeper", DSKVS_ERR_PATH);
  require_refused(store.path() + "/deep/deeper/inner", DSKVS_ERR_PATH);
  fs::create_directory_symlink(store.path() + "/deep", store.dir() / "link");
  require_refused(store.dir() / "link/inner", DSKVS_ERR_PATH);
  REQUIRE_FALSE(fs::exists(store.path() + "/inner"));
  REQUIRE_FALSE(fs::exists(store.path() + "/deep/inner"));
  REQUIRE_FALSE(fs::exists(store.path() + "/deep/deeper/inner"));
  REQUIRE(dskvs_backup(store, (store.path() + "/copy").c_str()) == DSKVS_ERR_PATH);
}

TEST_CASE("A second open is refused at once, and names the owner, whatever the spelling") {
  TempStore store;
  fs::create_directory_symlink(store.path(), store.dir() / "link");
  const string pid = std::to_string(::getpid());
  for (const string& spelling :
       {store.path(), store.path() + "/", store.dir() / "./store", store.dir() / "link",
        store.path() + "/../store", store.dir() / "link/../store"}) {
    require_refused(spelling, DSKVS_ERR_LOCKED);
    REQUIRE(says(pid));
  }
  REQUIRE(put(store, "a/b", "still open") == DSKVS_OK);
  if (!kForksBesideThreads) return;
  Child child([&] {
    dskvs_t other = 1;
    if (dskvs_open(store.path().c_str(), nullptr, &other) != DSKVS_ERR_LOCKED) return 1;
    return other == 0 && says(pid) && says(store.path()) ? 0 : 2;
  });
  REQUIRE(child.join() == 0);
}

TEST_CASE("The lock of another process is named by its pid, and goes with it") {
  TempDir dir;
  const string path = dir / "store";
  int ready[2];
  int done[2];
  REQUIRE(::pipe(ready) == 0);
  REQUIRE(::pipe(done) == 0);
  Child owner([&] {
    ::close(done[1]);
    dskvs_t store = 0;
    char byte = 0;
    if (dskvs_open(path.c_str(), nullptr, &store) != DSKVS_OK) return 1;
    if (put(store, "a/b", "owner") != DSKVS_OK) return 2;
    if (dskvs_sync(store, DSKVS_FOREVER) != DSKVS_OK) return 3;
    if (::write(ready[1], &byte, 1) != 1) return 4;
    return ::read(done[0], &byte, 1) == 0 ? 0 : 5;  // dies without closing
  });
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  require_refused(path, DSKVS_ERR_LOCKED);
  REQUIRE(says(std::to_string(owner.pid())));
  ::close(done[1]);
  REQUIRE(owner.join() == 0);
  dskvs_t store = 0;
  REQUIRE(dskvs_open(path.c_str(), nullptr, &store) == DSKVS_OK);
  REQUIRE(get(store, "a/b") == "owner");
  REQUIRE(dskvs_close(store) == DSKVS_OK);
}

TEST_CASE("Options out of bounds are refused by name, before anything is made") {
  TempDir dir;
  struct Row {
    uint64_t dskvs_options::*field;
    uint64_t value;
    const char* name;
  };
  const Row rows[] = {
      {&dskvs_options::read_only, 2, "read_only"},
      {&dskvs_options::read_only, UINT64_MAX, "read_only"},
      {&dskvs_options::create, 3, "create"},
      {&dskvs_options::create, UINT64_MAX, "create"},
      {&dskvs_options::sync_interval_ms, 86400001, "sync_interval_ms"},
      {&dskvs_options::sync_interval_ms, UINT64_MAX, "sync_interval_ms"},
      {&dskvs_options::dirty_bytes_max, 0, "dirty_bytes_max"},
      {&dskvs_options::dirty_bytes_max, 65535, "dirty_bytes_max"},
      {&dskvs_options::size, 0, "size"},
      {&dskvs_options::size, 12, "size"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name, row.value);
    dskvs_options options = default_options();
    options.*row.field = row.value;
    require_refused(dir / "store", DSKVS_ERR_ARGUMENT, &options);
    INFO(dskvs_last_error());
    REQUIRE(says(row.name));
    REQUIRE_FALSE(fs::exists(dir / "store"));
  }
  dskvs_options edge = default_options();
  edge.sync_interval_ms = 86400000;
  edge.dirty_bytes_max = 65536;
  edge.memory_bytes_max = UINT64_MAX;
  dskvs_t store = 0;
  REQUIRE(dskvs_open((dir / "store").c_str(), &edge, &store) == DSKVS_OK);
  REQUIRE(dskvs_close(store) == DSKVS_OK);
}

TEST_CASE("A refused key is explained by its rule, never by its bytes") {
  TempStore store;
  struct Row {
    string key;
    const char* rule;
  };
  const Row rows[] = {
      {"", "empty"},
      {"s3cr3t", "/"},
      {"/s3cr3t", "collection"},
      {"s3cr3t/", "member"},
      {"s3cr3t/" + string(70000, 'm'), "65535"},
  };
  std::vector<string> texts;
  for (const Row& row : rows) {
    REQUIRE(put(store, row.key, "v") == DSKVS_ERR_KEY);
    string text = dskvs_last_error();
    CAPTURE(text, row.rule);
    string digits = text;
    digits.erase(std::remove(digits.begin(), digits.end(), ','), digits.end());
    REQUIRE(digits.find(row.rule) != string::npos);
    REQUIRE(text.find("s3cr3t") == string::npos);
    texts.push_back(text);
  }
  std::sort(texts.begin(), texts.end());
  REQUIRE(std::unique(texts.begin(), texts.end()) == texts.end());  // each rule has its own words
}

TEST_CASE("The last error belongs to its thread, and to its last error") {
  TempStore store;
  string elsewhere = "unset";
  std::thread([&] { elsewhere = dskvs_last_error(); }).join();
  REQUIRE(elsewhere.empty());
  REQUIRE(put(store, "no slash", "v") == DSKVS_ERR_KEY);
  string text = dskvs_last_error();
  REQUIRE_FALSE(text.empty());
  std::thread([&] { (void)put(store, "", "v"); }).join();
  REQUIRE(text == dskvs_last_error());
  REQUIRE(put(store, "a/b", "v") == DSKVS_OK);
  REQUIRE(contains(store, "a/c") == DSKVS_NOT_FOUND);
  REQUIRE(text == dskvs_last_error());  // only errors have something to say
  TempDir temp;
  for (int opens = 0; opens < 2; opens++) {
    dskvs_t other;
    REQUIRE(dskvs_open((temp / "other").c_str(), nullptr, &other) == DSKVS_OK);
    REQUIRE(put(other, "a/b", "v") == DSKVS_OK);
    REQUIRE(dskvs_compact(other) == DSKVS_OK);
    REQUIRE(dskvs_backup(other, (temp / std::to_string(opens)).c_str()) == DSKVS_OK);
    REQUIRE(dskvs_close(other) == DSKVS_OK);
    REQUIRE(text == dskvs_last_error());
  }
  REQUIRE(dskvs_verify((temp / "other").c_str(), nullptr, nullptr) == DSKVS_OK);
  const string salvaged = temp / "salvaged";
  REQUIRE(dskvs_salvage((temp / "other").c_str(), salvaged.c_str(), nullptr, nullptr) == DSKVS_OK);
  REQUIRE(text == dskvs_last_error());
}

TEST_CASE(
    "Durable bytes that changed are corruption: file and offset are named, and nothing changed") {
  TempDir dir;
  const string path = dir / "store";
  const string value = "0123456789abcdef this value lies in the log as it is";
  dskvs_t store = 0;
  REQUIRE(dskvs_open(path.c_str(), nullptr, &store) == DSKVS_OK);
  REQUIRE(put(store, "a/b", value) == DSKVS_OK);
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  REQUIRE(put(store, "a/c", "later") == DSKVS_OK);
  REQUIRE(dskvs_close(store) == DSKVS_OK);

  auto [file, offset] = find_in_store(path, value);
  string bytes = read_file(file);
  bytes[offset + 20] = static_cast<char>(bytes[offset + 20] ^ 4);
  write_file(file, bytes);
  auto before = entries(path);

  dskvs_options read_only = default_options();
  read_only.read_only = 1;
  for (const dskvs_options* options : {static_cast<const dskvs_options*>(nullptr),
                                       static_cast<const dskvs_options*>(&read_only)}) {
    REQUIRE(dskvs_open(path.c_str(), options, &store) == DSKVS_ERR_CORRUPT);
    REQUIRE(store == 0);
    INFO(dskvs_last_error());
    REQUIRE(says(fs::path(file).filename().string()));
    REQUIRE(says("offset"));
    REQUIRE_FALSE(says("0123456789"));
  }
  REQUIRE(entries(path) == before);
  REQUIRE(read_file(file) == bytes);

  dskvs_list* damage = nullptr;
  REQUIRE(dskvs_verify(path.c_str(), nullptr, &damage) == DSKVS_ERR_CORRUPT);
  REQUIRE(dskvs_list_size(damage) >= 1);
  auto found = drain(damage);
  const string name = fs::path(file).filename().string();
  REQUIRE(found.count(name) == 1);
  REQUIRE(found[name].rfind("offset ", 0) == 0);
  REQUIRE(dskvs_verify(path.c_str(), nullptr, nullptr) == DSKVS_ERR_CORRUPT);

  // What is intact is rescued, and the damaged store is as it was.
  REQUIRE(dskvs_salvage(path.c_str(), (dir / "rescued").c_str(), nullptr, &damage) == DSKVS_OK);
  REQUIRE(drain(damage).count(name) == 1);
  REQUIRE(read_file(file) == bytes);
  REQUIRE(dskvs_open((dir / "rescued").c_str(), nullptr, &store) == DSKVS_OK);
  REQUIRE(get(store, "a/c") == "later");
  REQUIRE(contains(store, "a/b") == DSKVS_NOT_FOUND);
  REQUIRE(dskvs_close(store) == DSKVS_OK);
}

TEST_CASE("A store of a later format version is refused as such, and left as it was") {
  // The place of the version and of the checksum over it are what no version changes.
  constexpr size_t kAtVersion = 8;
  constexpr size_t kAtChecksum = 120;
  constexpr XXH64_hash_t kSeed = 0x64736b7673484452;
  TempStore store;
  REQUIRE(put(store, "a/b", "marked value") == DSKVS_OK);
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  store.close();
  const string file = find_in_store(store.path(), "marked value").first;
  const string original = read_file(file);
  string later = original;
  REQUIRE(later[kAtVersion] == 1);
  later[kAtVersion] = 2;
  XXH64_hash_t checksum = XXH3_64bits_withSeed(later.data(), kAtChecksum, kSeed);
  std::memcpy(later.data() + kAtChecksum, &checksum, sizeof checksum);
  write_file(file, later);

  dskvs_options read_only = default_options();
  read_only.read_only = 1;
  const string name = fs::path(file).filename().string();
  require_refused(store.path(), DSKVS_ERR_VERSION);
  REQUIRE(says(name));
  require_refused(store.path(), DSKVS_ERR_VERSION, &read_only);
  dskvs_list* damage = nullptr;
  REQUIRE(dskvs_verify(store.path().c_str(), nullptr, &damage) == DSKVS_ERR_VERSION);
  REQUIRE(damage == nullptr);
  REQUIRE(dskvs_salvage(store.path().c_str(), (store.dir() / "rescued").c_str(), nullptr,
                        &damage) == DSKVS_ERR_VERSION);
  REQUIRE(read_file(file) == later);

  write_file(file, original);
  store.open(default_options());
  REQUIRE(get(store, "a/b") == "marked value");
}

TEST_CASE("Any one byte changed or cut: refused with the file's name, or a state that existed") {
  std::mt19937_64 random(announce_seed("refusal"));
  TempDir dir(TempDir::fast_base());
  const string path = dir / "store";
  constexpr size_t kPuts = 20;
  auto key_of = [](size_t i) { return "a/" + std::to_string(i); };
  auto value_of = [](size_t i) { return string(i * 37, static_cast<char>('a' + i)); };
  dskvs_t store = 0;
  REQUIRE(dskvs_open(path.c_str(), nullptr, &store) == DSKVS_OK);
  for (size_t i = 0; i < kPuts; i++) {
    REQUIRE(put(store, key_of(i), value_of(i)) == DSKVS_OK);
    if (i % 5 == 0) REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  }
  REQUIRE(dskvs_close(store) == DSKVS_OK);

  std::vector<std::pair<string, string>> files;
  for (const auto& entry : fs::directory_iterator(path)) {
    string bytes = read_file(entry.path().string());
    if (entry.path().extension() == ".dskvs" && bytes.find(value_of(1)) != string::npos)
      files.emplace_back(entry.path().string(), bytes);
  }
  REQUIRE_FALSE(files.empty());
  dskvs_options read_only = default_options();
  read_only.read_only = 1;
  uint64_t refused = 0;
  const uint64_t kChanges = rounds("DSKVS_CHANGES", 2000);
  for (uint64_t change = 0; change < kChanges; change++) {
    const auto& [file, bytes] = files[random() % files.size()];
    size_t at = random() % (bytes.find_last_not_of('\0') + 1);
    bool cut = random() % 4 == 0;
    string changed = bytes;
    if (cut) changed.resize(at);
    if (!cut) changed[at] = static_cast<char>(changed[at] ^ (1 << random() % 8));
    write_file(file, changed);
    CAPTURE(file, at, cut);
    int32_t status = dskvs_open(path.c_str(), &read_only, &store);
    INFO(dskvs_last_error());
    if (status == DSKVS_OK) {
      size_t found = get_all(store, "a").size();
      if (!cut) REQUIRE(found == kPuts);
      for (size_t i = 0; i < found; i++) REQUIRE(get(store, key_of(i)) == value_of(i));
      REQUIRE(dskvs_close(store) == DSKVS_OK);
    } else {
      REQUIRE((status == DSKVS_ERR_CORRUPT || status == DSKVS_ERR_VERSION));
      REQUIRE(says(fs::path(file).filename().string()));
      refused++;
    }
    write_file(file, bytes);
  }
  std::printf("refusal: %llu of %llu changes refused\n", static_cast<unsigned long long>(refused),
              static_cast<unsigned long long>(kChanges));
  REQUIRE(refused > 0);
  REQUIRE(dskvs_open(path.c_str(), nullptr, &store) == DSKVS_OK);
  REQUIRE(get_all(store, "a").size() == kPuts);
  REQUIRE(dskvs_close(store) == DSKVS_OK);
}
