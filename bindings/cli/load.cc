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
      skipped(path, formatted("its key is longer than {} bytes", DSKVS_KEY_SIZE_MAX));
      return;
    }
    struct stat status;
    const std::string reason = read_file_at(directory, name, &content_, &status);
    if (!reason.empty()) {
      skipped(path, reason);
      return;
    }
    if (is_taken(key)) {
      skipped(path, "another file has the same key, " + shell_quoted(key));
      return;
    }
    loader_->put(key, content_);
    loader_->advance(content_.size());
  }

  void skipped(const std::string& path, std::string_view reason) override {
    loader_->skip(path, reason);
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

constexpr Option kOptions[] = {
    {0, "ndjson", "", "load JSON lines from FILE, or standard input (\"-\", or no FILE)"},
    {0, "from-dskvs-go", "", "import a directory of the original dskvs, versions 0.1.0 to 0.4.2"},
    {0, "json", "", "print what was done as a JSON object"},
};

int run_load(const Arguments& arguments) {
  const bool json = arguments.has("json");
  const bool ndjson = arguments.has("ndjson");
  if (ndjson && arguments.has("from-dskvs-go")) {
    fail_usage("--ndjson and --from-dskvs-go exclude each other");
  }
  if (ndjson) {
    const bool has_file = arguments.operand_count() == 2;
    load_json_lines(has_file ? arguments.operand(0) : "-", arguments.operand(has_file), json);
    return kExitOk;
  }
  if (arguments.operand_count() != 2) fail_usage("needs a DIR and a STORE");
  const auto load = arguments.has("from-dskvs-go") ? load_from_go : load_tree;
  load(arguments.operand(0), arguments.operand(1), json);
  return kExitOk;
}

}  // namespace

void load_tree(const char* directory, const char* store_path, bool json) {
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
  loader.finish(json);
}

void Loader::skip(const std::string& path, std::string_view reason) {
  bar_.warn(formatted("load: skipped {}: {}", path.empty() ? "." : shell_quoted(path), reason));
  ++skipped_;
}

void Loader::finish(bool json) {
  store_->sync();
  store_->close();
  if (skipped_ > 0) {
    bar_.warn(formatted("load: {} loaded, {} skipped", entries_, skipped_));
  }
  if (!json) return;
  Output output;
  output.write(formatted("{{\"entries\": {}, \"value_bytes\": {}, \"skipped\": {}}}\n", entries_,
                         bytes_, skipped_));
  output.finish();
}

const Command kLoadCommand = {
    "load",
    "[DIR|FILE|-] STORE",
    "load a directory tree, or JSON lines, into a store",
    "Each file below DIR becomes an entry: the first part of its path is the collection, the\n"
    "rest the member; files of DIR itself go to the collection `root`. Links are not followed.\n"
    "What cannot be loaded is reported on stderr and skipped; the exit code is 0 all the same.\n"
    "What was loaded is on the disk when the command ends.\n\n"
    "A JSON line is {\"key\": \"...\", \"value\": \"...\"}; key_base64 and value_base64 are for\n"
    "bytes that are not UTF-8. A malformed line ends the load; those before it are loaded.\n",
    kOptions,
    1,
    2,
    run_load,
};

}  // namespace dskvs::cli
