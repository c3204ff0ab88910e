// What Python hands in, as bytes: keys, names, values, times.
#pragma once

#include <memory>
#include <string_view>

#include "python.h"

namespace dskvs::python {

// Bytes of a str (UTF-8, with surrogateescape, so that every key has a str) or of a bytes object.
// They live as long as this and the object do.
class Text {
 public:
  // `what` names the argument in a TypeError. False with a Python error set.
  bool set(const char* what, PyObject* object);

  const char* data() const { return bytes_.data(); }
  size_t size() const { return bytes_.size(); }
  std::string_view bytes() const { return bytes_; }

 private:
  bool set_escaped(PyObject* object);

  std::string_view bytes_;
  py::object escaped_;  // holds the bytes of a str that is no valid Unicode
};

// A whole key: what was given, or a collection's prefix and what was given.
class Key {
 public:
  bool set(PyObject* key);
  bool set(std::string_view prefix, PyObject* member);

  const char* data() const { return bytes_.data(); }
  size_t size() const { return bytes_.size(); }
  std::string_view bytes() const { return bytes_; }

 private:
  Text text_;
  std::string_view bytes_;
  std::unique_ptr<char[]> large_;
  char small_[256];
};

// The bytes of anything that has the buffer protocol and lies in one piece.
class ValueBytes {
 public:
  ValueBytes() = default;
  ~ValueBytes() {
    if (buffer_.obj != nullptr) PyBuffer_Release(&buffer_);
  }
  ValueBytes(const ValueBytes&) = delete;
  ValueBytes& operator=(const ValueBytes&) = delete;

  bool set(PyObject* object);

  const void* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const void* data_ = nullptr;
  size_t size_ = 0;
  Py_buffer buffer_{};
};

// A str from the bytes of a key or name; the inverse of Text. NULL with a Python error set.
inline PyObject* decode(std::string_view bytes) {
  return PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()),
                              "surrogateescape");
}

// Seconds (float or int; None: without end) as milliseconds, rounded up.
bool read_timeout_ms(PyObject* seconds, uint64_t* timeout_ms);

}  // namespace dskvs::python
