#include "base/try.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/ltx_list.h"
#include "cli/usage.h"

namespace litestream::cli {
namespace {

constexpr std::string_view kUsage =
    "The snapshots command lists the snapshots of a replica: the files from which a\n"
    "restore can begin. It is the same as `ltx -level 9`.\n\n"
    "Usage:\n\n"
    "\tlitestream snapshots [list] [arguments] DB_PATH\n\n"
    "\tlitestream snapshots [list] [arguments] REPLICA_URL\n\n"
    "Arguments:\n\n"  //
    LITESTREAM_USAGE_CONFIG LITESTREAM_USAGE_NO_EXPAND LITESTREAM_USAGE_REPLICA
        LITESTREAM_USAGE_JSON
    "Backups of Litestream v0.3 are not supported yet. A database that is called \"list\"\n"
    "is ./list.\n\n"
    "Examples:\n\n"
    "\t$ litestream snapshots /path/to/db\n"
    "\t$ litestream snapshots file:///path/to/replica\n\n";

}  // namespace

Result<int> RunSnapshots(const Invocation& call) {
  FlagSet flags(kUsage);
  ConfigFlags config_flags;
  config_flags.Register(flags);
  OldFlags old_flags;
  old_flags.Register(flags);
  bool json = false;
  flags.Bool("json", &json);
  if (LS_TRY(flags.Parse(WithoutList(call.arguments))) == ParseOutcome::kHelp) return 0;
  const std::string argument = LS_TRY(SourceArgument(flags, "litestream snapshots /path/to/db"));
  const Source source = LS_TRY(FindSource(call.env, config_flags, argument, old_flags.replica()));
  LS_TRY(CheckOldBackups(call.env, source));
  LS_TRY(PrintLtxFiles(call.env, source,
                       {.first = kSnapshotLevel.value, .last = kSnapshotLevel.value}, json));
  return 0;
}

}  // namespace litestream::cli
