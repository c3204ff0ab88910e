#include "snapshot.h"

#include <cstring>
#include <mutex>
#include <new>

#include "arguments.h"
#include "view.h"

namespace dskvs::python {
namespace {

struct Pair {
  std::string_view member;
  const void* value;
  size_t value_size;
};

bool next(dskvs_list* list, Pair* pair) {
  const char* member = nullptr;
  size_t member_size = 0;
  if (dskvs_list_next(list, &member, &member_size, &pair->value, &pair->value_size) != DSKVS_OK) {
    return false;
  }
  pair->member = {member, member_size};
  return true;
}

PyObject* value_of(const Pair& pair) { return copy_to_bytes(pair.value, pair.value_size); }

PyObject* count_of(const Pair& pair) {
  const auto* bytes = static_cast<const unsigned char*>(pair.value);
  uint64_t count = 0;
  for (size_t i = 0; i < pair.value_size; ++i) count |= uint64_t{bytes[i]} << (8 * i);
  return PyLong_FromUnsignedLongLong(count);
}

PyObject* to_dict(dskvs_list* list, PyObject* (*convert)(const Pair&)) {
  auto dict = py::reinterpret_steal<py::object>(PyDict_New());
  if (!dict) return nullptr;
  Pair pair{};
  while (next(list, &pair)) {
    auto key = py::reinterpret_steal<py::object>(decode(pair.member));
    if (!key) return nullptr;
    auto value = py::reinterpret_steal<py::object>(convert(pair));
    if (!value || PyDict_SetItem(dict.ptr(), key.ptr(), value.ptr()) != 0) return nullptr;
  }
  return dict.release().ptr();
}

struct State {
  std::mutex mutex;  // a list belongs to one thread at a time; held over no Python call
  List list;
  py::object prefix;  // of every key; null: none
  Yield yield;
};

struct SnapshotObject {
  PyObject_HEAD State* state;
};

PyTypeObject* snapshot_type = nullptr;

void snapshot_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  State* state = reinterpret_cast<SnapshotObject*>(self)->state;
  free_list(std::move(state->list));
  delete state;
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* key_of(const State& state, const Pair& pair) {
  auto member = py::reinterpret_steal<py::object>(decode(pair.member));
  if (!member || !state.prefix) return member.release().ptr();
  return PyUnicode_Concat(state.prefix.ptr(), member.ptr());
}

PyObject* snapshot_next(PyObject* self) {
  State& state = *reinterpret_cast<SnapshotObject*>(self)->state;
  Pair pair{};
  {
    std::lock_guard guard(state.mutex);
    if (!next(state.list.get(), &pair)) return nullptr;
  }
  if (state.yield == Yield::kKeys) return key_of(state, pair);
  auto value = py::reinterpret_steal<py::object>(value_of(pair));
  if (!value || state.yield == Yield::kValues) return value.release().ptr();
  auto key = py::reinterpret_steal<py::object>(key_of(state, pair));
  return key ? PyTuple_Pack(2, key.ptr(), value.ptr()) : nullptr;
}

PyType_Slot snapshot_slots[] = {
    {Py_tp_doc, const_cast<char*>("An iterator over one collection as it was at one instant.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(snapshot_dealloc)},
    {Py_tp_iter, reinterpret_cast<void*>(PyObject_SelfIter)},
    {Py_tp_iternext, reinterpret_cast<void*>(snapshot_next)},
    {0, nullptr},
};
PyType_Spec snapshot_spec = {"dskvs._core.Snapshot", sizeof(SnapshotObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                             snapshot_slots};

}  // namespace

PyObject* pairs_to_dict(dskvs_list* list) { return to_dict(list, value_of); }

PyObject* counts_to_dict(dskvs_list* list) { return to_dict(list, count_of); }

PyObject* damage_to_list(dskvs_list* list) {
  auto result = py::reinterpret_steal<py::object>(PyList_New(0));
  if (!result) return nullptr;
  Pair pair{};
  while (next(list, &pair)) {
    std::string_view text(static_cast<const char*>(pair.value), pair.value_size);
    auto file = py::reinterpret_steal<py::object>(decode(pair.member));
    auto damage = py::reinterpret_steal<py::object>(decode(text));
    if (!file || !damage) return nullptr;
    auto row = py::reinterpret_steal<py::object>(PyTuple_Pack(2, file.ptr(), damage.ptr()));
    if (!row || PyList_Append(result.ptr(), row.ptr()) != 0) return nullptr;
  }
  return result.release().ptr();
}

bool create_snapshot_type(PyObject* module) {
  snapshot_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&snapshot_spec));
  return snapshot_type != nullptr && PyModule_AddType(module, snapshot_type) == 0;
}

bool read_yield(PyObject* number, Yield* yield) {
  long value = PyLong_AsLong(number);
  if (value == -1 && PyErr_Occurred() != nullptr) return false;
  if (value < 0 || value > static_cast<long>(Yield::kItems)) {
    PyErr_SetString(PyExc_ValueError, "keys are 0, values 1, items 2");
    return false;
  }
  *yield = static_cast<Yield>(value);
  return true;
}

void free_list(List list) {
  GilReleased released;
  list.reset();
}

PyObject* new_snapshot(List list, std::string_view prefix, Yield yield) {
  py::object decoded;
  if (!prefix.empty()) decoded = py::reinterpret_steal<py::object>(decode(prefix));
  if (!prefix.empty() && !decoded) return nullptr;
  auto* state = new (std::nothrow) State{{}, std::move(list), std::move(decoded), yield};
  if (state == nullptr) return PyErr_NoMemory();
  auto* snapshot = PyObject_New(SnapshotObject, snapshot_type);
  if (snapshot == nullptr) {
    delete state;
    return nullptr;
  }
  snapshot->state = state;
  return reinterpret_cast<PyObject*>(snapshot);
}

}  // namespace dskvs::python
