// A directory of the original dskvs, into a store: BASE/COLLECTION/FILE, each file an entry.
#include "failure.h"
#include "formatted.h"
#include "go_file.h"
#include "loader.h"
#include "output.h"
#include "tree.h"

#include <tuple>
#include <unordered_map>

namespace dskvs::cli {
namespace {

// Of two files with the same key the higher one is taken: the original left files of the old
// naming rule behind when it wrote the entry again.
using Rank = std::tuple<bool, time_t, long>;  // current name, modification time

struct Source {
  Rank rank;
  std::string path;
  uint64_t value_size;
};

class ImportTree : public TreeVisitor {
 public:
  explicit ImportTree(Loader* loader) : loader_(loader) {}

  void file(int directory, const std::string& name, const std::string& path,
            const struct stat&) override {
    const size_t slash = path.find('/');
    if (slash == std::string::npos || path.find('/', slash + 1) != std::string::npos) {
      failed(path, "not where the original puts its files");
      return;
    }
    struct stat status;
    GoEntry entry;
    std::string reason = read_file_at(directory, name, &content_, &status);
    if (reason.empty()) reason = parse_go_file(content_, name, &entry);
    if (!reason.empty()) {
      failed(path, reason);
      return;
    }
    const std::string key = path.substr(0, slash + 1) + std::string(entry.member);
    if (key.size() > DSKVS_KEY_SIZE_MAX) {
      failed(path, formatted("its key is longer than {} bytes", DSKVS_KEY_SIZE_MAX));
      return;
    }
    const Rank rank{entry.current_name, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
    if (takes(key, {rank, path, entry.value.size()})) loader_->put(key, entry.value);
    loader_->advance(content_.size());
  }

  void skipped(const std::string& path, std::string_view reason) override {
    loader_->skip(path, reason);
  }

  void failed(const std::string& path, std::string_view reason) override {
    loader_->fail(path, reason);
  }

 private:
  // Whether `source` is the best for `key` so far; the worse one is reported.
  bool takes(const std::string& key, Source source) {
    const auto [found, is_first] = taken_.try_emplace(key, source);
    if (is_first) return true;
    Source& best = found->second;
    const bool better = source.rank > best.rank;
    if (better) {
      loader_->uncount(best.value_size);
      std::swap(best, source);
    }
    skipped(source.path, "an older copy of " + shell_quoted(best.path));
    return better;
  }

  Loader* loader_;
  std::string content_;
  std::unordered_map<std::string, Source> taken_;
};

}  // namespace

int load_from_go(const char* directory, const char* store_path, bool json) {
  const Descriptor top = open_top_directory(directory);
  if (is_within(top, store_path)) fail_usage("STORE is within DIR, where nothing is changed");
  Store store = Store::open_to_write(store_path, Create::kMayCreate);
  Loader loader(&store);
  ImportTree visitor(&loader);
  walk_tree(top, store_path, &visitor);
  return loader.finish(json);
}

}  // namespace dskvs::cli
