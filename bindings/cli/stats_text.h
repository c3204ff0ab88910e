// dskvs_stats_t, printed.
#pragma once

#include <dskvs/dskvs.h>

#include <string>

namespace dskvs::cli {

// A field a line, all of them.
std::string stats_table(const dskvs_stats_t& stats);

// An object with all fields; last_error is the status, a negative number or 0.
std::string stats_json(const dskvs_stats_t& stats);

// The few columns of `dskvs watch`.
std::string watch_header();
std::string watch_line(const dskvs_stats_t& stats);

}  // namespace dskvs::cli
