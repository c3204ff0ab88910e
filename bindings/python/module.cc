// The module dskvs._core: the calls of dskvs.h as Python types and functions. What is better said
// in Python is said in python/dskvs.
#include "collection.h"
#include "errors.h"
#include "progress.h"
#include "python.h"
#include "snapshot.h"
#include "stats.h"
#include "store.h"
#include "view.h"

namespace dskvs::python {
namespace {

// A path as the system takes it.
py::object to_path(const py::object& path) {
  PyObject* bytes = nullptr;
  if (!PyUnicode_FSConverter(path.ptr(), &bytes)) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(bytes);
}

// Runs `call(options, damage)` without the GIL; [(file, damage)] of what it found. ERR_CORRUPT
// is what verify() has to say, not a failure of it.
template <typename Call>
py::object find_damage(const py::object& path_bytes, const py::object& callable, Call call) {
  Progress progress(callable.ptr());
  if (!progress.check()) throw py::error_already_set();
  dskvs_options options = DSKVS_OPTIONS_INIT;
  progress.fill(&options);
  dskvs_list* damage = nullptr;
  int32_t status = DSKVS_OK;
  {
    GilReleased released;
    status = call(&options, &damage);
  }
  List list(damage);
  if (!progress.finish()) throw py::error_already_set();
  bool found = status == DSKVS_ERR_CORRUPT && list;
  if (status != DSKVS_OK && !found) {
    auto path = py::reinterpret_steal<py::object>(
        PyUnicode_DecodeFSDefault(PyBytes_AS_STRING(path_bytes.ptr())));
    if (path) raise_status(status, path.ptr());
    throw py::error_already_set();
  }
  py::object result = py::reinterpret_steal<py::object>(damage_to_list(list.get()));
  if (!result) throw py::error_already_set();
  return result;
}

py::object verify(const py::object& path, const py::object& progress) {
  py::object bytes = to_path(path);
  return find_damage(bytes, progress, [&](const dskvs_options* options, dskvs_list** damage) {
    return dskvs_verify(PyBytes_AS_STRING(bytes.ptr()), options, damage);
  });
}

py::object salvage(const py::object& path, const py::object& target, const py::object& progress) {
  py::object from = to_path(path), to = to_path(target);
  return find_damage(from, progress, [&](const dskvs_options* options, dskvs_list** damage) {
    return dskvs_salvage(PyBytes_AS_STRING(from.ptr()), PyBytes_AS_STRING(to.ptr()), options,
                         damage);
  });
}

void fill(py::module_& module) {
  load_exceptions();
  PyObject* object = module.ptr();
  if (!create_stats_type(object) || !create_pin_type(object) || !create_snapshot_type(object) ||
      !create_store_type(object) || !create_collection_type(object)) {
    throw py::error_already_set();
  }
  module.attr("WRITTEN") = DSKVS_WRITTEN;
  module.attr("DURABLE") = DSKVS_DURABLE;
  module.attr("VERSION") = dskvs_version();
  module.def("verify", &verify);
  module.def("salvage", &salvage);
}

}  // namespace
}  // namespace dskvs::python

#if PYBIND11_VERSION_HEX >= 0x020D0000
PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) { dskvs::python::fill(module); }
#else
PYBIND11_MODULE(_core, module) { dskvs::python::fill(module); }
#endif
