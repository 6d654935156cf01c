#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/manual_clock.h"
#include "base/memory_env.h"
#include "base/seeded_scheduler.h"
#include "db/database.h"
#include "replica/plan.h"
#include "replica/restore_points.h"
#include "storage/memory_client.h"
#include "tests/support/recorded_log.h"
#include "tests/support/split_env.h"
#include "tests/support/sqlite_app.h"
#include "tests/support/temp_dir.h"

namespace litestream::life {

// Events of the database's files come when the test says so: those of the machine come in their own
// time, and a run could not be repeated.
class EventsEnv final : public SplitEnv {
 public:
  EventsEnv(const std::filesystem::path& tree, MemoryEnv& memory) : SplitEnv(tree, memory) {}
  // The log was written.
  void Fire();

  Result<std::unique_ptr<FileWatch>> WatchFile(const std::filesystem::path& path,
                                               FileEventCallback callback) override;
  Result<std::unique_ptr<FileWatch>> WatchDirectory(const std::filesystem::path& path,
                                                    FileEventCallback callback) override;

 private:
  class Watch;
  std::set<Watch*> watches_;
};

// Of the engine, by kind. A listing of a level, an object opened or a range of it, an object
// stored, a call that removes up to 1,000 objects. The lease is an object, too.
struct Requests {
  std::uint64_t lists = 0;
  std::uint64_t gets = 0;
  std::uint64_t puts = 0;
  std::uint64_t deletes = 0;
  std::uint64_t all() const { return lists + gets + puts + deletes; }
  friend Requests operator-(const Requests& a, const Requests& b) {
    return {a.lists - b.lists, a.gets - b.gets, a.puts - b.puts, a.deletes - b.deletes};
  }
};

struct LifeOptions {
  UpkeepOptions upkeep;
  std::chrono::nanoseconds sync_interval = std::chrono::seconds(1);
  bool record = true;  // The states. Takes a copy of each.
};

// One database: an application that commits, the engine, a replica in memory, and a record of every
// state that was captured. Time is simulated; the database is a real file.
class Life {
 public:
  explicit Life(const LifeOptions& options);
  ~Life();

  // The application commits. The engine, if it runs, hears of it.
  void Commit(const std::string& sql);
  // Time passes. There are no commits meanwhile, so what is captured is the state of now.
  void Run(std::chrono::nanoseconds duration);
  // The engine's process. Killed, it does nothing more; stopped, it captures and uploads.
  void Start();
  void Kill();
  void Stop();
  bool running() const { return engine_ != nullptr; }
  // Of the replica, for the engine.
  void SetFaults(std::function<StorageFault(StorageCall, const FileId&)> faults) {
    faults_ = std::move(faults);
  }

  SqliteApp& app() { return *app_; }
  DatabaseStatus Status() const { return engine_->Status(); }
  WallTime Now() const { return clock_.Now(); }
  // Of each captured transaction: a hash of the file with every commit so far.
  const std::map<Txid, std::uint64_t>& states() const { return states_; }
  std::uint64_t database_bytes() const;
  RecordedLog& log() { return log_; }

  Requests requests() const;
  // Written to each level of the replica so far.
  const std::array<std::uint64_t, kLevelCount>& written_bytes() const { return written_bytes_; }
  // Asks the replica beside the engine; not counted.
  ReplicaListing Listing();
  // The hash of what a restore of this plan gives; it must be proven.
  std::uint64_t Restored(const RestorePlan& plan);
  std::uint64_t ContentNow() const;

 private:
  void Record();
  Requests Counted() const;
  class Aside;
  class Client;

  TempDir dir_;
  ManualClock clock_;
  SeededScheduler scheduler_{1, clock_};
  MemoryEnv memory_{clock_, 7};
  EventsEnv env_;
  MemoryStore store_;
  const std::unique_ptr<ReplicaClient> client_ = MakeMemoryClient(store_);
  RecordedLog log_{LogLevel::kWarn};
  const LifeOptions options_;
  std::array<std::uint64_t, kLevelCount> written_bytes_ = {};
  const std::unique_ptr<SqliteApp> app_;
  std::unique_ptr<Database> engine_;
  std::map<Txid, std::uint64_t> states_;
  std::optional<std::uint64_t> content_;  // Of now, if known.
  std::function<StorageFault(StorageCall, const FileId&)> faults_;
  bool asking_ = false;  // The test asks the replica.
  Requests own_;         // Of the test.
};

}  // namespace litestream::life
