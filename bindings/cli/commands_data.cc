// get, put, rm, ls: one key, or the names.
#include "base64.h"
#include "command.h"
#include "descriptor.h"
#include "failure.h"
#include "formatted.h"
#include "json_text.h"
#include "output.h"
#include "store.h"

#include <unistd.h>

namespace dskvs::cli {
namespace {

constexpr Option kKeyBase64 = {0, "key-base64", "", "KEY is given in base64 (it may hold a NUL)"};

// An operand's bytes, which --key-base64 may wrap.
std::string name_operand(const Arguments& arguments, size_t index) {
  const std::string_view operand = arguments.operand(index);
  if (!arguments.has(kKeyBase64.name)) return std::string(operand);
  auto decoded = base64_decode(operand);
  if (!decoded) fail_usage(shell_quoted(operand) + " is not base64");
  return std::move(*decoded);
}

Value get_value(const Store& store, std::string_view key) {
  const void* value = nullptr;
  size_t value_size = 0;
  const int32_t status = dskvs_get(store.handle(), key.data(), key.size(), &value, &value_size);
  if (status == DSKVS_NOT_FOUND) throw Failure{kExitNotFound, shell_quoted(key) + ": not found"};
  expect_ok(status);
  return Value(value, value_size);
}

int run_get(const Arguments& arguments) {
  const std::string key = name_operand(arguments, 1);
  const Store store = Store::open_to_read(arguments.operand(0));
  const Value value = get_value(store, key);
  Output output;
  if (arguments.has("json")) {
    output.write(json_entry(key, value.bytes()) + "\n");
  } else {
    output.write(value.bytes());
  }
  output.finish();
  return kExitOk;
}

std::string value_operand(const Arguments& arguments) {
  if (arguments.operand_count() == 3 && std::string_view(arguments.operand(2)) != "-") {
    return arguments.operand(2);
  }
  std::string value;
  if (!read_all(STDIN_FILENO, 0, &value)) fail_system("standard input");
  return value;
}

int run_put(const Arguments& arguments) {
  const std::string key = name_operand(arguments, 1);
  expect_key(key);  // nothing is created for what is none
  // Read before the store is opened: no lock is held while a pipe is waited for.
  const std::string value = value_operand(arguments);
  Store store = Store::open_to_write(arguments.operand(0), Create::kMayCreate);
  store.put(key, value);
  store.close();
  if (arguments.has("json")) {
    std::string json = "{";
    append_json_bytes(&json, "key", key);
    print_result(json + formatted(", \"value_size\": {}}}\n", value.size()));
  }
  return kExitOk;
}

// Both return how many entries were removed.

uint64_t remove_key(const Store& store, std::string_view key) {
  const int32_t status = dskvs_delete(store.handle(), key.data(), key.size());
  if (status != DSKVS_NOT_FOUND) expect_ok(status);
  return status == DSKVS_OK ? 1 : 0;
}

uint64_t remove_collection(const Store& store, std::string_view collection) {
  uint64_t removed = 0;
  expect_ok(dskvs_delete_all(store.handle(), collection.data(), collection.size(), &removed));
  return removed;
}

int run_rm(const Arguments& arguments) {
  const auto remove = arguments.has("collection") ? remove_collection : remove_key;
  Store store = Store::open_to_write(arguments.operand(0), Create::kMustExist);
  uint64_t removed_in_all = 0;
  uint64_t not_found = 0;
  for (size_t i = 1; i < arguments.operand_count(); ++i) {
    const std::string name = name_operand(arguments, i);
    const uint64_t removed = remove(store, name);
    removed_in_all += removed;
    if (removed > 0) continue;
    warn(formatted("rm: {}: not found", shell_quoted(name)));
    ++not_found;
  }
  store.close();
  if (arguments.has("json")) {
    print_result(formatted("{{\"removed\": {}, \"not_found\": {}}}\n", removed_in_all, not_found));
  }
  return not_found == 0 ? kExitOk : kExitNotFound;
}

enum class Style { kText, kNull, kJson };

void print_item(std::string_view name, std::string_view name_field, uint64_t number,
                std::string_view number_field, Style style, Output* output) {
  if (style == Style::kNull) {
    output->write(name);
    output->write(std::string_view("\0", 1));
  } else if (style == Style::kText) {
    output->write(formatted("{}\t{}\n", number, shell_quoted(name)));
  } else {
    std::string json = "{";
    append_json_bytes(&json, name_field, name);
    output->write(json + formatted(", \"{}\": {}}}\n", number_field, number));
  }
}

void list_collections(const Store& store, Style style, Output* output) {
  const SortedList collections = store.collections();
  for (const auto& item : collections.items()) {
    print_item(item.name, "collection", member_count(item.value), "members", style, output);
  }
}

void list_members(const Store& store, const std::string& collection, Style style, Output* output) {
  const SortedList members = store.get_all(collection);
  if (members.items().empty()) {
    throw Failure{kExitNotFound, shell_quoted(collection) + ": not found"};
  }
  for (const auto& item : members.items()) {
    print_item(item.name, "member", item.value.size(), "value_size", style, output);
  }
}

int run_ls(const Arguments& arguments) {
  if (arguments.has("null") && arguments.has("json")) {
    fail_usage("--null and --json exclude each other");
  }
  const Style style = arguments.has("json")   ? Style::kJson
                      : arguments.has("null") ? Style::kNull
                                              : Style::kText;
  const Store store = Store::open_to_read(arguments.operand(0));
  Output output;
  if (arguments.operand_count() == 1) {
    list_collections(store, style, &output);
  } else {
    list_members(store, name_operand(arguments, 1), style, &output);
  }
  output.finish();
  return kExitOk;
}

constexpr Option kGetOptions[] = {
    kKeyBase64,
    {0, "json", "", "print key and value as a JSON line, as dump --ndjson does"},
};
constexpr Option kPutOptions[] = {
    kKeyBase64,
    {0, "json", "", "print the key and the size of its value as a JSON object"},
};
constexpr Option kRmOptions[] = {
    kKeyBase64,
    {0, "collection", "", "each KEY is the name of a collection, removed with all its members"},
    {0, "json", "", "print how many entries were removed, and KEYs not found, as a JSON object"},
};
constexpr Option kLsOptions[] = {
    {'0', "null", "", "print names only, as they are, each with a NUL after it"},
    {0, "json", "", "print a JSON object a line"},
    {0, "key-base64", "", "COLLECTION is given in base64"},
};

}  // namespace

const Command kGetCommand = {
    "get",
    "STORE KEY",
    "print the value of a key",
    "Writes the bytes of the value to standard output, and nothing else.\n",
    kGetOptions,
    2,
    2,
    run_get,
};

const Command kPutCommand = {
    "put",
    "STORE KEY [VALUE|-]",
    "set the value of a key",
    "Without VALUE, or with \"-\", the value is read from standard input, to its end. Creates\n"
    "the store when it is not there. The value is on the disk when the command ends.\n",
    kPutOptions,
    2,
    3,
    run_put,
};

const Command kRmCommand = {
    "rm",
    "STORE KEY...",
    "remove keys, or collections",
    "Each KEY that is not there is reported, and makes the exit code 1; the others are removed.\n",
    kRmOptions,
    2,
    SIZE_MAX,
    run_rm,
};

const Command kLsCommand = {
    "ls",
    "STORE [COLLECTION]",
    "list the collections, or the members of one",
    "Prints a number, a tab and a name a line, in the order of the names' bytes: of a collection\n"
    "how many members it has, of a member how many bytes its value has. Names are quoted where a\n"
    "shell needs it; what is not printable is written as in $'\\001'.\n",
    kLsOptions,
    1,
    2,
    run_ls,
};

}  // namespace dskvs::cli
