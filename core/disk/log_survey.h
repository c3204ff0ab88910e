// What stands in a store's directory, before any frame is believed: its segments and their headers.
#pragma once

#include "disk/file.h"
#include "disk/segment_format.h"
#include "disk/segment_reader.h"
#include "status.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace dskvs {

enum class SegmentState {
  kGood,
  kTorn,     // a crash came before its header was durable: it never held a frame
  kBad,      // its header is damaged
  kForeign,  // its header is another store's
  kNoFile,   // what bears its name is no regular file
};

struct SegmentInfo {
  uint64_t id;
  uint64_t bytes;
  SegmentState state;
  SegmentHeader header;  // kGood and kForeign
};

struct Survey {
  std::vector<SegmentInfo> segments;  // by id, oldest first
  StoreId store_id{};                 // the newest good header's
  uint64_t bytes = 0;                 // of all segments
  bool reserve = false;               // is there: so something was durable once

  const SegmentInfo* find(uint64_t id) const;
};

// kVersion when any segment is of a later format. kNotFound when one goes away meanwhile.
Status survey_log(Directory& directory, Survey* survey);

// Whether the directory's segments, or their sizes, are no longer what `survey` says.
bool has_changed(Directory& directory, const Survey& survey);

// A segment of the log, and where the log leaves it.
struct LogLink {
  const SegmentInfo* segment;
  uint64_t end;
};

// Opens a segment to read its frames up to `end`.
Status open_frames(Directory& directory, const StoreId& store_id, const SegmentInfo& segment,
                   uint64_t end, SegmentReader* reader);

}  // namespace dskvs
