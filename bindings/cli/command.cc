#include "command.h"

#include "failure.h"
#include "formatted.h"

#include <algorithm>

namespace dskvs::cli {
namespace {

constexpr Option kHelp{'h', "help", "", "print this help"};

const Option* find_option(const Command& command, std::string_view name, char letter) {
  const auto is_it = [&](const Option& option) {
    return letter != 0 ? option.letter == letter : option.name == name;
  };
  if (is_it(kHelp)) return &kHelp;
  const auto found = std::find_if(command.options.begin(), command.options.end(), is_it);
  return found == command.options.end() ? nullptr : &*found;
}

// "--name", "--name=argument" or "-x", split; a letter takes its argument from the next word only.
struct OptionWord {
  explicit OptionWord(std::string_view word) {
    if (!word.starts_with("--")) {
      letter = word.size() == 2 ? word[1] : '\0';
      return;
    }
    const size_t equals = word.find('=');
    name = word.substr(2, equals == std::string_view::npos ? equals : equals - 2);
    has_argument = equals != std::string_view::npos;
    argument_offset = equals + 1;
  }

  std::string_view name;
  char letter = 0;
  bool has_argument = false;
  size_t argument_offset = 0;
};

std::string option_words(const Option& option) {
  std::string words = option.letter != 0 ? formatted("-{}, ", option.letter) : "    ";
  words += formatted("--{}", option.name);
  if (!option.argument.empty()) words += formatted(" {}", option.argument);
  return words;
}

}  // namespace

std::optional<const char*> Arguments::value(std::string_view option) const {
  const auto found = std::find_if(options_.rbegin(), options_.rend(),
                                  [&](const auto& given) { return given.first == option; });
  if (found == options_.rend()) return std::nullopt;
  return found->second;
}

Arguments parse_arguments(const Command& command, std::span<const char* const> words) {
  Arguments arguments;
  bool options_end = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (options_end || word.size() < 2 || word[0] != '-') {
      arguments.add_operand(words[i]);
      continue;
    }
    if (word == "--") {
      options_end = true;
      continue;
    }
    const OptionWord given(word);
    const Option* option = find_option(command, given.name, given.letter);
    if (option == nullptr) fail_usage(formatted("unknown option {}", word));
    if (option->argument.empty()) {
      if (given.has_argument) fail_usage(formatted("--{} takes no argument", option->name));
      arguments.add_option(option->name, "");
    } else if (given.has_argument) {
      arguments.add_option(option->name, words[i] + given.argument_offset);
    } else {
      if (++i == words.size()) {
        fail_usage(formatted("--{} needs {}", option->name, option->argument));
      }
      arguments.add_option(option->name, words[i]);
    }
  }
  if (arguments.has(kHelp.name)) return arguments;
  if (arguments.operand_count() < command.operands_min) {
    fail_usage(formatted("too few operands; usage: dskvs {} {}", command.name, command.operands));
  }
  if (arguments.operand_count() > command.operands_max) {
    fail_usage(formatted("too many operands; usage: dskvs {} {}", command.name, command.operands));
  }
  return arguments;
}

std::string help_of(const Command& command) {
  std::string help = formatted("usage: dskvs {} [OPTION]... {}\n\n{}\n\n{}\nOptions\n",
                               command.name, command.operands, command.summary, command.details);
  for (const Option& option : command.options) {
    help += formatted("  {:<24} {}\n", option_words(option), option.help);
  }
  help += formatted("  {:<24} {}\n", option_words(kHelp), kHelp.help);
  return help;
}

}  // namespace dskvs::cli
