#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/json_out.h"
#include "cli/status_look.h"
#include "cli/status_out.h"
#include "cli/table.h"
#include "cli/usage.h"

namespace litestream::cli {
namespace {

constexpr std::string_view kUsage =
    "The status command displays the replication status of databases, as far as the\n"
    "local files tell. With -v it asks the replicas, too, and says for each database\n"
    "whether it can be restored now, to when, and what is known of the result.\n\n"
    "Usage:\n\n"
    "\tlitestream status [arguments] [database path]\n\n"
    "Arguments:\n\n"  //
    LITESTREAM_USAGE_CONFIG LITESTREAM_USAGE_JSON LITESTREAM_USAGE_NO_EXPAND
    "\t-v\n"
    "\t    Ask the replicas: one listing and the header of one file each. The exit code\n"
    "\t    is 1 if some database cannot be restored from any of its replicas.\n\n"
    "\t-verify\n"
    "\t    The same, and read the replicas whole, as litestream verify does.\n\n"
    "If a database path is provided, only that database's status is shown.\n"
    "Otherwise, all configured databases are displayed.\n\n"
    "Output columns:\n"
    "  database      Path to the SQLite database\n"
    "  status        Current status (ok, not initialized, no database, error)\n"
    "  local txid    Latest local transaction ID\n"
    "  wal size      Current WAL file size\n\n"
    "With -v, for each replica:\n"
    "  state         ok, empty, unreachable, damaged (its newest file), hole (a restore\n"
    "                needs -txid), useless (no file leads anywhere)\n"
    "  oldest        The oldest moment that can be restored, and the newest\n"
    "  newest_txid   The newest transaction that can be restored\n"
    "  points        How many points there are; litestream restore-points shows them\n"
    "  levels        Their grain, from the oldest on: 0 as captured, 1 to 8 merged, 9\n"
    "                snapshots\n"
    "  proof         Of the newest state: carried (its checksum stands there, a restore\n"
    "                compares), none, unreadable; with -verify proven, unproven, broken\n"
    "  behind        So many transactions (and how long) behind the local files\n\n"
    "Examples:\n\n"
    "\t$ litestream status\n"
    "\t$ litestream status -v /path/to/db\n"
    "\t$ litestream status -v -json\n\n";

}  // namespace

// The plain form is that of Litestream v0.5, line by line: scripts take it apart. So what it cannot
// hold, and what costs requests, comes with -v only. JSON has more fields in either form.
Result<int> RunStatus(const Invocation& call) {
  FlagSet flags(kUsage);
  ConfigFlags config_flags;
  config_flags.Register(flags);
  bool json = false;
  bool ask = false;
  OutlookOptions options;
  flags.Bool("json", &json);
  flags.Bool("v", &ask);
  flags.Bool("verify", &options.verify);
  if (LS_TRY(flags.Parse(call.arguments)) == ParseOutcome::kHelp) return 0;
  ask = ask || options.verify;
  const std::string only = flags.positional().empty() ? "" : flags.positional().front();
  std::vector<DatabaseOutlook> outlooks;
  for (auto& database : LS_TRY(config_flags.LoadDatabases(call.env, only))) {
    LocalStatus local = LookLocally(call.env, database);
    outlooks.push_back({.database = std::move(database), .local = std::move(local)});
  }
  if (ask) LookAtReplicas(call.env, options, outlooks);
  Table table({"database", "status", "local txid", "wal size"});
  std::string words;
  JsonWriter out;
  out.BeginArray();
  for (const DatabaseOutlook& outlook : outlooks) {
    const LocalStatus& local = outlook.local;
    table.Add({outlook.database.path, local.status, LocalTxidText(local), WalSizeText(local)});
    if (ask) words += "\n" + FormatOutlook(outlook);
    AddOutlook(out, outlook, ask);
  }
  out.EndArray();
  fmt::print("{}", json ? out.Take() : table.Format() + words);
  const bool all = std::ranges::all_of(outlooks, [](const auto& o) { return o.best() != nullptr; });
  return ask && !all ? 1 : 0;
}

}  // namespace litestream::cli
