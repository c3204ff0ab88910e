// What stands in a store's directory, before any frame is believed: its segments and their headers.
#pragma once

#include "disk/file.h"
#include "disk/segment_format.h"
#include "disk/segment_reader.h"
#include "status.h"

#include <cstdint>
#include <map>
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

Status open_segment(Directory& directory, uint64_t id, std::unique_ptr<File>* file);

// A segment of the log, and where the log leaves it.
struct LogLink {
  const SegmentInfo* segment;
  uint64_t end;
};

// Opens a segment to read its frames up to `end`.
Status open_frames(Directory& directory, const StoreId& store_id, const SegmentInfo& segment,
                   uint64_t end, SegmentReader* reader);

// The rules that the intact frames of one segment must keep to, in order: keys are keys, batches
// are whole, epochs and marks go on where they were.
class SegmentOrder {
 public:
  explicit SegmentOrder(const SegmentHeader& header)
      : header_(header),
        last_epoch_(header.first_epoch - 1),
        durable_epoch_(header.first_epoch - 1) {}

  // Takes the next frame, or says why it cannot stand here. nullptr: it can.
  const char* refuse(const Frame& frame);

  uint64_t last_epoch() const { return last_epoch_; }
  uint64_t end() const { return end_; }  // behind the last commit; 0: there is none
  uint64_t open_frames() const { return batch_.frames; }  // behind it
  uint64_t durable_epoch() const { return durable_epoch_; }
  uint64_t durable_end() const { return durable_end_; }  // of its commit; 0: in a segment before
  uint64_t first_live_segment() const { return first_live_segment_; }

 private:
  bool accept_commit(const CommitPayload& payload, uint64_t end);

  SegmentHeader header_;
  CommitPayload batch_;  // what the frames since the last commit ask of theirs
  uint64_t last_epoch_;
  uint64_t end_ = 0;
  uint64_t durable_epoch_;
  uint64_t durable_end_ = 0;
  uint64_t first_live_segment_ = 1;
  std::map<uint64_t, uint64_t> undurable_;  // the last epochs of commits, and their ends
};

}  // namespace dskvs
