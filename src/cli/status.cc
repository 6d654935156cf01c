#include <algorithm>

#include <fmt/core.h>

#include "base/try.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/json_out.h"
#include "cli/table.h"
#include "cli/usage.h"
#include "format/names.h"

namespace litestream::cli {
namespace {

constexpr std::string_view kUsage =
    "The status command displays the replication status of databases, as far as the\n"
    "local files tell. It asks no replica; `litestream verify` does.\n\n"
    "Usage:\n\n"
    "\tlitestream status [arguments] [database path]\n\n"
    "Arguments:\n\n"  //
    LITESTREAM_USAGE_CONFIG LITESTREAM_USAGE_JSON LITESTREAM_USAGE_NO_EXPAND
    "If a database path is provided, only that database's status is shown.\n"
    "Otherwise, all configured databases are displayed.\n\n"
    "Output columns:\n"
    "  database      Path to the SQLite database\n"
    "  status        Current status (ok, not initialized, no database, error)\n"
    "  local txid    Latest local transaction ID\n"
    "  wal size      Current WAL file size\n\n"
    "Examples:\n\n"
    "\t$ litestream status\n"
    "\t$ litestream status /path/to/db\n"
    "\t$ litestream status -json\n\n";

struct Row {
  std::string database;
  std::string status = "not initialized";
  std::string local_txid = "-";
  std::string wal_size = "-";
};

Row StatusOf(Env& env, const config::DatabaseConfig& database) {
  Row row{.database = database.path};
  const auto file = env.Stat(database.path);
  if (!file.ok()) {
    row.status = file.error().Is(ErrorCode::kNotFound) ? "no database" : "error";
    return row;
  }
  const auto wal = env.Stat(database.path + "-wal");
  if (wal.ok()) {
    row.wal_size = FormatBytes(wal.value().size_bytes);
  } else if (wal.error().Is(ErrorCode::kNotFound)) {
    row.wal_size = FormatBytes(0);
  }
  const std::string directory = config::MetaPath(database) + "/ltx/0";
  const auto stat = env.Stat(directory);
  if (!stat.ok() && stat.error().Is(ErrorCode::kNotFound)) return row;
  const auto files = env.List(directory);
  if (!files.ok()) {
    row.status = "error";
    return row;
  }
  Txid newest;
  for (const DirectoryEntry& entry : files.value()) {
    const auto range = ParseLtxFilename(entry.name);
    if (range) newest = std::max(newest, range->max);
  }
  if (newest == Txid{}) return row;
  row.status = "ok";
  row.local_txid = FormatTxid(newest);
  return row;
}

}  // namespace

Result<int> RunStatus(const Invocation& call) {
  FlagSet flags(kUsage);
  ConfigFlags config_flags;
  config_flags.Register(flags);
  bool json = false;
  flags.Bool("json", &json);
  if (LS_TRY(flags.Parse(call.arguments)) == ParseOutcome::kHelp) return 0;
  const std::string only = flags.positional().empty() ? "" : flags.positional().front();
  const auto databases = LS_TRY(config_flags.LoadDatabases(call.env, only));
  Table table({"database", "status", "local txid", "wal size"});
  JsonWriter out;
  out.BeginArray();
  for (const auto& database : databases) {
    const Row row = StatusOf(call.env, database);
    table.Add({row.database, row.status, row.local_txid, row.wal_size});
    out.BeginObject()
        .Field("database", row.database)
        .Field("status", row.status)
        .Field("local_txid", row.local_txid)
        .Field("wal_size", row.wal_size)
        .EndObject();
  }
  out.EndArray();
  fmt::print("{}", json ? out.Take() : table.Format());
  return 0;
}

}  // namespace litestream::cli
