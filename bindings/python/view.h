// Values without copying: a pinned value that exports its bytes, read-only.
#pragma once

#include "python.h"

namespace dskvs::python {

// Gives back a value of dskvs_get() when it goes out of scope.
class Pinned {
 public:
  Pinned() = default;
  ~Pinned() { dskvs_release(value_); }
  Pinned(Pinned&& other) noexcept : value_(other.value_), size_(other.size_) {
    other.value_ = nullptr;
  }
  Pinned& operator=(Pinned&&) = delete;

  int32_t get(dskvs_t store, const char* key, size_t key_size) {
    return dskvs_get(store, key, key_size, &value_, &size_);
  }
  const void* data() const { return value_; }
  size_t size() const { return size_; }
  const void* take() {
    const void* value = value_;
    value_ = nullptr;
    return value;
  }

 private:
  const void* value_ = nullptr;
  size_t size_ = 0;
};

// Creates the type; once, at import. False with a Python error set.
bool create_pin_type(PyObject* module);

// A memoryview of `pinned`, which it takes over. NULL with a Python error set.
PyObject* new_view(Pinned& pinned);

// The value that the held of a conditional write stands for. It is kept as long as this lives:
// were the memoryview released meanwhile, another entry might come to lie at the same address.
class Held {
 public:
  // `held` is None, or a memoryview that new_view() made, or a slice of it. False with a Python
  // error set.
  bool set(PyObject* held);

  const void* value() const { return value_; }  // NULL for None

 private:
  const void* value_ = nullptr;
  py::object pin_;
};

// A bytes object with a copy of `size` bytes; the GIL is given up for a big one, so the source
// must not be a Python object's. NULL with a Python error set.
PyObject* copy_to_bytes(const void* data, size_t size);

}  // namespace dskvs::python
