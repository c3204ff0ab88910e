// Lists of dskvs as dicts and as iterators.
#pragma once

#include <memory>
#include <string_view>

#include "python.h"

namespace dskvs::python {

struct FreeList {
  void operator()(dskvs_list* list) const { dskvs_list_free(list); }
};
using List = std::unique_ptr<dskvs_list, FreeList>;

// Without the GIL: a big list takes long to free.
void free_list(List list);

// {member: value}. NULL with a Python error set; so for all below.
PyObject* pairs_to_dict(dskvs_list* list);

// {name: count}, of a list of dskvs_collections().
PyObject* counts_to_dict(dskvs_list* list);

// [(file, damage)], of a list of dskvs_verify() or dskvs_salvage().
PyObject* damage_to_list(dskvs_list* list);

// Creates the type of iterators; once, at import. False with a Python error set.
bool create_snapshot_type(PyObject* module);

enum class Yield : int { kKeys, kValues, kItems };

// Reads what an iterator is to yield, by number. False with a Python error set.
bool read_yield(PyObject* number, Yield* yield);

// An iterator over `list`, which it takes over. Keys begin with `prefix`.
PyObject* new_snapshot(List list, std::string_view prefix, Yield yield);

}  // namespace dskvs::python
