// The one seam to the operating system's files. posix_file.cc implements it for real; the tests
// implement it as a simulation that knows which bytes a power loss would take. Nothing throws where
// it is not said. What can fail can be kMemory, too: the system has none.
#pragma once

#include "status.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace dskvs {

// A piece of memory to be written.
struct Piece {
  const void* data;
  size_t size;
};

// An open regular file. One thread at a time, but for read(), which any number may call, and for
// sync(), which one may call while another writes.
class File {
 public:
  virtual ~File() = default;  // closes, if close() was not called

  // Reads up to `size` bytes; `*got` is less only at the end of the file. kIo.
  virtual Status read(uint64_t offset, void* buffer, size_t size, size_t* got) = 0;

  // Writes all pieces, one after another, beginning at `offset`: wholly, or it fails and says
  // nothing about how far it came. kIo, kSpace (full, or over quota).
  virtual Status write(uint64_t offset, std::span<const Piece> pieces) = 0;

  // Returns when everything that was written before the call, and the file's size then, survives a
  // power loss. After a failure the file must not be synced again: the system may have forgotten
  // what was dirty.
  virtual Status sync() = 0;

  // Asks the system to begin writing what is dirty in this range, and does not wait: a later sync()
  // is then short. Only a hint.
  virtual void start_writeback(uint64_t /*offset*/, uint64_t /*size*/) {}

  // The first offset at or behind `offset` that may hold anything but zeros, or the file's size:
  // skips holes where the system knows them.
  virtual uint64_t next_data(uint64_t offset) { return offset; }

  // The first offset at or behind `offset` where a hole begins: zeros that take no room on the
  // disk. UINT64_MAX: there is none, or the system knows none.
  virtual uint64_t next_hole(uint64_t /*offset*/) { return UINT64_MAX; }

  // Makes the system set blocks aside for the first `size` bytes, which read as zeros. kSpace, kIo.
  virtual Status allocate(uint64_t size) = 0;

  virtual Status size(uint64_t* bytes) = 0;

  // Closes and reports what the system has to say about it. Call at most once, and nothing after.
  virtual Status close() = 0;
};

enum class FileMode {
  kRead,    // must exist
  kCreate,  // must not exist; opened for reading and writing
};

// An open directory. Names are plain file names; links are never followed; files get mode 0600. One
// thread at a time, but for unlink(), which another may call meanwhile.
class Directory {
 public:
  virtual ~Directory() = default;  // gives the lock back

  // Calls `visit` for the names of all but "." and "..", in no order, until it returns another
  // status than kOk, and returns that one. It may unlink what it visits. Needs no memory, but
  // perhaps for `visit`, when that captures more than a pointer or two. kIo.
  virtual Status each_name(const std::function<Status(const char* name)>& visit) = 0;

  // kNotFound (kRead), kIo, kSpace; kCorrupt when the name is there but no regular file.
  virtual Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) = 0;

  virtual Status unlink(const char* name) = 0;  // kNotFound, kIo, kSpace

  // Cuts a file off behind its first `size` bytes. What cannot be cut stays, as does a file that
  // has another name too.
  virtual void cut(const char* /*name*/, uint64_t /*size*/) {}

  // Returns when every creation and unlinking so far survives a power loss. kIo, kSpace.
  virtual Status sync() = 0;

  // Returns when the directory itself survives one: that it is there is its parent's business. kIo,
  // kSpace.
  virtual Status sync_entry() = 0;

  // Locks the store against other writers, creating the file `name`, which is never unlinked, when
  // it is not there, and writes this process' pid into it, unless it has another name too. kLocked:
  // the message names the owner's pid; kPath: this process may not create and remove files here, or
  // `name` is no regular file. Held until the Directory is destroyed; a forked child neither holds
  // nor disturbs it. Throws bad_alloc.
  virtual Status lock(const char* name) = 0;

  // Nobody can write here, so there is nothing to lock: the file system is mounted read-only.
  virtual bool is_read_only() { return false; }

  // What may still be written here, as the file system tells it: a quota may allow less, and others
  // may take it. UINT64_MAX: it does not tell.
  virtual uint64_t free_bytes() { return UINT64_MAX; }

  // The path as it was opened, for messages.
  virtual const std::string& path() const = 0;
};

enum class Presence { kMustExist, kMayCreate, kMustBeNew };

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // Opens, or, unless kMustExist, creates with mode 0700, the directory `path`; its parents must
  // exist. A new one is not durable yet. `marker` is the name of the file that makes a directory a
  // store: any parent directory that holds it is kPath, as are a file, a missing parent, a
  // directory that cannot be entered. Throws bad_alloc.
  virtual Status open_directory(const char* path, Presence presence, const char* marker,
                                std::unique_ptr<Directory>* directory) = 0;
};

// The real one; static.
FileSystem& posix_file_system();

}  // namespace dskvs
