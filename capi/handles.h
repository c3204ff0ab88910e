// The table of open stores: from handles, which are numbers, to stores.
#pragma once

#include "store.h"

#include <atomic>

namespace dskvs {

// A handle is the number of a slot and its generation: each open gives the slot a new generation,
// so a handle that was closed matches nothing any more.
//
// A call looks its handle up inside a ReadSection, and uses the store inside the same section, or
// pins it there for longer. close() takes the handle out of its slot first; then it waits until
// every section that was open has ended, and every pin is gone: nobody has the store then.
//
// In a forked child the slots of stores that the parent had open are found, but are not the
// child's: each slot remembers how many forks lay behind the process when the store was opened.

// In a ReadSection. kClosed, kForked.
Status look_up(dskvs_t handle, Store** store) noexcept;

// kMemory: there are as many open stores as there can be; `store` is as it was.
Status add_handle(std::unique_ptr<Store>& store, dskvs_t* handle) noexcept;

// Takes the store out, when nobody uses it any more. kClosed, kForked.
Status remove_handle(dskvs_t handle, std::unique_ptr<Store>* store) noexcept;

}  // namespace dskvs
