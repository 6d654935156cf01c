#include "replica/retention.h"

#include <chrono>
#include <map>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "base/duration.h"
#include "base/try.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/json_out.h"
#include "cli/points_out.h"
#include "cli/table.h"
#include "cli/usage.h"
#include "format/names.h"
#include "replica/plan.h"
#include "replica/restore_points.h"

namespace litestream::cli {
namespace {

constexpr std::string_view kUsage =
    "The retention command shows which files of a replica the configured retention\n"
    "would remove, why, and what can be restored afterwards.\n\n"
    "Usage:\n\n"
    "\tlitestream retention -dry-run [arguments] DB_PATH\n\n"
    "\tlitestream retention -dry-run [arguments] REPLICA_URL\n\n"
    "Arguments:\n\n"  //
    LITESTREAM_USAGE_CONFIG LITESTREAM_USAGE_NO_EXPAND LITESTREAM_USAGE_REPLICA
    "\t-dry-run\n"
    "\t    Remove nothing. Required: what removes is\n"
    "\t    litestream replicate -once -enforce-retention.\n\n"
    "\t-snapshot-retention DURATION\n"
    "\t    Instead of snapshot.retention of the configuration (24h).\n\n"
    "\t-l0-retention DURATION\n"
    "\t    Instead of l0-retention of the configuration (5m).\n\n"  //
    LITESTREAM_USAGE_JSON
    "With a URL the defaults of the configuration count.\n\n"
    "Examples:\n\n"
    "\t$ litestream retention -dry-run /path/to/db\n"
    "\t$ litestream retention -dry-run -snapshot-retention 1h file:///path/to/replica\n\n";

struct Options {
  ConfigFlags config;
  std::string replica;
  bool dry_run = false;
  bool json = false;
  std::optional<std::chrono::nanoseconds> snapshot_retention;
  std::optional<std::chrono::nanoseconds> l0_retention;
};

void RegisterDuration(FlagSet& flags, std::string_view name, std::chrono::nanoseconds least,
                      std::optional<std::chrono::nanoseconds>* out) {
  flags.Value(name, [out, least](std::string_view text) -> Result<void> {
    *out = LS_TRY(ParseGoDuration(text));
    if (**out >= least) return {};
    return Error(ErrorCode::kInvalidArgument,
                 least.count() > 0 ? "must be greater than 0" : "must not be negative");
  });
}

RetentionPolicy PolicyOf(const config::Config& config, const Options& options) {
  config::Config with = config;
  with.l0_retention = options.l0_retention.value_or(config.l0_retention);
  with.snapshot_retention = options.snapshot_retention.value_or(config.snapshot_retention);
  return RetentionOf(with);
}

// What a pass would make of one replica.
struct Outlook {
  RetentionPlan plan;
  RestorePoints after;
};

Result<Outlook> Look(Env& env, ReplicaClient& client, const RetentionPolicy& policy) {
  const auto listing = LS_TRY(ListReplica(Context::Background(), client, /*exact_times=*/true));
  Outlook outlook;
  outlook.plan = LS_TRY(PlanRetention(listing, policy, env.clock().Now()));
  ReplicaListing left;
  for (const RetentionVerdict& verdict : outlook.plan.keep) {
    left.levels[verdict.file.id.level.value].push_back(verdict.file);
  }
  outlook.after = FindRestorePoints(left);
  return outlook;
}

std::string FileCount(std::size_t count, std::uint64_t bytes) {
  return fmt::format("{}{}, {}", count, count == 1 ? " file" : " files", FormatBytes(bytes));
}

std::string FormatRemoved(const RetentionPlan& plan) {
  if (plan.remove.empty()) return "";
  Table table({"  level", "file", "size", "created", "reason"});
  for (const RetentionVerdict& verdict : plan.remove) {
    table.Add({fmt::format("  {}", verdict.file.id.level.value),
               FormatLtxFilename(verdict.file.id.txids), fmt::format("{}", verdict.file.size_bytes),
               FormatTimestampSeconds(verdict.file.created_at),
               std::string(ReasonText(verdict.reason))});
  }
  return table.Format();
}

// By level and reason.
std::string FormatKept(const RetentionPlan& plan) {
  std::map<std::pair<Level, RetentionReason>, std::pair<std::size_t, std::uint64_t>> groups;
  for (const RetentionVerdict& verdict : plan.keep) {
    auto& group = groups[{verdict.file.id.level, verdict.reason}];
    ++group.first;
    group.second += verdict.file.size_bytes;
  }
  if (groups.empty()) return "";
  Table table({"  level", "files", "size", "reason"});
  for (const auto& [key, group] : groups) {
    table.Add({fmt::format("  {}", key.first.value), fmt::format("{}", group.first),
               fmt::format("{}", group.second), std::string(ReasonText(key.second))});
  }
  return table.Format();
}

std::string Format(const Outlook& outlook) {
  const RetentionPlan& plan = outlook.plan;
  std::uint64_t kept_bytes = 0;
  for (const RetentionVerdict& verdict : plan.keep) kept_bytes += verdict.file.size_bytes;
  std::string out = fmt::format("  window: since {}\n", FormatTimestampSeconds(plan.window_start));
  out += plan.base ? fmt::format("  base: snapshot {} of {}\n", FormatTxid(plan.base->id.txids.max),
                                 FormatTimestampSeconds(plan.base->created_at))
                   : "  base: none, no snapshot is old enough\n";
  out += fmt::format("  would remove: {}\n{}", FileCount(plan.remove.size(), plan.remove_bytes),
                     FormatRemoved(plan));
  out += fmt::format("  would keep: {}\n{}", FileCount(plan.keep.size(), kept_bytes),
                     FormatKept(plan));
  const std::size_t points = outlook.after.points.size();
  out += fmt::format("  restorable afterwards: {} point{}\n{}{}", points, points == 1 ? "" : "s",
                     FormatStretches(outlook.after, {}, "  "), FormatHoles(outlook.after, "  "));
  return out;
}

void AddVerdicts(JsonWriter& out, std::string_view key,
                 const std::vector<RetentionVerdict>& verdicts) {
  out.Key(key).BeginArray();
  for (const RetentionVerdict& verdict : verdicts) {
    out.BeginObject()
        .Field("level", int{verdict.file.id.level.value})
        .Field("name", FormatLtxFilename(verdict.file.id.txids))
        .Field("min_txid", FormatTxid(verdict.file.id.txids.min))
        .Field("max_txid", FormatTxid(verdict.file.id.txids.max))
        .Field("size", verdict.file.size_bytes)
        .Field("timestamp", FormatTimestampSeconds(verdict.file.created_at))
        .Field("reason", ReasonText(verdict.reason))
        .EndObject();
  }
  out.EndArray();
}

void AddJson(JsonWriter& out, const Outlook& outlook) {
  const RetentionPlan& plan = outlook.plan;
  out.Field("window_start", FormatTimestampMillis(plan.window_start))
      .Field("base_txid", plan.base ? FormatTxid(plan.base->id.txids.max) : "")
      .Field("remove_bytes", plan.remove_bytes);
  AddVerdicts(out, "remove", plan.remove);
  AddVerdicts(out, "keep", plan.keep);
  out.Key("restorable").BeginObject();
  AddStretches(out, outlook.after, outlook.after.points.size(), {});
  out.EndObject();
}

}  // namespace

Result<int> RunRetention(const Invocation& call) {
  FlagSet flags(kUsage);
  Options options;
  options.config.Register(flags);
  flags.String("replica", &options.replica);
  flags.Bool("dry-run", &options.dry_run);
  flags.Bool("json", &options.json);
  RegisterDuration(flags, "snapshot-retention", std::chrono::nanoseconds(1),
                   &options.snapshot_retention);
  RegisterDuration(flags, "l0-retention", std::chrono::nanoseconds(0), &options.l0_retention);
  if (LS_TRY(flags.Parse(call.arguments)) == ParseOutcome::kHelp) return 0;
  const std::string argument =
      LS_TRY(SourceArgument(flags, "litestream retention -dry-run /path/to/db"));
  if (!options.dry_run) {
    return Error(
        ErrorCode::kUnsupported,
        "this command removes nothing; to see which files would go, use -dry-run; litestream "
        "replicate -once -enforce-retention removes them");
  }
  const Source source = LS_TRY(FindSource(call.env, options.config, argument, options.replica));
  const RetentionPolicy policy = PolicyOf(source.config, options);
  std::string text;
  JsonWriter out;
  out.BeginArray();
  for (const auto& replica : source.replicas) {
    const auto client = LS_TRY(MakeReplicaClient(call.env, replica, {}));
    const Outlook outlook = LS_TRY(Look(call.env, *client, policy), "{}", client->Describe());
    text += fmt::format("replica: {} {}\n{}", replica.name, client->Describe(), Format(outlook));
    out.BeginObject()
        .Field("replica", replica.name)
        .Field("type", replica.type)
        .Field("location", client->Describe());
    AddJson(out, outlook);
    out.EndObject();
  }
  out.EndArray();
  fmt::print("{}", options.json ? out.Take() : text);
  return 0;
}

}  // namespace litestream::cli
