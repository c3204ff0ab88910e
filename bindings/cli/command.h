// What a command is, and the arguments that it is run with.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dskvs::cli {

struct Option {
  char letter;                // 0: it has none
  std::string_view name;      // without the dashes
  std::string_view argument;  // empty: it takes none
  std::string_view help;
};

class Arguments {
 public:
  bool has(std::string_view option) const { return value(option).has_value(); }
  std::optional<const char*> value(std::string_view option) const;

  size_t operand_count() const { return operands_.size(); }
  const char* operand(size_t index) const { return operands_[index]; }

  void add_operand(const char* operand) { operands_.push_back(operand); }
  void add_option(std::string_view name, const char* argument) {
    options_.emplace_back(name, argument);
  }

 private:
  std::vector<const char*> operands_;
  std::vector<std::pair<std::string_view, const char*>> options_;
};

struct Command {
  std::string_view name;
  std::string_view operands;  // as the synopsis shows them
  std::string_view summary;
  std::string_view details;
  std::span<const Option> options;
  size_t operands_min;
  size_t operands_max;
  int (*run)(const Arguments& arguments);  // returns the exit code, or throws Failure
};

// Throws Failure (usage) for what `command` does not take. --help and -h are always taken.
Arguments parse_arguments(const Command& command, std::span<const char* const> words);

std::string help_of(const Command& command);

extern const Command kGetCommand;
extern const Command kPutCommand;
extern const Command kRmCommand;
extern const Command kLsCommand;
extern const Command kLoadCommand;
extern const Command kDumpCommand;
extern const Command kStatCommand;
extern const Command kVerifyCommand;
extern const Command kCompactCommand;
extern const Command kBackupCommand;
extern const Command kSalvageCommand;
extern const Command kBenchCommand;
extern const Command kWatchCommand;

}  // namespace dskvs::cli
