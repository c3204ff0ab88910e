// Does nothing but what the harness itself does: the cost to be subtracted in thought.
#include "store.h"

#include <cstring>
#include <vector>

namespace bench {
namespace {

class NullSession : public Session {
 public:
  explicit NullSession(size_t value_size) : stored_(value_size, 'v'), copy_(value_size) {}

  void put(std::string_view, std::string_view value) override {
    std::memcpy(stored_.data(), value.data(), value.size());
    keep(stored_);
  }

  std::string_view get_copied(std::string_view) override {
    std::memcpy(copy_.data(), stored_.data(), stored_.size());
    keep(copy_);
    return {copy_.data(), copy_.size()};
  }

  bool get_pinned(std::string_view, uint64_t* digest) override {
    look_at(stored_.data(), stored_.size(), digest);
    return true;
  }

  bool erase(std::string_view) override { return true; }

 private:
  // Makes the compiler believe that somebody reads the buffer.
  static void keep(const std::vector<char>& buffer) {
    asm volatile("" : : "r"(buffer.data()) : "memory");
  }

  std::vector<char> stored_;
  std::vector<char> copy_;
};

class NullStore : public Store {
 public:
  explicit NullStore(size_t value_size) : value_size_(value_size) {}
  std::unique_ptr<Session> session() override { return std::make_unique<NullSession>(value_size_); }

 private:
  size_t value_size_;
};

}  // namespace

extern const StoreKind kNullStore;
const StoreKind kNullStore = {"null", "does nothing; copies the value", kPins,
                              [](const StoreConfig& config) -> std::unique_ptr<Store> {
                                return std::make_unique<NullStore>(config.value_size);
                              }};

}  // namespace bench
