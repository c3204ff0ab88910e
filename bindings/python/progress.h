// The progress of a long open, verify or salvage, told to a Python callable.
#pragma once

#include <optional>

#include "python.h"

namespace dskvs::python {

// While the call runs, without the GIL, this runs signal handlers and tells `callable` (None:
// nobody) of bytes done and bytes in all. An exception of either cancels the call.
class Progress {
 public:
  explicit Progress(PyObject* callable) : callable_(callable) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Sets TypeError when it is neither None nor callable.
  bool check() const;
  // In the thread that will make the call, as the library calls back in that one.
  void fill(dskvs_options* options);

  // After the call: false with the exception set that cancelled it.
  bool finish();

 private:
  static int32_t tell(void* self, uint64_t done, uint64_t total);
  bool tell(uint64_t done, uint64_t total);

  PyObject* callable_;  // borrowed from the caller's arguments
  PyThreadState* thread_ = nullptr;
  std::optional<py::error_already_set> raised_;
};

}  // namespace dskvs::python
