// dskvs bench: what a store costs on this machine, beside plain files with the same content.
#include "command.h"
#include "descriptor.h"
#include "failure.h"
#include "formatted.h"
#include "latencies.h"
#include "number_option.h"
#include "output.h"
#include "store.h"
#include "temporary_directory.h"
#include "tree.h"

#include <fcntl.h>
#include <algorithm>
#include <cstdlib>
#include <random>
#include <thread>

namespace dskvs::cli {
namespace {

using Clock = Latencies::Clock;

constexpr uint64_t kSampleBytesMax = 1 << 30;
constexpr size_t kIsolatedWrites = 30;
// Longer than the default sync_interval_ms, within which a sync would not be hurried.
constexpr std::chrono::milliseconds kQuietTime{120};
constexpr size_t kPutsPerLagSample = 256;

struct Sample {
  std::string key;
  std::string value;
  std::string file;  // where its plain file goes
};

class CollectSamples : public TreeVisitor {
 public:
  void file(int directory, const std::string& name, const std::string& path,
            const struct stat& status) override {
    const auto size = static_cast<uint64_t>(status.st_size);
    std::string key = "files/" + path;
    if (bytes_ + size > kSampleBytesMax || key.size() > DSKVS_KEY_SIZE_MAX) return;
    struct stat now;
    std::string content;
    if (!read_file_at(directory, name, &content, &now).empty()) return;
    bytes_ += content.size();
    samples_.push_back({std::move(key), content, ""});
  }
  void skipped(const std::string&, std::string_view) override {}
  void failed(const std::string&, std::string_view) override {}

  std::vector<Sample> take() { return std::move(samples_); }

 private:
  std::vector<Sample> samples_;
  uint64_t bytes_ = 0;
};

std::vector<Sample> made_up_samples() {
  constexpr size_t kSamples = 10000;
  constexpr size_t kValueBytes = 1000;
  std::mt19937_64 random(1);
  std::vector<Sample> samples(kSamples);
  for (size_t i = 0; i < kSamples; ++i) {
    samples[i].key = formatted("bench/{:08}", i);
    samples[i].value.resize(kValueBytes);
    for (char& c : samples[i].value) c = static_cast<char>(random());
  }
  return samples;
}

std::vector<Sample> samples_of(const Arguments& arguments) {
  const auto directory = arguments.value("files");
  if (!directory) return made_up_samples();
  CollectSamples collect;
  walk_tree(open_top_directory(*directory), nullptr, &collect);
  std::vector<Sample> samples = collect.take();
  if (samples.empty()) fail_usage(shell_quoted(*directory) + " holds no file that can be read");
  return samples;
}

std::string parent_directory(const Arguments& arguments) {
  if (const auto at = arguments.value("at")) return *at;
  const char* const tmpdir = std::getenv("TMPDIR");
  return tmpdir != nullptr && *tmpdir != '\0' ? tmpdir : "/tmp";
}

class Bench {
 public:
  Bench(std::vector<Sample> samples, double seconds, const std::string& directory)
      : samples_(std::move(samples)),
        seconds_(seconds),
        store_(Store::open_to_write((directory + "/store").c_str(), Create::kMustBeNew)) {
    // In an order that neither memory nor the file system knows.
    std::shuffle(samples_.begin(), samples_.end(), std::mt19937_64(2));
    for (size_t i = 0; i < samples_.size(); ++i) {
      samples_[i].file = formatted("{}/{}", directory, i);
      bytes_ += samples_[i].value.size();
      value_bytes_max_ = std::max(value_bytes_max_, samples_[i].value.size());
    }
  }

  void run() {
    measure_puts();
    measure_gets();
    measure_files();
    measure_isolated_writes();
    store_.close();
  }

  std::string table() {
    std::string text = formatted("{} values, {}, one thread\n{}", samples_.size(),
                                 bytes_text(static_cast<double>(bytes_)), Latencies::header());
    for (Latencies& latencies : results_) text += latencies.line();
    return text;
  }

  std::string json() {
    std::string text = formatted("{{\"values\": {}, \"value_bytes\": {}", samples_.size(), bytes_);
    for (Latencies& latencies : results_) text += ", " + latencies.json();
    return text + "}\n";
  }

 private:
  // Every sample in turn, again and again until the time is up; each at least once.
  template <typename Operation>
  void for_a_while(const Operation& operation) {
    const Clock::time_point end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                     std::chrono::duration<double>(seconds_));
    for (bool first = true; first || Clock::now() < end; first = false) {
      for (size_t i = 0; i < samples_.size() && (first || Clock::now() < end); ++i) {
        operation(samples_[i]);
      }
    }
  }

  void measure_puts() {
    Latencies puts("put", "dskvs put");
    Latencies written_lag("put_written_lag", "  written lag under these puts");
    Latencies durable_lag("put_durable_lag", "  durable lag under these puts");
    size_t count = 0;
    for_a_while([&](const Sample& sample) {
      puts.time([&] { store_.put(sample.key, sample.value); });
      if (++count % kPutsPerLagSample != 0) return;
      const dskvs_stats_t stats = store_.stats();
      written_lag.add_us(stats.written_lag_us);
      durable_lag.add_us(stats.durable_lag_us);
    });
    store_.sync();
    results_.insert(results_.end(), {puts, written_lag, durable_lag});
  }

  void measure_gets() {
    Latencies gets("get", "dskvs get (no copy)");
    for_a_while([&](const Sample& sample) {
      const void* value = nullptr;
      size_t size = 0;
      gets.time([&] {
        expect_ok(dskvs_get(store_.handle(), sample.key.data(), sample.key.size(), &value, &size));
        dskvs_release(value);
      });
    });
    Latencies copies("get_into", "dskvs get_into (copies)");
    std::string buffer(value_bytes_max_ + 1, '\0');
    for_a_while([&](const Sample& sample) {
      size_t size = 0;
      copies.time([&] {
        expect_ok(dskvs_get_into(store_.handle(), sample.key.data(), sample.key.size(),
                                 buffer.data(), buffer.size(), &size));
      });
    });
    results_.insert(results_.end(), {gets, copies});
  }

  void measure_files() {
    Latencies writes("file_write", "file: open, write, close");
    for_a_while([&](const Sample& sample) { writes.time([&] { write_file(sample, false); }); });
    Latencies reads("file_read", "file: open, read, close");
    std::string buffer(value_bytes_max_ + 1, '\0');
    for_a_while([&](const Sample& sample) { reads.time([&] { read_file(sample, &buffer); }); });
    results_.insert(results_.end(), {writes, reads});
  }

  // A write after a quiet time, and how long until the disk has it.
  void measure_isolated_writes() {
    Latencies written("isolated_written_lag", "one put until written");
    Latencies durable("isolated_durable_lag", "one put until durable");
    Latencies synced("file_write_sync", "file: open, write, fsync, close");
    for (size_t i = 0; i < kIsolatedWrites; ++i) {
      const Sample& sample = samples_[i % samples_.size()];
      std::this_thread::sleep_for(kQuietTime);
      const Clock::time_point start = Clock::now();
      store_.put(sample.key, sample.value);
      uint64_t mark = 0;
      expect_ok(dskvs_mark(store_.handle(), &mark));
      expect_ok(dskvs_wait(store_.handle(), mark, DSKVS_WRITTEN, DSKVS_FOREVER));
      written.add(Clock::now() - start);
      expect_ok(dskvs_wait(store_.handle(), mark, DSKVS_DURABLE, DSKVS_FOREVER));
      durable.add(Clock::now() - start);
      synced.time([&] { write_file(sample, true); });
    }
    results_.insert(results_.end(), {written, durable, synced});
  }

  static void write_file(const Sample& sample, bool sync) {
    Descriptor file(::open(sample.file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file || !write_all(file.fd(), sample.value) || (sync && ::fsync(file.fd()) != 0) ||
        !file.close()) {
      fail_system(sample.file);
    }
  }

  static void read_file(const Sample& sample, std::string* buffer) {
    const Descriptor file(::open(sample.file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) fail_system(sample.file);
    size_t filled = 0;
    ssize_t got = 1;
    while (filled < sample.value.size() && got > 0) {
      got = ::read(file.fd(), buffer->data() + filled, buffer->size() - filled);
      if (got > 0) filled += static_cast<size_t>(got);
    }
    if (filled != sample.value.size()) fail_system(sample.file);
  }

  std::vector<Sample> samples_;
  double seconds_;
  Store store_;
  uint64_t bytes_ = 0;
  size_t value_bytes_max_ = 0;
  std::vector<Latencies> results_;
};

constexpr Option kBenchOptions[] = {
    {0, "files", "DIR", "take the files below DIR as values, up to 1 GiB; default: 10,000 of 1 kB"},
    {0, "at", "DIR", "put the temporary store and files there; default: $TMPDIR, or /tmp"},
    {0, "seconds", "N", "time for each of the five loops; default 1"},
    {0, "json", "", "print a JSON object"},
};

int run_bench(const Arguments& arguments) {
  const double seconds = number_option(arguments, "seconds", 1.0, 3600.0);
  std::vector<Sample> samples = samples_of(arguments);
  const TemporaryDirectory directory(parent_directory(arguments));
  Bench bench(std::move(samples), seconds, directory.path());
  bench.run();
  Output output;
  output.write(arguments.has("json") ? bench.json() : bench.table());
  output.finish();
  return kExitOk;
}

}  // namespace

const Command kBenchCommand = {
    "bench",
    "",
    "measure a temporary store beside plain files",
    "Puts and gets values one by one, waits until single puts are written and durable, and does\n"
    "the same with a plain file for each value. Prints the times that half, 99 % and 99.9 % of\n"
    "the operations did not exceed.\n",
    kBenchOptions,
    0,
    0,
    run_bench,
};

}  // namespace dskvs::cli
