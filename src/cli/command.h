#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/env.h"
#include "litestream/result.h"

namespace litestream::cli {

// One call of one command.
struct Invocation {
  std::string name;                    // Of the command, as typed.
  std::vector<std::string> arguments;  // Behind the name.
  Env& env;
};

// Returns the exit code. An error is printed by main as "Error: <message>" and ends with 1.
using CommandFunction = Result<int> (*)(const Invocation& call);

struct Command {
  std::string_view name;
  std::string_view summary;  // For the help screen; empty: not listed there.
  CommandFunction run;
};

// One file each.
Result<int> RunCheck(const Invocation& call);
Result<int> RunDatabases(const Invocation& call);
Result<int> RunGenerations(const Invocation& call);
Result<int> RunLtx(const Invocation& call);
Result<int> RunReplicate(const Invocation& call);
Result<int> RunReset(const Invocation& call);
Result<int> RunRestore(const Invocation& call);
Result<int> RunRestorePoints(const Invocation& call);
Result<int> RunRetention(const Invocation& call);
Result<int> RunSnapshots(const Invocation& call);
Result<int> RunStatus(const Invocation& call);
Result<int> RunVerify(const Invocation& call);
Result<int> RunVersion(const Invocation& call);

// A whole command line without the program's name: dispatch, help, error output. The exit code.
int RunMain(Env& env, const std::vector<std::string>& arguments);

}  // namespace litestream::cli
