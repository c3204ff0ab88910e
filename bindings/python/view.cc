#include "view.h"

#include <cstring>

namespace dskvs::python {
namespace {

struct PinObject {
  PyObject_HEAD const void* value;
  size_t size;
};

PyTypeObject* pin_type = nullptr;

void pin_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  dskvs_release(reinterpret_cast<PinObject*>(self)->value);
  type->tp_free(self);
  Py_DECREF(type);
}

int pin_export(PyObject* self, Py_buffer* buffer, int flags) {
  auto* pin = reinterpret_cast<PinObject*>(self);
  return PyBuffer_FillInfo(buffer, self, const_cast<void*>(pin->value),
                           static_cast<Py_ssize_t>(pin->size), 1, flags);
}

PyType_Slot pin_slots[] = {
    {Py_tp_doc, const_cast<char*>("A pinned value: the object behind what view() returns.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(pin_dealloc)},
    {Py_bf_getbuffer, reinterpret_cast<void*>(pin_export)},
    {0, nullptr},
};
PyType_Spec pin_spec = {"dskvs._core.Pin", sizeof(PinObject), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, pin_slots};

}  // namespace

bool create_pin_type(PyObject* module) {
  pin_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&pin_spec));
  return pin_type != nullptr && PyModule_AddType(module, pin_type) == 0;
}

PyObject* new_view(Pinned& pinned) {
  auto* pin = PyObject_New(PinObject, pin_type);
  if (pin == nullptr) return nullptr;
  pin->size = pinned.size();
  pin->value = pinned.take();
  PyObject* view = PyMemoryView_FromObject(reinterpret_cast<PyObject*>(pin));
  Py_DECREF(pin);
  return view;
}

bool Held::set(PyObject* held) {
  if (held == Py_None) return true;
  if (PyMemoryView_Check(held)) {
    // The attribute, not the struct: it refuses a view that was released.
    auto exporter = py::reinterpret_steal<py::object>(PyObject_GetAttrString(held, "obj"));
    if (!exporter) return false;
    if (Py_IS_TYPE(exporter.ptr(), pin_type)) {
      value_ = reinterpret_cast<PinObject*>(exporter.ptr())->value;
      pin_ = std::move(exporter);
      return true;
    }
  }
  PyErr_SetString(PyExc_TypeError, "held is what view() returned: a memoryview of it, or None");
  return false;
}

PyObject* copy_to_bytes(const void* data, size_t size) {
  if (size < kBigBytes) {
    return PyBytes_FromStringAndSize(static_cast<const char*>(data), static_cast<Py_ssize_t>(size));
  }
  PyObject* bytes = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size));
  if (bytes == nullptr) return nullptr;
  char* target = PyBytes_AS_STRING(bytes);
  GilReleased released;
  std::memcpy(target, data, size);
  return bytes;
}

}  // namespace dskvs::python
