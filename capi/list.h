// What dskvs_list is: entries, each with one reference, and a cursor.
#pragma once

#include "memory/entry.h"

#include <vector>

struct dskvs_list {
  dskvs_list() = default;
  dskvs_list(const dskvs_list&) = delete;
  dskvs_list& operator=(const dskvs_list&) = delete;
  ~dskvs_list() {
    for (size_t i = 0; i < entries.size(); i++) {
      if (i + 8 < entries.size()) __builtin_prefetch(entries[i + 8], 1);
      entries[i]->unpin();
    }
  }

  std::vector<dskvs::Entry*> entries;
  size_t next = 0;
};
