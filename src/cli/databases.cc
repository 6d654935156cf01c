#include <fmt/core.h>

#include "base/try.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/json_out.h"
#include "cli/table.h"
#include "cli/usage.h"

namespace litestream::cli {
namespace {

constexpr std::string_view kUsage =
    "The databases command lists all databases in the configuration file, and those\n"
    "found below its directories.\n\n"
    "Usage:\n\n"
    "\tlitestream databases [arguments]\n\n"
    "Arguments:\n\n"  //
    LITESTREAM_USAGE_CONFIG LITESTREAM_USAGE_JSON LITESTREAM_USAGE_NO_EXPAND
    "Examples:\n\n"
    "\t$ litestream databases\n"
    "\t$ litestream databases -config /path/to/litestream.yml\n"
    "\t$ litestream databases -no-expand-env -config /path/to/litestream.yml\n\n";

std::string ReplicaTypes(const config::DatabaseConfig& database) {
  std::string types;
  for (const auto& replica : database.replicas) {
    types += (types.empty() ? "" : ",") + replica.type;
  }
  return types;
}

}  // namespace

Result<int> RunDatabases(const Invocation& call) {
  FlagSet flags(kUsage);
  ConfigFlags config_flags;
  config_flags.Register(flags);
  bool json = false;
  flags.Bool("json", &json);
  if (LS_TRY(flags.Parse(call.arguments)) == ParseOutcome::kHelp) return 0;
  if (!flags.positional().empty()) {
    return Error(ErrorCode::kInvalidArgument, "too many arguments");
  }
  const auto databases = LS_TRY(config_flags.LoadDatabases(call.env));
  Table table({"path", "replica"});
  JsonWriter out;
  out.BeginArray();
  for (const auto& database : databases) {
    table.Add({database.path, ReplicaTypes(database)});
    out.BeginObject()
        .Field("path", database.path)
        .Field("replica", ReplicaTypes(database))
        .EndObject();
  }
  out.EndArray();
  fmt::print("{}", json ? out.Take() : table.Format());
  return 0;
}

}  // namespace litestream::cli
