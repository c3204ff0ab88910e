// From statuses to Python's exceptions.
#pragma once

#include "python.h"

namespace dskvs::python {

// Fetches the exception classes of dskvs._errors; once, at import.
void load_exceptions();

// Sets the exception of `status`, with the words of dskvs_last_error(): call it before anything
// else calls dskvs on this thread. `path` (str, may be NULL) becomes the filename of those that
// are an OSError. Returns NULL, for callers to return.
PyObject* raise_status(int32_t status, PyObject* path);

// Sets KeyError(key). Returns NULL.
PyObject* raise_missing(PyObject* key);

}  // namespace dskvs::python
