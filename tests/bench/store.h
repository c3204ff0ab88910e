// What the benchmark asks of a store. Each adapter in stores/ is one store, set up as a user who
// knows it well would, in its fastest mode that persists in the background.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace bench {

// What such a user knows in advance, for the stores that want to be told.
struct StoreConfig {
  std::string directory;  // exists; the store's own
  uint64_t entries;       // most entries that it will hold
  uint64_t value_size;    // bytes of the largest value
  uint64_t data_bytes;    // most bytes of all keys and values together
};

// One thread's access to a store: its transactions, its connection, its buffers. A call that fails
// in a way that the workload does not expect ends the process: a benchmark of errors is none.
class Session {
 public:
  virtual ~Session() = default;

  virtual void put(std::string_view key, std::string_view value) = 0;

  // A copy of the value in a buffer of the session's; a view without data when it is not there.
  virtual std::string_view get_copied(std::string_view key) = 0;

  // Looks at the value where it stands, without copying it: the size, and the first byte, which it
  // adds to `digest`. False when it is not there. Only where Store::kPins.
  virtual bool get_pinned(std::string_view key, uint64_t* digest);

  // False when it was not there.
  virtual bool erase(std::string_view key) = 0;

  // Visits all members of a collection as get_pinned does; returns how many. Only where kScans.
  virtual uint64_t get_all(std::string_view collection, uint64_t* digest);

  // Only where kScans.
  virtual void delete_all(std::string_view collection);
};

// What only a store with statistics of its own knows.
struct Figures {
  uint64_t bytes_written;
  uint64_t memory_bytes;
  uint64_t written_lag_us;
  uint64_t durable_lag_us;
};

class Store {
 public:
  virtual ~Store() = default;  // closes it, in order

  virtual std::unique_ptr<Session> session() = 0;

  // Returns when everything put so far would survive a loss of power.
  virtual void sync() {}

  virtual std::optional<Figures> figures() { return std::nullopt; }

  // A server's process, whose memory and writes count as the store's; 0: none.
  virtual int server_pid() const { return 0; }
};

enum Ability : unsigned {
  kPersists = 1,
  kPins = 2,
  kScans = 4,   // get_all and delete_all
  kRemote = 8,  // another process: millions of calls one by one are no use of it
};

struct StoreKind {
  std::string_view name;
  std::string_view settings;  // for the report: what was set, and why that is fair
  unsigned abilities;
  std::unique_ptr<Store> (*open)(const StoreConfig&);

  bool can(unsigned ability) const { return (abilities & ability) == ability; }
  bool is_dskvs() const { return name.starts_with("dskvs"); }
};

// All stores that this program was built with.
std::span<const StoreKind* const> store_kinds();
const StoreKind* find_store_kind(std::string_view name);

// What a reader of a value that stands in the store does with it.
inline void look_at(const void* value, size_t size, uint64_t* digest) {
  *digest += size + (size > 0 ? *static_cast<const unsigned char*>(value) : 0u);
}

// The collection's keys in an ordered store: from "name/" to before "name0", since '0' is '/' + 1.
struct KeyRange {
  explicit KeyRange(std::string_view collection)
      : first(std::string(collection) + '/'), limit(std::string(collection) + '0') {}
  std::string first;
  std::string limit;
};

}  // namespace bench
