#include "crash/history.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "support/sim_file_system.h"

namespace dskvs::test {

uint64_t model_hash(const Model& model) {
  uint64_t hash = model.size();
  for (const auto& [key, value] : model) {
    hash = XXH3_64bits_withSeed(key.data(), key.size(), hash);
    hash = XXH3_64bits_withSeed(value.data(), value.size(), hash);
  }
  return hash;
}

// Two collections; members of any number.
std::string key_of(const Operation& operation) {
  return fmt::format("{}/m{}", collection_of(operation), operation.key / 2);
}

std::string collection_of(const Operation& operation) {
  return operation.key % 2 == 0 ? "a" : "bb";
}

// No sector of it looks like another, nor like zeros.
std::string value_of(const Operation& operation) {
  std::string value(operation.value_size, '\0');
  uint64_t word = operation.value_seed;
  for (size_t at = 0; at < value.size(); at += sizeof word) {
    word = word * 6364136223846793005u + 1442695040888963407u;
    const uint64_t mixed = word ^ (word >> 29);
    std::memcpy(value.data() + at, &mixed, std::min(sizeof mixed, value.size() - at));
  }
  return value;
}

std::string describe(const Operation& operation) {
  switch (operation.verb) {
    case Verb::kPut:
      return fmt::format("put({}, {} B of {})", key_of(operation), operation.value_size,
                         operation.value_seed);
    case Verb::kDelete:
      return fmt::format("delete({})", key_of(operation));
    case Verb::kDeleteAll:
      return fmt::format("delete_all({})", collection_of(operation));
    case Verb::kSync:
      return "sync";
    case Verb::kStep:
      return operation.value_seed == 0 ? "step"
                                       : fmt::format("steps({})", operation.value_seed + 1);
    case Verb::kReopen:
      return "reopen";
    case Verb::kCompact:
      return "compact";
    case Verb::kFault:
      return fmt::format("fault({} after {} calls{})",
                         sim_error_name(kSimErrors[operation.value_seed % kSticky]), operation.key,
                         operation.value_seed >= kSticky ? ", sticky" : "");
    case Verb::kHeal:
      return "heal";
  }
  return "?";
}

History::History(uint64_t epoch, Model model) {
  const uint64_t hash = model_hash(model);
  points_.push_back({epoch, std::make_shared<const Model>(std::move(model)), hash, {Verb::kStep}});
}

bool History::changes(const Operation& operation) const {
  switch (operation.verb) {
    case Verb::kPut:
      return true;
    case Verb::kDelete:
      return newest().contains(key_of(operation));
    case Verb::kDeleteAll: {
      const std::string prefix = collection_of(operation) + "/";
      auto found = newest().lower_bound(prefix);
      return found != newest().end() && found->first.starts_with(prefix);
    }
    default:
      return false;
  }
}

void History::accept(const Operation& operation, uint64_t epoch) {
  Model model = newest();
  if (operation.verb == Verb::kPut) {
    model[key_of(operation)] = value_of(operation);
  } else if (operation.verb == Verb::kDelete) {
    model.erase(key_of(operation));
  } else {
    const std::string prefix = collection_of(operation) + "/";
    std::erase_if(model, [&](const auto& entry) { return entry.first.starts_with(prefix); });
  }
  const uint64_t hash = model_hash(model);
  points_.push_back({epoch, std::make_shared<const Model>(std::move(model)), hash, operation});
}

const History::Point& History::at(uint64_t epoch) const {
  size_t i = points_.size() - 1;
  while (i > 0 && points_[i].epoch > epoch) --i;
  return points_[i];
}

std::vector<Operation> History::lost_after(uint64_t epoch) const {
  std::vector<Operation> lost;
  for (size_t i = 1; i < points_.size(); ++i) {
    if (points_[i].epoch > epoch) lost.push_back(points_[i].operation);
  }
  return lost;
}

void History::forget_after(uint64_t epoch) {
  while (points_.size() > 1 && points_.back().epoch > epoch) points_.pop_back();
}

}  // namespace dskvs::test
