// What every kind of `dskvs load` does with what it reads.
#pragma once

#include "progress_bar.h"
#include "store.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace dskvs::cli {

class Loader {
 public:
  explicit Loader(Store* store) : store_(store) {}

  bool shows_progress() const { return bar_.enabled(); }
  void set_total(uint64_t bytes) { total_ = bytes; }
  void advance(uint64_t bytes) { bar_.update(done_ += bytes, total_); }

  void put(std::string_view key, std::string_view value) {
    store_->put(key, value);
    ++entries_;
    bytes_ += value.size();
  }

  // An entry of this size was put, and has just been replaced by a better copy.
  void uncount(uint64_t value_size) {
    --entries_;
    bytes_ -= value_size;
  }

  // Says that what is at `path` is left out, and why: nothing is missed without it.
  void skip(const std::string& path, std::string_view reason);

  // The same of something that should have been loaded.
  void fail(const std::string& path, std::string_view reason);

  // Makes it all durable, closes the store, and reports: one line on stderr when something was
  // left out; with `json`, an object on stdout. Returns the exit code.
  int finish(bool json);

 private:
  Store* store_;
  ProgressBar bar_{"load"};
  uint64_t total_ = 0;
  uint64_t done_ = 0;
  uint64_t entries_ = 0;
  uint64_t bytes_ = 0;
  uint64_t skipped_ = 0;
  uint64_t failed_ = 0;
};

// Each kind of source. A failure of the store throws; a file that cannot be read is reported, and
// the others are loaded. Each returns the exit code.

int load_tree(const char* directory, const char* store_path, bool json);
int load_json_lines(const char* file, const char* store_path, bool json);  // "-": standard input
int load_from_go(const char* directory, const char* store_path, bool json);

}  // namespace dskvs::cli
