// What every file of the module needs of Python.
#pragma once

#include <cxxabi.h>
#include <dskvs/dskvs.h>
#include <pybind11/pybind11.h>
#include <unistd.h>

namespace dskvs::python {

namespace py = pybind11;

// Makes `call`, which takes the GIL, and keeps nothing whose destructor needs it. While the
// interpreter shuts down, Python before 3.14 ends every other thread that asks for the GIL, with
// pthread_exit(). That unwinds the stack, and where it meets a noexcept function (a destructor, a
// callback of the library) it ends the process. As 3.14 does itself, the thread is parked instead.
template <typename Call>
void take_gil_or_park(Call call) noexcept {
  try {
    call();
  } catch (const abi::__forced_unwind&) {
    while (true) ::pause();  // to leave the handler would be fatal, too
  }
}

// The GIL is given up while this lives. No Python object may be touched meanwhile.
class GilReleased {
 public:
  GilReleased() : thread_(PyEval_SaveThread()) {}
  ~GilReleased() {
    take_gil_or_park([this] { PyEval_RestoreThread(thread_); });
  }
  GilReleased(const GilReleased&) = delete;
  GilReleased& operator=(const GilReleased&) = delete;

 private:
  PyThreadState* thread_;
};

// Copies and calls of more bytes than this give the GIL up: below it, giving it up costs more.
inline constexpr size_t kBigBytes = 65536;

using FastMethod = PyObject* (*)(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
using KeywordMethod = PyObject* (*)(PyObject* self, PyObject* arguments, PyObject* keywords);

// Python calls each by the flag beside it; the table holds them as one type.
template <typename Method>
PyCFunction as_method(Method method) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(method));
}

// As the fast calls do not, checks how many arguments there are; sets TypeError.
inline bool check_count(const char* name, Py_ssize_t count, Py_ssize_t min, Py_ssize_t max) {
  if (count >= min && count <= max) return true;
  PyErr_Format(PyExc_TypeError, "%s() takes %zd to %zd arguments, not %zd", name, min, max, count);
  return false;
}

inline PyObject* new_reference(PyObject* object) {
  Py_INCREF(object);
  return object;
}

}  // namespace dskvs::python
