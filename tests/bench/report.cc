#include "report.h"

#include <algorithm>
#include <ctime>

#include "fail.h"
#include "machine.h"

namespace bench {
namespace {

constexpr std::string_view kPercentiles[] = {"min", "avg",   "p50",    "p75", "p90",
                                             "p99", "p99.9", "p99.99", "max"};

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string today() {
  std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

// With three digits that count, and k, M or G.
std::string short_number(double value) {
  const char* suffix = "";
  for (const char* next : {"k", "M", "G"}) {
    if (value < 1000) break;
    value /= 1000;
    suffix = next;
  }
  int digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return fmt::format("{:.{}f}{}", value, digits, suffix);
}

std::string duration(double ns) {
  if (ns < 1000) return fmt::format("{:.0f} ns", ns);
  if (ns < 1e6) return fmt::format("{:.3g} us", ns / 1e3);
  if (ns < 1e9) return fmt::format("{:.3g} ms", ns / 1e6);
  return fmt::format("{:.3g} s", ns / 1e9);
}

std::string formatted(const std::string& figure, double value) {
  if (figure.ends_with("_ns")) return duration(value);
  if (figure.ends_with("_us")) return duration(value * 1e3);
  if (figure.ends_with("_s")) return duration(value * 1e9);
  return short_number(value);
}

// "put" of "put.p99.9_ns"; "" when the figure is no percentile.
std::string percentile_of(const std::string& figure) {
  for (std::string_view percentile : kPercentiles) {
    std::string ending = fmt::format(".{}_ns", percentile);
    if (figure.ends_with(ending)) return figure.substr(0, figure.size() - ending.size());
  }
  return "";
}

}  // namespace

double median(std::vector<double> values) {
  std::ranges::sort(values);
  size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

Report::Report(const Plan& plan) : plan_(plan) {
  if (plan.out.empty()) return;
  out_.open(plan.out, std::ios::app);
  out_ << fmt::format("{{\"run\": {}, \"machine\": {}, \"date\": {}, \"scale\": {}, \"stores\": {{",
                      quoted(plan.command), quoted(describe_machine()), quoted(today()),
                      plan.scale);
  const char* comma = "";
  for (const StoreKind* store : plan.stores) {
    out_ << fmt::format("{}{}: {}", comma, quoted(store->name), quoted(store->settings));
    comma = ", ";
  }
  out_ << "}}\n" << std::flush;
  if (!out_) fail("cannot write {}", plan.out);
}

void Report::add(const Workload& workload, const StoreKind& store, int repeat, bool ok,
                 const Results& results) {
  for (const auto& [figure, value] : results.figures()) {
    samples_[workload.name][figure][store.name].push_back(value);
  }
  if (!out_.is_open()) return;
  out_ << fmt::format(
      "{{\"workload\": {}, \"store\": {}, \"repeat\": {}, \"ok\": {}, \"figures\": {{",
      quoted(workload.name), quoted(store.name), repeat, ok);
  const char* comma = "";
  for (const auto& [figure, value] : results.figures()) {
    out_ << fmt::format("{}{}: {}", comma, quoted(figure), value);
    comma = ", ";
  }
  out_ << "}, \"series\": {";
  comma = "";
  for (const auto& [series, points] : results.series()) {
    out_ << fmt::format("{}{}: [", comma, quoted(series));
    const char* point_comma = "";
    for (const auto& [x, y] : points) {
      out_ << fmt::format("{}[{:.6g}, {:.6g}]", point_comma, x, y);
      point_comma = ", ";
    }
    out_ << ']';
    comma = ", ";
  }
  out_ << "}}\n" << std::flush;
  if (!out_) fail("cannot write {}", plan_.out);
}

void Report::print() const {
  fmt::print("{}\nMedians of {}; in brackets the ratio to {}.\n", describe_machine(), plan_.repeats,
             plan_.base);
  for (const Workload* workload : plan_.workloads) {
    auto found = samples_.find(workload->name);
    if (found == samples_.end()) continue;
    std::vector<std::string> plain, timed;
    for (const auto& [figure, by_store] : found->second) {
      std::string name = percentile_of(figure);
      if (name.empty()) plain.push_back(figure);
      if (!name.empty() && (timed.empty() || timed.back() != name)) timed.push_back(name);
    }
    fmt::print("\n### {}: {}\n", workload->name, workload->text);
    if (!plain.empty()) print_table("", plain, plain, found->second);
    for (const std::string& name : timed) {
      std::vector<std::string> figures, headings;
      for (std::string_view percentile : kPercentiles) {
        figures.push_back(fmt::format("{}.{}_ns", name, percentile));
        headings.emplace_back(percentile);
      }
      print_table(name, figures, headings, found->second);
    }
  }
}

void Report::print_table(const std::string& title, const std::vector<std::string>& figures,
                         const std::vector<std::string>& headings, const Samples& samples) const {
  fmt::print("\n| {} |", title);
  for (const std::string& heading : headings) fmt::print(" {} |", heading);
  fmt::print("\n|---|");
  for (size_t i = 0; i < headings.size(); ++i) fmt::print("---|");
  fmt::print("\n");
  for (const StoreKind* store : plan_.stores) {
    std::string row;
    bool any = false;
    for (const std::string& figure : figures) {
      std::string text = cell_text(figure, store->name, samples);
      any = any || !text.empty();
      row += fmt::format(" {} |", text);
    }
    if (any) fmt::print("| {} |{}\n", store->name, row);
  }
}

std::string Report::cell_text(const std::string& figure, std::string_view store,
                              const Samples& samples) const {
  auto by_figure = samples.find(figure);
  if (by_figure == samples.end()) return "";
  auto own = by_figure->second.find(store);
  if (own == by_figure->second.end()) return "";
  double value = median(own->second);
  auto base = by_figure->second.find(plan_.base);
  bool comparable = base != by_figure->second.end() && store != plan_.base;
  if (!comparable || !percentile_of(figure).empty()) return formatted(figure, value);
  return fmt::format("{} ({:.2f})", formatted(figure, value), value / median(base->second));
}

}  // namespace bench
