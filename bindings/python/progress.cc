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
  thread_ = PyThreadState_Get();
}

bool Progress::finish() {
  if (!raised_) return true;
  raised_->restore();
  return false;
}

int32_t Progress::tell(void* self, uint64_t done, uint64_t total) {
  auto* progress = static_cast<Progress*>(self);
  bool go_on = false;
  // The callable is inside, as it may lose the GIL and ask for it again. Not by
  // py::gil_scoped_acquire: in the unwinding it would give up a GIL that it has not got, and once
  // the interpreter is gone it crashes.
  take_gil_or_park([&] {
    PyEval_RestoreThread(progress->thread_);
    go_on = progress->tell(done, total);
    PyEval_SaveThread();
  });
  return go_on ? 0 : 1;
}

bool Progress::tell(uint64_t done, uint64_t total) {
  if (raised_) return false;
  if (PyErr_CheckSignals() == 0) {
    if (callable_ == Py_None) return true;
    PyObject* result = PyObject_CallFunction(callable_, "KK", static_cast<unsigned long long>(done),
                                             static_cast<unsigned long long>(total));
    Py_XDECREF(result);
    if (result != nullptr) return true;
  }
  raised_.emplace();
  return false;
}

}  // namespace dskvs::python
