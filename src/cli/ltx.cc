#include <fmt/core.h>

#include "base/try.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/json_out.h"
#include "cli/table.h"
#include "cli/usage.h"
#include "config/units.h"
#include "format/names.h"

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

// Which levels to list, both ends included.
struct LevelRange {
  std::uint8_t first = 0;
  std::uint8_t last = 0;
};

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

// The rows of the listing, as a table and as JSON.
class Listing {
 public:
  explicit Listing(bool name_replicas)
      : name_replicas_(name_replicas), table_(Header(name_replicas)) {
    json_.BeginArray();
  }

  void Add(const FileInfo& file, const std::string& replica) {
    std::vector<std::string> row = {fmt::format("{}", file.id.level.value),
                                    FormatTxid(file.id.txids.min), FormatTxid(file.id.txids.max),
                                    fmt::format("{}", file.size_bytes),
                                    FormatTimestampSeconds(file.created_at)};
    if (name_replicas_) row.push_back(replica);
    table_.Add(std::move(row));
    json_.BeginObject()
        .Field("level", int{file.id.level.value})
        .Field("min_txid", FormatTxid(file.id.txids.min))
        .Field("max_txid", FormatTxid(file.id.txids.max))
        .Field("size", file.size_bytes)
        .Field("timestamp", FormatTimestampSeconds(file.created_at));
    if (name_replicas_) json_.Field("replica", replica);
    json_.EndObject();
  }
  std::string Take(bool json) {
    json_.EndArray();
    return json ? json_.Take() : table_.Format();
  }

 private:
  static std::vector<std::string> Header(bool name_replicas) {
    std::vector<std::string> header = {"level", "min_txid", "max_txid", "size", "created"};
    if (name_replicas) header.emplace_back("replica");
    return header;
  }

  bool name_replicas_;
  Table table_;
  JsonWriter json_;
};

}  // namespace

Result<int> RunLtx(const Invocation& call) {
  if (call.name == "wal") {
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
  if (LS_TRY(flags.Parse(call.arguments)) == ParseOutcome::kHelp) return 0;
  if (flags.positional().empty() || flags.positional().front().empty()) {
    return UsageError("database path or replica URL required", "litestream ltx /path/to/db");
  }
  if (flags.positional().size() > 1) {
    return Error(ErrorCode::kInvalidArgument, "too many arguments");
  }
  const Source source = LS_TRY(FindSource(call.env, config_flags, flags.positional().front(), ""));
  Listing listing(source.replicas.size() > 1);
  const Context ctx = Context::Background();
  for (const auto& replica : source.replicas) {
    const auto client = LS_TRY(MakeReplicaClient(call.env, replica, {}));
    for (int level = levels.first; level <= levels.last; ++level) {
      const auto files =
          LS_TRY(client->List(ctx, Level{static_cast<std::uint8_t>(level)}, ListOptions{}),
                 "list level {} of {}", level, client->Describe());
      for (const FileInfo& file : files) listing.Add(file, replica.name);
    }
  }
  fmt::print("{}", listing.Take(json));
  return 0;
}

}  // namespace litestream::cli
