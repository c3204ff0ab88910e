// stat, verify, compact, backup, salvage, watch: the store as a whole.
#include "command.h"
#include "failure.h"
#include "formatted.h"
#include "json_text.h"
#include "number_option.h"
#include "output.h"
#include "progress_bar.h"
#include "stats_text.h"
#include "store.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <optional>
#include <thread>

namespace dskvs::cli {
namespace {

int run_stat(const Arguments& arguments) {
  const dskvs_stats_t stats = Store::open_to_read(arguments.operand(0)).stats();
  Output output;
  output.write(arguments.has("json") ? stats_json(stats) + "\n" : stats_table(stats));
  output.finish();
  return kExitOk;
}

// A text "offset N: kind of damage", taken apart.
struct Place {
  explicit Place(std::string_view text) : kind(text) {
    constexpr std::string_view kBegin = "offset ";
    if (!text.starts_with(kBegin)) return;
    uint64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + kBegin.size(), end, number);
    const std::string_view rest(stop, static_cast<size_t>(end - stop));
    if (error != std::errc() || !rest.starts_with(": ")) return;
    offset = number;
    kind = rest.substr(2);
  }

  std::optional<uint64_t> offset;
  std::string_view kind;
};

// What dskvs_verify() and dskvs_salvage() found.
void print_damage(const SortedList& damage, bool json) {
  Output output;
  if (!json) {
    for (const auto& item : damage.items()) {
      output.write(formatted("{}: {}\n", shell_quoted(item.name), item.value));
    }
    output.finish();
    return;
  }
  std::string text = formatted("{{\"intact\": {}, \"damage\": [", damage.items().empty());
  std::string_view separator;
  for (const auto& item : damage.items()) {
    text += formatted("{}{{", separator);
    append_json_bytes(&text, "file", item.name);
    const Place place(item.value);
    if (place.offset) text += formatted(", \"offset\": {}", *place.offset);
    text += ", ";
    append_json_bytes(&text, "kind", place.kind);
    text += "}";
    separator = ", ";
  }
  output.write(text + "]}\n");
  output.finish();
}

dskvs_options options_with_progress(ProgressBar* bar) {
  dskvs_options options = DSKVS_OPTIONS_INIT;
  options.progress = ProgressBar::callback;
  options.progress_context = bar;
  return options;
}

int run_verify(const Arguments& arguments) {
  dskvs_list* list = nullptr;
  int32_t status = DSKVS_OK;
  {
    ProgressBar bar("verify");
    const dskvs_options options = options_with_progress(&bar);
    status = dskvs_verify(arguments.operand(0), &options, &list);
  }
  if (status != DSKVS_ERR_CORRUPT) expect_ok(status);
  print_damage(SortedList(list), arguments.has("json"));
  return exit_code_of(status);
}

int run_salvage(const Arguments& arguments) {
  dskvs_list* list = nullptr;
  {
    ProgressBar bar("salvage");
    const dskvs_options options = options_with_progress(&bar);
    expect_ok(dskvs_salvage(arguments.operand(0), arguments.operand(1), &options, &list));
  }
  print_damage(SortedList(list), arguments.has("json"));
  return kExitOk;
}

int run_compact(const Arguments& arguments) {
  Store store = Store::open_to_write(arguments.operand(0), Create::kMustExist);
  const uint64_t before = store.stats().disk_bytes;
  expect_ok(dskvs_compact(store.handle()));
  const uint64_t live = store.stats().live_bytes;
  store.close();
  if (arguments.has("json")) {
    print_result(formatted("{{\"disk_bytes_before\": {}, \"live_bytes\": {}}}\n", before, live));
  }
  return kExitOk;
}

int run_backup(const Arguments& arguments) {
  const Store store = Store::open_to_read(arguments.operand(0));
  expect_ok(dskvs_backup(store.handle(), arguments.operand(1)));
  if (arguments.has("json")) {
    // Of the copy too: it is the state that was opened.
    const dskvs_stats_t stats = store.stats();
    print_result(formatted("{{\"entries\": {}, \"value_bytes\": {}, \"epoch\": {}}}\n",
                           stats.entries, stats.value_bytes, stats.recovered_epoch));
  }
  return kExitOk;
}

int run_watch(const Arguments& arguments) {
  using Steady = std::chrono::steady_clock;
  const double interval_s = number_option(arguments, "interval", 1.0, 86400.0);
  const uint64_t count = number_option<uint64_t>(arguments, "count", UINT64_MAX, UINT64_MAX);
  const auto interval =
      std::chrono::duration_cast<Steady::duration>(std::chrono::duration<double>(interval_s));
  const bool json = arguments.has("json");
  Output output;
  Steady::time_point next = Steady::now();
  for (uint64_t i = 0; i < count; ++i) {
    if (i > 0) std::this_thread::sleep_until(next += interval);
    const dskvs_stats_t stats = Store::open_to_read(arguments.operand(0)).stats();
    if (!json && i % 20 == 0) output.write(watch_header());
    output.write(json ? stats_json(stats) + "\n" : watch_line(stats));
    output.flush();
    // After an open that took longer than the interval, no burst to catch up.
    next = std::max(next, Steady::now() - interval);
  }
  output.finish();
  return kExitOk;
}

constexpr Option kJsonObject = {0, "json", "", "print a JSON object"};
constexpr Option kStatOptions[] = {kJsonObject};
constexpr Option kDamageOptions[] = {kJsonObject};
constexpr Option kCompactOptions[] = {
    {0, "json", "", "print the bytes there were, and those that live on, as a JSON object"},
};
constexpr Option kBackupOptions[] = {
    {0, "json", "", "print what was copied as a JSON object"},
};
constexpr Option kWatchOptions[] = {
    {'n', "interval", "SECONDS", "time between two lines; default 1"},
    {0, "count", "N", "end after N lines"},
    {0, "json", "", "print a JSON object a line"},
};

}  // namespace

const Command kStatCommand = {
    "stat",
    "STORE",
    "print the figures of a store",
    "The figures are those of the last state that was written; another process may have the\n"
    "store open. dskvs.h says what each means.\n",
    kStatOptions,
    1,
    1,
    run_stat,
};

const Command kVerifyCommand = {
    "verify",
    "STORE",
    "check every byte of a store",
    "Prints what is damaged, a file, an offset and a kind a line, and ends with exit code 3. The\n"
    "torn tail that a crash leaves is no damage. Another process may have the store open.\n",
    kDamageOptions,
    1,
    1,
    run_verify,
};

const Command kCompactCommand = {
    "compact",
    "STORE",
    "rewrite a store without what is overwritten or deleted",
    "Seldom needed: a store that is open for writing keeps its size within about twice that.\n",
    kCompactOptions,
    1,
    1,
    run_compact,
};

const Command kBackupCommand = {
    "backup",
    "STORE TARGET",
    "copy a store, which may be in use",
    "The copy, in the new or empty directory TARGET, is a store as it was at one instant. Another\n"
    "process may have STORE open and write to it meanwhile.\n",
    kBackupOptions,
    2,
    2,
    run_backup,
};

const Command kSalvageCommand = {
    "salvage",
    "STORE TARGET",
    "rescue what is intact in a damaged store",
    "Writes every intact entry of STORE, which is not changed, into a new store TARGET, and "
    "prints\n"
    "the damage. What was damaged is lost; an older value of its keys, or a key that had been\n"
    "removed there, may come back.\n",
    kDamageOptions,
    2,
    2,
    run_salvage,
};

const Command kWatchCommand = {
    "watch",
    "STORE",
    "print the figures of a store again and again",
    "Prints a line a second until it is interrupted. Each line opens the store anew, to read "
    "only,\n"
    "which loads it: give a large store a long interval. Another process may have it open.\n",
    kWatchOptions,
    1,
    1,
    run_watch,
};

}  // namespace dskvs::cli
