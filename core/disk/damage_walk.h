// Walks a log as far as it is intact and on behind every damaged place, which recover() never does.
#pragma once

#include "disk/log_survey.h"
#include "disk/segment_reader.h"
#include "status.h"

#include <cstdint>
#include <vector>

namespace dskvs {

// A segment of the log, as well as it can still be told.
struct WalkLink {
  SegmentInfo segment;
  uint64_t end;            // where the log leaves it; of the newest: where the file ends
  uint64_t durable_epoch;  // all up to it must be intact
  bool newest;
  bool cut_off;  // the file ends before `end` should be
};

struct DamageWalk {
  StoreId store_id{};
  std::vector<WalkLink> links;    // oldest first
  std::vector<uint64_t> missing;  // segments that should be there
};

class DamageVisitor {
 public:
  virtual ~DamageVisitor() = default;
  // An intact frame. A large one (value is nullptr) is to be read with read_value(), or left.
  virtual Status frame(const WalkLink& link, const Frame& frame, SegmentReader& reader) = 0;
  // A damaged place. May throw bad_alloc.
  virtual void damage(const WalkLink& link, uint64_t offset, const char* kind) = 0;
  // The link's end. `committed`: so were the frames behind its last intact commit.
  virtual Status end(const WalkLink& link, bool committed) = 0;
};

// Finds the links. kNotFound, kVersion, kIo, kCancelled. Throws bad_alloc.
Status plan_damage_walk(Directory& directory, SegmentReader& reader, DamageWalk* walk);

// Visits all of one link. Ends the newest where a torn tail begins. Throws bad_alloc.
Status walk_link(Directory& directory, const StoreId& store_id, const WalkLink& link,
                 SegmentReader& reader, DamageVisitor& visitor);

}  // namespace dskvs
