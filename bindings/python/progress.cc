#include "progress.h"

namespace dskvs::python {

bool Progress::check() const {
  if (callable_ == Py_None || PyCallable_Check(callable_)) return true;
  PyErr_Format(PyExc_TypeError, "progress is callable or None, not %.100s",
               Py_TYPE(callable_)->tp_name);
  return false;
}

void Progress::fill(dskvs_options* options) {
  options->progress = &Progress::tell;
  options->progress_context = this;
}

bool Progress::finish() {
  if (!raised_) return true;
  raised_->restore();
  return false;
}

int32_t Progress::tell(void* self, uint64_t done, uint64_t total) {
  py::gil_scoped_acquire acquired;
  return static_cast<Progress*>(self)->tell(done, total) ? 0 : 1;
}

bool Progress::tell(uint64_t done, uint64_t total) {
  if (raised_) return false;
  if (PyErr_CheckSignals() == 0) {
    if (callable_ == Py_None) return true;
    auto result = py::reinterpret_steal<py::object>(
        PyObject_CallFunction(callable_, "KK", static_cast<unsigned long long>(done),
                              static_cast<unsigned long long>(total)));
    if (result) return true;
  }
  raised_.emplace();
  return false;
}

}  // namespace dskvs::python
