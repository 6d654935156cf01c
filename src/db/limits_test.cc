// Several databases under one limit of the process (storage/limiter.h).

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "base/memory_env.h"
#include "base/seeded_scheduler.h"
#include "db/store.h"
#include "storage/limited_client.h"
#include "storage/memory_client.h"
#include "tests/support/split_env.h"
#include "tests/support/sqlite_app.h"
#include "tests/support/temp_dir.h"

namespace litestream {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class LimitsTest : public ::testing::Test {
 protected:
  LimitsTest() {
    env_.SetWatches(false);
    EXPECT_TRUE(CreateDirectories(memory_, dir_.path() / "meta", {}).ok());
  }
  void TearDown() override { store_.reset(); }

  // `count` databases with a small table each.
  void Start(int count, const LimitOptions& limits) {
    limiter_ = std::make_shared<Limiter>(limits);
    // Each thread that waits moves the clock.
    const StoreOptions patient{.shutdown_sync_timeout = std::chrono::hours(10)};
    store_ = std::make_unique<Store>(env_, scheduler_, patient, Logger());
    for (int i = 0; i < count; ++i) Add();
    store_->Start();
  }
  void Add(int bytes = 100) {
    const auto path = dir_.path() / ("db" + std::to_string(apps_.size()));
    apps_.push_back(std::make_unique<SqliteApp>(path));
    apps_.back()->Exec("PRAGMA wal_autocheckpoint = 0");
    apps_.back()->Exec("CREATE TABLE t (x BLOB)");
    apps_.back()->Exec("INSERT INTO t VALUES (randomblob(" + std::to_string(bytes) + "))");
    replicas_.push_back(std::make_unique<MemoryStore>());
    DatabaseOptions options;
    options.path = path;
    options.meta_path = dir_.path() / "meta" / path.filename();
    options.upkeep.levels = {seconds(30), minutes(5)};
    ReplicaOptions replica;
    replica.client = MakeLimitedClient(MakeMemoryClient(*replicas_.back()), limiter_);
    replica.limiter = limiter_;
    options.replicas = {replica};
    ASSERT_TRUE(store_->Add(options).ok());
  }
  void WriteToAll() {
    for (auto& app : apps_) app->Exec("INSERT INTO t VALUES (randomblob(100))");
  }
  int InSync() const {
    int count = 0;
    for (const DatabaseStatus& status : store_->Status()) {
      const ReplicaStatus& replica = status.replicas.front();
      count += replica.state == ReplicaState::kInSync && replica.txid == status.txid ? 1 : 0;
    }
    return count;
  }
  std::uint64_t Requests() const {
    std::uint64_t requests = 0;
    for (const auto& replica : replicas_) {
      for (const StorageCall call :
           {StorageCall::kList, StorageCall::kOpen, StorageCall::kWrite, StorageCall::kDelete}) {
        requests += replica->calls(call);
      }
    }
    return requests;
  }
  Result<void> Close() {
    if (!store_) return {};
    auto closed = store_->Close({});
    store_.reset();
    return closed;
  }

  TempDir dir_;
  ManualClock clock_;
  SeededScheduler scheduler_{1, clock_};
  MemoryEnv memory_{clock_, 7};
  SplitEnv env_{dir_.path() / "meta", memory_};
  std::shared_ptr<Limiter> limiter_;
  std::vector<std::unique_ptr<MemoryStore>> replicas_;
  std::vector<std::unique_ptr<SqliteApp>> apps_;
  std::unique_ptr<Store> store_;
};

// A fleet that starts: as fast as is allowed, and no faster. Every database gets there.
TEST_F(LimitsTest, AFleetStartsAtThePaceAskedFor) {
  constexpr int kDatabases = 20;
  constexpr int kPerSecond = 3;
  Start(kDatabases, {.uploads = 2, .requests_per_second = kPerSecond});
  // One listing of the levels may go on when its time is up, in each place.
  const std::uint64_t step = 2 * 12;
  int in_sync_before = 0;
  for (int second = 1; second <= 120; ++second) {
    scheduler_.RunFor(seconds(1));
    EXPECT_LE(Requests(), std::uint64_t{kPerSecond} * (second + 1) + step) << second;
    EXPECT_GE(InSync(), in_sync_before);
    in_sync_before = InSync();
  }
  EXPECT_EQ(InSync(), kDatabases);
  // The keepers had their turns, too.
  scheduler_.RunFor(minutes(2));
  for (const auto& replica : replicas_) {
    const auto snapshots =
        MakeMemoryClient(*replica)->List(Context::Background(), kSnapshotLevel, {});
    ASSERT_TRUE(snapshots.ok());
    EXPECT_EQ(snapshots.value().size(), 1U);
  }
  // When all is done nobody asks for a turn.
  scheduler_.RunFor(minutes(10));
  const std::uint64_t requests = Requests();
  const std::size_t runs = scheduler_.RunFor(minutes(10));
  EXPECT_EQ(Requests(), requests);
  EXPECT_LE(runs, std::size_t{kDatabases} * 610) << "one look at the log a second";
}

// One database has something new all the time, more than the limit allows for. The others wait for
// a turn of everybody's, merges included, and no longer.
TEST_F(LimitsTest, ABusyDatabaseDoesNotKeepTheOthersAway) {
  Start(8, {.uploads = 1, .requests_per_second = 4});
  scheduler_.RunFor(minutes(1));
  ASSERT_EQ(InSync(), 8);
  for (int round = 0; round < 30; ++round) {
    WriteToAll();
    scheduler_.RunFor(seconds(1));
    std::vector<Txid> wanted;
    for (const DatabaseStatus& status : store_->Status()) wanted.push_back(status.txid);
    const auto all_have = [&] {
      const auto status = store_->Status();
      for (std::size_t i = 0; i < status.size(); ++i) {
        if (status[i].replicas[0].txid < wanted[i]) return false;
      }
      return true;
    };
    int half_seconds = 0;
    for (; !all_have(); ++half_seconds) {
      ASSERT_LT(half_seconds, 40) << round;
      apps_[0]->Exec("INSERT INTO t VALUES (randomblob(100))");
      scheduler_.RunFor(std::chrono::milliseconds(500));
    }
  }
}

// Databases that go while they wait.
TEST_F(LimitsTest, EndsWhileWaiting) {
  Start(10, {.uploads = 1, .requests_per_second = 1});
  scheduler_.RunFor(seconds(3));
  EXPECT_LT(InSync(), 10);
  store_.reset();  // As a dying process does.
  // The limiter has forgotten them.
  LimiterSeat seat(limiter_.get());
  clock_.Advance(minutes(5));
  EXPECT_TRUE(seat.Ask(clock_.Monotonic(), TurnSize::kLarge).granted);
}

// A clean stop uploads what is left at the pace asked for.
TEST_F(LimitsTest, AStopWaitsForItsTurns) {
  Start(5, {.uploads = 2, .requests_per_second = 10});
  scheduler_.RunFor(minutes(2));
  ASSERT_EQ(InSync(), 5);
  WriteToAll();
  EXPECT_TRUE(Close().ok());
  for (std::size_t i = 0; i < replicas_.size(); ++i) {
    const auto files = MakeMemoryClient(*replicas_[i])->List(Context::Background(), kLevel0, {});
    ASSERT_TRUE(files.ok());
    EXPECT_EQ(files.value().back().id.txids.max, Txid{files.value().size()}) << i;
  }
}

// While others upload something large, what is small finds a place, also at the start, when nobody
// knows yet what the replica has.
TEST_F(LimitsTest, ALargeUploadDoesNotHoldTheOthersUp) {
  Start(0, {.uploads = 2, .upload_bytes_per_second = 1'000'000});
  LimiterSeat large(limiter_.get());  // An upload that takes its time.
  ASSERT_TRUE(large.Ask(clock_.Monotonic(), TurnSize::kLarge).granted);
  for (int i = 0; i < 3; ++i) Add(2'000'000);
  for (int i = 0; i < 3; ++i) Add();
  scheduler_.RunFor(seconds(20));
  EXPECT_EQ(InSync(), 3);
  for (int i = 3; i < 6; ++i)
    EXPECT_EQ(store_->Status()[i].replicas[0].state, ReplicaState::kInSync);
  // Three files of 2 MB, one after the other.
  const MonoTime released = clock_.Monotonic();
  large.Done(released);
  scheduler_.RunUntilIdle();
  EXPECT_EQ(InSync(), 6);
  EXPECT_GE(clock_.Monotonic() - released, seconds(5));
}

}  // namespace
}  // namespace litestream
