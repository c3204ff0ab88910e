#include "fuzz/fuzz_world.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "handles.h"
#include "world.h"

namespace dskvs {
namespace {

test::FuzzWorld* the_world = nullptr;

}  // namespace

Environment world() noexcept { return the_world->environment(); }

namespace test {
namespace {

constexpr uint64_t kStepUs = 1000;

void write_file(const std::string& path, const std::vector<std::byte>& bytes) {
  FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) std::abort();
  std::fwrite(bytes.data(), 1, bytes.size(), file);
  std::fclose(file);
}

}  // namespace

FuzzWorld::FuzzWorld(bool real) {
  if (real) {
    real_.emplace(TempDir::fast_base());
  } else {
    simulated_.emplace();
  }
  the_world = this;
}

FuzzWorld::~FuzzWorld() {
  reclaimer::reclaim_all();  // or libFuzzer takes what waits to be freed for a leak
  the_world = nullptr;
}

std::string FuzzWorld::path(const std::string& name) const {
  return real_ ? *real_ / name : "/" + name;
}

void FuzzWorld::make_directory(const std::string& name, const Files& files) {
  const std::string directory = path(name);
  if (real_) {
    std::filesystem::create_directory(directory);
    for (const auto& [file, bytes] : files) write_file(directory + "/" + file, bytes);
    return;
  }
  SimDisk disk;
  disk.make_directory(directory);
  for (const auto& [file, bytes] : files) {
    const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
    disk.plant_file(directory + "/" + file, std::vector<uint8_t>(data, data + bytes.size()));
  }
  simulated_.emplace(std::move(disk));
}

void FuzzWorld::step(dskvs_t handle, bool hurry) {
  if (real_) return;
  clock_.pass(kStepUs);
  Store* store = nullptr;
  {
    const ReadSection section;
    if (look_up(handle, &store) != Status::kOk) std::abort();
  }
  store->step(hurry);  // it stays: nobody else could close it
}

Environment FuzzWorld::environment() noexcept {
  if (real_) return real_environment();
  return {*simulated_, clock_, fixed_random, true, kSmallLog};
}

}  // namespace test
}  // namespace dskvs
