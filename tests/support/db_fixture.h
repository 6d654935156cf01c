#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/env.h"
#include "base/manual_clock.h"
#include "base/seeded_scheduler.h"
#include "db/close.h"
#include "db/database.h"
#include "replica/plan.h"
#include "replica/restore.h"
#include "storage/lease.h"
#include "storage/memory_client.h"
#include "tests/support/golden.h"
#include "tests/support/sqlite_app.h"
#include "tests/support/temp_dir.h"

namespace litestream {

// A database in a temporary directory, an application that writes to it, and the engine with a
// replica in memory. Time stands still unless a test moves it; nothing sleeps.
class DbFixture : public ::testing::Test {
 protected:
  // While what a test's own fixture has, such as the engine's Env, is still there.
  void TearDown() override { Stop(); }

  std::filesystem::path Path() const { return dir_.path() / "db"; }
  std::filesystem::path Wal() const { return Path().string() + "-wal"; }
  std::filesystem::path Meta() const { return DefaultMetaPath(Path()); }

  // A table of blobs, by an application that leaves checkpoints to us.
  void CreateTable(SqliteApp& app, int rows) {
    app.Exec("PRAGMA wal_autocheckpoint = 0");
    app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
    Write(app, rows);
  }
  void Write(SqliteApp& app, int rows) {
    for (int i = 0; i < rows; ++i) {
      app.Exec("INSERT INTO t (x) VALUES (randomblob(" + std::to_string(row_bytes_) + "))");
    }
  }

  DatabaseOptions Options() {
    DatabaseOptions options;
    options.path = Path();
    options.checkpoint = checkpoint_;
    options.max_sync_wal_bytes = max_sync_wal_bytes_;
    options.stream_above_bytes = stream_above_bytes_;
    options.sqlite_vfs = sqlite_vfs_;
    options.replicas = {ReplicaIn(store_)};
    return options;
  }
  static ReplicaOptions ReplicaIn(const MemoryStore& store) {
    ReplicaOptions replica;
    replica.client = MakeMemoryClient(store);
    return replica;
  }

  // The engine, made when first used; Stop ends it as a dying process would (nothing is captured
  // or uploaded any more), Close as a clean shutdown.
  Database& engine() {
    if (!engine_) {
      engine_ = std::make_unique<Database>(*env_, scheduler_, Options(), log_);
    }
    return *engine_;
  }
  void Stop() {
    engine_.reset();
    running_ = false;
  }
  void Close() {
    if (!engine_) return;
    const auto closed = CloseEngine(ctx_);
    EXPECT_TRUE(closed.ok()) << closed.error().message();
    Stop();
  }
  Result<void> CloseEngine(const Context& ctx, std::chrono::nanoseconds retry_interval = {}) {
    Database* const database = &engine();
    return std::move(CloseDatabases(ctx, {&database, 1}, retry_interval).front());
  }
  // The lease of an engine that died together with its state, or on a machine that was started
  // anew, keeps others out until it has run out.
  void OutliveLease() { clock_.Advance(kLeaseTimeToLive + std::chrono::seconds(1)); }
  // Captures and uploads what is committed now; the TXID.
  Txid Sync() {
    const auto synced = engine().SyncOnce(ctx_);
    EXPECT_TRUE(synced.ok()) << synced.error().message();
    return engine_->Status().txid;
  }
  // Replicates in the background for so long, by the simulated clock.
  void Run(std::chrono::nanoseconds duration) {
    if (!running_) engine().Start();
    running_ = true;
    scheduler_.RunFor(duration);
  }

  std::vector<std::byte> Restored(std::optional<Txid> txid = std::nullopt) {
    const TempDir out;
    const auto client = MakeMemoryClient(store_);
    const auto listing = ListReplica(ctx_, *client, true);
    EXPECT_TRUE(listing.ok());
    RestoreTarget target;
    target.txid = txid;
    const auto plan = PlanRestore(listing.value(), target);
    EXPECT_TRUE(plan.ok()) << plan.error().message();
    if (!plan.ok()) return {};
    RestoreOptions options;
    options.output = out.path() / "restored";
    const auto report = Restore(ctx_, Env::Real(), *client, plan.value(), options);
    EXPECT_TRUE(report.ok()) << report.error().message();
    if (!report.ok()) return {};
    EXPECT_EQ(report.value().proof, ProofState::kProven);
    return ReadWholeFile(options.output);
  }
  // The replica's newest state is the database's.
  void ExpectRestores() { EXPECT_TRUE(Restored() == CheckpointedCopy(Path())); }

  TempDir dir_;
  Env* env_ = &Env::Real();  // Of the engine.
  ManualClock clock_;
  SeededScheduler scheduler_{1, clock_};
  Context ctx_{std::stop_token(), std::nullopt, clock_};
  MemoryStore store_;
  Logger log_;
  CheckpointOptions checkpoint_;
  std::uint64_t max_sync_wal_bytes_ = 64U << 20;
  std::uint64_t stream_above_bytes_ = 16U << 20;
  std::string sqlite_vfs_;  // Of the engine; empty: the default.
  int row_bytes_ = 3000;    // Of what Write writes: most of a page.
  bool running_ = false;
  std::unique_ptr<Database> engine_;
};

}  // namespace litestream
