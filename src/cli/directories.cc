#include "cli/directories.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/try.h"

namespace litestream::cli {
namespace {

// New files of a replica belong to whom the database belongs.
FileOwner OwnerOf(Env& env, const std::string& path) {
  const auto stat = env.Stat(path);
  if (!stat.ok()) return {};
  return {.mode = stat.value().mode, .uid = stat.value().uid, .gid = stat.value().gid};
}

LeaseMode LeaseOf(const config::ReplicaConfig& replica) {
  if (replica.lease == "required") return LeaseMode::kRequired;
  return replica.lease == "off" ? LeaseMode::kOff : LeaseMode::kAuto;
}

}  // namespace

Result<DatabaseOptions> MakeDatabaseOptions(Env& env, const config::Config& config,
                                            const config::DatabaseConfig& database,
                                            const SharedByReplicas& shared) {
  DatabaseOptions options;
  options.path = database.path;
  options.meta_path = config::MetaPath(database);
  options.monitor_interval = database.monitor_interval;
  options.checkpoint.min_pages = static_cast<std::uint32_t>(database.min_checkpoint_pages);
  options.checkpoint.truncate_pages = database.truncate_pages;
  options.checkpoint.interval = database.checkpoint_interval;
  options.max_sync_wal_bytes =
      static_cast<std::uint64_t>(std::max<std::int64_t>(0, database.max_sync_wal_bytes));
  options.local_retention_bytes = database.local_retention_bytes;
  options.park_max_bytes = config.park_max_bytes;
  options.upkeep = UpkeepOf(config);
  // Local files are read by the merge of level 1; after that nobody needs them.
  if (!options.upkeep.levels.empty()) options.local_retention = {};
  const FileOwner owner = OwnerOf(env, database.path);
  for (const auto& replica : database.replicas) {
    ReplicaOptions out;
    out.client = LS_TRY(MakeReplicaClient(env, replica, owner, shared));
    out.limiter = shared.limiter;
    out.name = replica.name;
    out.place = config::PlaceOf(replica);
    out.sync_interval = *replica.sync_interval;
    out.lease = LeaseOf(replica);
    out.max_files_per_pass = static_cast<int>(replica.max_sync_ltx_files.value_or(256));
    options.replicas.push_back(std::move(out));
  }
  return options;
}

WatchedDirectories::WatchedDirectories(Env& env, Scheduler& scheduler, const config::Config& config,
                                       SharedByReplicas shared, Store& store, Logger log)
    : env_(env),
      scheduler_(scheduler),
      config_(config),
      shared_(std::move(shared)),
      store_(store),
      log_(std::move(log)) {}

Result<void> WatchedDirectories::Start(const std::vector<std::string>& paths) {
  for (const config::DatabaseConfig& entry : config_.databases) {
    if (!entry.watch) continue;
    std::vector<std::string> added;
    for (const std::string& path : paths) {
      if (config::IsBelow(entry, path)) added.push_back(path);
    }
    monitors_.push_back(
        std::make_unique<DirectoryMonitor>(env_, scheduler_, OptionsOf(entry), log_));
    auto started = monitors_.back()->Start(added);
    if (started.ok()) continue;
    Stop();
    return started;
  }
  return {};
}

DirectoryMonitorOptions WatchedDirectories::OptionsOf(const config::DatabaseConfig& entry) {
  DirectoryMonitorOptions options;
  options.directory = entry.dir;
  options.recursive = entry.recursive;
  options.matches = [&entry](const std::string& name) {
    return config::MatchesPattern(entry, name);
  };
  options.skips = [replicas = config::ReplicaDirectories(config_)](const std::string& path) {
    return replicas.contains(path);
  };
  options.add = [this, &entry](const std::string& path) { return Add(entry, path); };
  options.remove = [this](const std::string& path) { Remove(path); };
  return options;
}

Result<void> WatchedDirectories::Add(const config::DatabaseConfig& entry, const std::string& path) {
  LS_TRY(config::CheckFirstToCover(config_, entry, path));
  const config::DatabaseConfig database = config::DatabaseBelow(entry, path);
  LS_TRY(config::CheckForReplication(env_, {database}));
  const DatabaseOptions options = LS_TRY(MakeDatabaseOptions(env_, config_, database, shared_));
  return store_.Add(options);
}

void WatchedDirectories::Remove(const std::string& path) {
  const auto removed = store_.Remove(path);
  if (!removed.ok()) log_.Warn("cannot remove database", {{"error", removed.error().message()}});
}

}  // namespace litestream::cli
