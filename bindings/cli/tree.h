// A directory tree, walked without following a link and without blocking on what is not a file.
#pragma once

#include "descriptor.h"

#include <sys/stat.h>

#include <string>
#include <string_view>
#include <vector>

namespace dskvs::cli {

// Deeper directories are skipped: each level holds a descriptor open.
inline constexpr size_t kTreeDepthMax = 400;

class TreeVisitor {
 public:
  virtual ~TreeVisitor() = default;

  // A regular file: `name` in the open `directory`; `path` leads there from the top.
  virtual void file(int directory, const std::string& name, const std::string& path,
                    const struct stat& status) = 0;

  // What is no file: a link, a pipe, the store itself.
  virtual void skipped(const std::string& path, std::string_view reason) = 0;

  // A file, or a directory of them, that cannot be read.
  virtual void failed(const std::string& path, std::string_view reason) = 0;
};

// Throws Failure when `path` is no directory that can be read.
Descriptor open_top_directory(const char* path);

// Whether `path`, which need not exist yet, is the directory `top`; or lies somewhere below it.
bool is_same_directory(const Descriptor& top, const char* path);
bool is_within(const Descriptor& top, const char* path);

// Visits everything below `top`, in the order of the names. The directory `store`, should it be in
// there, is skipped: NULL, or the path of the store that the tree is loaded into.
void walk_tree(const Descriptor& top, const char* store, TreeVisitor* visitor);

// All names in `directory` but "." and "..", sorted. Returns an empty text or the reason.
std::string list_names(int directory, std::vector<std::string>* names);

// Reads a regular file whole; no link is followed. Returns an empty text or the reason.
std::string read_file_at(int directory, const std::string& name, std::string* content,
                         struct stat* status);

}  // namespace dskvs::cli
