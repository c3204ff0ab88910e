// The type behind dskvs.Store, and the calls of one key that a collection shares with it.
#pragma once

#include <atomic>

#include "arguments.h"
#include "python.h"

namespace dskvs::python {

struct StoreObject {
  PyObject_HEAD dskvs_t handle;
  bool read_only;  // what is not durable yet will not become so here
  // Bytes that may surely be put without waiting for the persister: see write() below.
  std::atomic<int64_t> headroom_bytes;
  std::atomic<int32_t> noted_error;  // what was logged last of the persister
  std::atomic<bool> closed;
  PyObject* path;  // str
};

// Creates the type; once, at import. False with a Python error set.
bool create_store_type(PyObject* module);
bool is_store(PyObject* object);

// Raises the exception of `status` for this store. Returns NULL.
PyObject* raise_status(int32_t status, const StoreObject* store);

enum class Outcome { kFound, kMissing, kRaised };

// The value of `key` as a new bytes object.
Outcome fetch(StoreObject* store, const Key& key, PyObject** value);

// Room in the store's backlog for a write of so many bytes of key and value. True: the write may
// keep the GIL, as it will not wait for the persister.
bool take_headroom(StoreObject* store, size_t bytes);

// Looks for room anew, and waits for it, without the GIL and in slices between which signal
// handlers run. False with a Python error set when one of them raised; else `wait_free` is what
// take_headroom() says.
bool make_headroom(StoreObject* store, size_t bytes, bool* wait_free);

// Makes the write `call`, which returns a status. Small ones keep the GIL: giving it up costs as
// much as the put, and halves the throughput of two threads. Big ones give it up for the copy, and
// so does every one that may have to wait for the persister. (Were one to wait with the GIL held,
// Python would stand still but not for ever: the persister never takes the GIL.)
// False with a Python error set when a signal handler raised before it was made.
template <typename Call>
bool write(StoreObject* store, size_t bytes, Call call, int32_t* status) {
  bool keep_gil = take_headroom(store, bytes);
  if (!keep_gil && !make_headroom(store, bytes, &keep_gil)) return false;
  if (keep_gil && bytes < kBigBytes) {
    *status = call();
    return true;
  }
  GilReleased released;
  *status = call();
  return true;
}

// The members of `name` in whole, and how many there are.
PyObject* get_all(StoreObject* store, std::string_view name);
PyObject* delete_all(StoreObject* store, std::string_view name);
PyObject* snapshot(StoreObject* store, std::string_view name, std::string_view prefix,
                   PyObject* yield);
bool count(StoreObject* store, std::string_view name, uint64_t* members);

}  // namespace dskvs::python
