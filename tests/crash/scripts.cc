#include "crash/scripts.h"

#include <iterator>
#include <random>

namespace dskvs::test {
namespace {

// Keys 0 and 2 are of one collection, 1 of another.
const Script kAlphabet = {
    {Verb::kPut, 0, 40, 1},   {Verb::kPut, 0, 0, 2},       {Verb::kPut, 0, 1700, 3},
    {Verb::kPut, 0, 5000, 4}, {Verb::kPut, 2, 600, 5},     {Verb::kPut, 1, 40, 6},
    {Verb::kDelete, 0, 0, 0}, {Verb::kDeleteAll, 0, 0, 0}, {Verb::kSync, 0, 0, 0},
    {Verb::kStep, 0, 0, 0},   {Verb::kReopen, 0, 0, 0},    {Verb::kCompact, 0, 0, 0},
};

// An empty store; one with durable and merely written epochs; one with a past of several segments.
const std::vector<Script> kPreludes = {
    {},
    {{Verb::kPut, 0, 700, 7},
     {Verb::kPut, 1, 40, 8},
     {Verb::kSync, 0, 0, 0},
     {Verb::kPut, 2, 1700, 9},
     {Verb::kStep, 0, 0, 0}},
    {{Verb::kPut, 0, 2000, 7},
     {Verb::kReopen, 0, 0, 0},
     {Verb::kPut, 1, 3000, 8},
     {Verb::kSync, 0, 0, 0},
     {Verb::kDelete, 0, 0, 0},
     {Verb::kPut, 2, 40, 9},
     {Verb::kReopen, 0, 0, 0},
     {Verb::kPut, 3, 40, 10},
     {Verb::kStep, 0, 0, 0}},
};

}  // namespace

uint64_t short_script_count() {
  const uint64_t n = kAlphabet.size();
  return (n + n * n + n * n * n) * kPreludes.size();
}

Script short_script(uint64_t index) {
  Script script = kPreludes[index % kPreludes.size()];
  index /= kPreludes.size();
  uint64_t length = 1;
  for (uint64_t of_length = kAlphabet.size(); index >= of_length; of_length *= kAlphabet.size()) {
    index -= of_length;
    ++length;
  }
  for (; length > 0; --length, index /= kAlphabet.size()) {
    script.push_back(kAlphabet[index % kAlphabet.size()]);
  }
  return script;
}

Script random_script(uint64_t seed) {
  std::mt19937_64 random(seed);
  constexpr uint32_t kSizes[] = {0,    1,    40,   400,  511,    513,    1600,
                                 1700, 4096, 4097, 6000, 20'000, 270'000};
  constexpr uint64_t kSmall = 8;
  constexpr uint64_t kMiddle = 12;  // what is larger is neither buffered nor checked as a whole
  const uint64_t keys = 2 + random() % 8;
  const uint64_t dice_of_sizes = random() % 64;
  const uint64_t sizes = dice_of_sizes == 0  ? std::size(kSizes)
                         : dice_of_sizes < 8 ? kMiddle
                                             : kSmall;
  Script script;
  for (uint64_t length = 5 + random() % 26; length > 0; --length) {
    Operation operation{Verb::kStep, static_cast<uint32_t>(random() % keys),
                        kSizes[random() % sizes], random() % 64};
    const uint64_t dice = random() % 100;
    operation.verb = dice < 42   ? Verb::kPut
                     : dice < 54 ? Verb::kDelete
                     : dice < 60 ? Verb::kDeleteAll
                     : dice < 66 ? Verb::kSync
                     : dice < 87 ? Verb::kStep
                     : dice < 91 ? Verb::kReopen
                     : dice < 94 ? Verb::kCompact
                     : dice < 98 ? Verb::kFault
                                 : Verb::kHeal;
    if (operation.verb == Verb::kFault) {
      operation.key = static_cast<uint32_t>(random() % 6);
      operation.value_seed = random() % 6 + (random() % 2 == 0 ? kSticky : 0);
    }
    if (operation.verb == Verb::kStep) operation.value_seed = random() % 4;
    script.push_back(operation);
    if (operation.verb == Verb::kFault && random() % 2 == 0) script.push_back({Verb::kSync});
  }
  return script;
}

}  // namespace dskvs::test
