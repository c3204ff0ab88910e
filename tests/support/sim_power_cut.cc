// What a crash of SimFileSystem may leave: the choices that a power loss has, and where a kill can
// end a write.
#include <algorithm>

#include "support/sim_file_system.h"

namespace dskvs::test {
namespace {

// A unit of a file that was written since its last sync, with all that it may hold after a power
// loss: its old bytes first, its newest last, versions between, zeros.
struct DirtyUnit {
  uint64_t offset;
  std::vector<std::vector<uint8_t>> versions;
};

struct DirtyFile {
  InodeId inode;
  std::vector<DirtyUnit> units;
  std::vector<uint64_t> sizes;  // durable one first, newest last
};

void add_version(DirtyUnit& unit, std::vector<uint8_t> bytes) {
  auto found = std::find(unit.versions.begin(), unit.versions.end(), bytes);
  if (found == unit.versions.end()) unit.versions.push_back(std::move(bytes));
}

std::vector<uint8_t> unit_of(const Content& content, uint64_t offset, uint64_t unit_bytes) {
  std::vector<uint8_t> unit = content.slice(offset, unit_bytes);
  unit.resize(unit_bytes);
  return unit;
}

DirtyFile dirty_file(InodeId id, const SimInode& inode, uint64_t unit_bytes) {
  DirtyFile file{id, {}, {inode.durable->content().size}};
  Content content = inode.durable->content();
  std::map<uint64_t, DirtyUnit> units;
  for (const PendingWrite& write : inode.pending) {
    const uint64_t first = write.offset / unit_bytes * unit_bytes;
    const uint64_t end = write.offset + write.bytes->size();
    for (uint64_t at = first; !write.bytes->empty() && at < end; at += unit_bytes) {
      DirtyUnit& unit = units[at];
      unit.offset = at;
      if (unit.versions.empty()) {
        add_version(unit, unit_of(content, at, unit_bytes));
        add_version(unit, std::vector<uint8_t>(unit_bytes));
      }
    }
    content.apply(write);
    for (uint64_t at = first; !write.bytes->empty() && at < end; at += unit_bytes) {
      add_version(units[at], unit_of(content, at, unit_bytes));
    }
    if (file.sizes.back() != content.size) file.sizes.push_back(content.size);
  }
  for (auto& [at, unit] : units) {
    // The newest last, which an earlier equal version may have kept from there.
    std::vector<uint8_t> newest = unit_of(content, at, unit_bytes);
    auto found = std::find(unit.versions.begin(), unit.versions.end(), newest);
    std::rotate(found, found + 1, unit.versions.end());
    if (unit.versions.size() > 1) file.units.push_back(std::move(unit));
  }
  return file;
}

}  // namespace

// Enumerates the choices of for_each_power_cut: for each outcome of the pending names, then for
// each dimension (a unit's version, a file's size) of the files that have a name in it.
class PowerCut {
 public:
  PowerCut(const SimDisk& disk, const PowerCutPlan& plan, std::mt19937_64& random,
           const DiskVisitor& visit)
      : disk_(disk), plan_(plan), random_(random), visit_(visit) {}

  void run() {
    if (!disk_.new_directories_.empty()) {
      const SimDisk older = disk_.without_new_directories();
      PowerCut(older, plan_, random_, visit_).run();
    }
    const size_t names = disk_.pending_names_.size();
    if (names <= kNamesExhaustiveMax) {
      for (uint64_t kept = 0; kept < uint64_t{1} << names && !ended_; ++kept) with_names(kept);
      return;
    }
    const uint64_t all = names >= 64 ? UINT64_MAX : (uint64_t{1} << names) - 1;
    with_names(all);
    for (size_t i = 0; i <= names && !ended_; ++i) with_names(all >> i);
    for (size_t i = 0; i < names && !ended_; ++i) {
      with_names(all & ~(uint64_t{1} << i));
      with_names(uint64_t{1} << i);
    }
    for (size_t i = 0; i < kNamesRandom && !ended_; ++i) with_names(random_() & all);
  }

 private:
  static constexpr size_t kNamesExhaustiveMax = 4;
  static constexpr size_t kNamesRandom = 8;

  struct Dimension {
    size_t file;
    size_t unit;  // or kSize
    size_t choices;
  };
  static constexpr size_t kSize = SIZE_MAX;

  // Bit i of `kept`: pending name i survives.
  void with_names(uint64_t kept) {
    image_ = SimDisk();
    image_.directories_ = disk_.directories_;
    image_.live_names_ = disk_.durable_names_;
    for (size_t i = 0; i < disk_.pending_names_.size(); ++i) {
      const PendingName& name = disk_.pending_names_[i];
      if (((kept >> std::min<size_t>(i, 63)) & 1) == 0) continue;
      if (name.created) {
        image_.live_names_[name.path] = name.inode;
      } else {
        image_.live_names_.erase(name.path);
      }
    }
    image_.durable_names_ = image_.live_names_;
    image_.next_inode_ = disk_.next_inode_;
    files_.clear();
    dimensions_.clear();
    for (const auto& [path, id] : image_.live_names_) {
      const SimInode& inode = disk_.inodes_.at(id);
      image_.inodes_[id].durable = inode.durable;
      if (!inode.pending.empty()) add_file(dirty_file(id, inode, plan_.unit_bytes));
    }
    choose();
  }

  void add_file(DirtyFile file) {
    for (size_t i = 0; i < file.units.size(); ++i) {
      dimensions_.push_back({files_.size(), i, file.units[i].versions.size()});
    }
    if (file.sizes.size() > 1) dimensions_.push_back({files_.size(), kSize, file.sizes.size()});
    files_.push_back(std::move(file));
  }

  void choose() {
    uint64_t combinations = 1;
    for (const Dimension& dimension : dimensions_) {
      combinations = std::min(combinations * dimension.choices, plan_.exhaustive_max + 1);
    }
    if (combinations <= plan_.exhaustive_max) {
      choose_all();
    } else {
      choose_some();
    }
  }

  std::vector<size_t> all_old() const { return std::vector<size_t>(dimensions_.size(), 0); }

  std::vector<size_t> all_new() const {
    std::vector<size_t> choice;
    for (const Dimension& dimension : dimensions_) choice.push_back(dimension.choices - 1);
    return choice;
  }

  void choose_all() {
    std::vector<size_t> choice = all_old();
    for (;;) {
      emit(choice);
      size_t i = 0;
      while (i < choice.size() && ++choice[i] == dimensions_[i].choices) choice[i++] = 0;
      if (i == choice.size() || ended_) return;
    }
  }

  void choose_some() {
    const std::vector<size_t> newest = all_new();
    // Every prefix, with the newest sizes and with the sizes that end there.
    std::vector<size_t> choice = all_old();
    for (size_t i = 0; i < choice.size() && !ended_; ++i) {
      choice[i] = newest[i];
      emit(choice);
      emit(with_newest_sizes(choice));
    }
    for (size_t i = 0; i < choice.size() && !ended_; ++i) {
      for (size_t version = 0; version < newest[i]; ++version) {
        choice = newest;
        choice[i] = version;
        emit(choice);
      }
      choice = all_old();
      choice[i] = newest[i];
      emit(choice);
      emit(with_newest_sizes(choice));
    }
    for (size_t i = 0; i < plan_.random_subsets && !ended_; ++i) emit(random_choice(newest));
  }

  std::vector<size_t> with_newest_sizes(std::vector<size_t> choice) const {
    for (size_t i = 0; i < choice.size(); ++i) {
      if (dimensions_[i].unit == kSize) choice[i] = dimensions_[i].choices - 1;
    }
    return choice;
  }

  // Few losses, few survivors, and all between.
  std::vector<size_t> random_choice(const std::vector<size_t>& newest) {
    const uint64_t survive_of_16 = random_() % 17;
    std::vector<size_t> choice;
    for (size_t most : newest) {
      choice.push_back(random_() % 16 < survive_of_16 ? most : random_() % (most + 1));
    }
    return choice;
  }

  void emit(const std::vector<size_t>& choice) {
    if (ended_) return;
    size_t i = 0;
    for (size_t f = 0; f < files_.size(); ++f) {
      const DirtyFile& file = files_[f];
      Content content = disk_.inodes_.at(file.inode).durable->content();
      uint64_t size = file.sizes.back();
      for (; i < choice.size() && dimensions_[i].file == f; ++i) {
        if (dimensions_[i].unit == kSize) {
          size = file.sizes[choice[i]];
          continue;
        }
        const DirtyUnit& unit = file.units[dimensions_[i].unit];
        content.write(unit.offset, unit.versions[choice[i]]);
      }
      content.resize(size);
      image_.inodes_[file.inode].durable = std::make_shared<const Blob>(std::move(content));
    }
    if (!visit_(image_)) ended_ = true;
  }

  const SimDisk& disk_;
  const PowerCutPlan& plan_;
  std::mt19937_64& random_;
  const DiskVisitor& visit_;
  SimDisk image_;
  std::vector<DirtyFile> files_;
  std::vector<Dimension> dimensions_;
  bool ended_ = false;

 public:
  static void kill(const SimDisk& disk, const SimCall& call, uint64_t unit_bytes,
                   const DiskVisitor& visit) {
    auto found = disk.live_names_.find(call.path);
    if (found == disk.live_names_.end()) return;
    std::set<uint64_t> lengths = {0, 1, 7, 8, 9, call.size / 2, call.size - 1, call.size};
    for (uint64_t at = unit_bytes - call.offset % unit_bytes; at < call.size; at += unit_bytes) {
      lengths.insert(at);
    }
    for (uint64_t length : lengths) {
      if (length > call.size) continue;
      SimDisk killed = disk.after_kill();
      killed.write(found->second, call.offset, call.pieces, length);
      if (!visit(killed)) return;
    }
  }
};

void for_each_power_cut(const SimDisk& disk, const PowerCutPlan& plan, std::mt19937_64& random,
                        const DiskVisitor& visit) {
  PowerCut(disk, plan, random, visit).run();
}

void for_each_kill(const SimDisk& disk, const SimCall& call, uint64_t unit_bytes,
                   const DiskVisitor& visit) {
  PowerCut::kill(disk, call, unit_bytes, visit);
}

}  // namespace dskvs::test
