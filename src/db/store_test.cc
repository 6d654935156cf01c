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
#include "tests/support/recorded_log.h"

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

// A place is named by whoever knows it; two databases may not share one.
TEST_F(StoreTest, OneReplicaForEach) {
  Store store(Env::Real(), scheduler_, {}, log_);
  DatabaseOptions one = OptionsOf(0);
  DatabaseOptions two = OptionsOf(1);
  one.replicas[0].place = two.replicas[0].place = "file /r";
  ASSERT_TRUE(store.Add(one).ok());
  const auto added = store.Add(two);
  ASSERT_FALSE(added.ok());
  EXPECT_TRUE(added.error().Is(ErrorCode::kAlreadyExists));
  EXPECT_EQ(
      added.error().message(),
      fmt::format("{} and {} have the same replica (file /r); each database needs its own path",
                  PathOf(0).string(), PathOf(1).string()));
  ASSERT_TRUE(store.Remove(PathOf(0)).ok());
  EXPECT_TRUE(store.Add(two).ok());
}

// --- Databases that come and go. ---

class ComingAndGoing : public StoreTest {
 protected:
  void Begin(Store& store) {
    CreateAll(store);
    store.Start();
    scheduler_.RunFor(std::chrono::seconds(5));
  }
  static void Hang(MemoryStore& store, bool hang) {
    store.SetFaults(nullptr);
    if (hang) {
      store.SetFaults([](StorageCall, const FileId&) { return StorageFault::kFailBefore; });
    }
  }
  RecordedLog recorded_{LogLevel::kInfo};
};

// What was committed until then is on the replica; the others notice nothing.
TEST_F(ComingAndGoing, RemoveUploadsTheLastCommits) {
  Store store(Env::Real(), scheduler_, {}, recorded_.logger());
  Begin(store);
  EXPECT_TRUE(store.Remove(dir_.path() / "other").error().Is(ErrorCode::kNotFound));
  apps_[3]->Exec("INSERT INTO t VALUES (1)");
  ASSERT_TRUE(store.Remove(PathOf(3)).ok());
  EXPECT_TRUE(store.Remove(PathOf(3)).error().Is(ErrorCode::kNotFound));
  EXPECT_EQ(store.closing_count(), 1U);
  EXPECT_EQ(store.Status().size(), kCount - 1U);
  scheduler_.RunFor(std::chrono::milliseconds(1));
  EXPECT_EQ(store.closing_count(), 0U);
  ExpectRestored(3);
  EXPECT_EQ(recorded_.Count("error"), 0);
  // Nobody follows it any more.
  apps_[3]->Exec("INSERT INTO t VALUES (2)");
  scheduler_.RunFor(std::chrono::minutes(2));
  EXPECT_TRUE(store.Add(OptionsOf(3)).ok());
  scheduler_.RunFor(std::chrono::seconds(5));
  ExpectRestored(3);
  EXPECT_TRUE(store.Close({}).ok());
}

// Its replica is dead: tried again until the shutdown timeout has passed, then let go of and said.
TEST_F(ComingAndGoing, RemoveGivesUpInTheEnd) {
  Store store(Env::Real(), scheduler_, {}, recorded_.logger());
  Begin(store);
  apps_[3]->Exec("INSERT INTO t VALUES (1)");
  Hang(stores_[3], true);
  ASSERT_TRUE(store.Remove(PathOf(3)).ok());
  scheduler_.RunFor(std::chrono::seconds(28));
  EXPECT_EQ(store.closing_count(), 1U);
  EXPECT_EQ(recorded_.Count("failed to close database"), 0);
  scheduler_.RunFor(std::chrono::seconds(3));
  EXPECT_EQ(store.closing_count(), 0U);
  EXPECT_EQ(recorded_.Count("failed to close database"), 1);
  // It was captured: the next one of that path uploads it.
  Hang(stores_[3], false);
  ASSERT_TRUE(store.Add(OptionsOf(3)).ok());
  scheduler_.RunFor(std::chrono::seconds(5));
  ExpectRestored(3);
  EXPECT_TRUE(store.Close({}).ok());
}

// Removed and added again while the old one still closes: the new one takes over at once, uploads
// what the old one could not, and nobody complains of the lock.
TEST_F(ComingAndGoing, SuccessorTakesOver) {
  Store store(Env::Real(), scheduler_, {}, recorded_.logger());
  Begin(store);
  apps_[3]->Exec("INSERT INTO t VALUES (1)");
  Hang(stores_[3], true);
  ASSERT_TRUE(store.Remove(PathOf(3)).ok());
  scheduler_.RunFor(std::chrono::seconds(5));
  ASSERT_EQ(store.closing_count(), 1U);
  Hang(stores_[3], false);
  ASSERT_TRUE(store.Add(OptionsOf(3)).ok());
  apps_[3]->Exec("INSERT INTO t VALUES (2)");
  scheduler_.RunFor(std::chrono::seconds(3));
  EXPECT_EQ(store.closing_count(), 0U);
  ExpectRestored(3);
  EXPECT_EQ(recorded_.Count("another process"), 0);
  EXPECT_EQ(recorded_.Count("failed to close"), 0);
  EXPECT_EQ(recorded_.Count("sync error"), 0);
  EXPECT_TRUE(store.Close({}).ok());
}

// The file is another one each time, and the waiting one is removed again before it could start.
TEST_F(ComingAndGoing, ReplacedAgainAndAgain) {
  Store store(Env::Real(), scheduler_, {}, recorded_.logger());
  Begin(store);
  for (int round = 0; round < 5; ++round) {
    apps_[3].reset();
    for (const char* suffix : {"", "-wal", "-shm"}) {
      std::filesystem::remove(PathOf(3).string() + suffix);
    }
    ASSERT_TRUE(store.Remove(PathOf(3)).ok());
    apps_[3] = std::make_unique<SqliteApp>(PathOf(3));
    apps_[3]->Exec(fmt::format("CREATE TABLE t{} (x)", round));
    ASSERT_TRUE(store.Add(OptionsOf(3)).ok());
    if (round % 2 == 0) {
      ASSERT_TRUE(store.Remove(PathOf(3)).ok());
      ASSERT_TRUE(store.Add(OptionsOf(3)).ok());
    }
    if (round > 2) scheduler_.RunFor(std::chrono::seconds(5));
  }
  ExpectRestored(3);
  EXPECT_EQ(recorded_.Count("another process"), 0);
  EXPECT_EQ(recorded_.Count("error"), 0);
  EXPECT_TRUE(store.Close({}).ok());
}

// Many at once, half of their replicas dead: those that are well are done at once.
TEST_F(ComingAndGoing, DeadReplicasHoldNobodyUp) {
  Store store(Env::Real(), scheduler_, {}, log_);
  Begin(store);
  for (int i = 0; i < kCount; ++i) {
    apps_[static_cast<std::size_t>(i)]->Exec("INSERT INTO t VALUES (1)");
    Hang(stores_[static_cast<std::size_t>(i)], i < kCount / 2);
    ASSERT_TRUE(store.Remove(PathOf(i)).ok());
  }
  scheduler_.RunFor(std::chrono::milliseconds(100));
  EXPECT_EQ(store.closing_count(), kCount / 2);
  for (int i = kCount / 2; i < kCount; ++i) ExpectRestored(i);
  // The end of the process goes on with them.
  for (int i = 0; i < kCount / 2; ++i) Hang(stores_[static_cast<std::size_t>(i)], false);
  EXPECT_TRUE(store.Close({}).ok());
  for (int i = 0; i < kCount / 2; ++i) ExpectRestored(i);
}

// The whole directory is gone, with the state of the database: nothing is left to wait for.
TEST_F(ComingAndGoing, TheDirectoryIsGone) {
  Store store(Env::Real(), scheduler_, {}, recorded_.logger());
  const auto sub = dir_.path() / "sub";
  std::filesystem::create_directory(sub);
  DatabaseOptions options = OptionsOf(0);
  options.path = sub / "db";
  auto app = std::make_unique<SqliteApp>(options.path);
  app->Exec("CREATE TABLE t (x)");
  ASSERT_TRUE(store.Add(options).ok());
  store.Start();
  scheduler_.RunFor(std::chrono::seconds(5));
  app.reset();
  std::filesystem::remove_all(sub);
  ASSERT_TRUE(store.Remove(options.path).ok());
  scheduler_.RunFor(std::chrono::seconds(1));
  EXPECT_EQ(store.closing_count(), 0U);
  EXPECT_EQ(recorded_.Count("failed to close"), 0);
  EXPECT_FALSE(std::filesystem::exists(sub));
  EXPECT_TRUE(store.Close({}).ok());
}

// Real threads, all kinds of calls at once.
TEST_F(ComingAndGoing, ConcurrentCalls) {
  const auto pools = MakePoolScheduler({.capture_threads = 2, .io_threads = 2});
  Store store(Env::Real(), *pools, {}, recorded_.logger());
  CreateAll(store);
  store.Start();
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 10; ++round) {
        for (int i = t; i < kCount; i += 4) {
          EXPECT_TRUE(store.Remove(PathOf(i)).ok());
          (void)store.Status();
          EXPECT_TRUE(store.Add(OptionsOf(i)).ok());
        }
      }
    });
  }
  threads.clear();
  for (auto& app : apps_) app->Exec("INSERT INTO t VALUES (1)");
  while (store.closing_count() > 0) std::this_thread::yield();
  EXPECT_TRUE(store.Close({}).ok());
  for (int i = 0; i < kCount; ++i) ExpectRestored(i);
  EXPECT_EQ(recorded_.Count("another process"), 0);
  EXPECT_EQ(recorded_.Count("failed to close"), 0);
}

}  // namespace
}  // namespace litestream
