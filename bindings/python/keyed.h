// The calls of one key, for a store (whole keys) and for a collection (members). `Scope` says
// which: it has
//   static StoreObject* store(PyObject* self);
//   static bool set_key(PyObject* self, PyObject* object, Key* key);  // false: Python error set
#pragma once

#include <vector>

#include "errors.h"
#include "store.h"
#include "view.h"

namespace dskvs::python {

// The keys of a bulk call, copied, so that the call can do without the GIL.
class PackedKeys {
 public:
  void add(const Key& key) {
    bytes_.append(key.bytes());
    ends_.push_back(bytes_.size());
  }
  size_t count() const { return ends_.size(); }
  std::string_view key(size_t i) const {
    size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(bytes_).substr(begin, ends_[i] - begin);
  }

 private:
  std::string bytes_;
  std::vector<size_t> ends_;
};

// {key: value} of those of `objects` (a list, as `keys` has them) that have a value.
PyObject* get_packed(StoreObject* store, const PackedKeys& keys, PyObject* objects);

template <typename Scope>
class Keyed {
 public:
  // The rows of the method table; the caller adds its own and the end.
  static std::vector<PyMethodDef> methods();

  static PyObject* subscript(PyObject* self, PyObject* object) {
    Key key;
    PyObject* value = nullptr;
    if (!Scope::set_key(self, object, &key)) return nullptr;
    Outcome outcome = fetch(Scope::store(self), key, &value);
    return outcome == Outcome::kMissing ? raise_missing(object) : value;
  }

  static int assign_subscript(PyObject* self, PyObject* object, PyObject* value) {
    if (value != nullptr) return put_value(self, object, value) ? 0 : -1;
    int removed = remove(self, object);
    if (removed == 0) raise_missing(object);
    return removed == 1 ? 0 : -1;
  }

  static int contains_key(PyObject* self, PyObject* object) {
    Key key;
    if (!Scope::set_key(self, object, &key)) return -1;
    StoreObject* store = Scope::store(self);
    int32_t status = dskvs_contains(store->handle, key.data(), key.size());
    if (status == DSKVS_OK) return 1;
    if (status == DSKVS_NOT_FOUND) return 0;
    raise_status(status, store);
    return -1;
  }

 private:
  static PyObject* get(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (!check_count("get", count, 1, 2)) return nullptr;
    Key key;
    PyObject* value = nullptr;
    if (!Scope::set_key(self, arguments[0], &key)) return nullptr;
    Outcome outcome = fetch(Scope::store(self), key, &value);
    if (outcome != Outcome::kMissing) return value;
    return new_reference(count == 2 ? arguments[1] : Py_None);
  }

  static PyObject* put(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (!check_count("put", count, 2, 2)) return nullptr;
    if (!put_value(self, arguments[0], arguments[1])) return nullptr;
    Py_RETURN_NONE;
  }

  static PyObject* remove_method(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (!check_count("delete", count, 1, 1)) return nullptr;
    int removed = remove(self, arguments[0]);
    return removed < 0 ? nullptr : PyBool_FromLong(removed);
  }

  static PyObject* contains(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (!check_count("contains", count, 1, 1)) return nullptr;
    int found = contains_key(self, arguments[0]);
    return found < 0 ? nullptr : PyBool_FromLong(found);
  }

  static PyObject* view(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (!check_count("view", count, 1, 2)) return nullptr;
    Key key;
    if (!Scope::set_key(self, arguments[0], &key)) return nullptr;
    StoreObject* store = Scope::store(self);
    Pinned pinned;
    int32_t status = pinned.get(store->handle, key.data(), key.size());
    if (status == DSKVS_OK) return new_view(pinned);
    if (status != DSKVS_NOT_FOUND) return raise_status(status, store);
    return new_reference(count == 2 ? arguments[1] : Py_None);
  }

  static PyObject* put_if(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (!check_count("put_if", count, 3, 3)) return nullptr;
    Held held;
    if (!held.set(arguments[2])) return nullptr;
    int32_t status = DSKVS_OK;
    if (!put_value(self, arguments[0], arguments[1], held.value(), &status)) return nullptr;
    if (status != DSKVS_OK) return raise_status(status, Scope::store(self));
    Py_RETURN_NONE;
  }

  static PyObject* delete_if(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (!check_count("delete_if", count, 2, 2)) return nullptr;
    Key key;
    Held held;
    if (!Scope::set_key(self, arguments[0], &key) || !held.set(arguments[1])) return nullptr;
    StoreObject* store = Scope::store(self);
    take_headroom(store, key.size());
    int32_t status = dskvs_delete_if(store->handle, key.data(), key.size(), held.value());
    if (status != DSKVS_OK && status != DSKVS_NOT_FOUND) return raise_status(status, store);
    return PyBool_FromLong(status == DSKVS_OK);
  }

  static PyObject* pop(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (!check_count("pop", count, 1, 2)) return nullptr;
    Key key;
    if (!Scope::set_key(self, arguments[0], &key)) return nullptr;
    StoreObject* store = Scope::store(self);
    take_headroom(store, key.size());
    int32_t status = DSKVS_CONFLICT;
    while (status == DSKVS_CONFLICT) {  // what is popped is what is removed
      Pinned pinned;
      status = pinned.get(store->handle, key.data(), key.size());
      if (status == DSKVS_NOT_FOUND && count == 2) return new_reference(arguments[1]);
      if (status == DSKVS_NOT_FOUND) return raise_missing(arguments[0]);
      if (status != DSKVS_OK) break;
      auto value = py::reinterpret_steal<py::object>(copy_to_bytes(pinned.data(), pinned.size()));
      if (!value) return nullptr;
      status = dskvs_delete_if(store->handle, key.data(), key.size(), pinned.data());
      if (status == DSKVS_OK) return value.release().ptr();
    }
    return raise_status(status, store);
  }

  static PyObject* setdefault(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (!check_count("setdefault", count, 2, 2)) return nullptr;
    auto value = py::reinterpret_steal<py::object>(PyBytes_CheckExact(arguments[1])
                                                       ? new_reference(arguments[1])
                                                       : copy_of_value(arguments[1]));
    if (!value) return nullptr;
    StoreObject* store = Scope::store(self);
    int32_t status = DSKVS_CONFLICT;
    while (status == DSKVS_CONFLICT) {
      Key key;
      PyObject* present = nullptr;
      if (!Scope::set_key(self, arguments[0], &key)) return nullptr;
      if (fetch(store, key, &present) != Outcome::kMissing) return present;
      if (!put_value(self, arguments[0], value.ptr(), nullptr, &status)) return nullptr;
    }
    return status == DSKVS_OK ? value.release().ptr() : raise_status(status, store);
  }

  static PyObject* get_many(PyObject* self, PyObject* const* arguments, Py_ssize_t count) try {
    if (!check_count("get_many", count, 1, 1)) return nullptr;
    auto objects = py::reinterpret_steal<py::object>(PySequence_List(arguments[0]));
    if (!objects) return nullptr;
    PackedKeys keys;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(objects.ptr()); ++i) {
      Key key;
      if (!Scope::set_key(self, PyList_GET_ITEM(objects.ptr(), i), &key)) return nullptr;
      keys.add(key);
    }
    return get_packed(Scope::store(self), keys, objects.ptr());
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }

  static PyObject* copy_of_value(PyObject* object) {
    ValueBytes value;
    if (!value.set(object)) return nullptr;
    return PyBytes_FromStringAndSize(static_cast<const char*>(value.data()),
                                     static_cast<Py_ssize_t>(value.size()));
  }

  static bool put_value(PyObject* self, PyObject* object, PyObject* value_object) {
    Key key;
    ValueBytes value;
    if (!Scope::set_key(self, object, &key) || !value.set(value_object)) return false;
    StoreObject* store = Scope::store(self);
    int32_t status = DSKVS_OK;
    auto call = [&] {
      return dskvs_put(store->handle, key.data(), key.size(), value.data(), value.size());
    };
    if (!write(store, key.size() + value.size(), call, &status)) return false;
    if (status == DSKVS_OK) return true;
    raise_status(status, store);
    return false;
  }

  // As dskvs_put_if(). False with a Python error set when it was not called.
  static bool put_value(PyObject* self, PyObject* object, PyObject* value_object, const void* held,
                        int32_t* status) {
    Key key;
    ValueBytes value;
    if (!Scope::set_key(self, object, &key) || !value.set(value_object)) return false;
    StoreObject* store = Scope::store(self);
    auto call = [&] {
      return dskvs_put_if(store->handle, key.data(), key.size(), held, value.data(), value.size());
    };
    return write(store, key.size() + value.size(), call, status);
  }

  // 1: it had a value; 0: it had none; -1: Python error set.
  static int remove(PyObject* self, PyObject* object) {
    Key key;
    if (!Scope::set_key(self, object, &key)) return -1;
    StoreObject* store = Scope::store(self);
    take_headroom(store, key.size());
    int32_t status = dskvs_delete(store->handle, key.data(), key.size());
    if (status == DSKVS_OK || status == DSKVS_NOT_FOUND) return status == DSKVS_OK ? 1 : 0;
    raise_status(status, store);
    return -1;
  }
};

template <typename Scope>
std::vector<PyMethodDef> Keyed<Scope>::methods() {
  return {
      {"get", as_method(get), METH_FASTCALL,
       "get($self, key, default=None, /)\n--\n\n"
       "The value of key as bytes, or default when there is none."},
      {"put", as_method(put), METH_FASTCALL,
       "put($self, key, value, /)\n--\n\n"
       "Makes value, bytes or any other buffer, the value of key."},
      {"delete", as_method(remove_method), METH_FASTCALL,
       "delete($self, key, /)\n--\n\n"
       "Removes key, and says whether it had a value."},
      {"contains", as_method(contains), METH_FASTCALL,
       "contains($self, key, /)\n--\n\n"
       "Whether key has a value."},
      {"view", as_method(view), METH_FASTCALL,
       "view($self, key, default=None, /)\n--\n\n"
       "The value of key as a read-only memoryview, without copying, or default when there is "
       "none.\n"
       "It stays as it is after the key is overwritten or deleted and the store closed, and keeps\n"
       "its memory until it is released. Above about 16 KiB it is faster than get(). It is also "
       "what\n"
       "put_if() and delete_if() know an entry by."},
      {"put_if", as_method(put_if), METH_FASTCALL,
       "put_if($self, key, value, held, /)\n--\n\n"
       "As put(), but only while key's entry is still the one that held was got from by view(), "
       "and\n"
       "with held None only while there is none; else raises ConflictError."},
      {"delete_if", as_method(delete_if), METH_FASTCALL,
       "delete_if($self, key, held, /)\n--\n\n"
       "As delete(), on the condition of put_if()."},
      {"pop", as_method(pop), METH_FASTCALL,
       "pop($self, key, default=<unrepresentable>, /)\n--\n\n"
       "Removes key and returns the value removed; without one, default or else KeyError."},
      {"setdefault", as_method(setdefault), METH_FASTCALL,
       "setdefault($self, key, default, /)\n--\n\n"
       "The value of key; where there is none, default becomes it first."},
      {"get_many", as_method(get_many), METH_FASTCALL,
       "get_many($self, keys, /)\n--\n\n"
       "A dict of those of keys that have a value, each with its value."},
  };
}

}  // namespace dskvs::python
