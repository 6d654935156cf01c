// The set of databases: what may not be in it twice, and how it ends.

#include "db/store.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "tests/support/db_fixture.h"

namespace litestream {
namespace {

class StoreTest : public DbFixture {
 protected:
  static constexpr int kCount = 20;

  std::filesystem::path PathOf(int i) const { return dir_.path() / fmt::format("db{}", i); }
  DatabaseOptions OptionsOf(int i) {
    DatabaseOptions options = Options();
    options.path = PathOf(i);
    options.replicas[0].client = MakeMemoryClient(stores_[static_cast<std::size_t>(i)]);
    return options;
  }
  void CreateAll(Store& store) {
    for (int i = 0; i < kCount; ++i) {
      apps_.push_back(std::make_unique<SqliteApp>(PathOf(i)));
      apps_.back()->Exec("CREATE TABLE t (x)");
      ASSERT_TRUE(store.Add(OptionsOf(i)).ok());
    }
  }
  void ExpectRestored(int i) {
    std::swap(store_, stores_[static_cast<std::size_t>(i)]);
    EXPECT_TRUE(Restored() == CheckpointedCopy(PathOf(i))) << i;
    std::swap(store_, stores_[static_cast<std::size_t>(i)]);
  }

  std::vector<MemoryStore> stores_ = std::vector<MemoryStore>(kCount);
  std::vector<std::unique_ptr<SqliteApp>> apps_;
};

TEST_F(StoreTest, NothingTwice) {
  Store store(Env::Real(), scheduler_, {}, log_);
  ASSERT_TRUE(store.Add(OptionsOf(0)).ok());
  EXPECT_TRUE(store.Add(OptionsOf(0)).error().Is(ErrorCode::kAlreadyExists));
  DatabaseOptions same_state = OptionsOf(1);
  same_state.meta_path = DefaultMetaPath(PathOf(0));
  const auto added = store.Add(same_state);
  ASSERT_FALSE(added.ok());
  EXPECT_NE(added.error().message().find("meta-path collision"), std::string::npos);
  EXPECT_EQ(store.Status().size(), 1U);
}

// D14: what runs in the background ends first; then the last commits of all go up.
TEST_F(StoreTest, D14CloseStopsWorkThenDrains) {
  Store store(Env::Real(), scheduler_, {}, log_);
  CreateAll(store);
  store.Start();
  scheduler_.RunFor(std::chrono::minutes(1));
  for (auto& app : apps_) app->Exec("INSERT INTO t VALUES (1)");
  EXPECT_TRUE(store.Close({}).ok());
  EXPECT_EQ(scheduler_.RunFor(std::chrono::hours(1)), 0U);
  for (int i = 0; i < kCount; ++i) ExpectRestored(i);
}

// One deadline for all: a dead replica does not take its time from each.
TEST_F(StoreTest, CloseHasOneDeadline) {
  StoreOptions options;
  options.shutdown_sync_timeout = std::chrono::seconds(30);
  Store store(Env::Real(), scheduler_, options, log_);
  CreateAll(store);
  for (int i = 0; i < kCount; i += 2) {
    stores_[static_cast<std::size_t>(i)].SetFaults(
        [](StorageCall, const FileId&) { return StorageFault::kFailBefore; });
  }
  store.Start();
  scheduler_.RunFor(std::chrono::minutes(1));
  for (auto& app : apps_) app->Exec("INSERT INTO t VALUES (1)");
  const MonoTime began = clock_.Monotonic();
  EXPECT_FALSE(store.Close({}).ok());
  EXPECT_LE(clock_.Monotonic() - began, std::chrono::seconds(31));
  // What was committed is captured, at least: the next start uploads it.
  Store next(Env::Real(), scheduler_, options, log_);
  for (auto& memory : stores_) memory.SetFaults(nullptr);
  for (int i = 0; i < kCount; ++i) ASSERT_TRUE(next.Add(OptionsOf(i)).ok());
  next.Start();
  scheduler_.RunFor(std::chrono::minutes(1));
  EXPECT_TRUE(next.Close({}).ok());
  for (int i = 0; i < kCount; ++i) ExpectRestored(i);
}

// Most replicas are dead, and then come back: all get what was committed, first those that are
// well.
TEST_F(StoreTest, CloseTriesAllBeforeItTriesAgain) {
  Store store(Env::Real(), scheduler_, {}, log_);
  CreateAll(store);
  std::atomic<bool> dead{true};
  for (int i = 0; i < kCount - 1; ++i) {
    stores_[static_cast<std::size_t>(i)].SetFaults([&](StorageCall, const FileId&) {
      return dead ? StorageFault::kFailBefore : StorageFault::kNone;
    });
  }
  store.Start();
  scheduler_.RunFor(std::chrono::minutes(1));
  for (auto& app : apps_) app->Exec("INSERT INTO t VALUES (1)");
  stores_[kCount - 1].SetFaults([&](StorageCall call, const FileId&) {
    if (call == StorageCall::kWrite) dead = false;
    return StorageFault::kNone;
  });
  const auto closed = store.Close({});
  EXPECT_TRUE(closed.ok()) << closed.error().message();
  for (int i = 0; i < kCount; ++i) ExpectRestored(i);
}

// D18, R26, R29: many databases, real threads: a replica that hangs holds up only its own.
TEST_F(StoreTest, D18HangingReplicaDelaysNoOther) {
  const auto pools = MakePoolScheduler({.capture_threads = 2, .io_threads = 2});
  StoreOptions options;
  options.shutdown_sync_timeout = {};
  Store store(Env::Real(), *pools, options, log_);
  CreateAll(store);
  Mutex mu{LockRank::kLeaf};
  CondVar changed;
  bool free = false;
  stores_[0].SetFaults([&](StorageCall, const FileId&) {
    MutexLock lock(mu);
    changed.Wait(mu, {}, [&] { return free; });
    return StorageFault::kFailBefore;
  });
  store.Start();
  const auto others_in_sync = [&] {
    const auto all = store.Status();
    return std::all_of(all.begin() + 1, all.end(), [](const DatabaseStatus& status) {
      return status.replicas[0].state == ReplicaState::kInSync;
    });
  };
  while (!others_in_sync()) std::this_thread::yield();
  EXPECT_NE(store.Status()[0].replicas[0].state, ReplicaState::kInSync);
  {
    MutexLock lock(mu);
    free = true;
  }
  changed.NotifyAll();
  (void)store.Close({}).ok();
  for (int i = 1; i < kCount; ++i) ExpectRestored(i);
}

}  // namespace
}  // namespace litestream
