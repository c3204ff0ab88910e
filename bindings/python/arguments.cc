#include "arguments.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

namespace dskvs::python {

bool Text::set(const char* what, PyObject* object) {
  if (PyUnicode_Check(object)) {
    Py_ssize_t size = 0;
    const char* data = PyUnicode_AsUTF8AndSize(object, &size);
    if (data == nullptr) return set_escaped(object);
    bytes_ = {data, static_cast<size_t>(size)};
    return true;
  }
  if (PyBytes_Check(object)) {
    bytes_ = {PyBytes_AS_STRING(object), static_cast<size_t>(PyBytes_GET_SIZE(object))};
    return true;
  }
  PyErr_Format(PyExc_TypeError, "%s is str or bytes, not %.100s", what, Py_TYPE(object)->tp_name);
  return false;
}

bool Text::set_escaped(PyObject* object) {
  if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) return false;
  PyErr_Clear();
  escaped_ = py::reinterpret_steal<py::object>(
      PyUnicode_AsEncodedString(object, "utf-8", "surrogateescape"));
  if (!escaped_) return false;
  bytes_ = {PyBytes_AS_STRING(escaped_.ptr()),
            static_cast<size_t>(PyBytes_GET_SIZE(escaped_.ptr()))};
  return true;
}

bool Key::set(PyObject* key) {
  if (!text_.set("a key", key)) return false;
  bytes_ = text_.bytes();
  return true;
}

bool Key::set(std::string_view prefix, PyObject* member) {
  if (!text_.set("a key", member)) return false;
  // A key that is too long is refused by its size alone: one byte too many says enough.
  size_t size = std::min<size_t>(prefix.size() + text_.size(), DSKVS_KEY_SIZE_MAX + 1);
  char* bytes = small_;
  if (size > sizeof small_) {
    large_.reset(new (std::nothrow) char[size]);
    bytes = large_.get();
    if (bytes == nullptr) {
      PyErr_NoMemory();
      return false;
    }
  }
  size_t prefix_size = std::min(prefix.size(), size);
  std::memcpy(bytes, prefix.data(), prefix_size);
  std::memcpy(bytes + prefix_size, text_.data(), size - prefix_size);
  bytes_ = {bytes, size};
  return true;
}

bool ValueBytes::set(PyObject* object) {
  if (PyBytes_CheckExact(object)) {
    data_ = PyBytes_AS_STRING(object);
    size_ = static_cast<size_t>(PyBytes_GET_SIZE(object));
    return true;
  }
  if (!PyObject_CheckBuffer(object)) {
    PyErr_Format(PyExc_TypeError, "a value is bytes or another buffer, not %.100s%s",
                 Py_TYPE(object)->tp_name, PyUnicode_Check(object) ? ": encode it" : "");
    return false;
  }
  if (PyObject_GetBuffer(object, &buffer_, PyBUF_SIMPLE) != 0) return false;
  data_ = buffer_.buf;
  size_ = static_cast<size_t>(buffer_.len);
  return true;
}

bool read_timeout_ms(PyObject* seconds, uint64_t* timeout_ms) {
  *timeout_ms = DSKVS_FOREVER;
  if (seconds == Py_None) return true;
  double value = PyFloat_AsDouble(seconds);
  if (value == -1.0 && PyErr_Occurred() != nullptr) return false;
  if (std::isnan(value) || value < 0) {
    PyErr_SetString(PyExc_ValueError, "a timeout is a number of seconds from 0, or None");
    return false;
  }
  constexpr double kMillisecondsMax = 9e15;  // doubles are exact below
  double milliseconds = std::ceil(value * 1000);
  if (milliseconds < kMillisecondsMax) *timeout_ms = static_cast<uint64_t>(milliseconds);
  return true;
}

}  // namespace dskvs::python
