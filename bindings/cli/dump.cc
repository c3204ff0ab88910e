// dskvs dump: a store into a directory tree, or JSON lines.
#include "command.h"
#include "descriptor.h"
#include "failure.h"
#include "formatted.h"
#include "json_text.h"
#include "output.h"
#include "progress_bar.h"
#include "store.h"
#include "tree.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <functional>

namespace dskvs::cli {
namespace {

using Visit = std::function<void(const std::string& key, std::string_view value)>;

void for_each_entry(const Store& store, const Visit& visit) {
  const SortedList collections = store.collections();
  for (const auto& collection : collections.items()) {
    const SortedList members = store.get_all(collection.name);
    for (const auto& member : members.items()) {
      visit(formatted("{}/{}", collection.name, member.name), member.value);
    }
  }
}

// Why this name cannot be, or leads out of, a directory: empty when it is a plain name.
std::string_view refusal_of_name(std::string_view name) {
  if (name.empty()) return "an empty name in its path";
  if (name == "." || name == "..") return "\".\" or \"..\" in its path";
  if (name.find('\0') != std::string_view::npos) return "a NUL in its path";
  return {};
}

// Errors that this entry's name brings on; any other would meet the next entry too.
bool is_error_of_name(int error) {
  return error == ENAMETOOLONG || error == EEXIST || error == ENOTDIR || error == EISDIR ||
         error == ELOOP || error == EILSEQ || error == EINVAL;
}

class TreeWriter {
 public:
  TreeWriter(Descriptor top, uint64_t total) : top_(std::move(top)), total_(total) {}

  void write(const std::string& key, std::string_view value) {
    const std::string_view reason = refusal_of_path(key);
    if (!reason.empty()) {
      fail(key, reason);
    } else if (!write_file(key, value)) {
      const int error = errno;
      if (!is_error_of_name(error)) fail_system(shell_quoted(key));
      fail(key, error == EEXIST || error == ENOTDIR ? "another key's file or directory is there"
                                                    : system_error_text(error));
    } else {
      ++entries_;
      bytes_ += value.size();
    }
    bar_.update(done_ += value.size(), total_);
  }

  // Reports: one line on stderr when something was left out; with `json`, an object on stdout.
  // Returns the exit code.
  int finish(bool json) {
    if (failed_ > 0) bar_.warn(formatted("dump: {} written, {} failed", entries_, failed_));
    if (json) {
      Output output;
      output.write(formatted("{{\"entries\": {}, \"value_bytes\": {}, \"failed\": {}}}\n", entries_,
                             bytes_, failed_));
      output.finish();
    }
    return failed_ == 0 ? kExitOk : kExitOther;
  }

 private:
  static std::string_view refusal_of_path(std::string_view path) {
    for (size_t slash = 0; slash != std::string_view::npos;) {
      slash = path.find('/');
      const std::string_view reason = refusal_of_name(path.substr(0, slash));
      if (!reason.empty()) return reason;
      path.remove_prefix(slash + 1);
    }
    return {};
  }

  // False, with errno. Every step is relative to a directory that this command made or opened
  // without following a link, so nothing is ever written outside.
  bool write_file(std::string_view path, std::string_view value) {
    Descriptor held;
    int directory = top_.fd();
    size_t slash = path.find('/');
    for (; slash != std::string_view::npos; slash = path.find('/')) {
      const std::string name(path.substr(0, slash));
      if (::mkdirat(directory, name.c_str(), 0777) != 0 && errno != EEXIST) return false;
      held = Descriptor(
          ::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!held) return false;
      directory = held.fd();
      path.remove_prefix(slash + 1);
    }
    Descriptor file(::openat(directory, std::string(path).c_str(),
                             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
    return file && write_all(file.fd(), value) && file.close();
  }

  void fail(std::string_view key, std::string_view reason) {
    bar_.warn(formatted("dump: cannot write {}: {}", shell_quoted(key), reason));
    ++failed_;
  }

  Descriptor top_;
  ProgressBar bar_{"dump"};
  uint64_t total_;
  uint64_t done_ = 0;
  uint64_t entries_ = 0;
  uint64_t bytes_ = 0;
  uint64_t failed_ = 0;
};

// Creates the directory, or takes it when it is empty.
Descriptor open_target(const char* path) {
  if (::mkdir(path, 0777) != 0 && errno != EEXIST) fail_system(shell_quoted(path));
  Descriptor target = open_top_directory(path);
  std::vector<std::string> names;
  const std::string reason = list_names(target.fd(), &names);
  if (!reason.empty()) throw Failure{kExitOther, shell_quoted(path) + ": " + reason};
  std::erase(names, "lost+found");
  if (!names.empty()) fail_usage(shell_quoted(path) + " is not empty");
  return target;
}

int dump_tree(const char* store_path, const char* directory, bool json) {
  const Store store = Store::open_to_read(store_path);
  TreeWriter writer(open_target(directory), store.stats().value_bytes);
  for_each_entry(store,
                 [&](const std::string& key, std::string_view value) { writer.write(key, value); });
  return writer.finish(json);
}

int dump_json_lines(const char* store_path) {
  const Store store = Store::open_to_read(store_path);
  Output output;
  for_each_entry(store, [&](const std::string& key, std::string_view value) {
    output.write(json_entry(key, value) + "\n");
  });
  output.finish();
  return kExitOk;
}

constexpr Option kDumpOptions[] = {
    {0, "ndjson", "", "print JSON lines on standard output instead; so does \"-\""},
    {0, "json", "", "with DIR: print what was done as a JSON object"},
};

int run_dump(const Arguments& arguments) {
  const char* const target = arguments.operand_count() == 2 ? arguments.operand(1) : nullptr;
  const bool to_stdout = target != nullptr && std::string_view(target) == "-";
  if (arguments.has("ndjson") && target != nullptr && !to_stdout) {
    fail_usage("--ndjson prints on standard output");
  }
  if (arguments.has("ndjson") || to_stdout) return dump_json_lines(arguments.operand(0));
  if (target == nullptr) fail_usage("needs a STORE and a DIR");
  return dump_tree(arguments.operand(0), target, arguments.has("json"));
}

}  // namespace

const Command kDumpCommand = {
    "dump",
    "STORE [DIR|-]",
    "write a store out as a directory tree, or JSON lines",
    "Each entry becomes the file DIR/COLLECTION/MEMBER; DIR must be new or empty. A key that\n"
    "cannot be a path (\"..\", an empty name, NUL, too long a name, a file where another key\n"
    "needs a directory) is reported on stderr and left out; the exit code is then 5. Nothing is\n"
    "ever written outside DIR. JSON lines hold every key and value; \"-\" stands for them.\n",
    kDumpOptions,
    1,
    2,
    run_dump,
};

}  // namespace dskvs::cli
