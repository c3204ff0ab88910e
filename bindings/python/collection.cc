#include "collection.h"

#include <new>
#include <string>

#include "keyed.h"
#include "store.h"

namespace dskvs::python {
namespace {

struct CollectionObject {
  PyObject_HEAD StoreObject* store;
  std::string* prefix;  // the name and a '/'
};

CollectionObject* as_collection(PyObject* object) {
  return reinterpret_cast<CollectionObject*>(object);
}

std::string_view name_of(PyObject* self) {
  std::string_view prefix = *as_collection(self)->prefix;
  return prefix.substr(0, prefix.size() - 1);
}

struct Members {
  static StoreObject* store(PyObject* self) { return as_collection(self)->store; }
  static bool set_key(PyObject* self, PyObject* object, Key* key) {
    return key->set(*as_collection(self)->prefix, object);
  }
};

PyObject* collection_new(PyTypeObject* type, PyObject* arguments, PyObject* keywords) try {
  static const char* kNames[] = {"store", "name", nullptr};
  PyObject *store = nullptr, *name_object = nullptr;
  if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OO:Collection", const_cast<char**>(kNames),
                                   &store, &name_object)) {
    return nullptr;
  }
  if (!is_store(store)) {
    PyErr_Format(PyExc_TypeError, "store is a Store, not %.100s", Py_TYPE(store)->tp_name);
    return nullptr;
  }
  Text name;
  uint64_t members = 0;
  if (!name.set("a collection's name", name_object)) return nullptr;
  // Says whether it is a name at all.
  if (!count(reinterpret_cast<StoreObject*>(store), name.bytes(), &members)) return nullptr;
  auto object = py::reinterpret_steal<py::object>(type->tp_alloc(type, 0));
  if (!object) return nullptr;
  CollectionObject* collection = as_collection(object.ptr());
  collection->store = reinterpret_cast<StoreObject*>(new_reference(store));
  collection->prefix = new std::string(name.bytes());
  collection->prefix->push_back('/');
  return object.release().ptr();
} catch (const std::bad_alloc&) {
  return PyErr_NoMemory();
}

int collection_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(reinterpret_cast<PyObject*>(as_collection(self)->store));
  return 0;
}

void collection_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  Py_XDECREF(as_collection(self)->store);
  delete as_collection(self)->prefix;
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* collection_get_all(PyObject* self, PyObject*) {
  return get_all(as_collection(self)->store, name_of(self));
}

PyObject* collection_delete_all(PyObject* self, PyObject*) {
  return delete_all(as_collection(self)->store, name_of(self));
}

PyObject* collection_snapshot(PyObject* self, PyObject* yield) {
  return snapshot(as_collection(self)->store, name_of(self), {}, yield);
}

Py_ssize_t collection_length(PyObject* self) {
  uint64_t members = 0;
  if (!count(as_collection(self)->store, name_of(self), &members)) return -1;
  return static_cast<Py_ssize_t>(members);
}

PyObject* collection_get_name(PyObject* self, void*) { return decode(name_of(self)); }

PyObject* collection_get_store(PyObject* self, void*) {
  return new_reference(reinterpret_cast<PyObject*>(as_collection(self)->store));
}

PyGetSetDef collection_properties[] = {
    {"name", collection_get_name, nullptr, "The name of the collection.", nullptr},
    {"store", collection_get_store, nullptr, "The store that it belongs to.", nullptr},
    {},
};

const PyMethodDef kCollectionMethods[] = {
    {"get_all", collection_get_all, METH_NOARGS,
     "get_all($self, /)\n--\n\n"
     "All members and their values, as they were at one instant, as a dict."},
    {"delete_all", collection_delete_all, METH_NOARGS,
     "delete_all($self, /)\n--\n\n"
     "Removes all members at one instant, and says how many there were."},
    {"_snapshot", collection_snapshot, METH_O, "_snapshot($self, what, /)\n--\n\n"},
    {},
};

}  // namespace

bool create_collection_type(PyObject* module) {
  static std::vector<PyMethodDef> methods = Keyed<Members>::methods();
  methods.insert(methods.end(), std::begin(kCollectionMethods), std::end(kCollectionMethods));
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("What dskvs.Collection is made of.")},
      {Py_tp_new, reinterpret_cast<void*>(collection_new)},
      {Py_tp_dealloc, reinterpret_cast<void*>(collection_dealloc)},
      {Py_tp_traverse, reinterpret_cast<void*>(collection_traverse)},
      {Py_tp_methods, methods.data()},
      {Py_tp_getset, collection_properties},
      {Py_mp_subscript, reinterpret_cast<void*>(Keyed<Members>::subscript)},
      {Py_mp_ass_subscript, reinterpret_cast<void*>(Keyed<Members>::assign_subscript)},
      {Py_mp_length, reinterpret_cast<void*>(collection_length)},
      {Py_sq_contains, reinterpret_cast<void*>(Keyed<Members>::contains_key)},
      {0, nullptr},
  };
  PyType_Spec spec = {"dskvs._core.Collection", sizeof(CollectionObject), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};
  auto* type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  return type != nullptr && PyModule_AddType(module, type) == 0;
}

}  // namespace dskvs::python
