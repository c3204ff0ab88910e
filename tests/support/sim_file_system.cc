#include "support/sim_file_system.h"

#include <xxhash.h>

#include <algorithm>
#include <cassert>
#include <cstring>

namespace dskvs::test {
namespace {

constexpr uint64_t kOwnPid = 4242;

std::shared_ptr<const Blob> empty_blob() {
  static const auto blob = std::make_shared<const Blob>(Content());
  return blob;
}

uint64_t total_size(std::span<const Piece> pieces) {
  uint64_t size = 0;
  for (const Piece& piece : pieces) size += piece.size;
  return size;
}

std::string parent_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

// What of `doubtful` the later `write` did not write again.
void keep_uncovered(const PendingWrite& doubtful, const PendingWrite& write,
                    std::vector<PendingWrite>* kept) {
  const uint64_t begin = doubtful.offset, end = begin + doubtful.bytes->size();
  const uint64_t cut_begin = std::clamp(write.offset, begin, end);
  const uint64_t cut_end = std::clamp(write.offset + write.bytes->size(), begin, end);
  auto keep = [&](uint64_t from, uint64_t to) {
    if (from >= to) return;
    auto first = doubtful.bytes->begin() + static_cast<ptrdiff_t>(from - begin);
    auto last = doubtful.bytes->begin() + static_cast<ptrdiff_t>(to - begin);
    kept->push_back({from, std::make_shared<const std::vector<uint8_t>>(first, last),
                     doubtful.size_after, true});
  };
  if (cut_begin >= cut_end) {
    kept->push_back(doubtful);
    return;
  }
  keep(begin, cut_begin);
  keep(cut_end, end);
}

Status status_of(SimError error) {
  bool space = error == SimError::kEnospc || error == SimError::kEdquot;
  return space ? Status::kSpace : Status::kIo;
}

}  // namespace

std::vector<uint8_t> Content::slice(uint64_t offset, uint64_t size_max) const {
  if (offset >= size) return {};
  std::vector<uint8_t> part(std::min(size_max, size - offset));
  if (offset < bytes.size()) {
    std::memcpy(part.data(), bytes.data() + offset,
                std::min<uint64_t>(part.size(), bytes.size() - offset));
  }
  return part;
}

void Content::write(uint64_t offset, const std::vector<uint8_t>& part) {
  if (part.empty()) return;
  const uint64_t end = offset + part.size();
  if (end > bytes.size()) bytes.resize(end);
  std::memcpy(bytes.data() + offset, part.data(), part.size());
  size = std::max(size, end);
}

void Content::resize(uint64_t new_size) {
  size = new_size;
  if (bytes.size() > size) bytes.resize(size);
}

void Content::apply(const PendingWrite& write) {
  if (write.bytes->empty()) return resize(write.size_after);
  this->write(write.offset, *write.bytes);
  size = std::max(size, write.size_after);
}

// Equal contents have equal hashes, however many of their zeros are spelled out.
uint64_t Content::hash() const {
  static constexpr uint8_t kZeros[64] = {};
  size_t spelled = bytes.size();
  while (spelled >= sizeof kZeros &&
         std::memcmp(bytes.data() + spelled - sizeof kZeros, kZeros, sizeof kZeros) == 0) {
    spelled -= sizeof kZeros;
  }
  while (spelled > 0 && bytes[spelled - 1] == 0) --spelled;
  return XXH3_64bits_withSeed(bytes.data(), spelled, size);
}

Content& SimInode::writable() {
  if (!live || live.use_count() > 1) live = std::make_shared<Content>(content());
  return *live;
}

// ---- SimDisk --------------------------------------------------------------------------------

SimDisk::SimDisk() { directories_.insert("/"); }

std::vector<std::string> SimDisk::files(const std::string& directory) const {
  std::vector<std::string> names;
  for (const auto& [path, id] : live_names_) {
    if (parent_of(path) == directory) names.push_back(path);
  }
  return names;
}

std::vector<uint8_t> SimDisk::read_file(const std::string& path) const {
  return inodes_.at(live_names_.at(path)).content().slice(0, UINT64_MAX);
}

uint64_t SimDisk::file_size(const std::string& path) const {
  return inodes_.at(live_names_.at(path)).content().size;
}

void SimDisk::plant_file(const std::string& path, std::vector<uint8_t> bytes) {
  InodeId id = add_inode();
  const uint64_t size = bytes.size();
  inodes_[id].durable = std::make_shared<const Blob>(Content{std::move(bytes), size});
  live_names_[path] = durable_names_[path] = id;
}

void SimDisk::remove_file(const std::string& path) {
  live_names_.erase(path);
  durable_names_.erase(path);
  collect();
}

uint64_t SimDisk::hash() const {
  uint64_t hash = 0x9e3779b97f4a7c15;
  for (const auto& [path, id] : live_names_) {
    const SimInode& inode = inodes_.at(id);
    const uint64_t parts[3] = {hash, XXH3_64bits(path.data(), path.size()),
                               inode.live ? inode.live->hash() : inode.durable->hash()};
    hash = XXH3_64bits(parts, sizeof parts);
  }
  return hash;
}

uint64_t SimDisk::live_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [path, id] : live_names_) bytes += inodes_.at(id).content().size;
  return bytes;
}

bool SimDisk::all_durable() const {
  auto clean = [](const auto& named) { return named.second.pending.empty(); };
  return pending_names_.empty() && new_directories_.empty() &&
         std::all_of(inodes_.begin(), inodes_.end(), clean);
}

SimDisk SimDisk::after_kill() const {
  SimDisk disk = *this;
  for (auto& [id, inode] : disk.inodes_) inode.open_files = 0;
  disk.collect();
  return disk;
}

InodeId SimDisk::add_inode() {
  inodes_[next_inode_].durable = empty_blob();
  return next_inode_++;
}

// Writes the first `size_max` bytes of `pieces`.
void SimDisk::write(InodeId id, uint64_t offset, std::span<const Piece> pieces, uint64_t size_max) {
  auto bytes = std::make_shared<std::vector<uint8_t>>();
  bytes->reserve(std::min(total_size(pieces), size_max));
  for (const Piece& piece : pieces) {
    const auto* data = static_cast<const uint8_t*>(piece.data);
    bytes->insert(bytes->end(), data, data + std::min(piece.size, size_max - bytes->size()));
  }
  if (bytes->empty()) return;
  SimInode& inode = inodes_.at(id);
  uint64_t size_after = std::max<uint64_t>(inode.content().size, offset + bytes->size());
  inode.pending.push_back({offset, std::move(bytes), size_after, false});
  inode.writable().apply(inode.pending.back());
}

void SimDisk::set_size(InodeId id, uint64_t size) {
  SimInode& inode = inodes_.at(id);
  inode.pending.push_back({0, std::make_shared<std::vector<uint8_t>>(), size, false});
  inode.writable().resize(size);
}

void SimDisk::sync_file(InodeId id) {
  SimInode& inode = inodes_.at(id);
  std::vector<PendingWrite> in_doubt;
  Content content = inode.durable->content();
  for (const PendingWrite& write : inode.pending) {
    if (write.in_doubt) {
      in_doubt.push_back(write);
      continue;
    }
    std::vector<PendingWrite> kept;
    for (const PendingWrite& doubtful : in_doubt) keep_uncovered(doubtful, write, &kept);
    in_doubt = std::move(kept);
    content.apply(write);
  }
  inode.durable = std::make_shared<const Blob>(std::move(content));
  if (in_doubt.empty()) inode.live = nullptr;
  inode.pending = std::move(in_doubt);
}

void SimDisk::doubt_file(InodeId id) {
  for (PendingWrite& write : inodes_.at(id).pending) write.in_doubt = true;
}

void SimDisk::create(const std::string& path, InodeId id) {
  live_names_[path] = id;
  pending_names_.push_back({path, id, true, false});
}

void SimDisk::unlink(const std::string& path) {
  auto found = live_names_.find(path);
  pending_names_.push_back({path, found->second, false, false});
  live_names_.erase(found);
}

void SimDisk::sync_directory(const std::string& directory) {
  std::vector<PendingName> kept;
  for (const PendingName& name : pending_names_) {
    if (parent_of(name.path) != directory || name.in_doubt) {
      kept.push_back(name);
      continue;
    }
    // What was in doubt about this name before is settled now.
    std::erase_if(kept, [&](const PendingName& other) { return other.path == name.path; });
    if (name.created) {
      durable_names_[name.path] = name.inode;
    } else {
      durable_names_.erase(name.path);
    }
  }
  pending_names_ = std::move(kept);
  collect();
}

void SimDisk::doubt_directory(const std::string& directory) {
  for (PendingName& name : pending_names_) {
    if (parent_of(name.path) == directory) name.in_doubt = true;
  }
}

SimDisk SimDisk::without_new_directories() const {
  SimDisk disk = *this;
  const auto is_in_new = [&](const std::string& path) {
    return new_directories_.contains(parent_of(path));
  };
  for (const std::string& path : new_directories_) disk.directories_.erase(path);
  disk.new_directories_.clear();
  std::erase_if(disk.live_names_, [&](const auto& named) { return is_in_new(named.first); });
  std::erase_if(disk.durable_names_, [&](const auto& named) { return is_in_new(named.first); });
  std::erase_if(disk.pending_names_, [&](const auto& name) { return is_in_new(name.path); });
  disk.collect();
  return disk;
}

// Forgets the files that no name, durable, live or pending, and no open file leads to.
void SimDisk::collect() {
  std::set<InodeId> used;
  for (const auto& [path, id] : live_names_) used.insert(id);
  for (const auto& [path, id] : durable_names_) used.insert(id);
  for (const PendingName& name : pending_names_) used.insert(name.inode);
  std::erase_if(inodes_, [&](const auto& named) {
    return named.second.open_files == 0 && !used.contains(named.first);
  });
}

// ---- Calls and faults -----------------------------------------------------------------------

const char* sim_op_name(SimOp op) {
  static constexpr const char* kNames[] = {
      "open_directory", "list",     "open", "create", "read",   "write", "sync",
      "writeback",      "allocate", "size", "close",  "unlink", "cut",   "sync_directory",
      "sync_entry",     "lock"};
  return kNames[static_cast<size_t>(op)];
}

const char* sim_error_name(SimError error) {
  static constexpr const char* kNames[] = {"EIO", "ENOSPC", "EDQUOT", "EINTR", "EMFILE", "short"};
  return kNames[static_cast<size_t>(error)];
}

bool sim_error_applies(SimOp op, SimError error) {
  const bool space = error == SimError::kEnospc || error == SimError::kEdquot;
  const bool partial = error == SimError::kShort || error == SimError::kEintr;
  switch (op) {
    case SimOp::kWriteback:
      return false;  // a hint has no outcome
    case SimOp::kOpenDirectory:
    case SimOp::kCreate:
    case SimOp::kLock:
      return error == SimError::kEio || error == SimError::kEmfile || space;
    case SimOp::kOpen:
    case SimOp::kList:
      return error == SimError::kEio || error == SimError::kEmfile;
    case SimOp::kRead:
      return error == SimError::kEio || partial;
    case SimOp::kWrite:
    case SimOp::kSync:
    case SimOp::kAllocate:
      return error == SimError::kEio || partial || space;
    case SimOp::kClose:
      return error == SimError::kEio || error == SimError::kEintr || space;
    case SimOp::kUnlink:  // a file system that copies what it changes needs room to remove a name
    case SimOp::kSyncDirectory:
    case SimOp::kSyncEntry:
      return error == SimError::kEio || space;
    case SimOp::kSize:
    case SimOp::kCut:
      return error == SimError::kEio;
  }
  return false;
}

SimDisk SimFileSystem::disk() const {
  std::lock_guard guard(mutex_);
  return disk_;
}

uint64_t SimFileSystem::calls() const {
  std::lock_guard guard(mutex_);
  return calls_;
}

uint64_t SimFileSystem::faults_raised() const {
  std::lock_guard guard(mutex_);
  return faults_raised_;
}

void SimFileSystem::set_observer(SimObserver* observer) {
  std::lock_guard guard(mutex_);
  observer_ = observer;
}

void SimFileSystem::set_fault(const SimFault& fault) {
  std::lock_guard guard(mutex_);
  fault_ = fault;
  fault_set_ = true;
}

void SimFileSystem::clear_fault() {
  std::lock_guard guard(mutex_);
  fault_set_ = false;
}

void SimFileSystem::kill() {
  std::lock_guard guard(mutex_);
  killed_ = true;
  observer_ = nullptr;
}

void SimFileSystem::remove(const std::string& path) {
  std::lock_guard guard(mutex_);
  disk_.remove_file(path);
}

void SimFileSystem::set_capacity(uint64_t bytes) {
  std::lock_guard guard(mutex_);
  capacity_ = bytes;
}

void SimFileSystem::set_quota(uint64_t bytes) {
  std::lock_guard guard(mutex_);
  quota_ = bytes;
}

uint64_t SimFileSystem::room(uint64_t bytes_max) const {
  return bytes_max - std::min(bytes_max, disk_.live_bytes());
}

SimCall SimFileSystem::describe(SimOp op, const std::string& path, uint64_t offset, uint64_t size,
                                std::span<const Piece> pieces) {
  return {calls_++, op, path, offset, size, pieces};
}

const SimError* SimFileSystem::begin(const SimCall& call) {
  static constexpr SimError kDead = SimError::kEio;
  if (killed_) return &kDead;
  bool due = call.number == fault_.call || (fault_.sticky && call.number > fault_.call);
  if (fault_set_ && due && sim_error_applies(call.op, fault_.error)) {
    ++faults_raised_;
    return &fault_.error;
  }
  if (observer_) observer_->before(call, disk_);
  return nullptr;
}

void SimFileSystem::end(const SimCall& call, Status status) {
  if (observer_) observer_->after(call, status, disk_);
}

// ---- File and directory ---------------------------------------------------------------------

class SimFileImpl : public File {
 public:
  SimFileImpl(SimFileSystem& fs, std::string path, InodeId id)
      : fs_(fs), path_(std::move(path)), id_(id) {
    ++inode().open_files;
  }

  ~SimFileImpl() override {
    std::lock_guard guard(fs_.mutex_);
    let_go();
  }

  Status read(uint64_t offset, void* buffer, size_t size, size_t* got) override {
    std::lock_guard guard(fs_.mutex_);
    *got = 0;
    SimCall call = fs_.describe(SimOp::kRead, path_, offset, size);
    if (const SimError* error = fs_.begin(call)) return failed(call, *error);
    const std::vector<uint8_t> part = inode().content().slice(offset, size);
    if (!part.empty()) std::memcpy(buffer, part.data(), part.size());
    *got = part.size();
    return done(call);
  }

  Status write(uint64_t offset, std::span<const Piece> pieces) override {
    std::lock_guard guard(fs_.mutex_);
    const uint64_t size = total_size(pieces);
    SimCall call = fs_.describe(SimOp::kWrite, path_, offset, size, pieces);
    if (const SimError* error = fs_.begin(call)) {
      // EIO comes before anything is written, the others after a part.
      if (*error != SimError::kEio) fs_.disk_.write(id_, offset, pieces, size / 2);
      return failed(call, *error);
    }
    const uint64_t old_size = inode().content().size;
    const uint64_t growth = offset + size > old_size ? offset + size - old_size : 0;
    const uint64_t room = fs_.room(std::min(fs_.capacity_, fs_.quota_));
    if (growth > room) {
      fs_.disk_.write(id_, offset, pieces, size - (growth - room));
      return failed(call, SimError::kEnospc);
    }
    fs_.disk_.write(id_, offset, pieces, size);
    return done(call);
  }

  Status sync() override {
    std::lock_guard guard(fs_.mutex_);
    SimCall call = fs_.describe(SimOp::kSync, path_);
    if (const SimError* error = fs_.begin(call)) {
      if (!fs_.killed_) fs_.disk_.doubt_file(id_);
      return failed(call, *error);
    }
    fs_.disk_.sync_file(id_);
    return done(call);
  }

  void start_writeback(uint64_t offset, uint64_t size) override {
    std::lock_guard guard(fs_.mutex_);
    SimCall call = fs_.describe(SimOp::kWriteback, path_, offset, size);
    (void)fs_.begin(call);
    fs_.end(call, Status::kOk);
  }

  Status allocate(uint64_t size) override {
    std::lock_guard guard(fs_.mutex_);
    SimCall call = fs_.describe(SimOp::kAllocate, path_, 0, size);
    if (const SimError* error = fs_.begin(call)) return failed(call, *error);
    const uint64_t old_size = inode().content().size;
    if (size > old_size && size - old_size > fs_.room(std::min(fs_.capacity_, fs_.quota_)))
      return failed(call, SimError::kEnospc);
    if (size > old_size) fs_.disk_.set_size(id_, size);
    return done(call);
  }

  Status size(uint64_t* bytes) override {
    std::lock_guard guard(fs_.mutex_);
    *bytes = 0;
    SimCall call = fs_.describe(SimOp::kSize, path_);
    if (const SimError* error = fs_.begin(call)) return failed(call, *error);
    *bytes = inode().content().size;
    return done(call);
  }

  Status close() override {
    std::lock_guard guard(fs_.mutex_);
    assert(!closed_);
    SimCall call = fs_.describe(SimOp::kClose, path_);
    if (const SimError* error = fs_.begin(call)) {
      if (!fs_.killed_) fs_.disk_.doubt_file(id_);
      let_go();
      return failed(call, *error);
    }
    let_go();
    return done(call);
  }

 private:
  SimInode& inode() { return fs_.disk_.inodes_.at(id_); }

  void let_go() {
    if (closed_) return;
    closed_ = true;
    --inode().open_files;
  }

  Status done(const SimCall& call) {
    fs_.end(call, Status::kOk);
    return Status::kOk;
  }

  Status failed(const SimCall& call, SimError error) {
    Status status =
        fail(status_of(error), "{}: {}: {}", path_, sim_op_name(call.op), sim_error_name(error));
    fs_.end(call, status);
    return status;
  }

  SimFileSystem& fs_;
  const std::string path_;
  const InodeId id_;
  bool closed_ = false;
};

class SimDirectoryImpl : public Directory {
 public:
  SimDirectoryImpl(SimFileSystem& fs, std::string path) : fs_(fs), path_(std::move(path)) {}

  ~SimDirectoryImpl() override {
    std::lock_guard guard(fs_.mutex_);
    if (locked_) fs_.locked_.erase(path_);
  }

  Status each_name(const std::function<Status(const char* name)>& visit) override {
    std::vector<std::string> names;
    Status status = list(&names);
    for (const std::string& name : names) {
      if (status == Status::kOk) status = visit(name.c_str());
    }
    return status;
  }

  Status open_file(const char* name, FileMode mode, std::unique_ptr<File>* file) override {
    std::lock_guard guard(fs_.mutex_);
    const std::string path = path_ + "/" + name;
    const bool create = mode == FileMode::kCreate;
    SimCall call = fs_.describe(create ? SimOp::kCreate : SimOp::kOpen, path);
    if (const SimError* error = fs_.begin(call)) return failed(call, *error);
    auto found = fs_.disk_.live_names_.find(path);
    const bool there = found != fs_.disk_.live_names_.end();
    if (create && there) return ended(call, fail(Status::kIo, "{}: exists", path));
    if (!create && !there) return ended(call, fail(Status::kNotFound, "{}: not there", path));
    InodeId id = create ? fs_.disk_.add_inode() : found->second;
    if (create) fs_.disk_.create(path, id);
    *file = std::make_unique<SimFileImpl>(fs_, path, id);
    return done(call);
  }

  Status unlink(const char* name) override {
    std::lock_guard guard(fs_.mutex_);
    const std::string path = path_ + "/" + name;
    SimCall call = fs_.describe(SimOp::kUnlink, path);
    if (const SimError* error = fs_.begin(call)) return failed(call, *error);
    if (!fs_.disk_.has_file(path)) {
      return ended(call, fail(Status::kNotFound, "{}: not there", path));
    }
    fs_.disk_.unlink(path);
    return done(call);
  }

  void cut(const char* name, uint64_t size) override {
    std::lock_guard guard(fs_.mutex_);
    const std::string path = path_ + "/" + name;
    SimCall call = fs_.describe(SimOp::kCut, path, 0, size);
    if (fs_.begin(call) != nullptr) return fs_.end(call, Status::kIo);
    const auto found = fs_.disk_.live_names_.find(path);
    const bool longer = found != fs_.disk_.live_names_.end() &&
                        fs_.disk_.inodes_.at(found->second).content().size > size;
    if (longer) fs_.disk_.set_size(found->second, size);
    fs_.end(call, Status::kOk);
  }

  Status sync() override {
    std::lock_guard guard(fs_.mutex_);
    SimCall call = fs_.describe(SimOp::kSyncDirectory, path_);
    if (const SimError* error = fs_.begin(call)) {
      if (!fs_.killed_) fs_.disk_.doubt_directory(path_);
      return failed(call, *error);
    }
    fs_.disk_.sync_directory(path_);
    return done(call);
  }

  Status sync_entry() override {
    std::lock_guard guard(fs_.mutex_);
    SimCall call = fs_.describe(SimOp::kSyncEntry, path_);
    if (const SimError* error = fs_.begin(call)) return failed(call, *error);
    fs_.disk_.new_directories_.erase(path_);
    return done(call);
  }

  Status lock(const char* name) override {
    std::lock_guard guard(fs_.mutex_);
    const std::string path = path_ + "/" + name;
    SimCall call = fs_.describe(SimOp::kLock, path);
    if (const SimError* error = fs_.begin(call)) return failed(call, *error);
    if (!fs_.locked_.insert(path_).second) {
      return ended(call, fail(Status::kLocked, "{}: locked by process {}", path_, kOwnPid));
    }
    locked_ = true;
    if (!fs_.disk_.has_file(path)) fs_.disk_.create(path, fs_.disk_.add_inode());
    return done(call);
  }

  uint64_t free_bytes() override {
    std::lock_guard guard(fs_.mutex_);
    return fs_.capacity_ == UINT64_MAX ? UINT64_MAX : fs_.room(fs_.capacity_);
  }

  const std::string& path() const override { return path_; }

 private:
  Status list(std::vector<std::string>* names) {
    std::lock_guard guard(fs_.mutex_);
    SimCall call = fs_.describe(SimOp::kList, path_);
    if (const SimError* error = fs_.begin(call)) return failed(call, *error);
    const std::string prefix = path_ + "/";
    for (const auto& [path, id] : fs_.disk_.live_names_) {
      if (path.starts_with(prefix)) names->push_back(path.substr(prefix.size()));
    }
    for (const std::string& path : fs_.disk_.directories_) {
      if (path.starts_with(prefix)) names->push_back(path.substr(prefix.size()));
    }
    return done(call);
  }

  Status done(const SimCall& call) { return ended(call, Status::kOk); }

  Status ended(const SimCall& call, Status status) {
    fs_.end(call, status);
    return status;
  }

  Status failed(const SimCall& call, SimError error) {
    return ended(call, fail(status_of(error), "{}: {}: {}", call.path, sim_op_name(call.op),
                            sim_error_name(error)));
  }

  SimFileSystem& fs_;
  const std::string path_;
  bool locked_ = false;
};

Status SimFileSystem::open_directory(const char* path, Presence presence, const char* marker,
                                     std::unique_ptr<Directory>* directory) {
  std::lock_guard guard(mutex_);
  std::string name = path;
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  SimCall call = describe(SimOp::kOpenDirectory, name);
  auto ended = [&](Status status) {
    end(call, status);
    return status;
  };
  if (const SimError* error = begin(call)) {
    return ended(fail(status_of(*error), "{}: {}", name, sim_error_name(*error)));
  }
  if (name.empty() || name[0] != '/' || disk_.has_file(name) ||
      !disk_.has_directory(parent_of(name))) {
    return ended(fail(Status::kPath, "{}: not a place for a store", name));
  }
  for (std::string parent = name; parent != "/";) {
    parent = parent_of(parent);
    if (disk_.has_file(parent + "/" + marker)) {
      return ended(fail(Status::kPath, "{}: inside the store {}", name, parent));
    }
  }
  if (!disk_.has_directory(name) && presence == Presence::kMustExist) {
    return ended(fail(Status::kPath, "{}: not there", name));
  }
  if (!disk_.has_directory(name)) disk_.new_directories_.insert(name);
  disk_.make_directory(name);
  *directory = std::make_unique<SimDirectoryImpl>(*this, name);
  return ended(Status::kOk);
}

}  // namespace dskvs::test
