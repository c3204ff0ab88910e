#include <kchashdb.h>

#include <vector>

#include "fail.h"
#include "store.h"

namespace bench {
namespace {

using kyotocabinet::HashDB;

void expect(bool ok, const HashDB& db, const char* what) {
  if (!ok) fail("Kyoto Cabinet: {}: {}", what, db.error().message());
}

class KyotoSession : public Session {
 public:
  KyotoSession(HashDB* db, size_t value_size) : db_(db), buffer_(value_size + 1) {}

  void put(std::string_view key, std::string_view value) override {
    expect(db_->set(key.data(), key.size(), value.data(), value.size()), *db_, "set");
  }

  std::string_view get_copied(std::string_view key) override {
    int32_t size = db_->get(key.data(), key.size(), buffer_.data(), buffer_.size());
    if (size < 0) return {};
    return {buffer_.data(), size_t(size)};
  }

  bool erase(std::string_view key) override { return db_->remove(key.data(), key.size()); }

 private:
  HashDB* db_;
  std::vector<char> buffer_;
};

class KyotoStore : public Store {
 public:
  explicit KyotoStore(const StoreConfig& config) : value_size_(config.value_size) {
    uint64_t file_bytes = config.data_bytes + config.entries * 64;
    db_.tune_buckets(int64_t(config.entries) * 2 + 1);
    db_.tune_map(int64_t(file_bytes * 2) + (int64_t{64} << 20));
    uint32_t mode = HashDB::OWRITER | HashDB::OCREATE;
    expect(db_.open(config.directory + "/entries.kch", mode), db_, "open");
  }
  ~KyotoStore() override { expect(db_.close(), db_, "close"); }

  std::unique_ptr<Session> session() override {
    return std::make_unique<KyotoSession>(&db_, value_size_);
  }
  void sync() override { expect(db_.synchronize(true), db_, "synchronize"); }

 private:
  size_t value_size_;
  HashDB db_;
};

}  // namespace

extern const StoreKind kKyotoStore;
const StoreKind kKyotoStore = {"kyoto", "HashDB, 2 buckets an entry, map of twice the data",
                               kPersists, [](const StoreConfig& config) -> std::unique_ptr<Store> {
                                 return std::make_unique<KyotoStore>(config);
                               }};

}  // namespace bench
