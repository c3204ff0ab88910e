// The reference model: what was accepted, and in which epoch, so that C(E), all operations up to an
// epoch E, is known for every E.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace dskvs::test {

using Model = std::map<std::string, std::string>;  // key "collection/member" to value

uint64_t model_hash(const Model& model);

// One call of the API, or a step of the world.
enum class Verb {
  kPut,
  kDelete,
  kDeleteAll,
  kSync,
  kStep,    // the persister takes a step, or some
  kReopen,  // close, then open
  kCompact,
  kFault,  // calls to the file system begin to fail
  kHeal,   // and no more
};

struct Operation {
  Verb verb;
  uint32_t key = 0;         // kPut, kDelete: which; kDeleteAll: of which collection;
                            // kFault: after how many calls
  uint32_t value_size = 0;  // kPut
  uint64_t value_seed = 0;  // kPut: equal seeds give equal bytes; kFault: which error,
                            // and from kSticky on for how long; kStep: how many more
};

inline constexpr uint64_t kSticky = 100;

std::string key_of(const Operation& operation);
std::string collection_of(const Operation& operation);
std::string value_of(const Operation& operation);
std::string describe(const Operation& operation);

class History {
 public:
  struct Point {
    uint64_t epoch;  // that the last operation went into
    std::shared_ptr<const Model> model;
    uint64_t hash;
    Operation operation;
  };

  History() : History(0, {}) {}
  History(uint64_t epoch, Model model);

  const Model& newest() const { return *points_.back().model; }
  uint64_t newest_epoch() const { return points_.back().epoch; }
  // Whether it changes anything: what changes nothing goes into no epoch.
  bool changes(const Operation& operation) const;
  void accept(const Operation& operation, uint64_t epoch);

  // C(epoch).
  const Point& at(uint64_t epoch) const;
  // What was accepted after `epoch`, oldest first.
  std::vector<Operation> lost_after(uint64_t epoch) const;
  void forget_after(uint64_t epoch);

 private:
  std::vector<Point> points_;  // the first is what it began with
};

}  // namespace dskvs::test
