#include <lmdb.h>

#include <cstring>

#include "fail.h"
#include "store.h"

namespace bench {
namespace {

void expect(int code, const char* what) {
  if (code != MDB_SUCCESS) fail("LMDB: {}: {}", what, mdb_strerror(code));
}

MDB_val to_val(std::string_view bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }

// A read transaction is kept for the session and renewed, as LMDB's manual recommends.
class ReadScope {
 public:
  explicit ReadScope(MDB_txn* reader) : reader_(reader) { expect(mdb_txn_renew(reader), "renew"); }
  ~ReadScope() { mdb_txn_reset(reader_); }
  ReadScope(const ReadScope&) = delete;
  ReadScope& operator=(const ReadScope&) = delete;

 private:
  MDB_txn* reader_;
};

class LmdbSession : public Session {
 public:
  LmdbSession(MDB_env* environment, MDB_dbi table, size_t value_size)
      : environment_(environment), table_(table), buffer_(value_size, '\0') {
    expect(mdb_txn_begin(environment_, nullptr, MDB_RDONLY, &reader_), "begin");
    mdb_txn_reset(reader_);
  }
  ~LmdbSession() override { mdb_txn_abort(reader_); }

  void put(std::string_view key, std::string_view value) override {
    MDB_txn* writer = begin();
    MDB_val k = to_val(key), v = to_val(value);
    expect(mdb_put(writer, table_, &k, &v, 0), "put");
    expect(mdb_txn_commit(writer), "commit");
  }

  std::string_view get_copied(std::string_view key) override {
    ReadScope scope(reader_);
    MDB_val value;
    if (!find(key, &value)) return {};
    std::memcpy(buffer_.data(), value.mv_data, value.mv_size);
    return {buffer_.data(), value.mv_size};
  }

  bool get_pinned(std::string_view key, uint64_t* digest) override {
    ReadScope scope(reader_);
    MDB_val value;
    if (!find(key, &value)) return false;
    look_at(value.mv_data, value.mv_size, digest);
    return true;
  }

  bool erase(std::string_view key) override {
    MDB_txn* writer = begin();
    MDB_val k = to_val(key);
    int code = mdb_del(writer, table_, &k, nullptr);
    if (code != MDB_NOTFOUND) expect(code, "del");
    expect(mdb_txn_commit(writer), "commit");
    return code == MDB_SUCCESS;
  }

  uint64_t get_all(std::string_view collection, uint64_t* digest) override {
    ReadScope scope(reader_);
    return walk(reader_, collection, [&](MDB_cursor*, const MDB_val& value) {
      look_at(value.mv_data, value.mv_size, digest);
    });
  }

  void delete_all(std::string_view collection) override {
    MDB_txn* writer = begin();
    walk(writer, collection,
         [](MDB_cursor* cursor, const MDB_val&) { expect(mdb_cursor_del(cursor, 0), "del"); });
    expect(mdb_txn_commit(writer), "commit");
  }

 private:
  MDB_txn* begin() {
    MDB_txn* writer = nullptr;
    expect(mdb_txn_begin(environment_, nullptr, 0, &writer), "begin");
    return writer;
  }

  bool find(std::string_view key, MDB_val* value) {
    MDB_val k = to_val(key);
    int code = mdb_get(reader_, table_, &k, value);
    if (code == MDB_NOTFOUND) return false;
    expect(code, "get");
    return true;
  }

  template <typename Visit>
  uint64_t walk(MDB_txn* transaction, std::string_view collection, Visit visit) {
    KeyRange range(collection);
    MDB_cursor* cursor = nullptr;
    expect(mdb_cursor_open(transaction, table_, &cursor), "cursor");
    MDB_val key = to_val(range.first), value;
    uint64_t count = 0;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (code == MDB_SUCCESS &&
           std::string_view(static_cast<char*>(key.mv_data), key.mv_size) < range.limit) {
      visit(cursor, value);
      ++count;
      code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return count;
  }

  MDB_env* environment_;
  MDB_dbi table_;
  std::string buffer_;
  MDB_txn* reader_ = nullptr;
};

class LmdbStore : public Store {
 public:
  explicit LmdbStore(const StoreConfig& config) : value_size_(config.value_size) {
    expect(mdb_env_create(&environment_), "create");
    expect(mdb_env_set_mapsize(environment_, size_t{64} << 30), "mapsize");
    unsigned flags = MDB_WRITEMAP | MDB_NOSYNC | MDB_MAPASYNC | MDB_NOTLS | MDB_NORDAHEAD;
    expect(mdb_env_open(environment_, config.directory.c_str(), flags, 0600), "open");
    MDB_txn* writer = nullptr;
    expect(mdb_txn_begin(environment_, nullptr, 0, &writer), "begin");
    expect(mdb_dbi_open(writer, nullptr, 0, &table_), "dbi_open");
    expect(mdb_txn_commit(writer), "commit");
  }
  ~LmdbStore() override { mdb_env_close(environment_); }

  std::unique_ptr<Session> session() override {
    return std::make_unique<LmdbSession>(environment_, table_, value_size_);
  }
  void sync() override { expect(mdb_env_sync(environment_, 1), "sync"); }

 private:
  size_t value_size_;
  MDB_env* environment_ = nullptr;
  MDB_dbi table_ = 0;
};

}  // namespace

extern const StoreKind kLmdbStore;
const StoreKind kLmdbStore = {
    "lmdb",
    "WRITEMAP|NOSYNC|MAPASYNC|NORDAHEAD, 64 GiB sparse map, one transaction a put, readers renewed",
    kPersists | kPins | kScans, [](const StoreConfig& config) -> std::unique_ptr<Store> {
      return std::make_unique<LmdbStore>(config);
    }};

}  // namespace bench
