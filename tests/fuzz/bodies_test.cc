// Goal: the fuzzers' bodies hold under any compiler, without a fuzzer.
// Method: each body is run on random bytes, and on every input of its corpus, which fuzzers have
// found to reach something new.
#include <filesystem>
#include <string>
#include <vector>

#include "fuzz/bodies.h"
#include "support/catch.h"
#include "support/read_file.h"
#include "support/seed.h"

using namespace dskvs::test;

namespace {

using Body = bool (*)(const uint8_t*, size_t);

uint64_t run(const char* name, Body body, uint64_t runs) {
  uint64_t opened = 0;
  const uint64_t seed = announce_seed(name);
  for (uint64_t i = 0; i < runs; i++) {
    std::mt19937_64 random(seed + i);
    std::vector<uint8_t> bytes(random() % 600);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    opened += body(bytes.data(), bytes.size());
  }
  std::printf("%s: %llu of %llu opened\n", name, static_cast<unsigned long long>(opened),
              static_cast<unsigned long long>(runs));
  return opened;
}

void replay(const std::string& name, Body body) {
  uint64_t inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(DSKVS_FUZZ_CORPUS "/" + name)) {
    const std::string bytes = read_file(entry.path());
    INFO(entry.path());  // Catch says so when the body aborts
    body(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    inputs++;
  }
  std::printf("fuzz_%s: %llu inputs of the corpus\n", name.c_str(),
              static_cast<unsigned long long>(inputs));
  CHECK(inputs > 10);
}

}  // namespace

TEST_CASE("the corpora, which hold all that fuzzers have found") {
  replay("segment", fuzz_segment);
  replay("directory", fuzz_directory);
  replay("calls", fuzz_calls);
}

TEST_CASE("a segment is read as the format says") {
  const uint64_t runs = rounds("DSKVS_FUZZ_RUNS", 500);
  CHECK(run("fuzz_segment", fuzz_segment, runs) > runs / 2);
}

TEST_CASE("calls chosen by random bytes answer as a map does") {
  run("fuzz_calls", fuzz_calls, rounds("DSKVS_FUZZ_RUNS", 300));
}

TEST_CASE("any directory is opened or refused, and what was opened comes back") {
  const uint64_t runs = rounds("DSKVS_FUZZ_RUNS", 3000);
  const uint64_t opened = run("fuzz_directory", fuzz_directory, runs);
  CHECK(opened > runs / 20);  // or the bytes make nothing but rubbish
  CHECK(opened < runs);
}
