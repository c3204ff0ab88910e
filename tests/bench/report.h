// What a run says: a line of JSON for each cell, and tables of medians at the end.
#pragma once

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "runner.h"

namespace bench {

class Report {
 public:
  explicit Report(const Plan& plan);

  void add(const Workload& workload, const StoreKind& store, int repeat, bool ok,
           const Results& results);

  // Markdown, on standard output: for each workload a table of stores and figures, medians over the
  // repeats, with the ratio to the base store in brackets.
  void print() const;

 private:
  // All repeats of a figure, by figure, then by store.
  using Samples = std::map<std::string, std::map<std::string_view, std::vector<double>>>;

  void print_table(const std::string& title, const std::vector<std::string>& figures,
                   const std::vector<std::string>& headings, const Samples& samples) const;
  std::string cell_text(const std::string& figure, std::string_view store,
                        const Samples& samples) const;

  const Plan& plan_;
  std::ofstream out_;
  std::map<std::string_view, Samples> samples_;  // by workload
};

double median(std::vector<double> values);

}  // namespace bench
