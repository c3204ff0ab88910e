#include "crash/writer_process.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace dskvs::test {
namespace {

constexpr uint64_t kMembers = 16;

enum class Kind { kPut, kDelete, kDeleteAll, kSync, kCompact };

struct Operation {
  Kind kind;
  std::string collection;
  std::string key;
  uint64_t value_seed;
  size_t value_size;
};

uint64_t mix(uint64_t a, uint64_t b) {
  const uint64_t words[2] = {a, b};
  return XXH3_64bits(words, sizeof words);
}

size_t value_size_of(uint64_t random) {
  constexpr size_t kSizes[] = {0, 1, 100, 511, 513, 1500, 4096, 4097, 9000, 40'000};
  constexpr size_t kMost = sizeof kSizes / sizeof *kSizes;
  // The large ones seldom.
  return kSizes[random % 8 == 0 ? random / 8 % kMost : random / 8 % 6];
}

Operation operation_at(const WriterPlan& plan, uint64_t thread, uint64_t index) {
  const uint64_t random = mix(mix(plan.seed, plan.generation), mix(thread, index));
  Operation operation;
  operation.value_seed = random;
  operation.value_size = value_size_of(random >> 32);
  operation.collection = fmt::format("t{}{}", thread, random % 3 == 0 ? "b" : "a");
  operation.key = fmt::format("{}/m{}", operation.collection, (random >> 8) % kMembers);
  const uint64_t dice = (random >> 16) % 1000;
  operation.kind = dice < 780   ? Kind::kPut
                   : dice < 970 ? Kind::kDelete
                   : dice < 990 ? Kind::kDeleteAll
                   : dice < 998 ? Kind::kSync
                                : Kind::kCompact;
  return operation;
}

void fill_value(const Operation& operation, std::vector<char>* value) {
  value->resize(operation.value_size);
  uint64_t word = operation.value_seed;
  for (size_t at = 0; at < value->size(); at += sizeof word) {
    word = word * 6364136223846793005u + 1442695040888963407u;
    std::memcpy(value->data() + at, &word, std::min(sizeof word, value->size() - at));
  }
}

uint64_t hash_value(const void* value, size_t size) { return XXH3_64bits(value, size); }

int32_t perform(dskvs_t store, const Operation& operation, std::vector<char>* value) {
  const std::string& key = operation.key;
  const std::string& collection = operation.collection;
  switch (operation.kind) {
    case Kind::kPut:
      fill_value(operation, value);
      return dskvs_put(store, key.data(), key.size(), value->data(), value->size());
    case Kind::kDelete:
      return dskvs_delete(store, key.data(), key.size());
    case Kind::kDeleteAll:
      return dskvs_delete_all(store, collection.data(), collection.size(), nullptr);
    case Kind::kSync:
      return dskvs_sync(store, DSKVS_FOREVER);
    case Kind::kCompact:
      return dskvs_compact(store);
  }
  return DSKVS_ERR_INTERNAL;
}

void apply(const Operation& operation, Contents* contents, std::vector<char>* value) {
  if (operation.kind == Kind::kPut) {
    fill_value(operation, value);
    (*contents)[operation.key] = hash_value(value->data(), value->size());
  } else if (operation.kind == Kind::kDelete) {
    contents->erase(operation.key);
  } else if (operation.kind == Kind::kDeleteAll) {
    const std::string prefix = operation.collection + "/";
    std::erase_if(*contents, [&](const auto& entry) { return entry.first.starts_with(prefix); });
  }
}

class Writer {
 public:
  Writer(const WriterPlan& plan, WriterLog& log, bool tolerant)
      : plan_(plan), log_(log), tolerant_(tolerant) {}

  int run() {
    dskvs_options options = DSKVS_OPTIONS_INIT;
    constexpr uint64_t kIntervals_ms[] = {0, 1, 5, 100};
    options.sync_interval_ms = kIntervals_ms[mix(plan_.seed, plan_.generation) % 4];
    if (dskvs_open(plan_.path.c_str(), &options, &store_) != DSKVS_OK) return failed("open");
    log_.opened = 1;
    std::vector<std::thread> threads;
    for (uint64_t i = 0; i < WriterLog::kThreads; ++i) {
      threads.emplace_back([this, i] { write(i); });
    }
    std::thread acknowledger([this] { acknowledge(); });
    for (std::thread& thread : threads) thread.join();
    done_ = true;
    acknowledger.join();
    if (dskvs_close(store_) != DSKVS_OK) return failed("close");
    log_.closed = 1;
    return log_.failures == 0 || tolerant_ ? 0 : 1;
  }

 private:
  int failed(const char* call) {
    ++log_.failures;
    if (!tolerant_) std::fprintf(stderr, "%s: %s\n", call, dskvs_last_error());
    return tolerant_ ? 0 : 1;
  }

  void write(uint64_t number) {
    ThreadLog& log = log_.threads[number];
    std::vector<char> value;
    for (uint64_t i = 0; i < ThreadLog::kOperationsMax; ++i) {
      const Operation operation = operation_at(plan_, number, i);
      log.begun_at[i] = ++log_.clock;
      log.begun = i + 1;
      const int32_t status = perform(store_, operation, &value);
      if (status < 0) {
        failed("operation");
        // A failed sync or compact changed nothing; a failed write is the last of this thread,
        // since what comes after is only told apart from it by its epoch.
        if (operation.kind != Kind::kSync && operation.kind != Kind::kCompact) return;
      }
      log.returned_at[i] = ++log_.clock;
      log.returned = i + 1;
    }
  }

  // Asks for one mark after another, and notes how far each thread was when it is reached.
  void acknowledge() {
    for (bool durable = false; !done_; durable = !durable) {
      uint64_t returned[WriterLog::kThreads];
      for (uint64_t i = 0; i < WriterLog::kThreads; ++i) returned[i] = log_.threads[i].returned;
      uint64_t mark = 0;
      if (dskvs_mark(store_, &mark) != DSKVS_OK) return;
      const int32_t level = durable ? DSKVS_DURABLE : DSKVS_WRITTEN;
      const int32_t status = dskvs_wait(store_, mark, level, 20);
      if (status < 0) failed("wait");
      if (status != DSKVS_OK) continue;
      for (uint64_t i = 0; i < WriterLog::kThreads; ++i) {
        (durable ? log_.threads[i].durable : log_.threads[i].written) = returned[i];
      }
      (durable ? log_.durable_epoch : log_.written_epoch) = mark;
    }
  }

  const WriterPlan& plan_;
  WriterLog& log_;
  const bool tolerant_;
  dskvs_t store_ = 0;
  std::atomic<bool> done_ = false;
};

// The prefixes of one thread's sequence, as a first and a last length, that leave `recovered`.
struct Prefix {
  bool found = false;
  uint64_t first = 0;
  uint64_t last = 0;
};

uint64_t entry_hash(const std::string& key, uint64_t value_hash) {
  return mix(XXH3_64bits(key.data(), key.size()), value_hash);
}

uint64_t contents_hash(const Contents& contents) {
  uint64_t sum = 0;
  for (const auto& [key, hash] : contents) sum += entry_hash(key, hash);
  return sum;
}

Contents of_thread(const Contents& contents, uint64_t thread) {
  const std::string prefix = fmt::format("t{}", thread);
  Contents part;
  for (const auto& entry : contents) {
    if (entry.first.starts_with(prefix)) part.insert(entry);
  }
  return part;
}

// Looks for prefixes of `least` to `most` operations.
Prefix find_prefix(const WriterPlan& plan, uint64_t thread, uint64_t least, uint64_t most,
                   Contents state, const Contents& recovered) {
  const uint64_t wanted = contents_hash(recovered);
  std::vector<char> value;
  Prefix prefix;
  for (uint64_t length = 0; length <= most; ++length) {
    if (length > 0) apply(operation_at(plan, thread, length - 1), &state, &value);
    if (length < least || contents_hash(state) != wanted || state != recovered) continue;
    if (!prefix.found) prefix.first = length;
    prefix.found = true;
    prefix.last = length;
  }
  return prefix;
}

std::string judge_order(const WriterLog& log, const Prefix (&prefixes)[WriterLog::kThreads]) {
  for (uint64_t lost = 0; lost < WriterLog::kThreads; ++lost) {
    const uint64_t first_lost = prefixes[lost].last;
    if (first_lost >= ThreadLog::kOperationsMax) continue;
    const uint64_t lost_at = log.threads[lost].returned_at[first_lost];
    if (lost_at == 0) continue;
    for (uint64_t kept = 0; kept < WriterLog::kThreads; ++kept) {
      if (kept == lost || prefixes[kept].first == 0) continue;
      const uint64_t last_kept = prefixes[kept].first - 1;
      if (log.threads[kept].begun_at[last_kept] > lost_at) {
        return fmt::format(
            "thread {} kept operation {}, begun after thread {}'s {} had returned, "
            "which is lost",
            kept, last_kept, lost, first_lost);
      }
    }
  }
  return "";
}

}  // namespace

Contents read_contents(dskvs_t store) {
  auto must = [](int32_t status) {
    if (status == DSKVS_OK) return;
    std::fprintf(stderr, "reading the store: %s\n", dskvs_last_error());
    std::abort();
  };
  Contents contents;
  dskvs_list* collections = nullptr;
  must(dskvs_collections(store, &collections));
  const char* name = nullptr;
  size_t name_size = 0;
  const void* ignored = nullptr;
  size_t ignored_size = 0;
  while (dskvs_list_next(collections, &name, &name_size, &ignored, &ignored_size) == DSKVS_OK) {
    dskvs_list* members = nullptr;
    must(dskvs_get_all(store, name, name_size, &members));
    const char* member = nullptr;
    size_t member_size = 0;
    const void* value = nullptr;
    size_t value_size = 0;
    while (dskvs_list_next(members, &member, &member_size, &value, &value_size) == DSKVS_OK) {
      contents[std::string(name, name_size) + "/" + std::string(member, member_size)] =
          hash_value(value, value_size);
    }
    dskvs_list_free(members);
  }
  dskvs_list_free(collections);
  return contents;
}

void WriterLog::clear() {
  for (auto* counter : {&clock, &opened, &closed, &failures, &written_epoch, &durable_epoch}) {
    *counter = 0;
  }
  for (ThreadLog& thread : threads) {
    const uint64_t used = thread.begun;
    for (uint64_t i = 0; i < used; ++i) thread.begun_at[i] = thread.returned_at[i] = 0;
    for (auto* counter : {&thread.begun, &thread.returned, &thread.written, &thread.durable}) {
      *counter = 0;
    }
  }
}

SharedWriterLog::SharedWriterLog() {
  void* memory =
      ::mmap(nullptr, sizeof(WriterLog), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("mmap");
    std::abort();
  }
  log_ = new (memory) WriterLog;
}

SharedWriterLog::~SharedWriterLog() { ::munmap(log_, sizeof(WriterLog)); }

int spawn_writer(const WriterPlan& plan, WriterLog& log, bool tolerant) {
  std::fflush(nullptr);
  const int pid = ::fork();
  if (pid != 0) return pid;
  ::_exit(Writer(plan, log, tolerant).run());
}

std::string judge(const WriterPlan& plan, const WriterLog& log, bool power_lost,
                  const Contents& base, const Contents& recovered, uint64_t recovered_epoch) {
  Prefix prefixes[WriterLog::kThreads];
  size_t entries = 0;
  for (uint64_t i = 0; i < WriterLog::kThreads; ++i) {
    const ThreadLog& thread = log.threads[i];
    const uint64_t durable = thread.durable, written = thread.written;
    uint64_t least = power_lost ? durable : std::max(durable, written);
    if (log.closed) least = thread.returned;
    const Contents part = of_thread(recovered, i);
    entries += part.size();
    prefixes[i] = find_prefix(plan, i, least, thread.begun, of_thread(base, i), part);
    if (!prefixes[i].found) {
      return fmt::format("thread {}: {} entries are no prefix of {} to {} operations", i,
                         part.size(), least, thread.begun.load());
    }
  }
  if (entries != recovered.size()) return "keys that nobody put";
  const uint64_t least_epoch = power_lost
                                   ? log.durable_epoch.load()
                                   : std::max(log.durable_epoch.load(), log.written_epoch.load());
  if (recovered_epoch < least_epoch) {
    return fmt::format("epoch {} came back, {} was reported", recovered_epoch, least_epoch);
  }
  return judge_order(log, prefixes);
}

}  // namespace dskvs::test
