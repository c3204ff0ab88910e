#include "workloads/core_lookup.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

// The core's directory comes first on this file's include path: its "store.h" is the one found.
#include "environment.h"
#include "fail.h"
#include "memory/reclaimer.h"
#include "options.h"
#include "store.h"
#include "team.h"

namespace bench {
namespace {

using dskvs::Entry;
using dskvs::HashedKey;
using dskvs::ReadSection;
using dskvs::reclaimer::prepare_to_retire;
using dskvs::reclaimer::register_thread;

void expect(dskvs::Status status) {
  if (status != dskvs::Status::kOk) fail("core: {}", dskvs::last_error());
}

HashedKey hashed(std::string_view text) {
  dskvs::Key key;
  expect(dskvs::parse_key(text, &key));
  return HashedKey(key);
}

void fill(dskvs::Store* store, const Keys& keys, size_t value_size) {
  std::vector<char> value(value_size, 'v');
  for (size_t i = 0; i < keys.size(); ++i) {
    HashedKey key = hashed(keys[i]);
    Entry* entry = Entry::make(key.member, value_size);
    if (entry == nullptr) fail("core: out of memory");
    std::copy(value.begin(), value.end(), entry->value());
    ReadSection section;
    expect(store->put(key, entry, std::nullopt));
  }
}

template <typename Op>
double cost(double seconds, size_t size, Op op) {
  uint64_t begin_ns = now_ns();
  uint64_t calls = repeat_for(seconds, size, op);
  return double(now_ns() - begin_ns) / double(calls);
}

}  // namespace

CoreCosts time_core_lookups(const std::string& directory, const Keys& keys, size_t value_size,
                            double seconds) {
  std::unique_ptr<dskvs::Store> store;
  expect(dskvs::Store::open(directory.c_str(), {}, dskvs::real_environment(), &store));
  if (!register_thread()) fail("core: out of memory");
  prepare_to_retire();
  fill(store.get(), keys, value_size);
  expect(store->sync(DSKVS_FOREVER));

  CoreCosts costs;
  std::vector<char> buffer(value_size);
  costs.contains_ns = cost(seconds, keys.size(), [&](size_t i) {
    HashedKey key = hashed(keys[i]);
    ReadSection section;
    if (store->find(key) == nullptr) fail("core: a key is not there");
  });
  costs.get_into_ns = cost(seconds, keys.size(), [&](size_t i) {
    HashedKey key = hashed(keys[i]);
    ReadSection section;
    Entry* entry = store->find(key);
    if (entry == nullptr) fail("core: a key is not there");
    std::memcpy(buffer.data(), entry->value(), entry->value_size());
  });
  costs.get_and_release_ns = cost(seconds, keys.size(), [&](size_t i) {
    HashedKey key = hashed(keys[i]);
    Entry* entry = nullptr;
    {
      ReadSection section;
      entry = store->find(key);
      if (entry == nullptr) fail("core: a key is not there");
      entry->pin();
    }
    entry->unpin();
  });
  expect(store->close());
  return costs;
}

}  // namespace bench
