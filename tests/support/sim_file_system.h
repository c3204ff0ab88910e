// A file system in memory that knows which bytes a power loss would take, which faults to raise at
// which call, and what a killed process leaves behind.
//
// SimDisk is the state of the disk and of the page cache over it: a value, cheap to copy.
// SimFileSystem lets a store run on one. A test stops at any call (SimObserver), asks for every
// state that a crash could leave (for_each_power_cut, for_each_kill), and opens a new store on
// each.
//
// What a power loss may do, as pessimistic as POSIX allows:
// - each unit (512 B or 4 KiB) written since the last successful sync of its file holds any version
//   that was written to it since, or its old bytes, or zeros;
// - the file has its old size or any size that it had since;
// - each creation and unlinking since the last successful sync of its directory happened or did
// not,
//   whatever happened to the others;
// - a directory that was created and whose entry was not synced is there or not, with all in it;
// - what was dirty when a sync failed stays in doubt for ever, although reads go on showing it and
//   later syncs succeed; only writing it again elsewhere, or wholly over it, helps.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "disk/file.h"

namespace dskvs::test {

struct PendingWrite;

// What a file holds: `bytes`, then zeros up to `size`. So space that is only set aside costs
// nothing.
struct Content {
  std::vector<uint8_t> bytes;
  uint64_t size = 0;

  // The part of it from `offset` on; short at the end.
  std::vector<uint8_t> slice(uint64_t offset, uint64_t size_max) const;
  void write(uint64_t offset, const std::vector<uint8_t>& part);
  void resize(uint64_t new_size);
  void apply(const PendingWrite& write);
  uint64_t hash() const;
};

// An immutable content with its hash, shared by all images that hold it.
class Blob {
 public:
  explicit Blob(Content content) : content_(std::move(content)), hash_(content_.hash()) {}
  const Content& content() const { return content_; }
  uint64_t hash() const { return hash_; }

 private:
  const Content content_;
  const uint64_t hash_;
};

struct PendingWrite {
  uint64_t offset;
  std::shared_ptr<const std::vector<uint8_t>> bytes;  // empty: only the size changed
  uint64_t size_after;                                // of the file
  bool in_doubt;                                      // a sync over it failed
};

struct SimInode {
  std::shared_ptr<const Blob> durable;
  std::shared_ptr<Content> live;      // null: the same as durable
  std::vector<PendingWrite> pending;  // what makes live differ from durable, oldest first
  uint32_t open_files = 0;

  const Content& content() const { return live ? *live : durable->content(); }
  Content& writable();
};

using InodeId = uint32_t;

struct PendingName {
  std::string path;
  InodeId inode;
  bool created;   // or unlinked
  bool in_doubt;  // a sync of the directory failed over it
};

// Disk and page cache. Paths are absolute.
class SimDisk {
 public:
  SimDisk();

  bool has_directory(const std::string& path) const { return directories_.contains(path); }
  void make_directory(const std::string& path) { directories_.insert(path); }  // durable

  // For tests that look at, plant or damage files: live and durable alike.
  std::vector<std::string> files(const std::string& directory) const;
  bool has_file(const std::string& path) const { return live_names_.contains(path); }
  std::vector<uint8_t> read_file(const std::string& path) const;
  uint64_t file_size(const std::string& path) const;
  void plant_file(const std::string& path, std::vector<uint8_t> bytes);
  void remove_file(const std::string& path);

  // Of all files' names and bytes as a process sees them.
  uint64_t hash() const;
  uint64_t live_bytes() const;
  bool all_durable() const;

  // As process death leaves it: the page cache stays, open files are gone.
  SimDisk after_kill() const;

 private:
  friend class SimFileSystem;
  friend class SimFileImpl;
  friend class SimDirectoryImpl;
  friend class PowerCut;

  InodeId add_inode();
  void write(InodeId id, uint64_t offset, std::span<const Piece> pieces, uint64_t size_max);
  void set_size(InodeId id, uint64_t size);
  void sync_file(InodeId id);
  void doubt_file(InodeId id);
  void create(const std::string& path, InodeId id);
  void unlink(const std::string& path);
  void sync_directory(const std::string& directory);
  void doubt_directory(const std::string& directory);
  SimDisk without_new_directories() const;
  void collect();

  std::set<std::string> directories_;
  std::set<std::string> new_directories_;  // of them; not durable yet
  std::map<InodeId, SimInode> inodes_;
  std::map<std::string, InodeId> live_names_;
  std::map<std::string, InodeId> durable_names_;
  std::vector<PendingName> pending_names_;
  InodeId next_inode_ = 1;
};

enum class SimOp {
  kOpenDirectory,
  kList,
  kOpen,
  kCreate,
  kRead,
  kWrite,
  kSync,
  kWriteback,
  kAllocate,
  kSize,
  kClose,
  kUnlink,
  kCut,
  kSyncDirectory,
  kSyncEntry,
  kLock,
};
const char* sim_op_name(SimOp op);

// A call through the seam, as observers and fault plans see it.
struct SimCall {
  uint64_t number;  // from 0
  SimOp op;
  const std::string& path;
  uint64_t offset;                // kRead, kWrite, kWriteback
  uint64_t size;                  // these and kAllocate
  std::span<const Piece> pieces;  // kWrite
};

enum class SimError { kEio, kEnospc, kEdquot, kEintr, kEmfile, kShort };
inline constexpr SimError kSimErrors[] = {SimError::kEio,   SimError::kEnospc, SimError::kEdquot,
                                          SimError::kEintr, SimError::kEmfile, SimError::kShort};
const char* sim_error_name(SimError error);

// Whether the operating system could answer `op` with this error at all.
bool sim_error_applies(SimOp op, SimError error);

struct SimFault {
  uint64_t call;  // the first call that fails
  SimError error;
  bool sticky;  // so do all later ones that the error applies to
};

// Called with the file system's lock held: it may look at the disk and copy it, no more.
class SimObserver {
 public:
  virtual ~SimObserver() = default;
  // Before the call takes effect. Not called for a call that is made to fail.
  virtual void before(const SimCall& call, const SimDisk& disk) = 0;
  virtual void after(const SimCall& call, Status status, const SimDisk& disk) = 0;
};

class SimFileSystem : public FileSystem {
 public:
  SimFileSystem() = default;
  explicit SimFileSystem(SimDisk disk) : disk_(std::move(disk)) {}

  Status open_directory(const char* path, Presence presence, const char* marker,
                        std::unique_ptr<Directory>* directory) override;

  SimDisk disk() const;
  uint64_t calls() const;
  uint64_t faults_raised() const;

  void set_observer(SimObserver* observer);
  void set_fault(const SimFault& fault);
  void clear_fault();
  // From now on every call fails and nothing reaches the disk: the process is dead, only its
  // objects are still to be destroyed. Nobody observes it any more.
  void kill();
  // As SimDisk::remove_file(), of the file system's own disk.
  void remove(const std::string& path);
  // Writing beyond this many bytes in all files together is kSpace. Of the capacity free_bytes()
  // tells, of the quota nobody.
  void set_capacity(uint64_t bytes);
  void set_quota(uint64_t bytes);

 private:
  friend class SimFileImpl;
  friend class SimDirectoryImpl;

  // Counts the call and says whether it is to fail.
  const SimError* begin(const SimCall& call);
  void end(const SimCall& call, Status status);
  SimCall describe(SimOp op, const std::string& path, uint64_t offset = 0, uint64_t size = 0,
                   std::span<const Piece> pieces = {});
  uint64_t room(uint64_t bytes_max) const;

  mutable std::mutex mutex_;
  SimDisk disk_;
  std::set<std::string> locked_;
  SimObserver* observer_ = nullptr;
  bool fault_set_ = false;
  bool killed_ = false;
  SimFault fault_{};
  uint64_t calls_ = 0;
  uint64_t faults_raised_ = 0;
  uint64_t capacity_ = UINT64_MAX;
  uint64_t quota_ = UINT64_MAX;
};

struct PowerCutPlan {
  uint64_t unit_bytes = 512;
  uint64_t exhaustive_max = 4096;  // beyond so many combinations: prefixes, single losses, single
                                   // survivors and random subsets
  uint64_t random_subsets = 256;
};

// Visits what a power loss at this moment may leave, each a disk on which all is durable. The same
// image may come more than once. A visitor that returns false ends it.
using DiskVisitor = std::function<bool(const SimDisk& disk)>;
void for_each_power_cut(const SimDisk& disk, const PowerCutPlan& plan, std::mt19937_64& random,
                        const DiskVisitor& visit);

// Visits what a process death inside `call`, a write that is about to take effect, may leave: its
// first 0, 1, 2, ... units and some odd places between. Page cache and pending writes stay.
void for_each_kill(const SimDisk& disk, const SimCall& call, uint64_t unit_bytes,
                   const DiskVisitor& visit);

}  // namespace dskvs::test
