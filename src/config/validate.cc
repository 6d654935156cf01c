#include "config/validate.h"

#include <functional>
#include <utility>

#include <fmt/core.h>

#include "base/duration.h"
#include "base/try.h"
#include "config/paths.h"
#include "config/replica_resolve.h"
#include "config/units.h"

namespace litestream::config {
namespace {

using std::chrono::minutes;

std::string Position(const Config& config, int line) {
  if (config.file.empty()) return {};
  return line == 0 ? fmt::format("{}: ", config.file) : fmt::format("{}:{}: ", config.file, line);
}

int LineOf(const Config& config, std::string_view path) {
  const auto found = config.lines.find(path);
  return found == config.lines.end() ? 0 : found->second;
}

Error Invalid(const Config& config, int line, std::string_view message) {
  return Error(ErrorCode::kInvalidArgument, Position(config, line) + std::string(message));
}

Error BadValue(const Config& config, int line, std::string_view field, std::string_view text,
               std::string_view got) {
  return Invalid(config, line, fmt::format("{}: {} (got {})", field, text, got));
}

std::string_view NameOf(const DatabaseConfig& database) {
  return database.path.empty() ? database.dir : database.path;
}

// Several databases may give the same value for what is one setting of the process.
Result<void> PromoteSnapshot(Config& config, std::string_view key,
                             std::optional<nanoseconds> DatabaseConfig::*member,
                             nanoseconds& global) {
  const DatabaseConfig* first = nullptr;
  for (const DatabaseConfig& database : config.databases) {
    if (!(database.*member)) continue;
    if (first == nullptr) first = &database;
    if (*(first->*member) == *(database.*member)) continue;
    return Invalid(config, database.line,
                   fmt::format("conflicting database snapshot {}s: {} has {}, {} has {}", key,
                               NameOf(*first), FormatGoDuration(*(first->*member)),
                               NameOf(database), FormatGoDuration(*(database.*member))));
  }
  const std::string path = fmt::format("snapshot.{}", key);
  if (first != nullptr && LineOf(config, path) == 0) {
    global = *(first->*member);
    config.lines[path] = first->line;
  }
  return {};
}

Result<void> CheckDurations(const Config& config) {
  const struct {
    std::string_view field;
    std::string_view text;
    nanoseconds value;
    nanoseconds least;
  } rules[] = {
      {"snapshot.interval", "snapshot interval must be greater than 0", config.snapshot_interval,
       nanoseconds(1)},
      {"snapshot.retention", "snapshot retention must be greater than 0", config.snapshot_retention,
       nanoseconds(1)},
      {"l0-retention", "l0 retention must not be negative", config.l0_retention, nanoseconds(0)},
      {"l0-retention-check-interval", "l0 retention check interval must be greater than 0",
       config.l0_retention_check_interval, nanoseconds(1)},
      {"shutdown-sync-timeout", "shutdown-sync-timeout must be >= 0", config.shutdown_sync_timeout,
       nanoseconds(0)},
      {"shutdown-sync-interval", "shutdown sync interval must be greater than 0",
       config.shutdown_sync_interval, nanoseconds(1)},
  };
  for (const auto& rule : rules) {
    if (rule.value >= rule.least) continue;
    return BadValue(config, LineOf(config, rule.field), rule.field, rule.text,
                    FormatGoDuration(rule.value));
  }
  const std::string& url = config.heartbeat_url;
  if (!url.empty() && !url.starts_with("http://") && !url.starts_with("https://")) {
    return BadValue(config, LineOf(config, "heartbeat-url"), "heartbeat-url",
                    "heartbeat URL must be a valid HTTP or HTTPS URL", url);
  }
  if (config.heartbeat_interval < minutes(1)) {
    return BadValue(config, LineOf(config, "heartbeat-interval"), "heartbeat-interval",
                    "heartbeat interval must be at least 1 minute",
                    FormatGoDuration(config.heartbeat_interval));
  }
  for (std::size_t i = 0; i < config.levels.size(); ++i) {
    if (config.levels[i] > nanoseconds(0)) continue;
    const std::string path = fmt::format("levels[{}]", i);
    return BadValue(config, LineOf(config, path), path + ".interval",
                    "compaction interval must be greater than 0",
                    FormatGoDuration(config.levels[i]));
  }
  return {};
}

// Which keys of a database entry go together.
Result<void> CheckShape(const Config& config, const DatabaseConfig& database, std::size_t number) {
  const bool path = !database.path.empty();
  const bool dir = !database.dir.empty();
  const std::pair<bool, std::string_view> mistakes[] = {
      {path && dir, "cannot specify both 'path' and 'dir'"},
      {!path && !dir, "must specify either 'path' or 'dir'"},
      {dir && database.pattern.empty(), "'pattern' is required when using 'dir'"},
      {!dir && database.watch, "'watch' can only be enabled with a directory"},
      {!dir && !database.meta_dir.empty(), "'meta-dir' can only be used with a directory"},
      {!database.meta_path.empty() && !database.meta_dir.empty(),
       "cannot specify both 'meta-path' and 'meta-dir'"},
  };
  for (const auto& mistake : mistakes) {
    if (!mistake.first) continue;
    return Invalid(config, database.line,
                   fmt::format("database config #{}: {}", number, mistake.second));
  }
  return {};
}

Result<void> CheckIntervals(const Config& config, const DatabaseConfig& database,
                            std::size_t index) {
  const std::string name = fmt::format("dbs[{}]", NameOf(database));
  const std::pair<std::string_view, const std::optional<nanoseconds>*> snapshots[] = {
      {"interval", &database.snapshot_interval}, {"retention", &database.snapshot_retention}};
  for (const auto& snapshot : snapshots) {
    if (!*snapshot.second || **snapshot.second > nanoseconds(0)) continue;
    return BadValue(config,
                    LineOf(config, fmt::format("dbs[{}].snapshot.{}", index, snapshot.first)),
                    fmt::format("{}.snapshot.{}", name, snapshot.first),
                    fmt::format("snapshot {} must be greater than 0", snapshot.first),
                    FormatGoDuration(**snapshot.second));
  }
  const bool list = LineOf(config, fmt::format("dbs[{}].replicas", index)) != 0;
  for (std::size_t i = 0; i < database.replicas.size(); ++i) {
    const ReplicaConfig& replica = database.replicas[i];
    if (!replica.sync_interval || *replica.sync_interval > nanoseconds(0)) continue;
    const std::string which = list ? fmt::format("replicas[{}]", i) : "replica";
    return BadValue(config, replica.line, fmt::format("{}.{}.sync-interval", name, which),
                    "sync interval must be greater than 0",
                    FormatGoDuration(*replica.sync_interval));
  }
  return {};
}

Result<void> CheckLogging(Config& config) {
  const LoggingConfig& logging = config.logging;
  if (!logging.type.empty() && logging.type != "text" && logging.type != "json" &&
      logging.type != "pretty") {
    return BadValue(config, LineOf(config, "logging.type"), "logging.type",
                    "must be text, json or pretty", logging.type);
  }
  std::string upper;
  for (const char c : logging.level) upper += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  for (const std::string_view level : {"", "TRACE", "DEBUG", "INFO", "WARN", "WARNING", "ERROR"}) {
    if (upper == level) return {};
  }
  config.warnings.push_back(fmt::format(
      "{}logging.level: \"{}\" is no level (trace, debug, info, warn, error); taken as info",
      Position(config, LineOf(config, "logging.level")), logging.level));
  return {};
}

// Of a pair of which only one is used.
void WarnOfUnusedKey(Config& config, const ReplicaConfig& replica) {
  if (replica.type != "abs" || replica.sas_token.empty() || replica.account_key.empty()) return;
  config.warnings.push_back(fmt::format("{}account-key is not used: sas-token goes before it",
                                        Position(config, replica.line)));
}

Result<void> ExpandPaths(DatabaseConfig& database) {
  if (!database.path.empty()) database.path = LS_TRY(ExpandDatabasePath(database.path));
  for (std::string* const path : {&database.dir, &database.meta_path, &database.meta_dir}) {
    if (!path->empty()) *path = LS_TRY(ExpandPath(*path));
  }
  return {};
}

// Two entries that would write the same thing.
Result<void> CheckUnique(const Config& config) {
  std::map<std::string, int> paths;
  for (const DatabaseConfig& database : config.databases) {
    if (database.path.empty()) continue;
    const auto inserted = paths.emplace(database.path, database.line);
    if (inserted.second) continue;
    return Invalid(config, database.line,
                   fmt::format("the database {} is listed twice (first in line {}); to keep it in "
                               "several places, give it several replicas",
                               database.path, inserted.first->second));
  }
  return {};
}

Result<void> ResolveReplicas(Env& env, Config& config, DatabaseConfig& database) {
  if (database.replicas.empty()) {
    return Invalid(config, database.line, "must specify replica for database");
  }
  std::map<std::string, int> places;
  std::map<std::string, int> names;
  for (ReplicaConfig& replica : database.replicas) {
    const bool has_path = !replica.path.empty();
    auto resolved = ResolveReplica(env, replica);
    if (!resolved.ok()) return Invalid(config, replica.line, resolved.error().message());
    if (has_path && replica.type == "nats") {
      config.warnings.push_back(
          fmt::format("{}the path of a nats replica does not count, as in stock Litestream; for "
                      "several databases in one bucket use url: nats://HOST/BUCKET/PREFIX",
                      Position(config, replica.line)));
    }
    const auto inserted = places.emplace(PlaceOf(replica), replica.line);
    if (!inserted.second) {
      return Invalid(config, replica.line,
                     fmt::format("two replicas of {} have the same place (the other is in line {})",
                                 NameOf(database), inserted.first->second));
    }
    // Unnamed replicas of one type get numbers, so that each can be named on the command line.
    const int number = ++names[replica.name];
    if (number > 1) replica.name += fmt::format("-{}", number);
  }
  return {};
}

}  // namespace

Result<Config> CompleteConfig(Env& env, RawConfig raw) {
  Config config = std::move(raw.config);
  if (raw.legacy_retention && LineOf(config, "snapshot.retention") == 0) {
    config.snapshot_retention = *raw.legacy_retention;
  }
  if (raw.legacy_snapshot_interval && LineOf(config, "snapshot.interval") == 0) {
    config.snapshot_interval = *raw.legacy_snapshot_interval;
  }
  for (DatabaseConfig& database : config.databases) {
    auto expanded = ExpandPaths(database);
    if (!expanded.ok()) return Invalid(config, database.line, expanded.error().message());
  }
  LS_TRY(PromoteSnapshot(config, "interval", &DatabaseConfig::snapshot_interval,
                         config.snapshot_interval));
  LS_TRY(PromoteSnapshot(config, "retention", &DatabaseConfig::snapshot_retention,
                         config.snapshot_retention));
  for (DatabaseConfig& database : config.databases) {
    for (ReplicaConfig& replica : database.replicas) {
      InheritSettings(replica, config.replica_defaults);
      if (!replica.sync_interval) replica.sync_interval = kDefaultSyncInterval;
    }
  }
  LS_TRY(CheckDurations(config));
  for (std::size_t i = 0; i < config.databases.size(); ++i) {
    LS_TRY(CheckShape(config, config.databases[i], i + 1));
    LS_TRY(CheckIntervals(config, config.databases[i], i));
  }
  LS_TRY(CheckLogging(config));
  for (DatabaseConfig& database : config.databases) LS_TRY(ResolveReplicas(env, config, database));
  for (const DatabaseConfig& database : config.databases) {
    for (const ReplicaConfig& replica : database.replicas) WarnOfUnusedKey(config, replica);
  }
  LS_TRY(CheckUnique(config));
  return config;
}

}  // namespace litestream::config
