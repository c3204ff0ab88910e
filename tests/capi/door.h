// What the tests of the C ABI share: calls in terms of std::string_view, a store of a test's own,
// and children.
#pragma once

#include <dskvs/dskvs.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "support/catch.h"
#include "support/sanitizers.h"
#include "support/temp_dir.h"

namespace dskvs::test {

using std::string;
using std::string_view;

inline dskvs_options default_options() { return DSKVS_OPTIONS_INIT; }

inline int32_t put(dskvs_t store, string_view key, string_view value) {
  return dskvs_put(store, key.data(), key.size(), value.data(), value.size());
}

inline int32_t put_if(dskvs_t store, string_view key, const void* held, string_view value) {
  return dskvs_put_if(store, key.data(), key.size(), held, value.data(), value.size());
}

inline int32_t remove(dskvs_t store, string_view key) {
  return dskvs_delete(store, key.data(), key.size());
}

inline int32_t remove_if(dskvs_t store, string_view key, const void* held) {
  return dskvs_delete_if(store, key.data(), key.size(), held);
}

inline int32_t contains(dskvs_t store, string_view key) {
  return dskvs_contains(store, key.data(), key.size());
}

// A pinned value, given back when this goes.
class Pinned {
 public:
  Pinned(dskvs_t store, string_view key) {
    status = dskvs_get(store, key.data(), key.size(), &data, &size);
  }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  ~Pinned() { dskvs_release(data); }

  string_view view() const { return {static_cast<const char*>(data), size}; }

  int32_t status;
  const void* data = nullptr;
  size_t size = 0;
};

// The value of `key`; nothing when the status is not OK.
inline std::optional<string> get(dskvs_t store, string_view key) {
  Pinned value(store, key);
  if (value.status != DSKVS_OK) return {};
  return string(value.view());
}

inline uint64_t count(dskvs_t store, string_view collection) {
  uint64_t members = 0;
  REQUIRE(dskvs_count(store, collection.data(), collection.size(), &members) == DSKVS_OK);
  return members;
}

// Empties and frees `list`.
inline std::map<string, string> drain(dskvs_list* list) {
  std::map<string, string> all;
  const char* member;
  const void* value;
  size_t member_size, value_size;
  while (dskvs_list_next(list, &member, &member_size, &value, &value_size) == DSKVS_OK)
    all.emplace(string(member, member_size), string(static_cast<const char*>(value), value_size));
  dskvs_list_free(list);
  return all;
}

inline std::map<string, string> get_all(dskvs_t store, string_view collection) {
  dskvs_list* list = nullptr;
  REQUIRE(dskvs_get_all(store, collection.data(), collection.size(), &list) == DSKVS_OK);
  return drain(list);
}

inline dskvs_stats_t stats(dskvs_t store) {
  dskvs_stats_t figures = DSKVS_STATS_INIT;
  REQUIRE(dskvs_stats(store, &figures) == DSKVS_OK);
  return figures;
}

// A store in a directory of its own.
class TempStore {
 public:
  TempStore() : TempStore(default_options()) {}
  explicit TempStore(const dskvs_options& options) : path_(dir_ / "store") { open(options); }
  TempStore(const TempStore&) = delete;
  TempStore& operator=(const TempStore&) = delete;
  ~TempStore() { dskvs_close(handle_); }

  operator dskvs_t() const { return handle_; }
  const string& path() const { return path_; }
  const TempDir& dir() const { return dir_; }

  void open(const dskvs_options& options) {
    int32_t status = dskvs_open(path_.c_str(), &options, &handle_);
    INFO(dskvs_last_error());
    REQUIRE(status == DSKVS_OK);
  }
  void close() {
    int32_t status = dskvs_close(handle_);
    INFO(dskvs_last_error());
    REQUIRE(status == DSKVS_OK);
  }
  void reopen(const dskvs_options& options = default_options()) {
    close();
    open(options);
  }

 private:
  TempDir dir_;
  string path_;
  dskvs_t handle_ = 0;
};

// AddressSanitizer's allocator may be locked for ever in the child of a process with busy threads.
inline constexpr bool kForksBesideThreads = !kAddressSanitizer;
// ThreadSanitizer cannot follow a thread that is started in a forked child of a process with
// threads.
inline constexpr bool kThreadsAfterFork = !kThreadSanitizer;

// A forked child that runs `body` and exits with what it returns, or is killed when it hangs.
class Child {
 public:
  explicit Child(const std::function<int()>& body) {
    std::fflush(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::alarm(120);
      ::_exit(body());
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) join();
  }

  pid_t pid() const { return pid_; }

  // The exit status; -1 when a signal ended it.
  int join() {
    int status = 0;
    if (::waitpid(pid_, &status, 0) != pid_) return -1;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_;
};

}  // namespace dskvs::test
