#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
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
  int max_open_databases = 100;  // Beyond that, idle ones are parked; negative: no limit.
};

// What `-once` does beside capturing and uploading. Told before each step, for the log.
struct OnceOptions {
  bool force_snapshot = false;
  bool enforce_retention = false;
  std::function<void(const Database&)> before_sync;
  std::function<void(const Database&)> before_snapshot;
  std::function<void(const Database&)> before_retention;
};

// The set of databases that one process replicates. Safe for concurrent calls.
//
// Invariants:
// 1. A path, a state directory and a replica's place belong to one database of the set at most.
// 2. A state directory is in use by one Database object at most: one that is added while another
//    still closes on its state directory does not start before that one has let go of it. What the
//    old one has captured and not uploaded is in that directory, and the new one uploads it; so the
//    old one then makes no further attempt.
// 3. What closes holds up neither its caller nor more than kClosers of the I/O threads.
class Store {
 public:
  // Databases that are removed and close at the same time.
  static constexpr int kClosers = 4;

  // Borrows `env` and `scheduler`, which must outlive it.
  Store(Env& env, Scheduler& scheduler, const StoreOptions& options, const Logger& log);
  ~Store();

  // Adds a database and, once started, begins to replicate it. kAlreadyExists if its path, its
  // state directory, or the place of one of its replicas is here already.
  Result<void> Add(const DatabaseOptions& options);
  // Takes a database out of the set, and returns at once: it may be added again. In the background
  // its last commits are captured and uploaded, within the shutdown timeout from the first attempt
  // on, and it is let go of, whatever the result, which is logged if it is an error. kNotFound if
  // it is not here.
  Result<void> Remove(const std::filesystem::path& path);
  // Begins to replicate all.
  void Start();
  // One capture and one upload of each database (and a snapshot, and retention), in order; without
  // Start. The first error stops it.
  Result<void> SyncOnce(const Context& ctx, const OnceOptions& options);
  // Captures the last commits and uploads them within the shutdown timeout (db/close.h), also those
  // of databases that were removed and are not closed yet. A stop of `hurry` (a second signal)
  // skips the waiting. Errors are logged; the first is returned. The last call.
  Result<void> Close(const std::stop_token& hurry);

  // Of the databases in the set, in the order in which they were added.
  std::vector<DatabaseStatus> Status() const;
  // How many databases were removed and are not closed yet.
  std::size_t closing_count() const;

 private:
  struct Entry {
    std::shared_ptr<Database> database;  // Shared with calls that use it without the lock.
    std::vector<std::string> claims;     // Its keys in claims_.
    bool running = false;
  };
  // A database that was removed. Below the blank line: only whoever set `busy` touches it.
  struct Closing {
    std::shared_ptr<Database> database;
    std::stop_source hurry;  // A successor waits, or the store closes.
    bool busy = false;
    MonoTime due;

    int attempts = 0;
    std::optional<MonoTime> deadline;
  };
  using ClosingPtr = std::shared_ptr<Closing>;  // Shared with the closer that works on it.

  static std::vector<std::string> ClaimsOf(const DatabaseOptions& options,
                                           const Database& database);
  Result<void> CheckClaims(const Database& database, const std::vector<std::string>& claims) const
      LS_REQUIRES(mu_);
  ClosingPtr FindClosing(const Database& database) const LS_REQUIRES(mu_);
  void StartEntry(Entry& entry) LS_REQUIRES(mu_);
  void WakeClosers() LS_REQUIRES(mu_);
  NextRun RunCloser(const Context& ctx);
  bool TryClose(const Context& ctx, Closing& closing);
  bool IsGone(const Database& database) const;
  bool LacksFiles(const Database& database, const Error& error) const;
  void Finish(const ClosingPtr& closing, bool closed);
  std::vector<std::shared_ptr<Database>> Databases() const;
  void LogFailure(const Database& database, const Error& error) const;

  Env& env_;
  Scheduler& scheduler_;
  StoreOptions options_;
  Logger log_;
  OpenDatabases open_databases_;
  mutable Mutex mu_{LockRank::kStore};
  std::map<std::uint64_t, Entry> entries_ LS_GUARDED_BY(mu_);  // By the order of their coming.
  std::uint64_t last_number_ LS_GUARDED_BY(mu_) = 0;
  std::unordered_map<std::string, std::uint64_t> by_path_ LS_GUARDED_BY(mu_);
  // What only one database may have (invariant 1), and which does.
  std::unordered_map<std::string, std::uint64_t> claims_ LS_GUARDED_BY(mu_);
  std::list<ClosingPtr> closing_ LS_GUARDED_BY(mu_);
  bool started_ LS_GUARDED_BY(mu_) = false;
  std::vector<std::unique_ptr<Task>> closers_ LS_GUARDED_BY(mu_);  // Started by the first Remove.
};

}  // namespace litestream
