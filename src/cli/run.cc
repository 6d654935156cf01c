#include <cstdio>
#include <cstdlib>
#include <utility>

#include <fmt/core.h>

#include "cli/command.h"
#include "config/suggest.h"

namespace litestream::cli {
namespace {

constexpr Command kCommands[] = {
    {"check", "tries whether replicas can be used as configured", RunCheck},
    {"databases", "list databases specified in config file", RunDatabases},
    {"generations", "shows from when to when replicas reach", RunGenerations},
    {"ltx", "list available LTX files for a database", RunLtx},
    {"replicate", "runs a server to replicate databases", RunReplicate},
    {"reset", "reset local state for a database", RunReset},
    {"restore", "recovers database backup from a replica", RunRestore},
    {"restore-points", "shows what can be restored from a replica", RunRestorePoints},
    {"retention", "shows what retention would remove from a replica", RunRetention},
    {"run", "runs a program and replicates its databases", RunReplicate},
    {"snapshots", "list available snapshots of a database", RunSnapshots},
    {"status", "display replication status for databases", RunStatus},
    {"verify", "proves that a replica can be restored", RunVerify},
    {"version", "prints the binary version", RunVersion},
    {"wal", "", RunLtx},
};

const Command* FindCommand(std::string_view name) {
  for (const Command& command : kCommands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

bool IsHelpFlag(std::string_view argument) {
  return argument == "-h" || argument == "-help" || argument == "--help" || argument == "--h";
}

void PrintHelp() {
  fmt::print("{}",
             "litestream is a tool for replicating SQLite databases.\n\n"
             "Usage:\n\n"
             "\tlitestream <command> [arguments]\n\n"
             "The commands are:\n\n");
  for (const Command& command : kCommands) {
    if (!command.summary.empty()) fmt::print("\t{:<12} {}\n", command.name, command.summary);
  }
  fmt::print("\nUse \"litestream help <command>\" for the arguments of a command.\n");
}

// The AWS names of these, for what reads only those. A variable that is set, even to nothing,
// stays.
void CopyCredentialAliases() {
  constexpr std::pair<const char*, const char*> kAliases[] = {
      {"LITESTREAM_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"},
      {"LITESTREAM_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"},
  };
  for (const auto& [from, to] : kAliases) {
    const char* const value = std::getenv(from);
    if (value != nullptr) ::setenv(to, value, 0);
  }
}

int RunCommand(Env& env, const std::vector<std::string>& arguments) {
  const Command* const command = FindCommand(arguments.front());
  if (command == nullptr) {
    fmt::print(stderr, "Error: litestream {}: unknown command\n", arguments.front());
    std::vector<std::string> names;
    for (const Command& known : kCommands) names.emplace_back(known.name);
    if (const auto nearest = config::Nearest(arguments.front(), names)) {
      fmt::print(stderr, "Try: litestream {}\n", *nearest);
    }
    return 1;
  }
  const Invocation call{
      .name = arguments.front(),
      .arguments = std::vector<std::string>(arguments.begin() + 1, arguments.end()),
      .env = env};
  auto result = command->run(call);
  if (!result.ok()) {
    std::fflush(stdout);
    fmt::print(stderr, "Error: {}\n", result.error().message());
    return 1;
  }
  return result.value();
}

}  // namespace

int RunMain(Env& env, const std::vector<std::string>& arguments) {
  CopyCredentialAliases();
  const std::string first = arguments.empty() ? "" : arguments.front();
  if (first == "help" && arguments.size() > 1 && FindCommand(arguments[1]) != nullptr) {
    return RunCommand(env, {arguments[1], "-h"});
  }
  const bool help = first == "help" || IsHelpFlag(first);
  if (help || first.empty() || first.front() == '-') {
    PrintHelp();
    for (const std::string& argument : arguments) {
      if (help || IsHelpFlag(argument)) return 0;
    }
    return 1;
  }
  return RunCommand(env, arguments);
}

}  // namespace litestream::cli
