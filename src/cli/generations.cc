#include <algorithm>
#include <chrono>
#include <optional>

#include <fmt/core.h>

#include "base/duration.h"
#include "base/try.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/json_out.h"
#include "cli/ltx_list.h"
#include "cli/table.h"
#include "cli/usage.h"
#include "format/names.h"
#include "replica/plan.h"

namespace litestream::cli {
namespace {

constexpr std::string_view kUsage =
    "The generations command shows from when to when each replica reaches, and how far\n"
    "it is behind the database. Backups since Litestream v0.5 have no generations, so\n"
    "there is one line for a replica.\n\n"
    "Usage:\n\n"
    "\tlitestream generations [arguments] DB_PATH\n\n"
    "\tlitestream generations [arguments] REPLICA_URL\n\n"
    "Arguments:\n\n"  //
    LITESTREAM_USAGE_CONFIG LITESTREAM_USAGE_NO_EXPAND LITESTREAM_USAGE_REPLICA
        LITESTREAM_USAGE_JSON
    "Backups of Litestream v0.3 are not supported yet.\n\n"
    "Output columns:\n"
    "  name          Name of the replica\n"
    "  generation    - (there are none)\n"
    "  lag           From the end to the last change of the database (for a URL: to now)\n"
    "  start, end    Times of the oldest and newest file\n\n"
    "Examples:\n\n"
    "\t$ litestream generations /path/to/db\n"
    "\t$ litestream generations file:///path/to/replica\n\n";

// When the database last changed; now, if it is not known.
WallTime LastChange(Env& env, const Source& source) {
  std::optional<WallTime> last;
  if (!source.is_url) {
    for (const char* const suffix : {"", "-wal"}) {
      const auto stat = env.Stat(source.database.path + suffix);
      if (!stat.ok()) continue;
      const auto time = std::chrono::floor<std::chrono::milliseconds>(stat.value().modified_at);
      last = std::max(last.value_or(time), time);
    }
  }
  return last.value_or(env.clock().Now());
}

// Whole seconds above ten, tenths above one.
std::string FormatLag(std::chrono::milliseconds lag) {
  using namespace std::chrono_literals;
  const auto size = lag < 0ms ? -lag : lag;
  const auto grain = size > 10s ? 1000ms : size > 1s ? 100ms : 1ms;
  return FormatGoDuration(lag / grain * grain);
}

}  // namespace

Result<int> RunGenerations(const Invocation& call) {
  FlagSet flags(kUsage);
  ConfigFlags config_flags;
  config_flags.Register(flags);
  std::string only;
  flags.String("replica", &only);
  bool json = false;
  flags.Bool("json", &json);
  if (LS_TRY(flags.Parse(call.arguments)) == ParseOutcome::kHelp) return 0;
  const std::string argument = LS_TRY(SourceArgument(flags, "litestream generations /path/to/db"));
  const Source source = LS_TRY(FindSource(call.env, config_flags, argument, only));
  LS_TRY(CheckOldBackups(call.env, source));
  Table table({"name", "generation", "lag", "start", "end"});
  JsonWriter out;
  out.BeginArray();
  for (const auto& replica : source.replicas) {
    const auto client = LS_TRY(MakeReplicaClient(call.env, replica, {}));
    const auto listing = LS_TRY(ListReplica(Context::Background(), *client, true));
    if (listing.empty()) continue;
    const std::string lag = FormatLag(LastChange(call.env, source) - *listing.newest_time());
    const std::string start = FormatTimestampSeconds(*listing.oldest_time());
    const std::string end = FormatTimestampSeconds(*listing.newest_time());
    table.Add({replica.name, "-", lag, start, end});
    out.BeginObject()
        .Field("name", replica.name)
        .Field("generation", "")
        .Field("lag", lag)
        .Field("start", start)
        .Field("end", end)
        .EndObject();
  }
  out.EndArray();
  fmt::print("{}", json ? out.Take() : table.Format());
  return 0;
}

}  // namespace litestream::cli
