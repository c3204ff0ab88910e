#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>

#include "fail.h"
#include "store.h"

namespace bench {
namespace {

void expect(const rocksdb::Status& status, const char* what) {
  if (!status.ok()) fail("RocksDB: {}: {}", what, status.ToString());
}

rocksdb::Slice to_slice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }

class RocksSession : public Session {
 public:
  explicit RocksSession(rocksdb::DB* db) : db_(db) {}

  void put(std::string_view key, std::string_view value) override {
    expect(db_->Put({}, to_slice(key), to_slice(value)), "put");
  }

  std::string_view get_copied(std::string_view key) override {
    if (!find(key)) return {};
    copy_.assign(pinned_.data(), pinned_.size());
    return copy_;
  }

  bool get_pinned(std::string_view key, uint64_t* digest) override {
    if (!find(key)) return false;
    look_at(pinned_.data(), pinned_.size(), digest);
    return true;
  }

  // A delete is blind there: it does not know whether there was something.
  bool erase(std::string_view key) override {
    expect(db_->Delete({}, to_slice(key)), "delete");
    return true;
  }

  uint64_t get_all(std::string_view collection, uint64_t* digest) override {
    KeyRange range(collection);
    rocksdb::Slice limit = to_slice(range.limit);
    rocksdb::ReadOptions options;
    options.iterate_upper_bound = &limit;
    std::unique_ptr<rocksdb::Iterator> cursor(db_->NewIterator(options));
    uint64_t count = 0;
    for (cursor->Seek(to_slice(range.first)); cursor->Valid(); cursor->Next(), ++count) {
      look_at(cursor->value().data(), cursor->value().size(), digest);
    }
    expect(cursor->status(), "scan");
    return count;
  }

  void delete_all(std::string_view collection) override {
    KeyRange range(collection);
    expect(db_->DeleteRange({}, db_->DefaultColumnFamily(), to_slice(range.first),
                            to_slice(range.limit)),
           "delete range");
  }

 private:
  bool find(std::string_view key) {
    pinned_.Reset();
    rocksdb::Status status = db_->Get({}, db_->DefaultColumnFamily(), to_slice(key), &pinned_);
    if (status.IsNotFound()) return false;
    expect(status, "get");
    return true;
  }

  rocksdb::DB* db_;
  rocksdb::PinnableSlice pinned_;
  std::string copy_;
};

class RocksStore : public Store {
 public:
  explicit RocksStore(const StoreConfig& config) {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.compression = rocksdb::kNoCompression;
    options.IncreaseParallelism(2);
    options.OptimizeForPointLookup(4096);  // MiB of block cache: everything fits
    rocksdb::DB* db = nullptr;
    expect(rocksdb::DB::Open(options, config.directory, &db), "open");
    db_.reset(db);
  }
  ~RocksStore() override { expect(db_->Close(), "close"); }

  std::unique_ptr<Session> session() override { return std::make_unique<RocksSession>(db_.get()); }
  void sync() override { expect(db_->SyncWAL(), "sync"); }

 private:
  std::unique_ptr<rocksdb::DB> db_;
};

}  // namespace

extern const StoreKind kRocksdbStore;
const StoreKind kRocksdbStore = {
    "rocksdb", "sync=false, no compression, OptimizeForPointLookup with 4 GiB cache, 2 job threads",
    kPersists | kPins | kScans, [](const StoreConfig& config) -> std::unique_ptr<Store> {
      return std::make_unique<RocksStore>(config);
    }};

}  // namespace bench
