#include <fmt/core.h>

#include "base/try.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/ltx_list.h"
#include "cli/usage.h"
#include "config/units.h"

namespace litestream::cli {
namespace {

constexpr std::string_view kUsage =
    "The ltx command lists all LTX files available for a database.\n\n"
    "Usage:\n\n"
    "\tlitestream ltx [arguments] DB_PATH\n\n"
    "\tlitestream ltx [arguments] REPLICA_URL\n\n"
    "Arguments:\n\n"  //
    LITESTREAM_USAGE_CONFIG LITESTREAM_USAGE_NO_EXPAND
    "\t-level LEVEL\n"
    "\t    Compaction level to list (0-9 or \"all\").\n"
    "\t    Defaults to 0.\n\n"  //
    LITESTREAM_USAGE_JSON
    "If the database has several replicas, the files of all are listed, with one more\n"
    "column that names the replica.\n\n"
    "Examples:\n\n"
    "\t# List all LTX files for a database.\n"
    "\t$ litestream ltx /path/to/db\n\n"
    "\t# List all LTX files for replica URL.\n"
    "\t$ litestream ltx file:///path/to/replica\n\n"
    "\t# List LTX files at snapshot level (level 9).\n"
    "\t$ litestream ltx -level 9 /path/to/db\n\n"
    "\t# List LTX files across all compaction levels.\n"
    "\t$ litestream ltx -level all /path/to/db\n\n";

Result<LevelRange> ParseLevel(std::string_view text) {
  if (text == "all") return LevelRange{.first = 0, .last = kSnapshotLevel.value};
  const config::IntegerResult parsed = config::ParseInteger(text);
  if (parsed.error) {
    return Error(ErrorCode::kInvalidArgument, "invalid level: must be 0-9 or \"all\"");
  }
  if (parsed.value < 0 || parsed.value > kSnapshotLevel.value) {
    return Error(ErrorCode::kInvalidArgument, "level must be between 0 and 9");
  }
  const auto level = static_cast<std::uint8_t>(parsed.value);
  return LevelRange{.first = level, .last = level};
}

}  // namespace

Result<int> RunLtx(const Invocation& call) {
  const bool old = call.name == "wal";
  if (old) {
    fmt::print(stderr, "Warning: 'wal' command is deprecated, please use 'ltx' instead\n");
  }
  FlagSet flags(kUsage);
  ConfigFlags config_flags;
  config_flags.Register(flags);
  bool json = false;
  flags.Bool("json", &json);
  LevelRange levels;
  flags.Value("level", [&levels](std::string_view text) -> Result<void> {
    levels = LS_TRY(ParseLevel(text));
    return {};
  });
  OldFlags old_flags;
  if (old) old_flags.Register(flags);
  if (LS_TRY(flags.Parse(old ? WithoutList(call.arguments) : call.arguments)) ==
      ParseOutcome::kHelp) {
    return 0;
  }
  const std::string argument = LS_TRY(SourceArgument(flags, "litestream ltx /path/to/db"));
  const Source source = LS_TRY(FindSource(call.env, config_flags, argument, old_flags.replica()));
  if (old) LS_TRY(CheckOldBackups(call.env, source));
  LS_TRY(PrintLtxFiles(call.env, source, levels, json));
  return 0;
}

}  // namespace litestream::cli
