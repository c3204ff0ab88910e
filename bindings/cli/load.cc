// dskvs load: a directory tree into a store; the other kinds of source are chosen here.
#include "command.h"
#include "failure.h"
#include "formatted.h"
#include "loader.h"
#include "output.h"
#include "tree.h"

#include <unordered_set>

namespace dskvs::cli {
namespace {

constexpr std::string_view kTopCollection = "root";

class SizeOfTree : public TreeVisitor {
 public:
  void file(int, const std::string&, const std::string&, const struct stat& status) override {
    bytes_ += static_cast<uint64_t>(status.st_size);
  }
  void skipped(const std::string&, std::string_view) override {}
  void failed(const std::string&, std::string_view) override {}

  uint64_t bytes() const { return bytes_; }

 private:
  uint64_t bytes_ = 0;
};

class LoadTree : public TreeVisitor {
 public:
  explicit LoadTree(Loader* loader) : loader_(loader) {}

  void file(int directory, const std::string& name, const std::string& path,
            const struct stat&) override {
    const std::string key =
        path.find('/') == std::string::npos ? formatted("{}/{}", kTopCollection, path) : path;
    if (key.size() > DSKVS_KEY_SIZE_MAX) {
      failed(path, formatted("its key is longer than {} bytes", DSKVS_KEY_SIZE_MAX));
      return;
    }
    struct stat status;
    const std::string reason = read_file_at(directory, name, &content_, &status);
    if (!reason.empty()) {
      failed(path, reason);
      return;
    }
    if (is_taken(key)) {
      failed(path, "another file has the same key, " + shell_quoted(key));
      return;
    }
    loader_->put(key, content_);
    loader_->advance(content_.size());
  }

  void skipped(const std::string& path, std::string_view reason) override {
    loader_->skip(path, reason);
  }

  void failed(const std::string& path, std::string_view reason) override {
    loader_->fail(path, reason);
  }

 private:
  // Only files of the top directory share a collection with a directory, should one be called so.
  bool is_taken(const std::string& key) {
    return key.starts_with(kTopCollection) && key[kTopCollection.size()] == '/' &&
           !top_keys_.insert(key).second;
  }

  Loader* loader_;
  std::string content_;
  std::unordered_set<std::string> top_keys_;
};

constexpr Option kLoadOptions[] = {
    {0, "ndjson", "", "load JSON lines from FILE, or standard input (\"-\", or no FILE)"},
    {0, "from-dskvs-go", "", "import a directory of the original dskvs, versions 0.1.0 to 0.4.2"},
    {0, "json", "", "print what was done as a JSON object"},
};

int run_load(const Arguments& arguments) {
  const bool json = arguments.has("json");
  const bool from_go = arguments.has("from-dskvs-go");
  const bool has_source = arguments.operand_count() == 2;
  const char* const source = has_source ? arguments.operand(0) : "-";
  const char* const store = arguments.operand(has_source);
  const bool from_stdin = has_source && std::string_view(source) == "-";
  const bool ndjson = arguments.has("ndjson") || from_stdin;
  if (ndjson && from_go) fail_usage("JSON lines and --from-dskvs-go exclude each other");
  if (ndjson) return load_json_lines(source, store, json);
  if (!has_source) fail_usage("needs a DIR and a STORE");
  return from_go ? load_from_go(source, store, json) : load_tree(source, store, json);
}

}  // namespace

int load_tree(const char* directory, const char* store_path, bool json) {
  const Descriptor top = open_top_directory(directory);
  if (is_same_directory(top, store_path)) fail_usage("DIR is STORE: its files are not loaded");
  Store store = Store::open_to_write(store_path, Create::kMayCreate);
  Loader loader(&store);
  if (loader.shows_progress()) {
    SizeOfTree size;
    walk_tree(top, store_path, &size);
    loader.set_total(size.bytes());
  }
  LoadTree visitor(&loader);
  walk_tree(top, store_path, &visitor);
  return loader.finish(json);
}

void Loader::skip(const std::string& path, std::string_view reason) {
  bar_.warn(formatted("load: skipped {}: {}", shell_quoted(path), reason));
  ++skipped_;
}

void Loader::fail(const std::string& path, std::string_view reason) {
  bar_.warn(formatted("load: cannot load {}: {}", path.empty() ? "." : shell_quoted(path), reason));
  ++failed_;
}

int Loader::finish(bool json) {
  store_->sync();
  store_->close();
  if (skipped_ + failed_ > 0) {
    bar_.warn(formatted("load: {} loaded, {} skipped, {} failed", entries_, skipped_, failed_));
  }
  if (json) {
    Output output;
    output.write(
        formatted("{{\"entries\": {}, \"value_bytes\": {}, \"skipped\": {}, \"failed\": {}}}\n",
                  entries_, bytes_, skipped_, failed_));
    output.finish();
  }
  return failed_ == 0 ? kExitOk : kExitOther;
}

const Command kLoadCommand = {
    "load",
    "[DIR|FILE|-] STORE",
    "load a directory tree, or JSON lines, into a store",
    "Each file below DIR becomes an entry: the first part of its path is the collection, the\n"
    "rest the member; files of DIR itself go to the collection `root`. Links are not followed.\n"
    "What is no file, as a link, is reported on stderr and skipped. A file that cannot be loaded\n"
    "is reported too, and the exit code is then 5; all others are loaded. What was loaded is on\n"
    "the disk when the command ends. \"-\" stands for JSON lines from standard input.\n\n"
    "A JSON line is {\"key\": \"...\", \"value\": \"...\"}; key_base64 and value_base64 are for\n"
    "bytes that are not UTF-8. A malformed line ends the load; those before it are loaded.\n",
    kLoadOptions,
    1,
    2,
    run_load,
};

}  // namespace dskvs::cli
