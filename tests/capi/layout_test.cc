// Goal: the binary interface stays what old programs were compiled against, and old and new
// programs and libraries mix.
// Method: sizes, offsets and constants are written down here once more; structs of every older
// size, exactly as long on the heap as they claim (so that a sanitizer sees a byte too far), and of
// future sizes, are handed over.
#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

#include "door.h"

using namespace dskvs::test;

static_assert(sizeof(dskvs_t) == 8);
static_assert(sizeof(dskvs_options) == 64);
static_assert(offsetof(dskvs_options, size) == 0);
static_assert(offsetof(dskvs_options, read_only) == 8);
static_assert(offsetof(dskvs_options, create) == 16);
static_assert(offsetof(dskvs_options, sync_interval_ms) == 24);
static_assert(offsetof(dskvs_options, memory_bytes_max) == 32);
static_assert(offsetof(dskvs_options, dirty_bytes_max) == 40);
static_assert(offsetof(dskvs_options, progress) == 48);
static_assert(offsetof(dskvs_options, progress_context) == 56);

static_assert(sizeof(dskvs_stats_t) == 200);
static_assert(offsetof(dskvs_stats_t, size) == 0);
static_assert(offsetof(dskvs_stats_t, collections) == 8);
static_assert(offsetof(dskvs_stats_t, entries) == 16);
static_assert(offsetof(dskvs_stats_t, key_bytes) == 24);
static_assert(offsetof(dskvs_stats_t, value_bytes) == 32);
static_assert(offsetof(dskvs_stats_t, memory_bytes) == 40);
static_assert(offsetof(dskvs_stats_t, dirty_bytes) == 48);
static_assert(offsetof(dskvs_stats_t, accepted_epoch) == 56);
static_assert(offsetof(dskvs_stats_t, written_epoch) == 64);
static_assert(offsetof(dskvs_stats_t, durable_epoch) == 72);
static_assert(offsetof(dskvs_stats_t, written_lag_us) == 80);
static_assert(offsetof(dskvs_stats_t, durable_lag_us) == 88);
static_assert(offsetof(dskvs_stats_t, disk_bytes) == 96);
static_assert(offsetof(dskvs_stats_t, segments) == 104);
static_assert(offsetof(dskvs_stats_t, bytes_written) == 112);
static_assert(offsetof(dskvs_stats_t, syncs) == 120);
static_assert(offsetof(dskvs_stats_t, last_error) == 128);
static_assert(offsetof(dskvs_stats_t, recovered_epoch) == 136);
static_assert(offsetof(dskvs_stats_t, lost_epochs) == 144);
static_assert(offsetof(dskvs_stats_t, frames_cut) == 152);
static_assert(offsetof(dskvs_stats_t, live_bytes) == 160);
static_assert(offsetof(dskvs_stats_t, bytes_accepted) == 168);
static_assert(offsetof(dskvs_stats_t, bytes_cleaned) == 176);
static_assert(offsetof(dskvs_stats_t, heals) == 184);
static_assert(offsetof(dskvs_stats_t, dirty_bytes_max) == 192);

static_assert(DSKVS_OK == 0 && DSKVS_NOT_FOUND == 1 && DSKVS_TIMEOUT == 2 && DSKVS_CONFLICT == 3);
static_assert(DSKVS_ERR_ARGUMENT == -1 && DSKVS_ERR_KEY == -2 && DSKVS_ERR_PATH == -3);
static_assert(DSKVS_ERR_LOCKED == -4 && DSKVS_ERR_CLOSED == -5 && DSKVS_ERR_FORKED == -6);
static_assert(DSKVS_ERR_READ_ONLY == -7 && DSKVS_ERR_BUFFER == -8 && DSKVS_ERR_CANCELLED == -9);
static_assert(DSKVS_ERR_MEMORY == -20 && DSKVS_ERR_FULL == -21 && DSKVS_ERR_SPACE == -22);
static_assert(DSKVS_ERR_IO == -30 && DSKVS_ERR_CORRUPT == -31 && DSKVS_ERR_VERSION == -32);
static_assert(DSKVS_ERR_INTERNAL == -99);
static_assert(DSKVS_WRITTEN == 1 && DSKVS_DURABLE == 2);
static_assert(DSKVS_FOREVER == UINT64_MAX && DSKVS_KEY_SIZE_MAX == 65535);

namespace {

// A struct that claims, and occupies, `size` bytes; beyond T's own it is zero but for its last
// field, which is `last`.
template <typename T>
std::unique_ptr<uint64_t[]> of_size(const T& like, size_t size, uint64_t last = 0) {
  std::unique_ptr<uint64_t[]> words(new uint64_t[size / 8]());
  if (size > sizeof like) words[size / 8 - 1] = last;
  std::memcpy(words.get(), &like, std::min(size, sizeof like));
  words[0] = size;
  return words;
}

int32_t open_and_close(const string& path, const dskvs_options* options) {
  dskvs_t store = 0;
  int32_t status = dskvs_open(path.c_str(), options, &store);
  if (status == DSKVS_OK) dskvs_close(store);
  return status;
}

const dskvs_options* as_options(const std::unique_ptr<uint64_t[]>& words) {
  return reinterpret_cast<const dskvs_options*>(words.get());
}

}  // namespace

TEST_CASE("Both initialisers give the defaults of dskvs.h") {
  const dskvs_options macro = DSKVS_OPTIONS_INIT;
  dskvs_options call;
  std::memset(&call, 0xff, sizeof call);
  REQUIRE(dskvs_options_init(&call, sizeof call) == DSKVS_OK);
  REQUIRE(std::memcmp(&macro, &call, sizeof call) == 0);
  REQUIRE(macro.size == sizeof macro);
  REQUIRE(macro.create == 1);
  REQUIRE(macro.sync_interval_ms == 100);
  REQUIRE(macro.memory_bytes_max == 0);
  REQUIRE(macro.dirty_bytes_max == 268435456);
}

TEST_CASE("options_init fills what it is given, no less and no more") {
  const dskvs_options defaults = DSKVS_OPTIONS_INIT;
  std::vector<size_t> sizes = {4096};
  for (size_t size = 8; size <= sizeof defaults + 64; size += 8) sizes.push_back(size);
  for (size_t size : sizes) {
    std::unique_ptr<uint64_t[]> words(new uint64_t[size / 8]);
    std::memset(words.get(), 0xff, size);
    REQUIRE(dskvs_options_init(reinterpret_cast<dskvs_options*>(words.get()), size) == DSKVS_OK);
    auto expected = of_size(defaults, size);
    REQUIRE(std::memcmp(words.get(), expected.get(), size) == 0);
  }
  dskvs_options options = defaults;
  for (size_t size : {0, 1, 7, 9, 12, 63, 4104}) {
    REQUIRE(dskvs_options_init(&options, size) == DSKVS_ERR_ARGUMENT);
    REQUIRE(std::memcmp(&options, &defaults, sizeof options) == 0);
  }
}

TEST_CASE("Options of every older size mean defaults for the missing tail") {
  TempDir dir;
  const dskvs_options defaults = DSKVS_OPTIONS_INIT;
  for (size_t size = 8; size <= sizeof defaults; size += 8) {
    CAPTURE(size);
    auto words = of_size(defaults, size);
    REQUIRE(open_and_close(dir / ("store" + std::to_string(size)), as_options(words)) == DSKVS_OK);
  }
}

TEST_CASE("An option of an older size still counts") {
  TempDir dir;
  dskvs_options options = DSKVS_OPTIONS_INIT;
  options.create = 0;
  auto words = of_size(options, 24);
  REQUIRE(open_and_close(dir / "store", as_options(words)) == DSKVS_ERR_PATH);
}

TEST_CASE("Options of a future size are taken when the unknown tail is zero, and only then") {
  TempDir dir;
  const dskvs_options defaults = DSKVS_OPTIONS_INIT;
  for (size_t more : {8, 64, 1024}) {
    size_t size = sizeof defaults + more;
    CAPTURE(size);
    REQUIRE(open_and_close(dir / "store", as_options(of_size(defaults, size))) == DSKVS_OK);
    REQUIRE(open_and_close(dir / "store", as_options(of_size(defaults, size, 1))) ==
            DSKVS_ERR_ARGUMENT);
    REQUIRE(open_and_close(dir / "store", as_options(of_size(defaults, size, uint64_t{1} << 63))) ==
            DSKVS_ERR_ARGUMENT);
  }
}

TEST_CASE("Options whose size is no size are refused") {
  TempDir dir;
  for (uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{7}, uint64_t{9}, uint64_t{63},
                        uint64_t{65}, uint64_t{1} << 32, UINT64_MAX - 7}) {
    dskvs_options options = DSKVS_OPTIONS_INIT;
    options.size = size;
    REQUIRE(open_and_close(dir / "store", &options) == DSKVS_ERR_ARGUMENT);
    REQUIRE_FALSE(std::filesystem::exists(dir / "store"));
  }
}

TEST_CASE("Stats of every older size are filled up to their size") {
  TempStore store;
  REQUIRE(put(store, "a/b", "value") == DSKVS_OK);
  REQUIRE(dskvs_sync(store, DSKVS_FOREVER) == DSKVS_OK);
  const dskvs_stats_t zeros = DSKVS_STATS_INIT;
  for (size_t size = 8; size <= sizeof zeros; size += 8) {
    auto words = of_size(zeros, size);
    REQUIRE(dskvs_stats(store, reinterpret_cast<dskvs_stats_t*>(words.get())) == DSKVS_OK);
    REQUIRE(words[0] == size);
    if (size >= 24) REQUIRE(words[offsetof(dskvs_stats_t, entries) / 8] == 1);
    if (size >= 40) REQUIRE(words[offsetof(dskvs_stats_t, value_bytes) / 8] == 5);
  }
}

TEST_CASE("Stats of a future size get a zero tail, whatever the call says") {
  TempStore store;
  REQUIRE(put(store, "a/b", "value") == DSKVS_OK);
  for (size_t size : {sizeof(dskvs_stats_t) + 8, size_t{4096}}) {
    std::unique_ptr<uint64_t[]> words(new uint64_t[size / 8]);
    auto* figures = reinterpret_cast<dskvs_stats_t*>(words.get());
    for (dskvs_t handle : {dskvs_t{store}, dskvs_t{0}}) {
      CAPTURE(size, handle);
      std::memset(words.get(), 0xff, size);
      figures->size = size;
      REQUIRE(dskvs_stats(handle, figures) == (handle != 0 ? DSKVS_OK : DSKVS_ERR_CLOSED));
      REQUIRE(figures->size == size);
      REQUIRE(figures->entries == (handle != 0 ? 1 : 0));
      for (size_t i = sizeof *figures / 8; i < size / 8; i++) REQUIRE(words[i] == 0);
    }
  }
}

TEST_CASE("Stats whose size is no size are refused and left alone") {
  TempStore store;
  for (uint64_t size : {0, 1, 7, 9, 191, 4104}) {
    dskvs_stats_t figures = DSKVS_STATS_INIT;
    figures.size = size;
    REQUIRE(dskvs_stats(store, &figures) == DSKVS_ERR_ARGUMENT);
    REQUIRE(figures.size == size);
    REQUIRE(figures.entries == 0);
  }
}
