// What tests of interleavings of a few calls stand on.
#pragma once

#include <sched.h>

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "hash.h"
#include "memory/epoch.h"

namespace dskvs::test {

template <typename Condition>
void await(Condition&& condition) {
  while (!condition()) sched_yield();
}

inline uint64_t reclaimer_clock() { return reclaimer::clock.load(); }

inline void prepare_thread() {
  if (!reclaimer::register_thread()) std::abort();
  reclaimer::prepare_to_retire();
}

// One collection with one entry, which belongs to an epoch that is sealed.
class OneEntry {
 public:
  OneEntry() {
    prepare_thread();
    replace(false, [] {});
    (void)epochs.seal();
  }
  ~OneEntry() {
    collection->members().take_all([](Entry* entry) { entry->unpin(); });
    Collection::free(collection);
  }

  // Puts another version in its place, or removes it. `paused` is called where a reader may come in
  // between: with the put visible, or the removal recorded.
  template <typename Paused>
  void replace(bool remove, Paused&& paused) {
    ReadSection section;
    const auto change = [&](Entry* current, auto&& replace) {
      if (!remove) {
        Entry* const entry = Entry::make(kMember, 0);
        return epochs.record_put(*collection, *entry, current, &first_, [&] {
          replace(entry);
          paused();
        });
      }
      const Status status = epochs.record_removal(*collection, *current, &first_);
      paused();
      replace(nullptr);
      return status;
    };
    if (collection->members().update(KeyHash{}(kMember), kMember, true, change) != Status::kOk) {
      std::abort();
    }
  }

  Entry* find() { return collection->members().find(KeyHash{}(kMember), kMember); }

  Epochs epochs{steady_clock(), 1, 1};
  TableFigures figures;
  Collection* const collection = Collection::make("collection", figures);

 private:
  static constexpr std::string_view kMember = "member";

  bool first_ = false;
};

}  // namespace dskvs::test
