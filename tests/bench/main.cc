// dskvs_bench: dskvs and other stores under the same workloads, in one run.
#include <cstdlib>
#include <cstring>

#include "fail.h"
#include "runner.h"

namespace bench {
namespace {

constexpr const char* kUsage =
    R"(usage: dskvs_bench run [--stores a,b,...] [--workloads W1,W2,...] [--repeat 3] [--base kyoto]
                       [--out FILE.jsonl] [--dir DIRECTORY] [--scale 1.0] [--seconds S]
       dskvs_bench list

run   runs each workload on each store, each time in a process and a directory of its own, the
      stores in turn, and prints tables of medians; without names: all stores, all usual workloads.
      --scale shrinks counts and times, to try it out; --seconds is the length of each timed phase.
list  names stores and workloads.
)";

[[noreturn]] void usage() {
  fmt::print(stderr, "{}", kUsage);
  std::exit(2);
}

std::vector<std::string> split(const std::string& names) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= names.size();) {
    size_t end = std::min(names.find(',', begin), names.size());
    parts.push_back(names.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::vector<const StoreKind*> stores_of(const std::string& names) {
  std::vector<const StoreKind*> stores;
  for (const std::string& name : split(names)) {
    const StoreKind* store = find_store_kind(name);
    if (store == nullptr) fail("this program was built without a store \"{}\"", name);
    stores.push_back(store);
  }
  return stores;
}

std::vector<const Workload*> workloads_of(const std::string& names) {
  std::vector<const Workload*> chosen;
  for (const std::string& name : split(names)) {
    const Workload* workload = find_workload(name);
    if (workload == nullptr) fail("there is no workload \"{}\"", name);
    chosen.push_back(workload);
  }
  return chosen;
}

double positive(const std::string& text) {
  char* end = nullptr;
  double number = std::strtod(text.c_str(), &end);
  if (*end != '\0' || !(number > 0)) fail("\"{}\" is not a number above 0", text);
  return number;
}

void set_defaults(Plan* plan) {
  const char* temporary = std::getenv("TMPDIR");
  plan->directory = temporary == nullptr ? "/tmp" : temporary;
  plan->base = "kyoto";
  for (const StoreKind* store : store_kinds()) plan->stores.push_back(store);
  for (const Workload* workload : workloads()) {
    if (workload->by_default) plan->workloads.push_back(workload);
  }
}

Plan parse(const std::vector<std::string>& words) {
  Plan plan;
  set_defaults(&plan);
  plan.command = "dskvs_bench run";
  for (size_t i = 0; i < words.size(); i += 2) {
    if (i + 1 == words.size()) usage();
    const std::string& option = words[i];
    const std::string& value = words[i + 1];
    plan.command += fmt::format(" {} {}", option, value);
    if (option == "--stores") {
      plan.stores = stores_of(value);
    } else if (option == "--workloads") {
      plan.workloads = workloads_of(value);
    } else if (option == "--repeat") {
      plan.repeats = int(positive(value));
    } else if (option == "--base") {
      plan.base = value;
    } else if (option == "--out") {
      plan.out = value;
    } else if (option == "--dir") {
      plan.directory = value;
    } else if (option == "--scale") {
      plan.scale = positive(value);
    } else if (option == "--seconds") {
      plan.seconds = positive(value);
    } else {
      usage();
    }
  }
  return plan;
}

void list() {
  fmt::print("stores\n");
  for (const StoreKind* store : store_kinds()) {
    fmt::print("  {:<14}{}\n", store->name, store->settings);
  }
  fmt::print("workloads (*: only when named)\n");
  for (const Workload* workload : workloads()) {
    fmt::print("{} {:<14}{}\n", workload->by_default ? ' ' : '*', workload->name, workload->text);
  }
}

int main(const std::vector<std::string>& words) {
  if (words.empty()) usage();
  std::vector<std::string> rest(words.begin() + 1, words.end());
  if (words[0] == "cell") {
    run_cell(rest);
    return 0;
  }
  if (words[0] == "list" && rest.empty()) {
    list();
    return 0;
  }
  if (words[0] != "run") usage();
  return run_plan(parse(rest)) == 0 ? 0 : 1;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) { return bench::main({argv + 1, argv + argc}); }
