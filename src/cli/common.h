#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/env.h"
#include "base/log.h"
#include "cli/flags.h"
#include "config/config.h"
#include "db/keeper.h"
#include "litestream/replica_client.h"
#include "storage/limiter.h"
#include "storage/operation_counts.h"

namespace litestream::cli {

// The error of a command line that lacks something, with what to type instead.
Error UsageError(std::string_view message, std::string_view hint);

// -config and -no-expand-env.
class ConfigFlags {
 public:
  void Register(FlagSet& flags);
  bool given() const { return !path_.empty(); }
  bool expand_environment() const { return !no_expand_environment_; }
  // Loads the file; its warnings go to stderr.
  Result<config::Config> Load(Env& env) const;
  // The same without printing the warnings.
  Result<config::Config> LoadQuietly(Env& env) const;
  // Loads the file for its databases, those in directories too; with `only`, for that one.
  Result<std::vector<config::DatabaseConfig>> LoadDatabases(Env& env,
                                                            std::string_view only = {}) const;

 private:
  std::string path_;
  bool no_expand_environment_ = false;
};

// The only argument of a command that takes DB_PATH or a replica's URL; an empty one is a missing
// one. `hint` is what to type instead.
Result<std::string> SourceArgument(const FlagSet& flags, std::string_view hint);

// A logger as configured. The level is `level` unless that is empty, else $LOG_LEVEL, else the
// file's.
Logger MakeLogger(const config::LoggingConfig& logging, std::string_view level, bool force_stderr);

// What all replicas of a process share. Shared, because sources that clients opened may be the last
// to need it.
struct SharedByReplicas {
  std::shared_ptr<Limiter> limiter;         // Null: no limit.
  std::shared_ptr<OperationCounts> counts;  // Null: nobody asks.
};

// The client of a replica. kUnsupported names a type that this
// build does not have.
Result<std::unique_ptr<ReplicaClient>> MakeReplicaClient(Env& env,
                                                         const config::ReplicaConfig& replica,
                                                         const FileOwner& owner,
                                                         const SharedByReplicas& shared = {});

// What the configuration limits; null: nothing.
std::shared_ptr<Limiter> MakeLimiter(const config::LimitsConfig& limits);

// What the configuration says about retention, and about levels, snapshots and retention together.
RetentionPolicy RetentionOf(const config::Config& config);
UpkeepOptions UpkeepOf(const config::Config& config);

// Where a command reads from: DB_PATH by the configuration, or a replica's URL.
struct Source {
  bool is_url = false;
  config::DatabaseConfig database;              // Its path is empty for a URL.
  std::vector<config::ReplicaConfig> replicas;  // At least one.
  config::Config config;                        // The file's; for a URL the defaults.
};
// `replica` keeps only the one with that name or type; empty: all.
Result<Source> FindSource(Env& env, const ConfigFlags& flags, std::string_view argument,
                          std::string_view replica);

}  // namespace litestream::cli
