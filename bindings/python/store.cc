#include "store.h"

#include <unistd.h>

#include <algorithm>
#include <new>
#include <string>

#include "errors.h"
#include "keyed.h"
#include "progress.h"
#include "snapshot.h"
#include "stats.h"
#include "view.h"
#include "waiting.h"

namespace dskvs::python {
namespace {

constexpr size_t kCopiedBytes = 1024;           // values up to this are copied twice, not pinned
constexpr int64_t kEntryBytes = 128;            // what a write adds to the backlog beyond its bytes
constexpr int64_t kHeadroomBytesMax = 8 << 20;  // how much is put between two looks at the backlog
constexpr uint64_t kRoomSliceMs = 5;

PyTypeObject* store_type = nullptr;

StoreObject* as_store(PyObject* object) { return reinterpret_cast<StoreObject*>(object); }

struct WholeKeys {
  static StoreObject* store(PyObject* self) { return as_store(self); }
  static bool set_key(PyObject*, PyObject* object, Key* key) { return key->set(object); }
};

// ---- Health and backlog ----------------------------------------------------------------------

// Has dskvs._lifetime log a persister that fell ill or got well.
void note_health(StoreObject* store, int32_t error) {
  if (store->noted_error.exchange(error) == error) return;
  auto module = py::reinterpret_steal<py::object>(PyImport_ImportModule("dskvs._lifetime"));
  auto result = !module ? py::object()
                        : py::reinterpret_steal<py::object>(PyObject_CallMethod(
                              module.ptr(), "log_health", "Oiz", store->path, error,
                              error == 0 ? nullptr : dskvs_status_name(error)));
  if (!result) PyErr_WriteUnraisable(store->path);
}

int32_t read_stats(StoreObject* store, dskvs_stats_t* stats) {
  *stats = DSKVS_STATS_INIT;
  return dskvs_stats(store->handle, stats);
}

// After a call that the persister may have failed.
void check_health(StoreObject* store) {
  dskvs_stats_t stats;
  if (read_stats(store, &stats) == DSKVS_OK) {
    note_health(store, static_cast<int32_t>(static_cast<int64_t>(stats.last_error)));
  }
}

int64_t free_bytes(const dskvs_stats_t& stats) {
  uint64_t used = std::min(stats.dirty_bytes, stats.dirty_bytes_max);
  return static_cast<int64_t>(std::min<uint64_t>(stats.dirty_bytes_max - used, INT64_MAX));
}

int64_t backlog_bytes(size_t bytes) { return static_cast<int64_t>(bytes) + kEntryBytes; }

}  // namespace

bool is_store(PyObject* object) { return PyObject_TypeCheck(object, store_type); }

PyObject* raise_status(int32_t status, const StoreObject* store) {
  return raise_status(status, store->path);
}

bool take_headroom(StoreObject* store, size_t bytes) {
  int64_t need = backlog_bytes(bytes);
  return store->headroom_bytes.fetch_sub(need, std::memory_order_relaxed) >= need;
}

bool make_headroom(StoreObject* store, size_t bytes, bool* wait_free) {
  const int64_t need = backlog_bytes(bytes);
  *wait_free = false;
  while (true) {
    dskvs_stats_t stats;
    uint64_t mark = 0;
    // Where this fails, so will the write, and say why.
    if (read_stats(store, &stats) != DSKVS_OK) return true;
    note_health(store, static_cast<int32_t>(static_cast<int64_t>(stats.last_error)));
    const int64_t room = free_bytes(stats);
    // Half of it: other threads may be in the middle of big puts.
    const int64_t headroom = std::min(room / 2, kHeadroomBytesMax);
    store->headroom_bytes.store(headroom - need, std::memory_order_relaxed);
    *wait_free = headroom >= need;
    if (room > 0 || stats.last_error != 0) return true;
    if (dskvs_mark(store->handle, &mark) != DSKVS_OK) return true;
    {
      GilReleased released;
      if (dskvs_wait(store->handle, mark, DSKVS_WRITTEN, kRoomSliceMs) < 0) return true;
    }
    if (PyErr_CheckSignals() != 0) return false;
  }
}

// ---- Calls that a collection shares ----------------------------------------------------------

Outcome fetch(StoreObject* store, const Key& key, PyObject** value) {
  char buffer[kCopiedBytes];
  size_t size = 0;
  int32_t status =
      dskvs_get_into(store->handle, key.data(), key.size(), buffer, sizeof buffer, &size);
  if (status == DSKVS_OK) {
    *value = PyBytes_FromStringAndSize(buffer, static_cast<Py_ssize_t>(size));
    return *value != nullptr ? Outcome::kFound : Outcome::kRaised;
  }
  Pinned pinned;
  if (status == DSKVS_ERR_BUFFER) status = pinned.get(store->handle, key.data(), key.size());
  if (status == DSKVS_NOT_FOUND) return Outcome::kMissing;
  if (status != DSKVS_OK) {
    raise_status(status, store);
    return Outcome::kRaised;
  }
  *value = copy_to_bytes(pinned.data(), pinned.size());
  return *value != nullptr ? Outcome::kFound : Outcome::kRaised;
}

PyObject* get_packed(StoreObject* store, const PackedKeys& keys, PyObject* objects) {
  std::vector<Pinned> values(keys.count());
  int32_t status = DSKVS_OK;
  {
    GilReleased released;
    for (size_t i = 0; i < keys.count() && status >= 0; ++i) {
      status = values[i].get(store->handle, keys.key(i).data(), keys.key(i).size());
    }
  }
  if (status < 0) return raise_status(status, store);
  auto dict = py::reinterpret_steal<py::object>(PyDict_New());
  if (!dict) return nullptr;
  for (size_t i = 0; i < keys.count(); ++i) {
    if (values[i].data() == nullptr) continue;
    auto value =
        py::reinterpret_steal<py::object>(copy_to_bytes(values[i].data(), values[i].size()));
    PyObject* key = PyList_GET_ITEM(objects, static_cast<Py_ssize_t>(i));
    if (!value || PyDict_SetItem(dict.ptr(), key, value.ptr()) != 0) return nullptr;
  }
  return dict.release().ptr();
}

namespace {

// The list that `call` makes, without the GIL; NULL with a Python error set.
template <typename Call>
List make_list(StoreObject* store, Call call) {
  dskvs_list* list = nullptr;
  int32_t status = DSKVS_OK;
  {
    GilReleased released;
    status = call(&list);
  }
  if (status != DSKVS_OK) raise_status(status, store);
  return List(list);
}

List list_members(StoreObject* store, std::string_view name) {
  return make_list(store, [&](dskvs_list** list) {
    return dskvs_get_all(store->handle, name.data(), name.size(), list);
  });
}

}  // namespace

PyObject* get_all(StoreObject* store, std::string_view name) {
  List list = list_members(store, name);
  if (!list) return nullptr;
  PyObject* dict = pairs_to_dict(list.get());
  free_list(std::move(list));
  return dict;
}

PyObject* delete_all(StoreObject* store, std::string_view name) {
  uint64_t removed = 0;
  int32_t status = DSKVS_OK;
  take_headroom(store, name.size());
  {
    GilReleased released;
    status = dskvs_delete_all(store->handle, name.data(), name.size(), &removed);
  }
  if (status != DSKVS_OK) return raise_status(status, store);
  return PyLong_FromUnsignedLongLong(removed);
}

PyObject* snapshot(StoreObject* store, std::string_view name, std::string_view prefix,
                   PyObject* yield_number) {
  Yield yield{};
  if (!read_yield(yield_number, &yield)) return nullptr;
  List list = list_members(store, name);
  return list ? new_snapshot(std::move(list), prefix, yield) : nullptr;
}

bool count(StoreObject* store, std::string_view name, uint64_t* members) {
  int32_t status = dskvs_count(store->handle, name.data(), name.size(), members);
  if (status == DSKVS_OK) return true;
  raise_status(status, store);
  return false;
}

// ---- Open and close --------------------------------------------------------------------------

namespace {

bool read_count(const char* name, PyObject* object, uint64_t* count) {
  auto number = py::reinterpret_steal<py::object>(PyNumber_Index(object));
  if (!number) return false;
  unsigned long long value = PyLong_AsUnsignedLongLong(number.ptr());
  if (PyErr_Occurred() == nullptr) {
    *count = value;
    return true;
  }
  PyErr_Format(PyExc_ValueError, "%s is from 0 to 2**64 - 1", name);
  return false;
}

// None leaves the default.
bool read_option(const char* name, PyObject* object, uint64_t* option) {
  return object == Py_None || read_count(name, object, option);
}

// NULL with a Python error set.
PyObject* open_store(PyTypeObject* type, py::object path_bytes, const dskvs_options& options,
                     Progress* progress) {
  const char* path_chars = PyBytes_AS_STRING(path_bytes.ptr());
  auto path = py::reinterpret_steal<py::object>(PyUnicode_DecodeFSDefault(path_chars));
  if (!path) return nullptr;
  auto object = py::reinterpret_steal<py::object>(type->tp_alloc(type, 0));
  if (!object) return nullptr;
  StoreObject* store = as_store(object.ptr());
  store->closed = true;
  store->path = new_reference(path.ptr());
  store->read_only = options.read_only != 0;
  int32_t status = DSKVS_OK;
  {
    GilReleased released;
    status = dskvs_open(path_chars, &options, &store->handle);
  }
  store->closed = status != DSKVS_OK;
  if (!progress->finish()) return nullptr;  // and what was opened is closed again
  if (status != DSKVS_OK) return raise_status(status, store);
  return object.release().ptr();
}

PyObject* store_new(PyTypeObject* type, PyObject* arguments, PyObject* keywords) {
  static const char* kNames[] = {
      "path",     "read_only", "create", "sync_interval_ms", "memory_bytes_max", "dirty_bytes_max",
      "progress", nullptr};
  PyObject *path = nullptr, *sync_interval_ms = nullptr, *memory_bytes_max = nullptr;
  PyObject *dirty_bytes_max = nullptr, *progress_callable = nullptr;
  int read_only = 0, create = 0;
  if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O&ppOOOO:Store",
                                   const_cast<char**>(kNames), PyUnicode_FSConverter, &path,
                                   &read_only, &create, &sync_interval_ms, &memory_bytes_max,
                                   &dirty_bytes_max, &progress_callable)) {
    return nullptr;
  }
  auto owned_path = py::reinterpret_steal<py::object>(path);
  dskvs_options options = DSKVS_OPTIONS_INIT;
  options.read_only = read_only != 0;
  options.create = create != 0;
  Progress progress(progress_callable);
  if (!read_option("sync_interval_ms", sync_interval_ms, &options.sync_interval_ms) ||
      !read_option("memory_bytes_max", memory_bytes_max, &options.memory_bytes_max) ||
      !read_option("dirty_bytes_max", dirty_bytes_max, &options.dirty_bytes_max) ||
      !progress.check()) {
    return nullptr;
  }
  progress.fill(&options);
  return open_store(type, std::move(owned_path), options, &progress);
}

void store_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  StoreObject* store = as_store(self);
  if (!store->closed) {
    GilReleased released;
    dskvs_close(store->handle);
  }
  Py_XDECREF(store->path);
  type->tp_free(self);
  Py_DECREF(type);
}

// Waits for the disk in slices, then closes. After an exception of a signal handler the store is
// open as before.
PyObject* store_close(PyObject* self, PyObject*) {
  StoreObject* store = as_store(self);
  uint64_t mark = 0;
  int32_t status = dskvs_mark(store->handle, &mark);
  if (status == DSKVS_OK && !store->read_only &&
      !wait_until(store->handle, mark, DSKVS_DURABLE, DSKVS_FOREVER, true, &status)) {
    return nullptr;
  }
  if (status == DSKVS_ERR_FORKED) return raise_status(status, store);
  {
    GilReleased released;
    status = dskvs_close(store->handle);
  }
  store->closed = true;
  // Another thread was faster.
  if (status == DSKVS_OK || status == DSKVS_ERR_CLOSED) Py_RETURN_NONE;
  raise_status(status, store);
  py::error_already_set error;
  note_health(store, status);
  error.restore();
  return nullptr;
}

// ---- The disk --------------------------------------------------------------------------------

PyObject* store_mark(PyObject* self, PyObject*) {
  StoreObject* store = as_store(self);
  uint64_t mark = 0;
  int32_t status = dskvs_mark(store->handle, &mark);
  if (status != DSKVS_OK) return raise_status(status, store);
  return PyLong_FromUnsignedLongLong(mark);
}

// Waits, and says how it went: None, or the exception.
PyObject* wait_for(StoreObject* store, uint64_t mark, int32_t level, PyObject* timeout,
                   bool hurry) {
  uint64_t timeout_ms = 0;
  int32_t status = DSKVS_OK;
  if (!read_timeout_ms(timeout, &timeout_ms)) return nullptr;
  if (store->read_only) timeout_ms = 0;
  if (!wait_until(store->handle, mark, level, timeout_ms, hurry, &status)) return nullptr;
  if (status == DSKVS_OK) {
    check_health(store);
    Py_RETURN_NONE;
  }
  raise_status(status, store);
  py::error_already_set error;
  check_health(store);
  error.restore();
  return nullptr;
}

PyObject* store_wait(PyObject* self, PyObject* arguments, PyObject* keywords) {
  static const char* kNames[] = {"mark", "level", "timeout", nullptr};
  PyObject *mark_object = nullptr, *timeout = Py_None;
  int level = DSKVS_DURABLE;
  if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|iO:wait", const_cast<char**>(kNames),
                                   &mark_object, &level, &timeout)) {
    return nullptr;
  }
  uint64_t mark = 0;
  if (!read_count("mark", mark_object, &mark)) return nullptr;
  return wait_for(as_store(self), mark, level, timeout, false);
}

PyObject* store_sync(PyObject* self, PyObject* arguments, PyObject* keywords) {
  static const char* kNames[] = {"timeout", nullptr};
  PyObject* timeout = Py_None;
  if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|O:sync", const_cast<char**>(kNames),
                                   &timeout)) {
    return nullptr;
  }
  StoreObject* store = as_store(self);
  uint64_t mark = 0;
  int32_t status = dskvs_mark(store->handle, &mark);
  if (status != DSKVS_OK) return raise_status(status, store);
  return wait_for(store, mark, DSKVS_DURABLE, timeout, true);
}

// Whether mark has reached level, without waiting. WaitTimeout when it never will.
PyObject* store_reached(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  if (!check_count("_reached", count, 2, 2)) return nullptr;
  StoreObject* store = as_store(self);
  uint64_t mark = 0;
  if (!read_count("mark", arguments[0], &mark)) return nullptr;
  long level = PyLong_AsLong(arguments[1]);
  if (level == -1 && PyErr_Occurred() != nullptr) return nullptr;
  int32_t status = dskvs_wait(store->handle, mark, static_cast<int32_t>(level), 0);
  if (status == DSKVS_OK) Py_RETURN_TRUE;
  if (status == DSKVS_TIMEOUT && !store->read_only) Py_RETURN_FALSE;
  return raise_status(status, store);
}

// Has the persister sync now, and does not wait for it.
PyObject* store_hurry(PyObject* self, PyObject*) {
  StoreObject* store = as_store(self);
  int32_t status = dskvs_sync(store->handle, 0);
  if (status != DSKVS_OK && status != DSKVS_TIMEOUT) return raise_status(status, store);
  Py_RETURN_NONE;
}

PyObject* store_stats(PyObject* self, PyObject*) {
  StoreObject* store = as_store(self);
  dskvs_stats_t stats;
  int32_t status = read_stats(store, &stats);
  if (status != DSKVS_OK) return raise_status(status, store);
  note_health(store, static_cast<int32_t>(static_cast<int64_t>(stats.last_error)));
  return new_stats(stats);
}

PyObject* store_compact(PyObject* self, PyObject*) {
  StoreObject* store = as_store(self);
  int32_t status = DSKVS_OK;
  {
    GilReleased released;
    status = dskvs_compact(store->handle);
  }
  if (status != DSKVS_OK) return raise_status(status, store);
  Py_RETURN_NONE;
}

PyObject* store_backup(PyObject* self, PyObject* argument) {
  StoreObject* store = as_store(self);
  PyObject* converted = nullptr;
  if (!PyUnicode_FSConverter(argument, &converted)) return nullptr;
  auto bytes = py::reinterpret_steal<py::object>(converted);
  const char* path = PyBytes_AS_STRING(bytes.ptr());
  int32_t status = DSKVS_OK;
  {
    GilReleased released;
    status = dskvs_backup(store->handle, path);
  }
  if (status == DSKVS_OK) Py_RETURN_NONE;
  bool about_target = status == DSKVS_ERR_PATH || status == DSKVS_ERR_LOCKED ||
                      status == DSKVS_ERR_SPACE || status == DSKVS_ERR_IO;
  auto target = py::reinterpret_steal<py::object>(PyUnicode_DecodeFSDefault(path));
  return target ? raise_status(status, about_target ? target.ptr() : store->path) : nullptr;
}

// ---- Collections -----------------------------------------------------------------------------

PyObject* store_get_all(PyObject* self, PyObject* argument) {
  Text name;
  if (!name.set("a collection's name", argument)) return nullptr;
  return get_all(as_store(self), name.bytes());
}

PyObject* store_delete_all(PyObject* self, PyObject* argument) {
  Text name;
  if (!name.set("a collection's name", argument)) return nullptr;
  return delete_all(as_store(self), name.bytes());
}

PyObject* store_collections(PyObject* self, PyObject*) {
  StoreObject* store = as_store(self);
  List list =
      make_list(store, [&](dskvs_list** made) { return dskvs_collections(store->handle, made); });
  if (!list) return nullptr;
  PyObject* dict = counts_to_dict(list.get());
  free_list(std::move(list));
  return dict;
}

PyObject* store_count(PyObject* self, PyObject* arguments, PyObject* keywords) {
  static const char* kNames[] = {"collection", nullptr};
  PyObject* object = Py_None;
  if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|O:count", const_cast<char**>(kNames),
                                   &object)) {
    return nullptr;
  }
  Text name;
  uint64_t members = 0;
  if (object != Py_None && !name.set("a collection's name", object)) return nullptr;
  if (!count(as_store(self), name.bytes(), &members)) return nullptr;
  return PyLong_FromUnsignedLongLong(members);
}

Py_ssize_t store_length(PyObject* self) {
  uint64_t members = 0;
  return count(as_store(self), {}, &members) ? static_cast<Py_ssize_t>(members) : -1;
}

PyObject* store_snapshot(PyObject* self, PyObject* const* arguments, Py_ssize_t count) try {
  if (!check_count("_snapshot", count, 2, 2)) return nullptr;
  Text name;
  if (!name.set("a collection's name", arguments[0])) return nullptr;
  std::string prefix(name.bytes());
  return snapshot(as_store(self), name.bytes(), prefix + "/", arguments[1]);
} catch (const std::bad_alloc&) {
  return PyErr_NoMemory();
}

// ---- The type --------------------------------------------------------------------------------

PyObject* store_get_path(PyObject* self, void*) { return new_reference(as_store(self)->path); }

PyObject* store_get_closed(PyObject* self, void*) {
  return PyBool_FromLong(as_store(self)->closed);
}

PyGetSetDef store_properties[] = {
    {"path", store_get_path, nullptr, "The directory, as it was given to open().", nullptr},
    {"closed", store_get_closed, nullptr, "Whether the store is closed.", nullptr},
    {},
};

const PyMethodDef kStoreMethods[] = {
    {"get_all", store_get_all, METH_O,
     "get_all($self, collection, /)\n--\n\n"
     "All members of collection and their values, as they were at one instant, as a dict."},
    {"delete_all", store_delete_all, METH_O,
     "delete_all($self, collection, /)\n--\n\n"
     "Removes collection with all its members at one instant, and says how many there were."},
    {"collections", store_collections, METH_NOARGS,
     "collections($self, /)\n--\n\n"
     "The names of all collections, each with the count of its members, as a dict."},
    {"count", as_method(store_count), METH_VARARGS | METH_KEYWORDS,
     "count($self, /, collection=None)\n--\n\n"
     "How many members collection has; without one, how many keys the store has."},
    {"mark", store_mark, METH_NOARGS,
     "mark($self, /)\n--\n\n"
     "A ticket, for wait(), that covers every write that returned before this call."},
    {"wait", as_method(store_wait), METH_VARARGS | METH_KEYWORDS,
     "wait($self, /, mark, level=2, timeout=None)\n--\n\n"
     "Waits until everything up to mark is WRITTEN or DURABLE, as level says. Raises WaitTimeout\n"
     "after timeout seconds, or at once on a store opened to be read, and StorageError at once "
     "when\n"
     "the disk fails."},
    {"sync", as_method(store_sync), METH_VARARGS | METH_KEYWORDS,
     "sync($self, /, timeout=None)\n--\n\n"
     "Waits until everything that was written before is durable: as wait() of a mark(), but the\n"
     "disk is told to hurry."},
    {"stats", store_stats, METH_NOARGS,
     "stats($self, /)\n--\n\n"
     "The figures of the store."},
    {"compact", store_compact, METH_NOARGS,
     "compact($self, /)\n--\n\n"
     "Frees the disk of all that is overwritten or deleted. Seldom needed: it happens by itself."},
    {"backup", store_backup, METH_O,
     "backup($self, path, /)\n--\n\n"
     "Copies the store as it is now into the new or empty directory path; the copy is a store."},
    {"_close", store_close, METH_NOARGS, "_close($self, /)\n--\n\n"},
    {"_snapshot", as_method(store_snapshot), METH_FASTCALL,
     "_snapshot($self, collection, what, /)\n--\n\n"},
    {"_reached", as_method(store_reached), METH_FASTCALL,
     "_reached($self, mark, level, /)\n--\n\n"},
    {"_hurry", store_hurry, METH_NOARGS, "_hurry($self, /)\n--\n\n"},
    {},
};

}  // namespace

bool create_store_type(PyObject* module) {
  static std::vector<PyMethodDef> methods = Keyed<WholeKeys>::methods();
  methods.insert(methods.end(), std::begin(kStoreMethods), std::end(kStoreMethods));
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("What dskvs.Store is made of.")},
      {Py_tp_new, reinterpret_cast<void*>(store_new)},
      {Py_tp_dealloc, reinterpret_cast<void*>(store_dealloc)},
      {Py_tp_methods, methods.data()},
      {Py_tp_getset, store_properties},
      {Py_mp_subscript, reinterpret_cast<void*>(Keyed<WholeKeys>::subscript)},
      {Py_mp_ass_subscript, reinterpret_cast<void*>(Keyed<WholeKeys>::assign_subscript)},
      {Py_mp_length, reinterpret_cast<void*>(store_length)},
      {Py_sq_contains, reinterpret_cast<void*>(Keyed<WholeKeys>::contains_key)},
      {0, nullptr},
  };
  PyType_Spec spec = {"dskvs._core.Store", sizeof(StoreObject), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
  store_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  return store_type != nullptr && PyModule_AddType(module, store_type) == 0;
}

}  // namespace dskvs::python
