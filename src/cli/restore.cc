#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <stop_token>

#include <fmt/core.h>
#include <unistd.h>

#include "base/try.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/json_out.h"
#include "cli/progress.h"
#include "cli/restore_run.h"
#include "cli/signals.h"
#include "cli/table.h"
#include "cli/usage.h"
#include "format/names.h"

namespace litestream::cli {
namespace {

constexpr std::string_view kUsage =
    "The restore command recovers a database from a replica, proves that it is the\n"
    "database that was replicated, and only then gives it its name.\n\n"
    "Usage:\n\n"
    "\tlitestream restore [arguments] DB_PATH\n\n"
    "\tlitestream restore [arguments] REPLICA_URL\n\n"
    "Arguments:\n\n"  //
    LITESTREAM_USAGE_CONFIG LITESTREAM_USAGE_NO_EXPAND
    "\t-txid TXID\n"
    "\t    Restore up to a specific hex-encoded transaction ID (inclusive).\n"
    "\t    Defaults to use the highest available transaction.\n\n"
    "\t-timestamp TIMESTAMP\n"
    "\t    Restore to a specific point-in-time.\n"
    "\t    Defaults to use the latest available backup.\n\n"
    "\t-o PATH\n"
    "\t    Output path of the restored database.\n"
    "\t    Defaults to original DB path.\n\n"
    "\t-replica NAME\n"
    "\t    Use only the replica with this name or type.\n"
    "\t    Defaults to the one that reaches furthest.\n\n"
    "\t-if-db-not-exists\n"
    "\t    Returns exit code of 0 if the database already exists.\n\n"
    "\t-if-replica-exists\n"
    "\t    Returns exit code of 0 if no backups found.\n\n"
    "\t-dry-run\n"
    "\t    Print the restore plan and exit without writing a database.\n\n"
    "\t-force\n"
    "\t    Overwrite an existing output database and SQLite sidecar files. They are\n"
    "\t    left alone until the restored database is complete and proven.\n\n"
    "\t-json\n"
    "\t    Output raw JSON summary on successful restore. Logs go to stderr.\n\n"
    "\t-parallelism NUM\n"
    "\t    Determines how many parts of files are read in parallel (1 to 64).\n"
    "\t    Defaults to 8\n\n"
    "\t-integrity-check MODE\n"
    "\t    Run a post-restore integrity check on the database.\n"
    "\t    MODE is one of: none, quick, full.\n"
    "\t    Defaults to none.\n\n"
    "Examples:\n\n"
    "\t# Restore latest replica for database to original location.\n"
    "\t$ litestream restore /path/to/db\n\n"
    "\t# Restore replica for database to a given point in time.\n"
    "\t$ litestream restore -timestamp 2020-01-01T00:00:00Z /path/to/db\n\n"
    "\t# Restore latest replica for database to new /tmp directory\n"
    "\t$ litestream restore -o /tmp/db /path/to/db\n\n"
    "\t# Restore database from a replica URL.\n"
    "\t$ litestream restore -o /tmp/db file:///path/to/replica\n\n"
    "\t# Preview restore plan without writing a database.\n"
    "\t$ litestream restore -dry-run -o /tmp/db file:///path/to/replica\n\n";

struct Options {
  ConfigFlags config;
  std::string output;
  std::string replica;
  std::string timestamp;
  std::string integrity = "none";
  Txid txid;  // 0: the newest.
  std::int64_t parallelism = 8;
  bool if_db_not_exists = false;
  bool if_replica_exists = false;
  bool dry_run = false;
  bool force = false;
  bool json = false;
};

void Register(FlagSet& flags, Options& options) {
  options.config.Register(flags);
  flags.String("o", &options.output);
  flags.String("replica", &options.replica);
  flags.String("timestamp", &options.timestamp);
  flags.String("integrity-check", &options.integrity);
  flags.Value("txid", [&options](std::string_view text) -> Result<void> {
    const auto txid = ParseTxid(text);
    if (!txid.ok()) return Error(ErrorCode::kInvalidArgument, "invalid txid format");
    options.txid = txid.value();
    return {};
  });
  flags.Integer("parallelism", &options.parallelism);
  flags.Bool("if-db-not-exists", &options.if_db_not_exists);
  flags.Bool("if-replica-exists", &options.if_replica_exists);
  flags.Bool("dry-run", &options.dry_run);
  flags.Bool("force", &options.force);
  flags.Bool("json", &options.json);
}

Result<IntegrityMode> ParseIntegrity(std::string_view text) {
  if (text == "none") return IntegrityMode::kNone;
  if (text == "quick") return IntegrityMode::kQuick;
  if (text == "full") return IntegrityMode::kFull;
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("invalid -integrity-check value: {}", text));
}

// Files that are strictly older count. Times of files are whole milliseconds, so a moment within a
// millisecond includes the files of that millisecond.
Result<WallTime> ParseMoment(std::string_view text) {
  const auto parsed = ParseTimestamp(text);
  if (!parsed.ok()) {
    // The no-break space has always stood there.
    return Error(ErrorCode::kInvalidArgument,
                 "invalid -timestamp, must specify in ISO 8601\u00a0format (e.g. "
                 "2000-01-01T00:00:00Z)");
  }
  constexpr std::size_t kMillisecondDigits = 3;
  const std::size_t point = text.find_first_of(".,");
  bool beyond = false;
  if (point != std::string_view::npos) {
    std::string_view digits = text.substr(point + 1);
    digits = digits.substr(0, digits.find_first_not_of("0123456789"));
    beyond = digits.size() > kMillisecondDigits &&
             digits.substr(kMillisecondDigits).find_first_not_of('0') != std::string_view::npos;
  }
  return parsed.value() + std::chrono::milliseconds(beyond ? 1 : 0);
}

Result<RestoreRequest> MakeRequest(const Options& options) {
  RestoreRequest request;
  request.integrity = LS_TRY(ParseIntegrity(options.integrity));
  if (!options.timestamp.empty()) {
    request.target.before = LS_TRY(ParseMoment(options.timestamp));
  }
  if (options.txid != Txid{}) request.target.txid = options.txid;
  if (request.target.txid && request.target.before) {
    return Error(ErrorCode::kInvalidArgument, "cannot specify index & timestamp to restore");
  }
  request.force = options.force;
  request.parallelism = static_cast<int>(std::clamp<std::int64_t>(options.parallelism, 1, 64));
  return request;
}

std::string FormatPlan(const Options& options, const RestoreRequest& request,
                       const ChosenPlan& chosen, const std::string& source) {
  Table table({"level", "file", "min_txid", "max_txid", "size", "timestamp"});
  JsonWriter json;
  const std::string min = FormatTxid(chosen.plan.min_txid());
  const std::string max = FormatTxid(chosen.plan.max_txid());
  json.BeginObject()
      .Field("source", source)
      .Field("target_path", request.output.string())
      .Field("replica", chosen.replica->type)
      .Field("min_txid", min)
      .Field("max_txid", max)
      .Key("files")
      .BeginArray();
  for (const FileInfo& file : chosen.plan.files) {
    const std::string name = FormatLtxFilename(file.id.txids);
    const std::string first = FormatTxid(file.id.txids.min);
    const std::string last = FormatTxid(file.id.txids.max);
    const std::string time = FormatTimestampSeconds(file.created_at);
    table.Add({fmt::format("{}", file.id.level.value), name, first, last,
               fmt::format("{}", file.size_bytes), time});
    json.BeginObject()
        .Field("level", int{file.id.level.value})
        .Field("name", name)
        .Field("min_txid", first)
        .Field("max_txid", last)
        .Field("size", file.size_bytes)
        .Field("timestamp", time)
        .EndObject();
  }
  json.EndArray().EndObject();
  if (options.json) return json.Take();
  return fmt::format(
      "Restore plan:\n  source: {}\n  target: {}\n  replica: {}\n  txid range: {} - {}\n\n"
      "Files to fetch:\n{}",
      source, request.output.string(), chosen.replica->type, min, max, table.Format());
}

std::string_view ProofName(ProofState proof) {
  return proof == ProofState::kProven ? "proven" : "unproven";
}

void PrintOutcome(const Options& options, const RestoreRequest& request,
                  const RestoreOutcome& outcome, std::chrono::milliseconds duration) {
  const std::string txid = FormatTxid(outcome.report.txids.max);
  const std::string reached = FormatTimestampMillis(outcome.report.reached);
  if (options.json) {
    fmt::print("{}", JsonWriter()
                         .BeginObject()
                         .Field("db_path", request.output.string())
                         .Field("replica", outcome.replica_type)
                         .Field("txid", txid)
                         .Field("duration_ms", duration.count())
                         .Field("integrity_check", options.integrity)
                         .Field("proof", ProofName(outcome.report.proof))
                         .Field("reached", reached)
                         .EndObject()
                         .Take());
    return;
  }
  MakeLogger({}, "", /*force_stderr=*/true)
      .Info("restored", {{"path", request.output.string()},
                         {"txid", txid},
                         {"reached", reached},
                         {"proof", ProofName(outcome.report.proof)}});
}

// Restores, and can be interrupted: the first signal stops the restore, which then removes what it
// has written; the second ends the process.
Result<int> RestoreInterruptibly(Env& env, const Options& options, RestoreRequest& request) {
  std::stop_source stop;
  std::atomic<int> received{0};
  const SignalWatcher watcher([&](int signal, bool /*from_terminal*/) {
    if (received.exchange(signal) != 0) ::_exit(128 + signal);
    stop.request_stop();
  });
  const auto started = env.clock().Monotonic();
  auto outcome = [&] {
    ProgressBar bar("restore", env.clock());
    if (!options.json) {
      request.progress = [&bar](const RestoreProgress& progress) {
        bar.Update(progress.done_bytes, progress.total_bytes);
      };
    }
    return RestoreFromReplicas(Context(stop.get_token()), env, request);
  }();
  if (outcome.ok()) {
    PrintOutcome(
        options, request, outcome.value(),
        std::chrono::duration_cast<std::chrono::milliseconds>(env.clock().Monotonic() - started));
    return 0;
  }
  if (outcome.error().Is(ErrorCode::kCancelled) && received != 0) {
    fmt::print(stderr, "Error: restore interrupted ({}); nothing was left at {}\n",
               SignalName(received), request.output.string());
    return 128 + received;
  }
  return std::move(outcome).error();
}

}  // namespace

Result<int> RunRestore(const Invocation& call) {
  FlagSet flags(kUsage);
  Options options;
  Register(flags, options);
  if (LS_TRY(flags.Parse(call.arguments)) == ParseOutcome::kHelp) return 0;
  if (flags.positional().empty() || flags.positional().front().empty()) {
    return UsageError("database path or replica URL required",
                      "litestream restore -o /path/to/db s3://bucket/prefix");
  }
  if (flags.positional().size() > 1) {
    return Error(ErrorCode::kInvalidArgument, "too many arguments");
  }
  const std::string& argument = flags.positional().front();
  RestoreRequest request = LS_TRY(MakeRequest(options));
  const Source source = LS_TRY(FindSource(call.env, options.config, argument, options.replica));
  if (source.is_url && options.output.empty()) {
    return UsageError("-o is required when restoring from a replica URL",
                      fmt::format("litestream restore -o /path/to/db {}", argument));
  }
  request.replicas = source.replicas;
  request.check_time_bounds = source.is_url;
  request.output = options.output.empty() ? source.database.path : options.output;
  request.log = MakeLogger(source.config.logging, "", options.json);
  if (!source.is_url) {
    request.log =
        request.log.With({{"db", std::filesystem::path(source.database.path).filename().string()}});
  }
  const Logger plain_log = MakeLogger(source.config.logging, "", options.json);
  if (options.if_db_not_exists && LS_TRY(Exists(call.env, request.output))) {
    plain_log.Info("database already exists, skipping");
    return 0;
  }
  if (options.dry_run) {
    const ChosenPlan chosen = LS_TRY(ChoosePlan(Context::Background(), call.env, request));
    fmt::print("{}", FormatPlan(options, request, chosen, argument));
    return 0;
  }
  auto result = RestoreInterruptibly(call.env, options, request);
  const bool nothing = !result.ok() && result.error().Is(ErrorCode::kNotFound);
  if (!nothing || !options.if_replica_exists) return result;
  plain_log.Info("no matching backups found");
  return 0;
}

}  // namespace litestream::cli
