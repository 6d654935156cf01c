#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "base/env.h"
#include "base/log.h"
#include "base/scheduler.h"
#include "base/sync.h"
#include "db/database.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

struct StoreOptions {
  std::chrono::nanoseconds shutdown_sync_timeout = std::chrono::seconds(30);  // 0: one attempt.
  std::chrono::nanoseconds shutdown_sync_interval = std::chrono::milliseconds(500);
  int max_open_databases = 256;  // Beyond that, idle ones are parked; negative: no limit.
};

// What `-once` does beside capturing and uploading. Told before each step, for the log.
struct OnceOptions {
  bool force_snapshot = false;
  std::function<void(const Database&)> before_sync;
  std::function<void(const Database&)> before_snapshot;
};

// The set of databases that one process replicates. Safe for concurrent calls.
class Store {
 public:
  // Borrows `env` and `scheduler`, which must outlive it.
  Store(Env& env, Scheduler& scheduler, const StoreOptions& options, const Logger& log);
  ~Store();

  // Adds a database and, once started, begins to replicate it. kAlreadyExists if its path, or its
  // state directory, is here already.
  Result<void> Add(const DatabaseOptions& options);
  // Begins to replicate all.
  void Start();
  // One capture and one upload of each database (and a snapshot), in order; without Start. The
  // first error stops it.
  Result<void> SyncOnce(const Context& ctx, const OnceOptions& options);
  // Captures the last commits and uploads them within the shutdown timeout (db/close.h). A stop of
  // `hurry` (a second signal) skips the waiting. Errors are logged; the first is returned.
  Result<void> Close(const std::stop_token& hurry);

  std::vector<DatabaseStatus> Status() const;

 private:
  Env& env_;
  Scheduler& scheduler_;
  StoreOptions options_;
  Logger log_;
  OpenDatabases open_databases_;
  mutable Mutex mu_{LockRank::kStore};
  std::vector<std::shared_ptr<Database>> databases_ LS_GUARDED_BY(mu_);
  bool started_ LS_GUARDED_BY(mu_) = false;
};

}  // namespace litestream
