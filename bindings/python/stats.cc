#include "stats.h"

#include <iterator>

namespace dskvs::python {
namespace {

struct Field {
  uint64_t dskvs_stats_t::*member;
  const char* name;
  const char* text;
};

constexpr Field kFields[] = {
    {&dskvs_stats_t::collections, "collections", "collections that have a member"},
    {&dskvs_stats_t::entries, "entries", "keys"},
    {&dskvs_stats_t::key_bytes, "key_bytes", "bytes of all keys"},
    {&dskvs_stats_t::value_bytes, "value_bytes", "bytes of all values"},
    {&dskvs_stats_t::memory_bytes, "memory_bytes", "bytes of memory of the entries and tables"},
    {&dskvs_stats_t::dirty_bytes, "dirty_bytes", "bytes accepted and not yet written"},
    {&dskvs_stats_t::accepted_epoch, "accepted_epoch", "newest epoch that holds a write"},
    {&dskvs_stats_t::written_epoch, "written_epoch",
     "up to here everything survives the death of the process"},
    {&dskvs_stats_t::durable_epoch, "durable_epoch",
     "up to here everything survives the loss of power"},
    {&dskvs_stats_t::written_lag_us, "written_lag_us", "age of the oldest write not yet written"},
    {&dskvs_stats_t::durable_lag_us, "durable_lag_us", "age of the oldest write not yet durable"},
    {&dskvs_stats_t::disk_bytes, "disk_bytes",
     "bytes of the log files and of the reserve for a full disk"},
    {&dskvs_stats_t::segments, "segments", "log files"},
    {&dskvs_stats_t::bytes_written, "bytes_written", "bytes written to the log since open"},
    {&dskvs_stats_t::syncs, "syncs", "successful syncs since open"},
    {&dskvs_stats_t::last_error, "last_error", "status of the persister; 0: it is well"},
    {&dskvs_stats_t::recovered_epoch, "recovered_epoch", "epoch that open restored"},
    {&dskvs_stats_t::lost_epochs, "lost_epochs",
     "epochs beyond it that a crash is known to have cost"},
    {&dskvs_stats_t::frames_cut, "frames_cut", "frames that recovery cut from the log's tail"},
    {&dskvs_stats_t::live_bytes, "live_bytes", "bytes the current entries take in a fresh log"},
    {&dskvs_stats_t::bytes_accepted, "bytes_accepted", "bytes put and deleted since open"},
    {&dskvs_stats_t::bytes_cleaned, "bytes_cleaned", "bytes of bytes_written written by cleaning"},
    {&dskvs_stats_t::heals, "heals", "times the persister left a failed file and caught up"},
    {&dskvs_stats_t::dirty_bytes_max, "dirty_bytes_max",
     "at so many dirty_bytes a put waits now: the option, or less while the log or the disk has no "
     "room"},
};
static_assert(sizeof(dskvs_stats_t) == sizeof(uint64_t) * (1 + std::size(kFields)));

PyTypeObject* stats_type = nullptr;

// Statuses are signed; everything else counts.
PyObject* to_int(const Field& field, uint64_t value) {
  if (field.member != &dskvs_stats_t::last_error) return PyLong_FromUnsignedLongLong(value);
  return PyLong_FromLongLong(static_cast<long long>(value));
}

}  // namespace

bool create_stats_type(PyObject* module) {
  static PyStructSequence_Field fields[std::size(kFields) + 1] = {};
  for (size_t i = 0; i < std::size(kFields); ++i) fields[i] = {kFields[i].name, kFields[i].text};
  static PyStructSequence_Desc description = {"dskvs._core.Stats", "Figures of a store.", fields,
                                              static_cast<int>(std::size(kFields))};
  stats_type = PyStructSequence_NewType(&description);
  return stats_type != nullptr && PyModule_AddType(module, stats_type) == 0;
}

PyObject* new_stats(const dskvs_stats_t& stats) {
  PyObject* result = PyStructSequence_New(stats_type);
  if (result == nullptr) return nullptr;
  for (size_t i = 0; i < std::size(kFields); ++i) {
    PyObject* figure = to_int(kFields[i], stats.*kFields[i].member);
    if (figure == nullptr) {
      Py_DECREF(result);
      return nullptr;
    }
    PyStructSequence_SET_ITEM(result, static_cast<Py_ssize_t>(i), figure);
  }
  return result;
}

}  // namespace dskvs::python
