// For the workloads that ask what only dskvs answers.
#pragma once

#include <dskvs/dskvs.h>

#include "fail.h"
#include "store.h"

namespace bench {

inline void expect_dskvs(int32_t status, const char* what) {
  if (status == DSKVS_OK) return;
  fail("dskvs: {}: {}: {}", what, dskvs_status_name(status), dskvs_last_error());
}

// The handle within; the store is one whose kind is_dskvs().
dskvs_t dskvs_handle_of(const Store& store);

inline dskvs_stats_t dskvs_stats_of(dskvs_t store) {
  dskvs_stats_t stats = DSKVS_STATS_INIT;
  expect_dskvs(dskvs_stats(store, &stats), "stats");
  return stats;
}

}  // namespace bench
