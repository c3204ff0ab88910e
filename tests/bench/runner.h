// Runs the cells of a benchmark one by one, each stage in a process of its own.
#pragma once

#include <string>
#include <vector>

#include "workload.h"

namespace bench {

struct Plan {
  std::vector<const StoreKind*> stores;
  std::vector<const Workload*> workloads;
  std::string base;       // the store that others are compared with
  std::string out;        // JSON lines are appended to this file; "": none
  std::string directory;  // where the stores' directories are made
  int repeats = 3;
  double scale = 1;
  double seconds = 0;
  std::string command;  // as it was typed, for the record
};

// Returns the number of cells that failed.
int run_plan(const Plan& plan);

// What the child process does; its part of the command line is what run_plan wrote.
void run_cell(const std::vector<std::string>& arguments);

}  // namespace bench
