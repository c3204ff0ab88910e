// The type behind dskvs.Collection: the members of one collection of a store.
#pragma once

#include "python.h"

namespace dskvs::python {

// Creates the type; once, at import. False with a Python error set.
bool create_collection_type(PyObject* module);

}  // namespace dskvs::python
