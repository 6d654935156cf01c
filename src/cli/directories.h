#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "base/log.h"
#include "base/scheduler.h"
#include "cli/common.h"
#include "config/config.h"
#include "db/directory_monitor.h"
#include "db/store.h"
#include "litestream/result.h"

namespace litestream::cli {

// What the configuration says of a database that is no directory entry.
Result<DatabaseOptions> MakeDatabaseOptions(Env& env, const config::Config& config,
                                            const config::DatabaseConfig& database,
                                            const SharedByReplicas& shared);

// Follows the directory entries with `watch`: what they find goes into the store, what is gone out
// of it. Borrows everything; goes before the store closes.
class WatchedDirectories {
 public:
  WatchedDirectories(Env& env, Scheduler& scheduler, const config::Config& config,
                     SharedByReplicas shared, Store& store, Logger log);
  // The databases at `paths` are in the store already. The first error is returned, and nothing
  // runs then.
  Result<void> Start(const std::vector<std::string>& paths);
  void Stop() { monitors_.clear(); }

 private:
  DirectoryMonitorOptions OptionsOf(const config::DatabaseConfig& entry);
  Result<void> Add(const config::DatabaseConfig& entry, const std::string& path);
  void Remove(const std::string& path);

  Env& env_;
  Scheduler& scheduler_;
  const config::Config& config_;
  const SharedByReplicas shared_;
  Store& store_;
  Logger log_;
  std::vector<std::unique_ptr<DirectoryMonitor>> monitors_;  // Last: they use the rest.
};

}  // namespace litestream::cli
