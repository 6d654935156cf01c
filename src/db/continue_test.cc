// How capture goes on after it was away: the strict restart rule and everything that breaks the
// hold (design 4.4; spec engine 9.2, 9.3, 22).

#include <filesystem>
#include <fstream>

#include <sqlite3.h>

#include "tests/support/db_fixture.h"

namespace litestream {
namespace {

class ContinueTest : public DbFixture {
 protected:
  LtxHeader Newest() {
    LocalLtx local(Env::Real(), Meta(), {}, {});
    EXPECT_TRUE(local.Open().ok());
    auto header = local.ReadHeader(local.range()->max);
    EXPECT_TRUE(header.ok());
    return header.value();
  }
};

TEST_F(ContinueTest, FirstCaptureHoldsEverything) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  EXPECT_EQ(Sync(), Txid{1});
  EXPECT_TRUE(Newest().IsSnapshot());
  ExpectRestores();
}

TEST_F(ContinueTest, NothingIsWrittenIntoTheDatabase) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  const auto schema = app.Text("SELECT group_concat(name) FROM sqlite_schema");
  const auto version = app.Int("PRAGMA data_version");
  Sync();
  Write(app, 3);
  Sync();
  EXPECT_EQ(app.Text("SELECT group_concat(name) FROM sqlite_schema"), schema);
  EXPECT_EQ(app.Int("PRAGMA data_version"), version);  // Nobody else committed.
}

TEST_F(ContinueTest, SameGenerationGoesOnIncrementally) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Sync();
  Stop();
  Write(app, 2);
  EXPECT_EQ(Sync(), Txid{2});
  EXPECT_GT(Newest().wal_offset, 32);
  ExpectRestores();
}

TEST_F(ContinueTest, NothingNewMakesNoFile) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Sync();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Sync(), Txid{1});
  Stop();
  EXPECT_EQ(Sync(), Txid{1});
}

// D1, R43, R44: frames are appended behind the position while nobody watches, backfilled, and the
// WAL restarts once with a shorter generation: its old end is still there and looks intact.
TEST_F(ContinueTest, D1TailLostByOneRestartIsNoticed) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Sync();
  Stop();
  Write(app, 10);
  app.Exec("PRAGMA wal_checkpoint(RESTART)");
  Write(app, 1);
  EXPECT_EQ(Sync(), Txid{2});
  ExpectRestores();
}

// D1b: two restarts, of which the second generation overwrites the first one whole.
TEST_F(ContinueTest, D1bOverwrittenGenerationIsNoticed) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Sync();
  Stop();
  app.Exec("PRAGMA wal_checkpoint(RESTART)");
  Write(app, 1);
  app.Exec("PRAGMA wal_checkpoint(RESTART)");
  Write(app, 2);
  Sync();
  ExpectRestores();
}

TEST_F(ContinueTest, OneCleanRestartGoesOnAtTheFront) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Sync();
  Stop();
  app.Exec("PRAGMA wal_checkpoint(RESTART)");
  Write(app, 1);
  EXPECT_EQ(Sync(), Txid{2});
  EXPECT_EQ(Newest().wal_offset, 32);
  ExpectRestores();
}

// journal_size_limit cuts the WAL behind the new generation: the evidence is gone.
TEST_F(ContinueTest, JournalSizeLimitCutsTheEvidence) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Sync();
  Stop();
  Write(app, 10);
  app.Exec("PRAGMA journal_size_limit = 100000");
  app.Exec("PRAGMA wal_checkpoint(RESTART)");
  Write(app, 1);
  Sync();
  ExpectRestores();
}

TEST_F(ContinueTest, TruncatedWalIsNoticed) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Sync();
  Stop();
  Write(app, 5);
  app.Exec("PRAGMA wal_checkpoint(TRUNCATE)");
  Sync();
  ExpectRestores();
}

TEST_F(ContinueTest, WalDeletedWhileStopped) {
  {
    SqliteApp app(Path());
    CreateTable(app, 20);
    Sync();
    Stop();
    Write(app, 5);
  }  // The last connection checkpoints and deletes the WAL.
  ASSERT_FALSE(std::filesystem::exists(Wal()));
  EXPECT_EQ(Sync(), Txid{2});
  ExpectRestores();
}

// Without a change, being away costs a comparison and no file.
TEST_F(ContinueTest, ComparisonWithoutADifferenceMakesNoFile) {
  {
    SqliteApp app(Path());
    CreateTable(app, 20);
    Sync();
    Stop();
  }
  EXPECT_EQ(Sync(), Txid{1});
  Stop();
  EXPECT_EQ(Sync(), Txid{1});
  SqliteApp app(Path());
  Write(app, 1);
  EXPECT_EQ(Sync(), Txid{2});
  ExpectRestores();
}

// The difference holds only the pages that changed.
TEST_F(ContinueTest, ComparisonShipsOnlyTheDifference) {
  {
    SqliteApp app(Path());
    CreateTable(app, 20);
    Write(app, 300);
    Sync();
    Stop();
    app.Exec("UPDATE t SET x = randomblob(3000) WHERE id = 7");
  }
  Sync();
  const auto file =
      std::filesystem::file_size(Meta() / "ltx/0/0000000000000002-0000000000000002.ltx");
  EXPECT_LT(file, 20'000U);
  ExpectRestores();
}

// D16: another database takes the path while we run.
TEST_F(ContinueTest, D16ReplacedDatabaseIsNotMixed) {
  auto app = std::make_unique<SqliteApp>(Path());
  CreateTable(*app, 20);
  Sync();
  const auto other = dir_.path() / "other";
  {
    SqliteApp second(other);
    second.Exec("CREATE TABLE u (y)");
    for (int i = 0; i < 50; ++i) second.Exec("INSERT INTO u VALUES (randomblob(2000))");
  }
  app.reset();
  std::filesystem::remove(Wal());
  std::filesystem::remove(Path().string() + "-shm");
  std::filesystem::rename(other, Path());
  EXPECT_EQ(Sync(), Txid{2});
  ExpectRestores();
}

TEST_F(ContinueTest, RestoredOverWhileStopped) {
  {
    SqliteApp app(Path());
    CreateTable(app, 20);
  }
  const auto old = ReadWholeFile(Path());
  {
    SqliteApp app(Path());
    Write(app, 30);
    Sync();
    Stop();
  }
  WriteWholeFile(Path(), old);
  Sync();
  EXPECT_TRUE(Restored() == old);
}

// A left-over WAL beside a database that was copied over in place: SQLite replays it, and what
// SQLite sees is what must be captured.
TEST_F(ContinueTest, LeftOverWalBesideACopiedDatabase) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  app.Exec("PRAGMA wal_checkpoint(TRUNCATE)");
  const auto old = ReadWholeFile(Path());
  Write(app, 30);
  Sync();
  Stop();
  const auto wal = ReadWholeFile(Wal());
  app.Close();
  WriteWholeFile(Path(), old);
  WriteWholeFile(Wal(), wal);
  Sync();
  ExpectRestores();
}

TEST_F(ContinueTest, ZeroByteFileIsLeftAlone) {
  { std::ofstream create(Path()); }
  EXPECT_TRUE(engine().SyncOnce(ctx_).error().Is(ErrorCode::kNotFound));
  EXPECT_EQ(std::filesystem::file_size(Path()), 0U);
  EXPECT_FALSE(std::filesystem::exists(Wal()));
  SqliteApp app(Path(), "PRAGMA page_size = 8192");
  CreateTable(app, 20);
  EXPECT_EQ(Sync(), Txid{1});
  EXPECT_EQ(Newest().page_size, 8192U);
  ExpectRestores();
}

TEST_F(ContinueTest, MissingDatabaseIsWaitedFor) {
  EXPECT_TRUE(engine().SyncOnce(ctx_).error().Is(ErrorCode::kNotFound));
  EXPECT_FALSE(std::filesystem::exists(Meta()));
  SqliteApp app(Path());
  CreateTable(app, 20);
  EXPECT_EQ(Sync(), Txid{1});
}

TEST_F(ContinueTest, RollbackJournalDatabaseIsSwitchedToWal) {
  {
    SqliteApp app(Path());
    app.Exec("PRAGMA journal_mode = delete");
    app.Exec("CREATE TABLE t (x)");
  }
  EXPECT_EQ(Sync(), Txid{1});
  SqliteApp app(Path());
  EXPECT_EQ(app.Text("PRAGMA journal_mode"), "wal");
  ExpectRestores();
}

TEST_F(ContinueTest, PageSizeChangedWhileStopped) {
  {
    SqliteApp app(Path());
    CreateTable(app, 20);
    Sync();
    Stop();
    app.Exec("PRAGMA journal_mode = delete");
    app.Exec("PRAGMA page_size = 1024");
    app.Exec("VACUUM");
  }
  Sync();
  EXPECT_EQ(Newest().page_size, 1024U);
  ExpectRestores();
  SqliteApp app(Path());
  Write(app, 1);
  Sync();
  ExpectRestores();
}

// The state directory goes away: the replica's line goes on above what it holds (R11).
TEST_F(ContinueTest, R11LostStateGoesOnAboveTheReplica) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Sync();
  Write(app, 1);
  EXPECT_EQ(Sync(), Txid{2});
  Stop();
  std::filesystem::remove_all(Meta());
  Write(app, 1);
  EXPECT_EQ(Sync(), Txid{3});
  ExpectRestores();
  Write(app, 1);
  EXPECT_EQ(Sync(), Txid{4});
  ExpectRestores();
}

TEST_F(ContinueTest, DamagedLocalFileIsNotBuiltUpon) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Sync();
  Write(app, 1);
  Sync();
  Stop();
  const auto path = Meta() / "ltx/0/0000000000000002-0000000000000002.ltx";
  auto bytes = ReadWholeFile(path);
  bytes[20] ^= std::byte{0xff};
  WriteWholeFile(path, bytes);
  Write(app, 1);
  Sync();
  ExpectRestores();
}

TEST_F(ContinueTest, LostPageSumsAreRebuiltOrReplaced) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Sync();
  Write(app, 2);
  Sync();
  Stop();
  std::filesystem::remove(Meta() / "pages.sum");
  EXPECT_EQ(Sync(), Txid{2});  // Nothing changed: rebuilt from the database, and proven by it.
  Stop();
  std::filesystem::remove(Meta() / "pages.sum");
  Write(app, 2);
  Sync();
  ExpectRestores();
}

// The entries stand behind the durable files after a crash; replaying mends them.
TEST_F(ContinueTest, StalePageSumsAreReplayed) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Sync();
  const auto sums = ReadWholeFile(Meta() / "pages.sum");
  for (int i = 0; i < 5; ++i) {
    Write(app, 2);
    Sync();
  }
  Stop();
  WriteWholeFile(Meta() / "pages.sum", sums);
  Write(app, 1);
  EXPECT_EQ(Sync(), Txid{7});
  ExpectRestores();
}

TEST_F(ContinueTest, ASecondReplicatorIsKeptOut) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Sync();
  Database second(Env::Real(), scheduler_, Options(), log_);
  const auto synced = second.SyncOnce(ctx_);
  ASSERT_FALSE(synced.ok());
  EXPECT_TRUE(synced.error().Is(ErrorCode::kUnavailable));
  EXPECT_NE(synced.error().message().find("another process replicates"), std::string::npos);
}

}  // namespace
}  // namespace litestream
