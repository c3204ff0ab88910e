// Goal: when the power goes, a real file system gives back one state that existed, and nothing that
// was reported durable is missing.
// Method: an ext4 file system in a file, mounted through a loop device; a child writes into a store
// on it from several threads; at a random moment the file system is shut down without flushing its
// journal (EXT4_IOC_SHUTDOWN), which drops all that was not synced; the child goes on for a while,
// against a disk that fails, and is killed; the file system is mounted again and the store judged.
// What a disk's own volatile cache would lose is beyond this method: the simulation has that.
// Needs root and a loop device; without them it says so, and CTest reports it as skipped.
// DSKVS_POWER_CUTS: how many.
#include <fcntl.h>
#include <linux/loop.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>

#include "crash/writer_process.h"
#include "support/catch.h"
#include "support/seed.h"
#include "support/temp_dir.h"

namespace dskvs::test {
namespace {

constexpr unsigned long kExt4Shutdown = _IOR('X', 125, uint32_t);
constexpr uint32_t kWithoutFlushingTheLog = 2;

// An ext4 file system whose power can be cut.
class Disk {
 public:
  // Why there is none; "" when it works.
  std::string make() {
    if (::geteuid() != 0) return "needs root";
    image_ = directory_ / "image";
    mount_point_ = directory_ / "mount";
    ::mkdir(mount_point_.c_str(), 0700);
    const int image = ::open(image_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (image < 0 || ::ftruncate(image, 64 << 20) != 0) return "no image file";
    const int control = ::open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    const int number = control < 0 ? -1 : ::ioctl(control, LOOP_CTL_GET_FREE);
    if (control >= 0) ::close(control);
    if (number < 0) return "no loop device";
    device_ = "/dev/loop" + std::to_string(number);
    loop_ = ::open(device_.c_str(), O_RDWR | O_CLOEXEC);
    const bool bound = loop_ >= 0 && ::ioctl(loop_, LOOP_SET_FD, image) == 0;
    ::close(image);
    if (!bound) return "no loop device";
    bound_ = true;
    const std::string mkfs = "mkfs.ext4 -q -F -b 4096 -J size=4 " + device_ + " 2>/dev/null";
    if (std::system(mkfs.c_str()) != 0) return "no mkfs.ext4";
    return mount() ? "" : "cannot mount";
  }

  ~Disk() {
    if (mounted_) ::umount2(mount_point_.c_str(), MNT_DETACH);
    if (bound_) ::ioctl(loop_, LOOP_CLR_FD);
    if (loop_ >= 0) ::close(loop_);
  }

  const std::string& mount_point() const { return mount_point_; }

  bool mount() {
    mounted_ = ::mount(device_.c_str(), mount_point_.c_str(), "ext4", 0, nullptr) == 0;
    return mounted_;
  }

  bool cut_power() {
    const int root = ::open(mount_point_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    uint32_t flag = kWithoutFlushingTheLog;
    const bool cut = root >= 0 && ::ioctl(root, kExt4Shutdown, &flag) == 0;
    if (root >= 0) ::close(root);
    return cut;
  }

  bool restore_power() {
    if (::umount(mount_point_.c_str()) != 0) return false;
    mounted_ = false;
    return mount();
  }

 private:
  TempDir directory_;
  std::string image_;
  std::string mount_point_;
  std::string device_;
  int loop_ = -1;
  bool bound_ = false;
  bool mounted_ = false;
};

TEST_CASE("a power cut loses nothing that was reported durable") {
  const uint64_t seed = announce_seed("power_cut_test");
  const uint64_t cuts = rounds("DSKVS_POWER_CUTS", 500);
  constexpr uint64_t kCutsPerStore = 25;
  Disk disk;
  const std::string obstacle = disk.make();
  if (!obstacle.empty()) {
    std::printf("skipped: %s (%s)\n", obstacle.c_str(), std::strerror(errno));
    return;
  }
  std::mt19937_64 random(seed);
  SharedWriterLog log;
  uint64_t operations = 0, durable = 0;
  std::string path;
  Contents base;
  for (uint64_t generation = 0; generation < cuts; ++generation) {
    INFO("seed " << seed << ", generation " << generation);
    if (generation % kCutsPerStore == 0) {
      // Each store has a name of its own: the next cut may undo the removal of the one before.
      if (!path.empty()) std::filesystem::remove_all(path);
      path = disk.mount_point() + "/store" + std::to_string(generation);
      base.clear();
    }
    log->clear();
    const WriterPlan plan{seed, generation, path};
    const int pid = spawn_writer(plan, *log, true);
    ::usleep(static_cast<useconds_t>(random() % 40'000));
    // What counts is what was durable before the cut: the kernel lets a sync that runs beside the
    // shutdown return success over what it loses, for any program.
    uint64_t durable_before[WriterLog::kThreads];
    for (uint64_t i = 0; i < WriterLog::kThreads; ++i) durable_before[i] = log->threads[i].durable;
    const uint64_t durable_epoch_before = log->durable_epoch;
    REQUIRE(disk.cut_power());
    ::usleep(static_cast<useconds_t>(random() % 3'000));
    ::kill(pid, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    REQUIRE(disk.restore_power());
    for (uint64_t i = 0; i < WriterLog::kThreads; ++i) log->threads[i].durable = durable_before[i];
    log->durable_epoch = durable_epoch_before;
    for (const ThreadLog& thread : log->threads) {
      operations += thread.returned;
      durable += thread.durable;
    }
    uint64_t recovered_epoch = 0;
    Contents recovered;
    if (std::filesystem::exists(path)) {
      dskvs_t store = 0;
      const int32_t opened = dskvs_open(path.c_str(), nullptr, &store);
      INFO(dskvs_last_error());
      REQUIRE(opened == DSKVS_OK);
      dskvs_stats_t stats = DSKVS_STATS_INIT;
      REQUIRE(dskvs_stats(store, &stats) == DSKVS_OK);
      recovered_epoch = stats.recovered_epoch;
      recovered = read_contents(store);
      REQUIRE(dskvs_close(store) == DSKVS_OK);
    }
    const std::string verdict = judge(plan, *log, true, base, recovered, recovered_epoch);
    REQUIRE(verdict == "");
    base = std::move(recovered);
  }
  std::printf("%llu power cuts; %llu operations, %llu reported durable; 0 violations\n",
              static_cast<unsigned long long>(cuts), static_cast<unsigned long long>(operations),
              static_cast<unsigned long long>(durable));
  // Few and slow processes, as under sanitizers, may all end before anything is durable.
  if (cuts >= 500) CHECK(durable > 0);
}

}  // namespace
}  // namespace dskvs::test
