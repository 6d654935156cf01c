// The traps that design section 4 names, each with an application in a process of its own.

#include <filesystem>

#include <fmt/format.h>
#include <sqlite3.h>

#include "base/memory_env.h"
#include "format/wal.h"
#include "tests/support/db_fixture.h"
#include "tests/support/fault_env.h"
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
  env.SetHook([&](const char* call, const std::filesystem::path& path) -> Result<void> {
    if (std::string_view(call) == "open" && path == Path() && std::filesystem::exists(other)) {
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

// A writer in a tight loop: the write lock is hardly ever free, and checkpoints happen all the
// same, without an error or a long wait for the writer.
TEST_F(TrapTest, WriterInATightLoop) {
  checkpoint_.min_pages = 200;
  RemoteApp app(Path());
  Create(app);
  Sync();
  app.StartLoop(
      "INSERT INTO t (x) VALUES ('row'); DELETE FROM t WHERE id < "
      "(SELECT max(id) FROM t) - 50");
  // Steps, not time, bound this: the writer does not wait for the simulated clock.
  for (int i = 0; i < 30000 && engine().Status().checkpoints < 3; ++i) Run(std::chrono::seconds(2));
  const auto loop = app.StopLoop();
  EXPECT_GE(engine().Status().checkpoints, 3U);
  EXPECT_EQ(loop.failures, 0);
  EXPECT_GT(loop.commits, 0);
  Run(std::chrono::minutes(2));
  const std::string rows =
      app.Query("SELECT group_concat(x, ',') FROM (SELECT x FROM t ORDER BY id)");
  EXPECT_EQ(RestoredRows(), rows);
}

}  // namespace
}  // namespace litestream
