#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

#include <fmt/core.h>
#include <unistd.h>

#include "base/scheduler.h"
#include "base/try.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/directories.h"
#include "cli/exec.h"
#include "cli/file_limit.h"
#include "cli/restore_run.h"
#include "cli/supervisor.h"
#include "cli/usage.h"
#include "cli/version.h"
#include "db/store.h"
#include "server/http_listener.h"
#include "server/metrics.h"

namespace litestream::cli {
namespace {

constexpr std::string_view kUsage =
    "The replicate command starts a server to monitor & replicate databases.\n"
    "You can specify your database & replicas in a configuration file or you can\n"
    "replicate a single database file by specifying its path and its replicas in the\n"
    "command line arguments.\n\n"
    "Usage:\n\n"
    "\tlitestream replicate [arguments]\n\n"
    "\tlitestream replicate [arguments] DB_PATH REPLICA_URL...\n\n"
    "Arguments:\n\n"  //
    LITESTREAM_USAGE_CONFIG
    "\t-exec CMD\n"
    "\t    Executes a subcommand. Litestream will exit when the child\n"
    "\t    process exits, with its exit code. Useful for simple process management.\n\n"
    "\t-once\n"
    "\t    Replicate once and exit. This performs a single sync of all\n"
    "\t    databases and their replicas, then exits. Cannot be used with -exec.\n\n"
    "\t-force-snapshot\n"
    "\t    With -once, writes a snapshot of every database to its replicas after the\n"
    "\t    sync. One that is there already is replaced.\n\n"
    "\t-enforce-retention\n"
    "\t    With -once, removes from the replicas what the configured retention does not\n"
    "\t    keep, after the sync. litestream retention -dry-run shows what that is.\n\n"
    "\t-log-level LEVEL\n"
    "\t    Sets the log level. Overrides the config file setting.\n"
    "\t    Valid values: trace, debug, info, warn, error\n\n"  //
    LITESTREAM_USAGE_NO_EXPAND
    "\t-restore-if-db-not-exists\n"
    "\t    Restores the database from the replica if it doesn't exist.\n"
    "\t    On first start with no backup, proceeds normally.\n\n";

constexpr std::string_view kRunUsage =
    "The run command starts a program and replicates its databases for as long as it\n"
    "runs. Litestream exits with the program's exit code.\n\n"
    "Usage:\n\n"
    "\tlitestream run [arguments] -- PROGRAM [arguments of the program]\n\n"
    "Arguments:\n\n"  //
    LITESTREAM_USAGE_CONFIG
    "\t-log-level LEVEL\n"
    "\t    Sets the log level. Overrides the config file setting.\n"
    "\t    Valid values: trace, debug, info, warn, error\n\n"  //
    LITESTREAM_USAGE_NO_EXPAND
    "\t-restore-if-db-not-exists\n"
    "\t    Restores the database from the replica if it doesn't exist.\n"
    "\t    On first start with no backup, proceeds normally.\n\n"
    "Examples:\n\n"
    "\t$ litestream run -config litestream.yml -- ./app -port 8080\n\n";

struct Options {
  ConfigFlags config;
  std::string exec;
  std::string log_level;
  bool once = false;
  bool force_snapshot = false;
  bool enforce_retention = false;
  bool restore = false;
};

// What is replicated, and the program beside it if there is one.
struct Job {
  config::Config config;
  // Directories expanded. Once they are in the store only their paths are kept: of a fleet the rest
  // is megabytes.
  std::vector<config::DatabaseConfig> databases;
  std::vector<std::string> paths;
  std::string exec;                  // To be split; empty: none.
  std::vector<std::string> command;  // Of `run`; empty: none.
  bool HasChild() const { return !exec.empty() || !command.empty(); }
};

Error Invalid(std::string message) {
  return Error(ErrorCode::kInvalidArgument, std::move(message));
}

Result<config::Config> ReadArguments(Env& env, const Options& options,
                                     const std::vector<std::string>& arguments) {
  if (arguments.empty()) return options.config.LoadQuietly(env);
  if (arguments.size() == 1) {
    return Invalid(fmt::format("must specify at least one replica URL for {}", arguments.front()));
  }
  if (options.config.given()) {
    return Invalid("cannot specify a replica URL and the -config flag");
  }
  const std::vector<std::string> urls(arguments.begin() + 1, arguments.end());
  for (const std::string& url : urls) {
    if (!url.starts_with('-')) continue;
    return Invalid(fmt::format(
        "flag \"{}\" must be positioned before DB_PATH and REPLICA_URL arguments", url));
  }
  return config::ConfigFromArguments(env, arguments.front(), urls);
}

// Everything that can be said without opening a database.
Result<Job> Prepare(Env& env, const Options& options, const FlagSet& flags, bool run) {
  Job job;
  if (run) {
    job.command = flags.positional();
    if (job.command.empty()) {
      return UsageError("program required", "litestream run -config litestream.yml -- PROGRAM");
    }
    job.config = LS_TRY(options.config.LoadQuietly(env));
  } else {
    job.config = LS_TRY(ReadArguments(env, options, flags.positional()));
    job.exec = options.exec.empty() ? job.config.exec : options.exec;
  }
  if (options.once && job.HasChild()) return Invalid("cannot specify -once flag with -exec");
  if (options.force_snapshot && !options.once) {
    return Invalid("cannot specify -force-snapshot flag without -once");
  }
  if (options.enforce_retention && !options.once) {
    return Invalid("cannot specify -enforce-retention flag without -once");
  }
  if (!options.log_level.empty()) job.config.logging.level = options.log_level;
  for (auto& database : job.config.databases) {
    database.restore_if_db_not_exists |= options.restore;
  }
  LS_TRY(config::CheckAvailable(job.config));
  if (job.config.databases.empty()) {
    return Invalid(fmt::format("no databases specified in configuration {}", job.config.file));
  }
  if (!job.exec.empty()) {
    job.command = LS_TRY(SplitCommand(job.exec), "cannot parse exec command");
  }
  return job;
}

Result<void> RestoreMissing(const Context& ctx, Env& env, const Job& job, const Logger& log) {
  for (const auto& database : job.config.databases) {
    if (!database.restore_if_db_not_exists || database.path.empty()) continue;
    const LogFields path = {{"path", database.path}};
    const auto stat = env.Stat(database.path);
    if (stat.ok() || !stat.error().Is(ErrorCode::kNotFound)) {
      log.Info("database exists, skipping restore", path);
      continue;
    }
    log.Info("attempting restore before replication", path);
    RestoreRequest request;
    request.replicas = database.replicas;
    request.output = database.path;
    request.log = log;
    auto outcome = RestoreFromReplicas(ctx, env, request);
    if (outcome.ok()) {
      log.Info("restore completed", path);
    } else if (outcome.error().Is(ErrorCode::kNotFound)) {
      log.Info("no backup found, starting fresh", path);
    } else {
      return std::move(outcome).error().Wrap("restore failed");
    }
  }
  return {};
}

void LogDatabases(Env& env, const Job& job, const Logger& log) {
  for (const auto& database : job.databases) {
    log.Info("initialized db", {{"path", database.path}});
    const auto stat = env.Stat(database.path);
    if (!stat.ok() && stat.error().Is(ErrorCode::kNotFound)) {
      log.Warn("the database does not exist, waiting for it", {{"path", database.path}});
    } else if (stat.ok() && stat.value().size_bytes == 0) {
      log.Info("the database is empty, waiting for its first write", {{"path", database.path}});
    }
    for (const auto& replica : database.replicas) {
      log.Info("replicating to", {{"type", replica.type},
                                  {"sync-interval", *replica.sync_interval},
                                  {"path", replica.path}});
    }
  }
}

// Null: the metrics are off.
Result<std::unique_ptr<HttpListener>> ListenForMetrics(const config::Config& config) {
  if (config.addr.empty()) return std::unique_ptr<HttpListener>();
  return LS_TRY(HttpListener::Bind(config.addr), "cannot start metrics server");
}

// Until what it returns goes, which must be before the store does.
std::unique_ptr<HttpListener> ServeMetrics(std::unique_ptr<HttpListener> listener, Env& env,
                                           const Store& store, const SharedByReplicas& shared,
                                           const Logger& log) {
  if (!listener) return nullptr;
  const MetricsSources sources{
      .env = env, .databases = [&store] { return store.Status(); }, .operations = shared.counts};
  listener->Start([sources](std::string_view path) {
    return path == kMetricsPath ? MetricsPage(sources) : HttpPage();
  });
  log.Info("serving metrics on", {{"url", listener->url() + std::string(kMetricsPath)}});
  return listener;
}

// Runs until a signal, the end of the child, or (-once) the end of the work. The exit code.
Result<int> RunStore(const Options& options, const Job& job, const Logger& log,
                     Supervisor& supervisor, Store& store, WatchedDirectories& directories) {
  const Context ctx(supervisor.stop());
  Result<void> once;
  if (options.once) {
    const auto say = [&log](std::string_view what) {
      return [&log, what](const Database& database) {
        log.Info(what, {{"path", database.path().string()}});
      };
    };
    once = store.SyncOnce(ctx, {.force_snapshot = options.force_snapshot,
                                .enforce_retention = options.enforce_retention,
                                .before_sync = say("syncing database"),
                                .before_snapshot = say("taking snapshot"),
                                .before_retention = say("enforcing retention")});
    if (once.ok()) log.Info("one-shot replication complete");
  } else {
    store.Start();
    LS_TRY(directories.Start(job.paths));
    if (!job.command.empty())
      LS_TRY(supervisor.StartChild(job.command), "cannot start exec command");
    supervisor.Wait();
  }
  if (supervisor.signal() != 0) {
    supervisor.EndBySignal(log);
  } else {
    supervisor.EndByItself();
    log.Info(options.once ? "replication complete, litestream shutting down"
                          : "subprocess exited, litestream shutting down");
  }
  directories.Stop();
  auto closed = store.Close(supervisor.hurry());
  log.Info("litestream shut down");
  if (options.once && supervisor.signal() != 0) return 128 + supervisor.signal();
  LS_TRY(std::move(once));
  if (const int code = supervisor.ChildExitCode(); code != 0) {
    std::fflush(stdout);
    fmt::print(stderr, "Error: {}\n", supervisor.child_end()->Describe());
    return code;
  }
  LS_TRY(std::move(closed), "the last sync did not complete");
  return 0;
}

}  // namespace

Result<int> RunReplicate(const Invocation& call) {
  const bool run = call.name == "run";
  FlagSet flags(run ? kRunUsage : kUsage);
  Options options;
  options.config.Register(flags);
  flags.String("log-level", &options.log_level);
  flags.Bool("restore-if-db-not-exists", &options.restore);
  if (!run) {
    flags.String("exec", &options.exec);
    flags.Bool("once", &options.once);
    flags.Bool("force-snapshot", &options.force_snapshot);
    flags.Bool("enforce-retention", &options.enforce_retention);
  }
  if (LS_TRY(flags.Parse(call.arguments)) == ParseOutcome::kHelp) return 0;
  Job job = LS_TRY(Prepare(call.env, options, flags, run));
  // The child sees the level too.
  if (!options.log_level.empty()) ::setenv("LOG_LEVEL", options.log_level.c_str(), 1);
  const Logger log = MakeLogger(job.config.logging, options.log_level, false);
  ::signal(SIGPIPE, SIG_IGN);  // A closed stdout must not end the replication.
  RaiseFileLimit();
  Supervisor supervisor;  // Before any thread.

  log.Info("litestream", {{"version", Version()}, {"level", job.config.logging.level}});
  for (const std::string& warning : job.config.warnings) log.Warn(warning);
  // Before any work is done.
  std::unique_ptr<HttpListener> listener = LS_TRY(ListenForMetrics(job.config));
  auto restored = RestoreMissing(Context(supervisor.stop()), call.env, job, log);
  if (!restored.ok()) {
    if (supervisor.signal() == 0) return std::move(restored).error();
    log.Info("signal received, litestream shutting down",
             {{"signal", SignalName(supervisor.signal())}});
    return 128 + supervisor.signal();
  }
  job.databases = LS_TRY(config::ExpandDirectories(call.env, job.config, log));
  LS_TRY(config::CheckForReplication(call.env, job.databases), "cannot open store");

  const SharedByReplicas shared{.limiter = MakeLimiter(job.config.limits),
                                .counts = listener ? std::make_shared<OperationCounts>() : nullptr};
  const auto scheduler = MakePoolScheduler({});
  Store store(call.env, *scheduler,
              // A single sync has had its try; a replica that is away fails it at once.
              {.shutdown_sync_timeout =
                   options.once ? std::chrono::nanoseconds(0) : job.config.shutdown_sync_timeout,
               .shutdown_sync_interval = job.config.shutdown_sync_interval,
               .max_open_databases = job.config.max_open_databases == 0
                                         ? -1
                                         : static_cast<int>(job.config.max_open_databases)},
              log.With({{"system", "store"}}));
  for (const auto& database : job.databases) {
    const auto to_add =
        LS_TRY(MakeDatabaseOptions(call.env, job.config, database, shared), "cannot open store");
    LS_TRY(store.Add(to_add), "cannot open store");
  }
  LogDatabases(call.env, job, log);
  for (auto& database : job.databases) job.paths.push_back(std::move(database.path));
  job.databases = {};
  WatchedDirectories directories(call.env, *scheduler, job.config, shared, store, log);
  const auto metrics = ServeMetrics(std::move(listener), call.env, store, shared, log);
  return RunStore(options, job, log, supervisor, store, directories);
}

}  // namespace litestream::cli
