#include "stats_text.h"

#include "formatted.h"
#include "output.h"

#include <ctime>
#include <iterator>
#include <string_view>

namespace dskvs::cli {
namespace {

struct Field {
  std::string_view name;
  uint64_t dskvs_stats_t::*value;
};

constexpr Field kFields[] = {
    {"collections", &dskvs_stats_t::collections},
    {"entries", &dskvs_stats_t::entries},
    {"key_bytes", &dskvs_stats_t::key_bytes},
    {"value_bytes", &dskvs_stats_t::value_bytes},
    {"memory_bytes", &dskvs_stats_t::memory_bytes},
    {"dirty_bytes", &dskvs_stats_t::dirty_bytes},
    {"accepted_epoch", &dskvs_stats_t::accepted_epoch},
    {"written_epoch", &dskvs_stats_t::written_epoch},
    {"durable_epoch", &dskvs_stats_t::durable_epoch},
    {"written_lag_us", &dskvs_stats_t::written_lag_us},
    {"durable_lag_us", &dskvs_stats_t::durable_lag_us},
    {"disk_bytes", &dskvs_stats_t::disk_bytes},
    {"segments", &dskvs_stats_t::segments},
    {"bytes_written", &dskvs_stats_t::bytes_written},
    {"syncs", &dskvs_stats_t::syncs},
    {"last_error", &dskvs_stats_t::last_error},
    {"recovered_epoch", &dskvs_stats_t::recovered_epoch},
    {"lost_epochs", &dskvs_stats_t::lost_epochs},
    {"frames_cut", &dskvs_stats_t::frames_cut},
    {"live_bytes", &dskvs_stats_t::live_bytes},
    {"bytes_accepted", &dskvs_stats_t::bytes_accepted},
    {"bytes_cleaned", &dskvs_stats_t::bytes_cleaned},
    {"heals", &dskvs_stats_t::heals},
    {"dirty_bytes_max", &dskvs_stats_t::dirty_bytes_max},
};
static_assert(sizeof(dskvs_stats_t) == (std::size(kFields) + 1) * sizeof(uint64_t),
              "a field of dskvs_stats_t is not printed");

// All are counts but last_error, a status.
int64_t number_of(const Field& field, const dskvs_stats_t& stats) {
  return static_cast<int64_t>(stats.*field.value);
}

std::string remark_on(const Field& field, const dskvs_stats_t& stats) {
  if (field.name == "last_error") {
    return dskvs_status_name(static_cast<int32_t>(number_of(field, stats)));
  }
  const bool is_bytes = field.name.find("bytes") != std::string_view::npos;
  const auto number = static_cast<double>(stats.*field.value);
  return is_bytes && number >= 1024 ? bytes_text(number) : "";
}

// UTC, as "23:59:59".
std::string time_of_day() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  return formatted("{:02}:{:02}:{:02}", utc.tm_hour, utc.tm_min, utc.tm_sec);
}

}  // namespace

std::string stats_table(const dskvs_stats_t& stats) {
  std::string table;
  for (const Field& field : kFields) {
    const std::string remark = remark_on(field, stats);
    table += formatted("{:<16} {}{}{}\n", field.name, number_of(field, stats),
                       remark.empty() ? "" : "  ", remark);
  }
  return table;
}

std::string stats_json(const dskvs_stats_t& stats) {
  std::string json = "{";
  std::string_view separator;
  for (const Field& field : kFields) {
    json += formatted("{}\"{}\": {}", separator, field.name, number_of(field, stats));
    separator = ", ";
  }
  return json + "}";
}

std::string watch_header() {
  return formatted("{:<8} {:>12} {:>12} {:>12} {:>12} {:>9} {:>12}\n", "UTC", "collections",
                   "entries", "values", "disk", "segments", "epoch");
}

std::string watch_line(const dskvs_stats_t& stats) {
  return formatted(
      "{} {:>12} {:>12} {:>12} {:>12} {:>9} {:>12}\n", time_of_day(), stats.collections,
      stats.entries, bytes_text(static_cast<double>(stats.value_bytes)),
      bytes_text(static_cast<double>(stats.disk_bytes)), stats.segments, stats.recovered_epoch);
}

}  // namespace dskvs::cli
