#include "machine.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "fail.h"

namespace bench {
namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;

std::string proc_path(int pid, const char* file) {
  return pid == 0 ? fmt::format("/proc/self/{}", file) : fmt::format("/proc/{}/{}", pid, file);
}

// The rest of the first line that begins with `name`; "" when there is none.
std::string field(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name)) return line.substr(line.find_first_not_of(": \t", name.size()));
  }
  return "";
}

// Files come and go while a store works: what has gone meanwhile is passed over.
template <typename Visit>
void for_each_file(const std::string& directory, Visit visit) {
  std::error_code gone;
  std::filesystem::recursive_directory_iterator walk(directory, gone), end;
  while (!gone && walk != end) {
    visit(walk->path().c_str());
    walk.increment(gone);
  }
}

uint64_t memory_bytes() {
  return uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGESIZE));
}

}  // namespace

uint64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * kSecondNs + uint64_t(now.tv_nsec);
}

void sleep_until_ns(uint64_t deadline_ns) {
  timespec deadline{time_t(deadline_ns / kSecondNs), long(deadline_ns % kSecondNs)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nullptr) == EINTR) {
  }
}

void wake_precisely() { prctl(PR_SET_TIMERSLACK, 1UL); }

uint64_t resident_bytes(int pid) {
  std::ifstream file(proc_path(pid, "statm"));
  uint64_t total_pages = 0, resident_pages = 0;
  if (!(file >> total_pages >> resident_pages)) fail("cannot read statm of process {}", pid);
  return resident_pages * uint64_t(sysconf(_SC_PAGESIZE));
}

uint64_t bytes_sent_to_disk(int pid) {
  std::string bytes = field(proc_path(pid, "io"), "write_bytes");
  if (bytes.empty()) fail("cannot read the io statistics of process {}", pid);
  return std::stoull(bytes);
}

uint64_t disk_bytes(const std::string& directory) {
  uint64_t bytes = 0;
  for_each_file(directory, [&](const char* path) {
    struct stat status;
    if (lstat(path, &status) == 0) bytes += uint64_t(status.st_blocks) * 512;
  });
  return bytes;
}

uint64_t read_files(const std::string& directory) {
  std::vector<char> buffer(size_t{1} << 20);
  uint64_t bytes = 0;
  for_each_file(directory, [&](const char* path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0) return;
    ssize_t got = 0;
    while ((got = read(fd, buffer.data(), buffer.size())) > 0) bytes += uint64_t(got);
    close(fd);
  });
  return bytes;
}

void forget_cached(const std::string& directory) {
  ::sync();
  for_each_file(directory, [](const char* path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0) return;
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
  });
  std::ofstream("/proc/sys/vm/drop_caches") << "3" << std::flush;  // fails quietly unless root
}

void warm_free_memory(uint64_t bytes) {
  constexpr size_t kHugePageBytes = size_t{2} << 20;
  size_t size = std::min<uint64_t>(bytes, memory_bytes() / 4) / kHugePageBytes * kHugePageBytes;
  if (size == 0) return;
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return;
  madvise(memory, size, MADV_HUGEPAGE);
  std::memset(memory, 1, size);
  munmap(memory, size);
}

std::string describe_machine() {
  utsname name;
  uname(&name);
  const std::string release = name.release;
  return fmt::format("{} x {}, {:.0f} GiB, Linux {}, compiler {}",
                     std::thread::hardware_concurrency(), field("/proc/cpuinfo", "model name"),
                     double(memory_bytes()) / double(1u << 30),
                     release.substr(0, release.find('-')), __VERSION__);
}

}  // namespace bench
