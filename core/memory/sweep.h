// A walk over all entries of a store, a few parts at a time, while everything else goes on.
#pragma once

#include "memory/catalog.h"

namespace dskvs {

// Meets every entry that is there from begin() to the end of the walk; of the others, some. One
// thread, in no ReadSection. While it is active, no Collection may be freed.
class Sweep {
 public:
  void begin() noexcept {
    *this = Sweep();
    active_ = true;
  }
  void end() noexcept { active_ = false; }
  [[nodiscard]] bool active() const noexcept { return active_; }

  // Calls `visit(Collection&, Entry*)`, which returns a Status, for the entries of one more part,
  // under its lock. At the end the sweep is no longer active. Returns the first status but kOk of
  // `visit`: the part is visited again then.
  template <typename Visit>
  Status advance(Catalog& catalog, Visit&& visit) noexcept {
    ReadSection section;
    if (batch_at_ == batch_size_) {
      active_ = !catalog_done_;
      if (!active_) return Status::kOk;
      batch_at_ = 0;
      batch_size_ = catalog.copy_part(&catalog_cursor_, batch_);
      catalog_done_ = catalog_cursor_ == 0;
      return Status::kOk;
    }
    Collection& collection = *batch_[batch_at_];
    // Only when the drop has its epoch, which is the open one or before it: the drop of a
    // collection that is merely sealed may come in the next.
    if (collection.dropped_epoch.load(std::memory_order_acquire) < kEnding) {
      member_cursor_ = 0;
      batch_at_++;
      return Status::kOk;
    }
    Status status = collection.members().visit_part(
        &member_cursor_, [&](Entry* entry) { return visit(collection, entry); });
    if (status == Status::kOk && member_cursor_ == 0) batch_at_++;
    return status;
  }

 private:
  bool active_ = false;
  bool catalog_done_ = false;
  uint32_t batch_size_ = 0;
  uint32_t batch_at_ = 0;
  uint64_t catalog_cursor_ = 0;
  uint64_t member_cursor_ = 0;
  Collection* batch_[Catalog::kPartNodesMax] = {};  // of one part of the catalog
};

}  // namespace dskvs
