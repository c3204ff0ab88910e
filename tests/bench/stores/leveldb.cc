#include <leveldb/cache.h>
#include <leveldb/db.h>
#include <leveldb/filter_policy.h>
#include <leveldb/write_batch.h>

#include "fail.h"
#include "store.h"

namespace bench {
namespace {

void expect(const leveldb::Status& status, const char* what) {
  if (!status.ok()) fail("LevelDB: {}: {}", what, status.ToString());
}

leveldb::Slice to_slice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }

class LevelSession : public Session {
 public:
  explicit LevelSession(leveldb::DB* db) : db_(db) {}

  void put(std::string_view key, std::string_view value) override {
    expect(db_->Put({}, to_slice(key), to_slice(value)), "put");
  }

  std::string_view get_copied(std::string_view key) override {
    leveldb::Status status = db_->Get({}, to_slice(key), &copy_);
    if (status.IsNotFound()) return {};
    expect(status, "get");
    return copy_;
  }

  // A delete is blind there: it does not know whether there was something.
  bool erase(std::string_view key) override {
    expect(db_->Delete({}, to_slice(key)), "delete");
    return true;
  }

  uint64_t get_all(std::string_view collection, uint64_t* digest) override {
    return walk(collection, [&](const leveldb::Iterator& cursor) {
      look_at(cursor.value().data(), cursor.value().size(), digest);
    });
  }

  void delete_all(std::string_view collection) override {
    leveldb::WriteBatch batch;
    walk(collection, [&](const leveldb::Iterator& cursor) { batch.Delete(cursor.key()); });
    expect(db_->Write({}, &batch), "delete all");
  }

 private:
  template <typename Visit>
  uint64_t walk(std::string_view collection, Visit visit) {
    KeyRange range(collection);
    std::unique_ptr<leveldb::Iterator> cursor(db_->NewIterator({}));
    uint64_t count = 0;
    for (cursor->Seek(range.first); cursor->Valid() && cursor->key().compare(range.limit) < 0;
         cursor->Next(), ++count) {
      visit(*cursor);
    }
    expect(cursor->status(), "scan");
    return count;
  }

  leveldb::DB* db_;
  std::string copy_;
};

class LevelStore : public Store {
 public:
  explicit LevelStore(const StoreConfig& config)
      : cache_(leveldb::NewLRUCache(size_t{4} << 30)), filter_(leveldb::NewBloomFilterPolicy(10)) {
    leveldb::Options options;
    options.create_if_missing = true;
    options.compression = leveldb::kNoCompression;
    options.block_cache = cache_.get();
    options.filter_policy = filter_.get();
    options.write_buffer_size = size_t{64} << 20;
    options.max_file_size = size_t{64} << 20;
    leveldb::DB* db = nullptr;
    expect(leveldb::DB::Open(options, config.directory, &db), "open");
    db_.reset(db);
  }

  std::unique_ptr<Session> session() override { return std::make_unique<LevelSession>(db_.get()); }

  // There is no call for it but a synced write.
  void sync() override {
    leveldb::WriteOptions options;
    options.sync = true;
    expect(db_->Delete(options, "\x7fnothing"), "sync");
  }

 private:
  std::unique_ptr<leveldb::Cache> cache_;
  std::unique_ptr<const leveldb::FilterPolicy> filter_;
  std::unique_ptr<leveldb::DB> db_;
};

}  // namespace

extern const StoreKind kLeveldbStore;
const StoreKind kLeveldbStore = {
    "leveldb", "sync=false, no compression, 4 GiB cache, bloom filter, 64 MiB buffer and files",
    kPersists | kScans, [](const StoreConfig& config) -> std::unique_ptr<Store> {
      return std::make_unique<LevelStore>(config);
    }};

}  // namespace bench
