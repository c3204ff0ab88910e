#include "errors.h"

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace dskvs::python {
namespace {

struct Row {
  int32_t status;
  const char* name;
  int error_number;  // 0: the class is no OSError that carries one
};

// Any other status, and any that a later library adds, is a plain Error.
constexpr Row kRows[] = {
    {DSKVS_TIMEOUT, "WaitTimeout", 0},
    {DSKVS_CONFLICT, "ConflictError", 0},
    {DSKVS_ERR_ARGUMENT, "InvalidArgumentError", 0},
    {DSKVS_ERR_KEY, "InvalidKeyError", 0},
    {DSKVS_ERR_PATH, "PathError", EINVAL},
    {DSKVS_ERR_LOCKED, "LockedError", EAGAIN},
    {DSKVS_ERR_CLOSED, "ClosedError", 0},
    {DSKVS_ERR_FORKED, "ForkedError", 0},
    {DSKVS_ERR_READ_ONLY, "ReadOnlyError", 0},
    {DSKVS_ERR_MEMORY, "OutOfMemoryError", 0},
    {DSKVS_ERR_FULL, "FullError", 0},
    {DSKVS_ERR_SPACE, "StorageError", ENOSPC},
    {DSKVS_ERR_IO, "StorageError", EIO},
    {DSKVS_ERR_CORRUPT, "CorruptError", EUCLEAN},
    {DSKVS_ERR_VERSION, "VersionError", ENOTSUP},
    {DSKVS_ERR_INTERNAL, "Error", 0},
};
constexpr const Row& kUnknown = kRows[std::size(kRows) - 1];

std::array<PyObject*, std::size(kRows)> classes;  // kept until the process ends

// What makes a path unfit, as far as the system can tell; EINVAL when only dskvs objects.
int path_error_number(PyObject* path) {
  auto name = py::reinterpret_steal<py::object>(PyUnicode_EncodeFSDefault(path));
  struct stat found;
  if (!name) {
    PyErr_Clear();
    return EINVAL;
  }
  if (::stat(PyBytes_AS_STRING(name.ptr()), &found) != 0) return errno;
  return S_ISDIR(found.st_mode) ? EINVAL : ENOTDIR;
}

PyObject* make_exception(const Row& row, PyObject* type, PyObject* text, PyObject* path) {
  if (row.error_number == 0) return PyObject_CallOneArg(type, text);
  if (path == nullptr) return PyObject_CallFunction(type, "iO", row.error_number, text);
  int number = row.status == DSKVS_ERR_PATH ? path_error_number(path) : row.error_number;
  return PyObject_CallFunction(type, "iOO", number, text, path);
}

}  // namespace

void load_exceptions() {
  py::module_ errors = py::module_::import("dskvs._errors");
  for (size_t i = 0; i < std::size(kRows); ++i) {
    classes[i] = py::object(errors.attr(kRows[i].name)).release().ptr();
  }
}

PyObject* raise_status(int32_t status, PyObject* path) {
  const char* words = dskvs_last_error();
  // A handle's number says nothing to those who hold an object; and TIMEOUT and CONFLICT are
  // outcomes, not errors, of which dskvs_last_error() says nothing.
  if (status == DSKVS_ERR_CLOSED) words = "the store is closed";
  if (status == DSKVS_TIMEOUT) words = "not reached within the timeout";
  if (status == DSKVS_CONFLICT) words = "the key's current entry is another one";
  if (*words == '\0') words = dskvs_status_name(status);
  const Row* row = &kUnknown;
  for (const Row& candidate : kRows) {
    if (candidate.status == status) row = &candidate;
  }
  PyObject* type = classes[static_cast<size_t>(row - kRows)];
  auto size = static_cast<Py_ssize_t>(std::strlen(words));
  auto text = py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(words, size, "replace"));
  if (!text) return nullptr;
  auto exception = py::reinterpret_steal<py::object>(make_exception(*row, type, text.ptr(), path));
  if (!exception) return nullptr;
  auto code = py::reinterpret_steal<py::object>(PyLong_FromLong(status));
  if (code && PyObject_SetAttrString(exception.ptr(), "code", code.ptr()) == 0) {
    PyErr_SetObject(type, exception.ptr());
  }
  return nullptr;
}

PyObject* raise_missing(PyObject* key) {
  PyErr_SetObject(PyExc_KeyError, key);
  return nullptr;
}

}  // namespace dskvs::python
