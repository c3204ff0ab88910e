#include <sqlite3.h>

#include <cstring>
#include <mutex>

#include "fail.h"
#include "store.h"

namespace bench {
namespace {

void expect(int code, sqlite3* db, const char* what) {
  if (code != SQLITE_OK && code != SQLITE_DONE && code != SQLITE_ROW) {
    fail("SQLite: {}: {}", what, sqlite3_errmsg(db));
  }
}

class Statement {
 public:
  Statement(sqlite3* db, const char* text) : db_(db) {
    expect(sqlite3_prepare_v3(db, text, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr), db,
           text);
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(int index, std::string_view bytes) {
    expect(sqlite3_bind_blob64(statement_, index, bytes.data(), bytes.size(), SQLITE_STATIC), db_,
           "bind");
    return *this;
  }

  // True when there is a row.
  bool step() {
    int code = sqlite3_step(statement_);
    expect(code, db_, "step");
    return code == SQLITE_ROW;
  }

  std::string_view column() {
    const void* blob = sqlite3_column_blob(statement_, 0);
    return {static_cast<const char*>(blob), size_t(sqlite3_column_bytes(statement_, 0))};
  }

  void reset() { expect(sqlite3_reset(statement_), db_, "reset"); }

 private:
  sqlite3* db_;
  sqlite3_stmt* statement_ = nullptr;
};

class Connection {
 public:
  explicit Connection(const std::string& path) {
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    expect(sqlite3_open_v2(path.c_str(), &db_, flags, nullptr), db_, "open");
    sqlite3_busy_timeout(db_, 60'000);
    run("PRAGMA journal_mode=WAL");
    run("PRAGMA synchronous=OFF");
    run("PRAGMA mmap_size=17179869184");
    run("PRAGMA cache_size=-262144");
    run("CREATE TABLE IF NOT EXISTS entry (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID");
  }
  ~Connection() { sqlite3_close(db_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void run(const char* text) {
    expect(sqlite3_exec(db_, text, nullptr, nullptr, nullptr), db_, text);
  }
  sqlite3* get() const { return db_; }

 private:
  sqlite3* db_ = nullptr;
};

class SqliteSession : public Session {
 public:
  // One writer at a time is SQLite's rule; a mutex waits for it better than its busy timeout.
  SqliteSession(const std::string& path, std::mutex* writers)
      : connection_(path), writers_(writers) {}

  void put(std::string_view key, std::string_view value) override {
    std::lock_guard guard(*writers_);
    put_.bind(1, key).bind(2, value).step();
    put_.reset();
  }

  std::string_view get_copied(std::string_view key) override {
    bool found = get_.bind(1, key).step();
    if (found) copy_.assign(get_.column());
    get_.reset();
    return found ? std::string_view(copy_) : std::string_view();
  }

  bool get_pinned(std::string_view key, uint64_t* digest) override {
    bool found = get_.bind(1, key).step();
    if (found) look_at(get_.column().data(), get_.column().size(), digest);
    get_.reset();
    return found;
  }

  bool erase(std::string_view key) override {
    std::lock_guard guard(*writers_);
    erase_.bind(1, key).step();
    erase_.reset();
    return sqlite3_changes(connection_.get()) == 1;
  }

  uint64_t get_all(std::string_view collection, uint64_t* digest) override {
    KeyRange range(collection);
    scan_.bind(1, range.first).bind(2, range.limit);
    uint64_t count = 0;
    for (; scan_.step(); ++count) {
      std::string_view value = scan_.column();
      look_at(value.data(), value.size(), digest);
    }
    scan_.reset();
    return count;
  }

  void delete_all(std::string_view collection) override {
    KeyRange range(collection);
    std::lock_guard guard(*writers_);
    erase_range_.bind(1, range.first).bind(2, range.limit).step();
    erase_range_.reset();
  }

 private:
  Connection connection_;
  std::mutex* writers_;
  Statement put_{connection_.get(),
                 "INSERT INTO entry VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v"};
  Statement get_{connection_.get(), "SELECT v FROM entry WHERE k = ?"};
  Statement erase_{connection_.get(), "DELETE FROM entry WHERE k = ?"};
  Statement scan_{connection_.get(), "SELECT v FROM entry WHERE k >= ? AND k < ?"};
  Statement erase_range_{connection_.get(), "DELETE FROM entry WHERE k >= ? AND k < ?"};
  std::string copy_;
};

class SqliteStore : public Store {
 public:
  explicit SqliteStore(const StoreConfig& config) : path_(config.directory + "/entries.sqlite") {
    Connection connection(path_);  // creates it before the sessions come all at once
  }

  std::unique_ptr<Session> session() override {
    return std::make_unique<SqliteSession>(path_, &writers_);
  }

  void sync() override {
    Connection connection(path_);
    connection.run("PRAGMA synchronous=FULL");
    connection.run("PRAGMA wal_checkpoint(TRUNCATE)");
  }

 private:
  std::string path_;
  std::mutex writers_;
};

}  // namespace

extern const StoreKind kSqliteStore;
const StoreKind kSqliteStore = {
    "sqlite",
    "WAL, synchronous=OFF, WITHOUT ROWID, 16 GiB mmap, 256 MiB cache, a connection a thread",
    kPersists | kPins | kScans, [](const StoreConfig& config) -> std::unique_ptr<Store> {
      return std::make_unique<SqliteStore>(config);
    }};

}  // namespace bench
