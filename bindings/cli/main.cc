// The command line tool: finds the command in a table and runs it.
#include "command.h"
#include "failure.h"
#include "formatted.h"
#include "output.h"

#include <dskvs/dskvs.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <new>

namespace dskvs::cli {
namespace {

const Command* const kCommands[] = {
    &kGetCommand,    &kPutCommand,     &kRmCommand,     &kLsCommand,    &kLoadCommand,
    &kDumpCommand,   &kStatCommand,    &kVerifyCommand, &kWatchCommand, &kCompactCommand,
    &kBackupCommand, &kSalvageCommand, &kBenchCommand,
};

std::string general_help() {
  std::string help =
      "usage: dskvs COMMAND [OPTION]... [OPERAND]...\n\n"
      "The Dead Simple Key-Value Store: data that fits in RAM, persisted in the background.\n"
      "A STORE is a directory; a KEY is collection/member; values are any bytes.\n\n"
      "Commands\n";
  for (const Command* command : kCommands) {
    help += formatted("  {:<8} {:<28} {}\n", command->name, command->operands, command->summary);
  }
  help +=
      "\n`dskvs COMMAND --help` says more; `dskvs --version` prints the version.\n"
      "Exit codes: 0 ok, 1 not found, 2 usage, 3 corrupt, 4 locked, 5 anything else.\n";
  return help;
}

int print(std::string_view text) {
  print_result(text);
  return kExitOk;
}

// A descriptor below 3 that the caller closed would be given to the next file opened, and output
// would end up there. The stand-ins fail as a closed descriptor does: 0 on reading, 1 and 2 on
// writing.
void keep_standard_descriptors() {
  for (int fd = 0; fd < 3; ++fd) {
    if (::fcntl(fd, F_GETFD) == -1) ::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
  }
}

int run(std::span<const char* const> words) {
  if (words.empty()) fail_usage("no command; see dskvs --help");
  const std::string_view name = words[0];
  if (name == "--help" || name == "-h") return print(general_help());
  if (name == "--version") return print(formatted("dskvs {}\n", dskvs_version()));
  const auto found = std::find_if(std::begin(kCommands), std::end(kCommands),
                                  [&](const Command* command) { return command->name == name; });
  if (found == std::end(kCommands)) {
    fail_usage(formatted("unknown command {}; see dskvs --help", shell_quoted(name)));
  }
  const Command& command = **found;
  try {
    const Arguments arguments = parse_arguments(command, words.subspan(1));
    return arguments.has("help") ? print(help_of(command)) : command.run(arguments);
  } catch (Failure& failure) {
    failure.text = formatted("{}: {}", command.name, failure.text);
    throw;
  }
}

int report(int exit_code, std::string_view text) {
  warn(text);
  return exit_code;
}

}  // namespace
}  // namespace dskvs::cli

int main(int argc, char** argv) {
  using namespace dskvs::cli;
  keep_standard_descriptors();
  try {
    return run(std::span<const char* const>(argv, static_cast<size_t>(argc)).subspan(argc > 0));
  } catch (const Failure& failure) {
    return report(failure.exit_code, failure.text);
  } catch (const std::bad_alloc&) {
    return report(kExitOther, "out of memory");
  } catch (const std::exception& unexpected) {
    return report(kExitOther, unexpected.what());
  }
}
