// The figures of a store as a Python object.
#pragma once

#include "python.h"

namespace dskvs::python {

// Creates the type dskvs.Stats; once, at import. False with a Python error set.
bool create_stats_type(PyObject* module);

PyObject* new_stats(const dskvs_stats_t& stats);

}  // namespace dskvs::python
