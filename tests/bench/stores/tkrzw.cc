#include <tkrzw_dbm_hash.h>
#include <tkrzw_file_mmap.h>

#include <cstring>
#include <vector>

#include "fail.h"
#include "store.h"

namespace bench {
namespace {

void expect(const tkrzw::Status& status, const char* what) {
  if (!status.IsOK()) fail("Tkrzw: {}: {}", what, tkrzw::ToString(status));
}

class TkrzwSession : public Session {
 public:
  explicit TkrzwSession(tkrzw::HashDBM* db) : db_(db) {}

  void put(std::string_view key, std::string_view value) override {
    expect(db_->Set(key, value), "set");
  }

  std::string_view get_copied(std::string_view key) override {
    tkrzw::Status status = db_->Get(key, &copy_);
    if (status == tkrzw::Status::NOT_FOUND_ERROR) return {};
    expect(status, "get");
    return copy_;
  }

  bool erase(std::string_view key) override {
    tkrzw::Status status = db_->Remove(key);
    if (status == tkrzw::Status::NOT_FOUND_ERROR) return false;
    expect(status, "remove");
    return true;
  }

 private:
  tkrzw::HashDBM* db_;
  std::string copy_;
};

class TkrzwStore : public Store {
 public:
  explicit TkrzwStore(const StoreConfig& config)
      : db_(std::make_unique<tkrzw::MemoryMapParallelFile>()) {
    tkrzw::HashDBM::TuningParameters tuning;
    tuning.num_buckets = int64_t(config.entries) * 2 + 1;
    tuning.offset_width = 5;
    expect(db_.OpenAdvanced(config.directory + "/entries.tkh", true, tkrzw::File::OPEN_DEFAULT,
                            tuning),
           "open");
  }
  ~TkrzwStore() override { expect(db_.Close(), "close"); }

  std::unique_ptr<Session> session() override { return std::make_unique<TkrzwSession>(&db_); }
  void sync() override { expect(db_.Synchronize(true), "sync"); }

 private:
  tkrzw::HashDBM db_;
};

}  // namespace

extern const StoreKind kTkrzwStore;
const StoreKind kTkrzwStore = {"tkrzw", "HashDBM, memory-mapped, 2 buckets an entry, in-place",
                               kPersists, [](const StoreConfig& config) -> std::unique_ptr<Store> {
                                 return std::make_unique<TkrzwStore>(config);
                               }};

}  // namespace bench
