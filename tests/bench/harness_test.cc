// Goal: the benchmark's own instruments tell the truth.
// Method: the histogram against sorted samples, the distributions against their definitions, the
// key space against a set, the results' way through a file against what went in.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "histogram.h"
#include "keys.h"
#include "report.h"
#include "results.h"
#include "support/catch.h"

using namespace bench;

TEST_CASE("a histogram's quantiles are those of the samples, within half a bucket") {
  Random random(1);
  std::vector<uint64_t> samples;
  Histogram histogram;
  for (int i = 0; i < 100'000; ++i) {
    // From nanoseconds to minutes, evenly by magnitude.
    auto sample = uint64_t(std::exp(random.fraction() * std::log(1e11)));
    samples.push_back(sample);
    histogram.add(sample);
  }
  std::ranges::sort(samples);
  for (double share : {0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
    auto exact = double(samples[size_t(std::ceil(share * 100'000)) - 1]);
    CHECK(std::abs(double(histogram.quantile(share)) - exact) <= exact / 256);
  }
  CHECK(histogram.min() == samples.front());
  CHECK(histogram.max() == samples.back());
}

TEST_CASE("small values are exact, the largest are counted, none is lost in a sum") {
  Histogram a, b;
  for (uint64_t i = 1; i <= 255; ++i) a.add(i);
  CHECK(a.quantile(0.5) == 128);
  CHECK(a.average() == 128.0);
  b.add(UINT64_MAX);
  a.add(b);
  CHECK(a.count() == 256);
  CHECK(a.max() == UINT64_MAX);
  CHECK(a.quantile(1) >= UINT64_MAX - UINT64_MAX / 256);
  CHECK(Histogram().quantile(0.5) == 0);

  double last_share = 0;
  uint64_t last_value = 0;
  a.for_each([&](uint64_t value, double share) {
    CHECK(value > last_value);
    CHECK(share > last_share);
    last_value = value;
    last_share = share;
  });
  CHECK(last_share == 1.0);
}

TEST_CASE("keys are distinct, 16 bytes, and fall evenly into their collections") {
  Keys keys(in_order(0, 100'000), 1000);
  std::set<std::string_view> distinct;
  std::map<std::string_view, int> collections;
  for (size_t i = 0; i < keys.size(); ++i) {
    REQUIRE(keys[i].size() == kKeySize);
    REQUIRE(std::ranges::count(keys[i], '/') == 1);
    distinct.insert(keys[i]);
    ++collections[keys[i].substr(0, keys[i].find('/'))];
  }
  CHECK(distinct.size() == 100'000);
  CHECK(collections.size() == 1000);
  CHECK(std::ranges::all_of(collections, [](const auto& c) { return c.second == 100; }));
  CHECK(collections.contains(collection_name(999)));
}

TEST_CASE("shuffling keeps every index") {
  Random random(2);
  Indices indices = shuffled(in_order(10, 1000), &random);
  CHECK(indices != in_order(10, 1000));
  std::ranges::sort(indices);
  CHECK(indices == in_order(10, 1000));
}

TEST_CASE("zipf draws each rank as often as its law says") {
  constexpr uint64_t kEntries = 1000, kDraws = 1'000'000;
  Random random(3);
  std::vector<double> drawn(kEntries);
  for (uint32_t index : Zipf(kEntries, 0.99).draw(kDraws, &random)) ++drawn.at(index);
  double weights = 0;
  for (uint64_t rank = 1; rank <= kEntries; ++rank) weights += std::pow(double(rank), -0.99);
  for (uint64_t rank : {1u, 2u, 10u, 100u, 1000u}) {
    double expected = double(kDraws) * std::pow(double(rank), -0.99) / weights;
    // Six standard deviations: a right generator fails once in a billion seeds.
    CHECK(std::abs(drawn[rank - 1] - expected) < 6 * std::sqrt(expected));
  }
}

TEST_CASE("results come through their file as they were") {
  char directory[] = "/tmp/dskvs-bench-test-XXXXXX";
  REQUIRE(mkdtemp(directory) != nullptr);
  std::string path = std::string(directory) + "/result";
  Results results;
  results.figure("put.rate", 1234567.25);
  results.figure("get/2.rate", 3);
  results.point("lag_us", 0.5, 17);
  results.point("lag_us", 1.5, 19);
  results.save(path);
  Results loaded;
  loaded.load(path);
  CHECK(loaded.figures() == results.figures());
  CHECK(loaded.series() == results.series());
  std::filesystem::remove_all(directory);
}

TEST_CASE("the median is the middle one, or the mean of the two") {
  CHECK(median({3, 1, 2}) == 2);
  CHECK(median({4, 1, 2, 3}) == 2.5);
}
