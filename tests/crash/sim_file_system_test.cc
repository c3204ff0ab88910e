// Goal: the simulated file system tells the truth, since every crash test rests on it.
// Method: small scripts of calls whose crash states are known by hand, counted and looked into.
#include "support/sim_file_system.h"

#include <set>

#include "support/catch.h"

namespace dskvs::test {
namespace {

struct Fixture {
  Fixture() {
    reopen();
    REQUIRE(directory->sync_entry() == Status::kOk);
  }

  void reopen() {
    REQUIRE(fs.open_directory("/s", Presence::kMayCreate, "lock", &directory) == Status::kOk);
  }

  std::unique_ptr<File> create(const char* name) {
    std::unique_ptr<File> file;
    REQUIRE(directory->open_file(name, FileMode::kCreate, &file) == Status::kOk);
    return file;
  }

  std::set<std::string> cuts(uint64_t unit_bytes = 512) {
    std::set<std::string> states;
    std::mt19937_64 random(1);
    for_each_power_cut(fs.disk(), {unit_bytes, 4096, 16}, random, [&](const SimDisk& disk) {
      std::string state;
      for (const std::string& path : disk.files("/s")) {
        const std::vector<uint8_t> bytes = disk.read_file(path);
        state += path + "=" + std::string(bytes.begin(), bytes.end()) + ";";
      }
      states.insert(state);
      REQUIRE(disk.all_durable());
      return true;
    });
    return states;
  }

  SimFileSystem fs;
  std::unique_ptr<Directory> directory;
};

Status write(File& file, uint64_t offset, const std::string& text) {
  Piece piece{text.data(), text.size()};
  return file.write(offset, {&piece, 1});
}

std::string live(const SimFileSystem& fs, const std::string& path) {
  SimDisk disk = fs.disk();
  const std::vector<uint8_t> bytes = disk.read_file(path);
  return {bytes.begin(), bytes.end()};
}

const std::string kZeros512(512, '\0');

TEST_CASE("a directory is lost, with all in it, until its own entry is synced") {
  SimFileSystem fs;
  std::unique_ptr<Directory> directory;
  REQUIRE(fs.open_directory("/s", Presence::kMayCreate, "lock", &directory) == Status::kOk);
  std::unique_ptr<File> file;
  REQUIRE(directory->open_file("a", FileMode::kCreate, &file) == Status::kOk);
  REQUIRE(directory->sync() == Status::kOk);
  const auto images = [&] {
    std::set<std::pair<bool, bool>> found;  // the directory, the file
    std::mt19937_64 random(1);
    for_each_power_cut(fs.disk(), {512, 4096, 16}, random, [&](const SimDisk& disk) {
      REQUIRE(disk.all_durable());
      return found.insert({disk.has_directory("/s"), disk.has_file("/s/a")}), true;
    });
    return found;
  };
  REQUIRE(images() == std::set<std::pair<bool, bool>>{{false, false}, {true, true}});
  REQUIRE(directory->sync_entry() == Status::kOk);
  REQUIRE(images() == std::set<std::pair<bool, bool>>{{true, true}});
}

TEST_CASE("a creation is lost until the directory is synced") {
  Fixture f;
  auto file = f.create("a");
  REQUIRE(f.cuts() == std::set<std::string>{"", "/s/a=;"});
  REQUIRE(file->sync() == Status::kOk);
  REQUIRE(f.cuts() == std::set<std::string>{"", "/s/a=;"});
  REQUIRE(f.directory->sync() == Status::kOk);
  REQUIRE(f.cuts() == std::set<std::string>{"/s/a=;"});
  REQUIRE(f.directory->unlink("a") == Status::kOk);
  REQUIRE(f.cuts() == std::set<std::string>{"", "/s/a=;"});
}

TEST_CASE("pending names survive independently of each other") {
  Fixture f;
  f.create("a");
  f.create("b");
  REQUIRE(f.directory->unlink("a") == Status::kOk);
  REQUIRE(f.cuts() == std::set<std::string>{"", "/s/a=;", "/s/b=;", "/s/a=;/s/b=;"});
}

TEST_CASE("written units are lost each for itself, to what was there or to zeros") {
  Fixture f;
  auto file = f.create("a");
  REQUIRE(f.directory->sync() == Status::kOk);
  const std::string old(512, 'o'), first(512, 'x'), second(512, 'y');
  REQUIRE(write(*file, 0, old) == Status::kOk);
  REQUIRE(file->sync() == Status::kOk);
  REQUIRE(write(*file, 0, first + second) == Status::kOk);
  const std::string name = "/s/a=";
  std::set<std::string> expected;
  for (const std::string& a : {old, kZeros512, first}) {
    expected.insert(name + a + ";");
    for (const std::string& b : {kZeros512, second}) expected.insert(name + a + b + ";");
  }
  REQUIRE(f.cuts() == expected);
  // One larger unit holds both.
  std::set<std::string> together;
  for (const std::string& a : {old + kZeros512, kZeros512 + kZeros512, first + second}) {
    together.insert(name + a + ";");
    together.insert(name + a.substr(0, 512) + ";");
  }
  REQUIRE(f.cuts(4096) == together);
  REQUIRE(file->sync() == Status::kOk);
  REQUIRE(f.cuts() == std::set<std::string>{name + first + second + ";"});
}

TEST_CASE("a unit may hold any version that was written since the sync") {
  Fixture f;
  auto file = f.create("a");
  REQUIRE(f.directory->sync() == Status::kOk);
  REQUIRE(write(*file, 0, "1") == Status::kOk);
  REQUIRE(write(*file, 1, "2") == Status::kOk);
  using std::string;
  REQUIRE(f.cuts() == std::set<string>{"/s/a=;", string("/s/a=\0;", 7), string("/s/a=\0\0;", 8),
                                       "/s/a=1;", string("/s/a=1\0;", 8), "/s/a=12;"});
}

TEST_CASE("what a failed sync touched stays in doubt although later syncs succeed") {
  Fixture f;
  auto file = f.create("a");
  REQUIRE(f.directory->sync() == Status::kOk);
  REQUIRE(write(*file, 0, std::string(512, 'x')) == Status::kOk);
  f.fs.set_fault({f.fs.calls(), SimError::kEio, false});
  REQUIRE(file->sync() == Status::kIo);
  REQUIRE(live(f.fs, "/s/a") == std::string(512, 'x'));
  REQUIRE(write(*file, 512, std::string(512, 'y')) == Status::kOk);
  REQUIRE(file->sync() == Status::kOk);
  const std::string y(512, 'y');
  REQUIRE(f.cuts() == std::set<std::string>{"/s/a=" + kZeros512 + y + ";",
                                            "/s/a=" + std::string(512, 'x') + y + ";"});
  // Writing the unit again settles it.
  REQUIRE(write(*file, 0, std::string(512, 'z')) == Status::kOk);
  REQUIRE(file->sync() == Status::kOk);
  REQUIRE(f.cuts() == std::set<std::string>{"/s/a=" + std::string(512, 'z') + y + ";"});
}

TEST_CASE("a failed directory sync leaves its names in doubt") {
  Fixture f;
  f.create("a");
  f.fs.set_fault({f.fs.calls(), SimError::kEio, false});
  REQUIRE(f.directory->sync() == Status::kIo);
  f.create("b");
  REQUIRE(f.directory->sync() == Status::kOk);
  REQUIRE(f.cuts() == std::set<std::string>{"/s/b=;", "/s/a=;/s/b=;"});
}

TEST_CASE("faults: once and sticky, partial writes, a full disk") {
  Fixture f;
  auto file = f.create("a");
  f.fs.set_fault({f.fs.calls(), SimError::kShort, false});
  REQUIRE(write(*file, 0, "1234") == Status::kIo);
  REQUIRE(live(f.fs, "/s/a") == "12");
  REQUIRE(write(*file, 0, "1234") == Status::kOk);
  f.fs.set_fault({f.fs.calls(), SimError::kEnospc, true});
  REQUIRE(write(*file, 4, "5678") == Status::kSpace);
  REQUIRE(write(*file, 4, "5678") == Status::kSpace);
  REQUIRE(live(f.fs, "/s/a") == "123456");
  uint64_t size = 0;
  REQUIRE(file->size(&size) == Status::kOk);  // ENOSPC does not apply
  REQUIRE(size == 6);
  REQUIRE(f.fs.faults_raised() == 3);
  f.fs.clear_fault();
  f.fs.set_capacity(8);
  REQUIRE(write(*file, 6, "789") == Status::kSpace);
  REQUIRE(live(f.fs, "/s/a") == "12345678");
  REQUIRE(write(*file, 0, "abcdefgh") == Status::kOk);
  REQUIRE(f.directory->unlink("a") == Status::kOk);
  auto other = f.create("b");
  REQUIRE(write(*other, 0, "12345678") == Status::kOk);
}

TEST_CASE("faults: to remove a name, and to make names durable, may want for room") {
  for (const SimError error : {SimError::kEnospc, SimError::kEdquot}) {
    Fixture f;
    f.create("a");
    REQUIRE(f.directory->sync() == Status::kOk);
    f.create("b");
    f.fs.set_fault({f.fs.calls(), error, true});
    REQUIRE(f.directory->unlink("a") == Status::kSpace);
    REQUIRE(f.fs.disk().has_file("/s/a"));
    REQUIRE(f.directory->sync_entry() == Status::kSpace);
    REQUIRE(f.directory->sync() == Status::kSpace);
    REQUIRE(f.fs.faults_raised() == 3);
    f.fs.clear_fault();
    // Its names stay in doubt, as after any failure.
    REQUIRE(f.directory->sync() == Status::kOk);
    REQUIRE(f.cuts() == std::set<std::string>{"/s/a=;", "/s/a=;/s/b=;"});
    REQUIRE(f.directory->unlink("a") == Status::kOk);
    REQUIRE_FALSE(f.fs.disk().has_file("/s/a"));
  }
  // What is made again, and what has no such outcome.
  Fixture f;
  f.create("a");
  for (const SimError error : {SimError::kEintr, SimError::kEmfile, SimError::kShort}) {
    f.fs.set_fault({f.fs.calls(), error, true});
    REQUIRE(f.directory->sync() == Status::kOk);
    REQUIRE(f.directory->sync_entry() == Status::kOk);
    f.directory->cut("a", 0);
  }
  REQUIRE(f.directory->unlink("a") == Status::kOk);
  REQUIRE(f.fs.faults_raised() == 0);
}

TEST_CASE("a lock belongs to one Directory at a time and dies with it") {
  Fixture f;
  REQUIRE(f.directory->lock("lock") == Status::kOk);
  std::unique_ptr<Directory> second;
  REQUIRE(f.fs.open_directory("/s", Presence::kMustExist, "lock", &second) == Status::kOk);
  REQUIRE(second->lock("lock") == Status::kLocked);
  f.directory.reset();
  REQUIRE(second->lock("lock") == Status::kOk);
  std::unique_ptr<Directory> inner;
  REQUIRE(f.fs.open_directory("/s/t", Presence::kMayCreate, "lock", &inner) == Status::kPath);
  REQUIRE(f.fs.open_directory("/x/y", Presence::kMayCreate, "lock", &inner) == Status::kPath);
  REQUIRE(f.fs.open_directory("/x", Presence::kMustExist, "lock", &inner) == Status::kPath);
}

TEST_CASE("a kill keeps the page cache and any prefix of the write it met") {
  struct Killer : SimObserver {
    void before(const SimCall& call, const SimDisk& disk) override {
      if (call.op != SimOp::kWrite) return;
      for_each_kill(disk, call, 512, [&](const SimDisk& killed) {
        const std::vector<uint8_t> bytes = killed.read_file("/s/a");
        sizes.insert(bytes.size());
        return true;
      });
    }
    void after(const SimCall&, Status, const SimDisk&) override {}
    std::set<size_t> sizes;
  };
  Fixture f;
  auto file = f.create("a");
  REQUIRE(write(*file, 0, std::string(100, 'x')) == Status::kOk);
  Killer killer;
  f.fs.set_observer(&killer);
  REQUIRE(write(*file, 100, std::string(1000, 'y')) == Status::kOk);
  REQUIRE(killer.sizes == std::set<size_t>{100, 101, 107, 108, 109, 512, 600, 1024, 1099, 1100});
  f.fs.set_observer(nullptr);
  // Dirty pages outlive the process: a power cut after it may still take them.
  SimFileSystem after(f.fs.disk().after_kill());
  REQUIRE(live(after, "/s/a").size() == 1100);
  REQUIRE_FALSE(after.disk().all_durable());
}

TEST_CASE("after its death a process changes nothing") {
  Fixture f;
  auto file = f.create("a");
  const uint64_t hash = f.fs.disk().hash();
  f.fs.kill();
  REQUIRE(write(*file, 0, "1234") == Status::kIo);
  REQUIRE(f.directory->unlink("a") == Status::kIo);
  REQUIRE(file->close() == Status::kIo);
  REQUIRE(f.fs.disk().hash() == hash);
}

TEST_CASE("space set aside reads as zeros and counts against the capacity") {
  Fixture f;
  auto file = f.create("a");
  f.fs.set_capacity(uint64_t{1} << 40);
  REQUIRE(file->allocate(uint64_t{1} << 39) == Status::kOk);
  REQUIRE(file->allocate(uint64_t{1} << 41) == Status::kSpace);
  char byte = 'x';
  size_t got = 0;
  REQUIRE(file->read(1'000'000, &byte, 1, &got) == Status::kOk);
  REQUIRE((got == 1 && byte == 0));
  uint64_t hash = f.fs.disk().hash();
  REQUIRE(write(*file, 0, std::string(1, '\0')) == Status::kOk);
  REQUIRE(f.fs.disk().hash() == hash);
}

TEST_CASE("copies of a disk do not see each other's writes") {
  Fixture f;
  auto file = f.create("a");
  REQUIRE(write(*file, 0, "old") == Status::kOk);
  SimDisk copy = f.fs.disk();
  REQUIRE(write(*file, 0, "new") == Status::kOk);
  REQUIRE(copy.read_file("/s/a") == std::vector<uint8_t>{'o', 'l', 'd'});
  REQUIRE(copy.hash() != f.fs.disk().hash());
}

}  // namespace
}  // namespace dskvs::test
