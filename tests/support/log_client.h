// A stand-in for the persister and for what recovery builds: enough to drive the log alone.
#pragma once

#include "disk/log_writer.h"
#include "disk/recovery.h"
#include "disk/store_directory.h"
#include "support/in_order.h"

#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dskvs::test {

using Contents = std::map<std::string, std::string>;  // "collection/member" to value

struct Operation {
  FrameType type;
  std::string key;  // or the collection, of a drop
  std::string value;
};

inline void apply(const Operation& operation, Contents* contents) {
  if (operation.type == FrameType::kPut) (*contents)[operation.key] = operation.value;
  if (operation.type == FrameType::kRemove) contents->erase(operation.key);
  if (operation.type == FrameType::kDrop) {
    std::erase_if(*contents, [&](const auto& entry) {
      return entry.first.compare(0, operation.key.size() + 1, operation.key + "/") == 0;
    });
  }
}

struct Batch {
  uint64_t last_epoch;
  std::vector<Operation> operations;
};

// Takes what recover() or salvage() hands over.
class MapSink : public RecoverySink {
 public:
  Status add(FrameType type, std::string_view key, uint64_t value_size, void** value) override {
    pending_.push_back({type, std::string(key), std::string(value_size, '?')});
    *value = pending_.back().value.data();
    return Status::kOk;
  }
  Status commit(uint64_t last_epoch) override {
    for (const Operation& operation : pending_) apply(operation, &contents);
    batches.push_back({last_epoch, {pending_.begin(), pending_.end()}});
    pending_.clear();
    return Status::kOk;
  }

  Contents contents;
  std::vector<Batch> batches;

 private:
  std::deque<Operation> pending_;  // a value stays where it is
};

struct Recovered {
  Status status = Status::kOk;
  Contents contents;
  std::vector<Batch> batches;
  LogPosition position;
  RecoveryReport report;
};

inline Recovered recover_all(Directory& directory) {
  Recovered result;
  MapSink sink;
  result.status = recover(directory, {}, sink, &result.position, &result.report);
  result.contents = std::move(sink.contents);
  result.batches = std::move(sink.batches);
  return result;
}

// Opens the directory as a store does, for writing.
inline std::unique_ptr<Directory> open_locked(FileSystem& files, const char* path) {
  std::unique_ptr<Directory> directory;
  Status status = open_store_directory(files, path, Presence::kMayCreate, &directory);
  if (status == Status::kOk) status = directory->lock(kLockName);
  return status == Status::kOk ? std::move(directory) : nullptr;
}

// Accepts operations, an epoch at a time, and writes them as the persister does: what is above the
// written epoch, or, where the log continues from its durable point, all that is above that.
class LogClient {
 public:
  LogClient(Directory& directory, uint64_t segment_bytes, Worker* worker = nullptr)
      : recovered(recover_all(directory)) {
    if (recovered.status != Status::kOk) return;
    LogPosition& position = recovered.position;
    if (position.store_id == StoreId{}) position.store_id = {1, 2, 3, 4, 5, 6, 7, 8};
    accepted_ = position.recovered_epoch;
    base_ = recovered.contents;
    base_epoch_ = accepted_;
    for (const Batch& batch : recovered.batches) {
      if (batch.last_epoch > position.durable_epoch) batches_.push_back(batch);
    }
    writer = std::make_unique<LogWriter>(directory, position, segment_bytes, worker);
  }

  // Accepts one epoch, which is not written yet. Its number.
  uint64_t accept(std::vector<Operation> operations) {
    ++accepted_;
    batches_.push_back({accepted_, std::move(operations)});
    return accepted_;
  }
  uint64_t put(const std::string& key, const std::string& value) {
    return accept({{FrameType::kPut, key, value}});
  }

  // Writes all that was accepted.
  Status write(uint64_t first_live_segment = 0) {
    const bool carry = writer->continues_from_durable();
    const uint64_t from = carry ? writer->durable_epoch() : writer->written_epoch();
    if (accepted_ == from) return Status::kOk;
    Status status = writer->begin(accepted_);
    for (const Batch& batch : batches_) {
      if (batch.last_epoch <= from) continue;
      for (const Operation& operation : batch.operations) {
        if (status == Status::kOk) status = append(operation);
      }
    }
    return status == Status::kOk ? writer->commit(first_live_segment) : status;
  }

  Status write_and_sync() {
    const Status status = write();
    return status == Status::kOk ? writer->sync() : status;
  }

  // What the store held when `epoch`, not before the recovered one, was the last.
  Contents at(uint64_t epoch) const {
    Contents contents = base_;
    for (const Batch& batch : batches_) {
      if (batch.last_epoch <= base_epoch_ || batch.last_epoch > epoch) continue;
      for (const Operation& operation : batch.operations) apply(operation, &contents);
    }
    return contents;
  }

  uint64_t accepted() const { return accepted_; }

  Recovered recovered;
  std::unique_ptr<LogWriter> writer;

 private:
  Status append(const Operation& operation) {
    const std::string_view key = operation.key;
    if (operation.type == FrameType::kDrop) return writer->drop(key);
    const size_t slash = key.find('/');
    const std::string_view collection = key.substr(0, slash);
    const std::string_view member = key.substr(slash + 1);
    if (operation.type == FrameType::kRemove) return writer->remove(collection, member);
    return writer->put(collection, member, operation.value.data(), operation.value.size());
  }

  Contents base_;
  uint64_t base_epoch_ = 0;
  uint64_t accepted_ = 0;
  std::vector<Batch> batches_;
};

}  // namespace dskvs::test
