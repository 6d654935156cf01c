// The traps that design section 4 names, each with an application in a process of its own.

#include <filesystem>
#include <fstream>
#include <string_view>
#include <thread>

#include <fmt/format.h>
#include <sqlite3.h>

#include "base/memory_env.h"
#include "format/wal.h"
#include "tests/support/db_fixture.h"
#include "tests/support/fault_env.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/remote_app.h"
#include "tests/support/split_env.h"

namespace litestream {
namespace {

class TrapTest : public DbFixture {
 protected:
  void Create(RemoteApp& app) {
    ASSERT_EQ(app.Exec("PRAGMA wal_autocheckpoint = 0"), SQLITE_OK);
    ASSERT_EQ(app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)"), SQLITE_OK);
    ASSERT_EQ(app.Exec("INSERT INTO t (x) VALUES ('first')"), SQLITE_OK);
  }
  static std::string Rows(RemoteApp& app) {
    return app.Query("SELECT group_concat(x, ',') FROM (SELECT x FROM t ORDER BY id)");
  }
  // Rows in the newest restored copy.
  std::string RestoredRows() {
    const TempDir dir;
    const auto copy = dir.path() / "copy";
    WriteWholeFile(copy, Restored());
    SqliteApp app(copy);
    EXPECT_EQ(app.Text("PRAGMA integrity_check"), "ok");
    return app.Text("SELECT group_concat(x, ',') FROM (SELECT x FROM t ORDER BY id)");
  }
};

// A writer is killed in the fsync of its commit: its frames, commit mark and all, are valid in the
// WAL, but SQLite never published them. No reader sees them, and the next writer overwrites them.
TEST_F(TrapTest, WriterKilledInTheFsyncOfItsCommit) {
  RemoteApp survivor(Path());
  RemoteApp victim(Path());
  Create(survivor);
  Sync();
  ASSERT_EQ(victim.Exec("PRAGMA synchronous = FULL"), SQLITE_OK);
  victim.DieInNextFsync();
  const auto before = std::filesystem::file_size(Wal());
  ASSERT_EQ(victim.Exec("INSERT INTO t (x) VALUES ('ghost')"), RemoteApp::kDied);
  ASSERT_GT(std::filesystem::file_size(Wal()), before);      // The commit is in the file,
  EXPECT_EQ(survivor.Query("SELECT count(*) FROM t"), "1");  // and not in the database.
  EXPECT_EQ(Sync(), Txid{1});
  EXPECT_EQ(RestoredRows(), "first");
  ASSERT_EQ(survivor.Exec("INSERT INTO t (x) VALUES ('second')"), SQLITE_OK);
  Sync();
  EXPECT_EQ(RestoredRows(), "first,second");
}

// The power fails, and of the frames that were never synced some in the middle are lost, while the
// last one, up to which all was captured, stays. SQLite goes back to the state before the hole,
// checkpoints that, and restarts the WAL: its salts are the next ones, and the sealed end is there.
TEST_F(TrapTest, PowerFailureTakesFramesFromTheMiddle) {
  MemoryEnv memory(clock_, 1);
  ASSERT_TRUE(CreateDirectories(memory, dir_.path(), {}).ok());
  SplitEnv split(Meta(), memory);
  env_ = &split;
  {
    RemoteApp app(Path());
    Create(app);
    ASSERT_EQ(app.Exec("CREATE TABLE lost (x)"), SQLITE_OK);
    Sync();
    const auto hole = std::filesystem::file_size(Wal());
    for (const char* row : {"second", "third", "fourth", "fifth"}) {
      ASSERT_EQ(app.Exec(fmt::format("INSERT INTO lost VALUES ('{}')", row)), SQLITE_OK);
    }
    Sync();
    Stop();
    app.Kill();
    auto wal = ReadWholeFile(Wal());
    wal[hole + kWalFrameHeaderSize + 100] ^= std::byte{1};
    WriteWholeFile(Wal(), wal);
    std::filesystem::remove(Path().string() + "-shm");
    memory.Crash([](const UnsyncedChange&) { return true; });
    OutliveLease();
  }
  RemoteApp app(Path());
  ASSERT_EQ(app.Exec("PRAGMA wal_autocheckpoint = 0"), SQLITE_OK);
  app.Query("PRAGMA wal_checkpoint");
  ASSERT_EQ(app.Exec("INSERT INTO t (x) VALUES ('other')"), SQLITE_OK);
  ASSERT_EQ(app.Query("SELECT count(*) FROM lost"), "0");
  Sync();
  Stop();
  EXPECT_EQ(RestoredRows(), "first,other");
  ExpectRestores();
}

// The database is replaced between our first connection and the rest: nothing may be captured from
// a mixture of both.
TEST_F(TrapTest, ReplacedWhileItIsBeingOpened) {
  { SqliteApp(Path()).Exec("CREATE TABLE t (x); INSERT INTO t VALUES ('old')"); }
  const std::filesystem::path other = dir_.path() / "other";
  { SqliteApp(other).Exec("CREATE TABLE t (x); INSERT INTO t VALUES ('new'), (randomblob(9000))"); }
  testing::FaultEnv env(Env::Real());
  env_ = &env;
  // The first look is whether it is a database at all.
  int opened = 0;
  env.SetHook([&](const char* call, const std::filesystem::path& path) -> Result<void> {
    if (std::string_view(call) == "open" && path == Path() && ++opened == 2) {
      std::filesystem::rename(other, Path());
    }
    return {};
  });
  const auto first = engine().SyncOnce(ctx_);
  EXPECT_FALSE(first.ok());
  if (!first.ok()) {
    EXPECT_EQ(first.error().code(), ErrorCode::kUnavailable);
  }
  Sync();
  Stop();
  ExpectRestores();
}

// The same with nobody else attached: the next connection recovers the WAL, and then the ghost is a
// commit like any other. What SQLite says is what counts.
TEST_F(TrapTest, UnpublishedCommitThatRecoveryRevives) {
  {
    RemoteApp victim(Path());
    Create(victim);
    Sync();
    Stop();
    ASSERT_EQ(victim.Exec("PRAGMA synchronous = FULL"), SQLITE_OK);
    victim.DieInNextFsync();
    ASSERT_EQ(victim.Exec("INSERT INTO t (x) VALUES ('ghost')"), RemoteApp::kDied);
  }
  RemoteApp app(Path());
  const std::string rows =
      app.Query("SELECT group_concat(x, ',') FROM (SELECT x FROM t ORDER BY id)");
  Sync();
  EXPECT_EQ(RestoredRows(), rows);
}

TEST_F(TrapTest, LeapfrogsAroundCheckpointsOfAnotherProcess) {
  RemoteApp writer(Path());
  RemoteApp checkpointer(Path());
  Create(writer);
  Sync();
  std::string rows = "first";
  for (int i = 0; i < 25; ++i) {
    ASSERT_EQ(writer.Exec(fmt::format("INSERT INTO t (x) VALUES ('{}')", i)), SQLITE_OK);
    rows += fmt::format(",{}", i);
    checkpointer.Exec("PRAGMA wal_checkpoint(PASSIVE)");
    Sync();
    checkpointer.Exec("PRAGMA wal_checkpoint(PASSIVE)");
    if (i % 3 == 0) Run(std::chrono::minutes(2));  // Our own, too.
    if (i % 3 == 0) Stop();
  }
  Sync();
  EXPECT_EQ(RestoredRows(), rows);
}

// With a new -shm nobody sees our locks: the WAL may be restarted under us, unseen.
TEST_F(TrapTest, ShmDeletedUnderUs) {
  RemoteApp app(Path());
  Create(app);
  Sync();
  app.Close();
  std::filesystem::remove(Path().string() + "-shm");
  RemoteApp other(Path());
  ASSERT_EQ(other.Exec("INSERT INTO t (x) VALUES ('unseen')"), SQLITE_OK);
  ASSERT_EQ(other.Exec("PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
  ASSERT_EQ(other.Exec("INSERT INTO t (x) VALUES ('seen')"), SQLITE_OK);
  Sync();
  EXPECT_EQ(RestoredRows(), "first,unseen,seen");
}

// The last application closes while we are attached: our lock keeps the WAL from being deleted.
TEST_F(TrapTest, ClosingApplicationsLeaveTheWalToUs) {
  RemoteApp app(Path());
  Create(app);
  Sync();
  std::string rows = "first";
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(app.Exec(fmt::format("INSERT INTO t (x) VALUES ('{}')", i)), SQLITE_OK);
    rows += fmt::format(",{}", i);
    app.Close();
    ASSERT_TRUE(std::filesystem::exists(Wal()));
    EXPECT_EQ(Sync().value, static_cast<std::uint64_t>(i) + 2);
  }
  EXPECT_EQ(RestoredRows(), rows);
}

TEST_F(TrapTest, ExclusiveLockingModeIsSaidAndRetried) {
  RemoteApp app(Path());
  Create(app);
  app.Close();
  ASSERT_EQ(app.Exec("PRAGMA locking_mode = EXCLUSIVE"), SQLITE_OK);
  ASSERT_EQ(app.Exec("INSERT INTO t (x) VALUES ('mine')"), SQLITE_OK);
  const auto synced = engine().SyncOnce(ctx_);
  ASSERT_FALSE(synced.ok());
  EXPECT_TRUE(synced.error().Is(ErrorCode::kUnavailable));
  EXPECT_NE(synced.error().message().find("EXCLUSIVE"), std::string::npos)
      << synced.error().message();
  app.Close();
  Sync();
  EXPECT_EQ(RestoredRows(), "first,mine");
}

// R6: a writer in a tight loop commits between any two steps of ours. The write lock is hardly ever
// free, and checkpoints happen all the same, without an error or a long wait for the writer.
TEST_F(TrapTest, WriterInATightLoop) {
  checkpoint_.min_pages = 200;
  RemoteApp app(Path());
  Create(app);
  Sync();
  // Each commit is on another page than the last ones, so that a lost one shows.
  ASSERT_EQ(
      app.Exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
               "INSERT INTO t (x) SELECT hex(randomblob(1000)) FROM n"),
      SQLITE_OK);
  app.StartLoop("UPDATE t SET x = hex(randomblob(1000)) WHERE id = 1 + abs(random()) % 200");
  // Steps, not time, bound this: the writer does not wait for the simulated clock.
  const auto before = engine().Status().checkpoints;
  const auto enough = before + 10;
  for (int i = 0; i < 3'000'000 && engine().Status().checkpoints < enough; ++i) {
    Run(std::chrono::seconds(2));
    std::this_thread::yield();
  }
  const auto loop = app.StopLoop();
  EXPECT_GE(engine().Status().checkpoints, enough);
  EXPECT_EQ(loop.failures, 0);
  EXPECT_GT(loop.commits, 0);
  Run(std::chrono::minutes(2));
  const std::string rows =
      app.Query("SELECT group_concat(x, ',') FROM (SELECT x FROM t ORDER BY id)");
  EXPECT_EQ(RestoredRows(), rows);
}

// D4, R22: while we are attached nobody restarts, cuts or deletes the WAL, whatever we did
// meanwhile (checkpoints, scrubbing, pruning), and whatever became of the call that attached us.
TEST_F(TrapTest, D4R22OthersCannotTakeTheWal) {
  RemoteApp app(Path());
  Create(app);
  ASSERT_EQ(app.Exec("PRAGMA busy_timeout = 0"), SQLITE_OK);
  const auto expect_held = [&](int value) {
    ASSERT_EQ(app.Exec(fmt::format("INSERT INTO t (x) VALUES ({})", value)), SQLITE_OK);
    for (const char* mode : {"PASSIVE", "FULL", "RESTART", "TRUNCATE"}) {
      const std::string busy = app.Query(fmt::format("PRAGMA wal_checkpoint({})", mode));
      EXPECT_EQ(busy, std::string_view(mode) == "PASSIVE" ? "0" : "1") << mode;
    }
    EXPECT_GT(std::filesystem::file_size(Wal()), 0U);
    app.Close();
    EXPECT_TRUE(std::filesystem::exists(Wal()));
    ASSERT_EQ(app.Exec("PRAGMA busy_timeout = 0"), SQLITE_OK);
  };
  {
    std::stop_source caller;
    const Context of_caller(caller.get_token(), clock_.Monotonic() + std::chrono::seconds(30),
                            clock_);
    ASSERT_TRUE(engine().SyncOnce(of_caller).ok());
    caller.request_stop();
    clock_.Advance(std::chrono::minutes(1));
  }
  expect_held(1);
  Sync();
  expect_held(2);
  Run(std::chrono::hours(25));
  EXPECT_GT(engine().Status().checkpoints, 0U);
  EXPECT_GT(engine().Status().scrub.passes, 0U);
  expect_held(3);
  Run(std::chrono::minutes(1));
  EXPECT_EQ(RestoredRows(), Rows(app));
}

// R22: a second descriptor would drop SQLite's locks when it is closed. There is one of the
// database, from the first connection on, and none of -shm, however long we are at it.
TEST_F(TrapTest, R22OneDescriptorOfTheDatabase) {
  testing::FaultEnv files(Env::Real());
  env_ = &files;
  int database = 0;
  int shm = 0;
  files.SetHook([&](const char* call, const std::filesystem::path& path) -> Result<void> {
    if (std::string_view(call) != "open") return {};
    if (path == Path()) ++database;
    if (path == Path().string() + "-shm") ++shm;
    return {};
  });
  RemoteApp app(Path());
  Create(app);
  Run(std::chrono::minutes(1));
  ASSERT_EQ(engine().Status().state, DatabaseState::kReplicating);
  database = shm = 0;
  for (int i = 0; i < 30; ++i) {
    ASSERT_EQ(app.Exec("INSERT INTO t (x) VALUES (hex(randomblob(50000)))"), SQLITE_OK);
    Run(std::chrono::hours(1));
  }
  EXPECT_GT(engine().Status().checkpoints, 10U);
  EXPECT_GT(engine().Status().scrub.passes, 1U);
  EXPECT_EQ(database, 0);
  EXPECT_EQ(shm, 0);
  Stop();
}

// Somebody in this process opens and closes -shm: the system drops our locks, SQLite does not
// notice, and another process restarts the WAL under our transaction. What is read then does not
// fit, nothing of it is used, and the database is compared.
TEST_F(TrapTest, R22LocksDroppedByAForeignClose) {
  RemoteApp app(Path());
  Create(app);
  Run(std::chrono::minutes(1));
  (void)ReadWholeFile(Path().string() + "-shm");
  ASSERT_EQ(app.Exec("INSERT INTO t (x) VALUES ('unseen')"), SQLITE_OK);
  ASSERT_EQ(app.Query("PRAGMA wal_checkpoint(TRUNCATE)"), "0");
  ASSERT_EQ(app.Exec("INSERT INTO t (x) VALUES ('seen')"), SQLITE_OK);
  Run(std::chrono::minutes(20));
  EXPECT_EQ(engine().Status().state, DatabaseState::kReplicating);
  EXPECT_EQ(RestoredRows(), "first,unseen,seen");
}

// journal_size_limit cuts the WAL behind a new generation while nobody watches: the frames that
// were not captured are gone, and so is every trace of them.
TEST_F(TrapTest, JournalSizeLimitCutsTheWal) {
  RemoteApp app(Path());
  Create(app);
  for (int i = 0; i < 20; ++i) app.Exec("INSERT INTO t (x) VALUES (hex(randomblob(1500)))");
  Sync();
  Stop();
  const auto wal = std::filesystem::file_size(Wal());
  for (int i = 0; i < 10; ++i) app.Exec("UPDATE t SET x = hex(randomblob(1500)) WHERE id = 3");
  ASSERT_EQ(app.Exec(fmt::format("PRAGMA journal_size_limit = {}", wal + 100)), SQLITE_OK);
  ASSERT_EQ(app.Exec("PRAGMA wal_checkpoint(RESTART)"), SQLITE_OK);
  ASSERT_EQ(app.Exec("INSERT INTO t (x) VALUES ('last')"), SQLITE_OK);
  ASSERT_EQ(std::filesystem::file_size(Wal()), wal + 100);
  Sync();
  EXPECT_EQ(RestoredRows(), Rows(app));
}

// Somebody always reads, nobody longer than 20 ms: then the next one has begun, and it ends.
// PASSIVE alone would never let the WAL restart.
TEST_F(TrapTest, OverlappingShortReaders) {
  checkpoint_.min_pages = 50;
  testing::FaultVfs vfs("overlapping-readers");
  sqlite_vfs_ = vfs.name();
  // File events come by the real clock, all else here by the simulated one: without them the test
  // does not depend on how busy the machine is.
  testing::FaultEnv files(Env::Real());
  files.SetHook([](const char* call, const std::filesystem::path&) -> Result<void> {
    if (std::string_view(call) == "watch") return Error(ErrorCode::kUnsupported, "no events");
    return {};
  });
  env_ = &files;
  RemoteApp app(Path());
  RemoteApp readers[] = {RemoteApp(Path()), RemoteApp(Path())};
  Create(app);
  ASSERT_EQ(readers[0].Exec("BEGIN; SELECT count(*) FROM t"), SQLITE_OK);
  int turn = 0;
  MonoTime last_turn = clock_.Monotonic();
  vfs.SetHook([&](const char* call, const char*) {
    // SQLite waits for readers: time passes.
    if (std::string_view(call) == "sleep") clock_.Advance(std::chrono::milliseconds(5));
    if (clock_.Monotonic() - last_turn < std::chrono::milliseconds(20)) return SQLITE_OK;
    last_turn = clock_.Monotonic();
    EXPECT_EQ(readers[1 - turn % 2].Exec("BEGIN; SELECT count(*) FROM t"), SQLITE_OK);
    EXPECT_EQ(readers[turn % 2].Exec("COMMIT"), SQLITE_OK);
    ++turn;
    return SQLITE_OK;
  });
  std::uintmax_t largest = 0;
  for (int i = 0; i < 60; ++i) {
    for (int row = 0; row < 20; ++row) {
      ASSERT_EQ(app.Exec("INSERT INTO t (x) VALUES (randomblob(3500))"), SQLITE_OK);
    }
    Run(std::chrono::seconds(2));
    largest = std::max(largest, std::filesystem::file_size(Wal()));
  }
  vfs.SetHook(nullptr);
  EXPECT_GT(turn, 30);  // They did overlap.
  // All commits together are 15 MB of WAL.
  EXPECT_LT(largest, 1'000'000U);
  readers[turn % 2].Exec("COMMIT");
  ASSERT_EQ(app.Exec("UPDATE t SET x = id"), SQLITE_OK);
  Run(std::chrono::minutes(3));
  EXPECT_EQ(RestoredRows(), Rows(app));
  Stop();
}

// A backup is copied over the file, and the killed application's WAL still lies beside it: SQLite
// replays it over the copy. What SQLite then sees is what is captured.
TEST_F(TrapTest, LeftOverWalBesideACopiedDatabase) {
  RemoteApp app(Path());
  RemoteApp next(Path());
  Create(app);
  ASSERT_EQ(app.Exec("PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
  const auto backup = ReadWholeFile(Path());
  ASSERT_EQ(app.Exec("INSERT INTO t (x) VALUES ('in the file')"), SQLITE_OK);
  ASSERT_EQ(app.Exec("PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
  ASSERT_EQ(app.Exec("INSERT INTO t (x) VALUES ('in the log')"), SQLITE_OK);
  Sync();
  Stop();
  app.Kill();
  WriteWholeFile(Path(), backup);
  ASSERT_GT(std::filesystem::file_size(Wal()), 0U);
  const std::string rows = Rows(next);
  Sync();
  EXPECT_EQ(RestoredRows(), rows);
  Run(std::chrono::minutes(2));
  EXPECT_EQ(engine().Status().scrub.differences, 0U);
}

TEST_F(TrapTest, ZeroByteFileBecomesADatabase) {
  RemoteApp app(Path());
  { std::ofstream create(Path()); }
  Run(std::chrono::minutes(2));
  EXPECT_EQ(engine().Status().state, DatabaseState::kWaiting);
  EXPECT_EQ(std::filesystem::file_size(Path()), 0U);
  Create(app);
  Run(std::chrono::minutes(1));
  EXPECT_EQ(RestoredRows(), "first");
}

// D16: another file is renamed over the database while an application has the old one open.
TEST_F(TrapTest, D16RenamedOverWhileRunning) {
  const auto other_path = dir_.path() / "other";
  RemoteApp old(Path());
  RemoteApp other(other_path);
  RemoteApp next(Path());
  Create(old);
  Create(other);
  ASSERT_EQ(other.Exec("INSERT INTO t (x) VALUES ('other')"), SQLITE_OK);
  other.Close();
  Run(std::chrono::minutes(1));
  ASSERT_EQ(RestoredRows(), "first");
  std::filesystem::rename(other_path, Path());
  for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(Path().string() + suffix);
  ASSERT_EQ(old.Exec("INSERT INTO t (x) VALUES ('into the old one')"), SQLITE_OK);
  ASSERT_EQ(next.Exec("INSERT INTO t (x) VALUES ('new')"), SQLITE_OK);
  Run(std::chrono::minutes(2));
  EXPECT_EQ(RestoredRows(), "first,other,new");
}

}  // namespace
}  // namespace litestream
