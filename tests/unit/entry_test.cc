// Goal: an entry is freed with its last reference, and never because the count of them went round.
// Method: what is freed is handed out again, so one of many new entries lies where it was. Not
// under AddressSanitizer, which keeps freed memory back, and reports what is never freed, or used
// then.
#include "memory/entry.h"

#include <set>
#include <string_view>

#include "support/catch.h"

namespace dskvs::test {
namespace {

constexpr std::string_view kMember = "member";
constexpr uint64_t kValueSize = 100;

#ifdef DSKVS_ARENA_MALLOC
constexpr bool kHandedOutAgain = false;
#else
constexpr bool kHandedOutAgain = true;
#endif

bool another_lies_at(const Entry* entry) {
  std::set<Entry*> others;
  bool found = false;
  for (int i = 0; i < 10'000 && !found; ++i) {
    Entry* const other = Entry::make(kMember, kValueSize);
    found = other == entry;
    others.insert(other);
  }
  for (Entry* other : others) other->unpin();
  return found;
}

TEST_CASE("the last reference that is given back frees") {
  Entry* const entry = Entry::make(kMember, kValueSize);
  entry->pin();
  entry->unpin();
  CHECK_FALSE(another_lies_at(entry));
  entry->pin();
  entry->unpin(2);
  CHECK((another_lies_at(entry) || !kHandedOutAgain));
}

TEST_CASE("references beyond number keep the entry for ever") {
  for (const uint32_t references : {uint32_t{1} << 31, UINT32_MAX}) {
    Entry* const entry = Entry::make(kMember, kValueSize);
    entry->set_references(references);
    for (int i = 0; i < 2; ++i) entry->pin();  // the count of UINT32_MAX goes round
    for (int i = 0; i < 3; ++i) entry->unpin();
    entry->unpin(2);
    CHECK_FALSE(another_lies_at(entry));
    CHECK(entry->key() == kMember);
    entry->set_references(1);
    entry->unpin();
    CHECK((another_lies_at(entry) || !kHandedOutAgain));
  }
}

}  // namespace
}  // namespace dskvs::test
