// How capture goes on after it was away: the strict restart rule and everything that breaks the
// hold (design 4.4; spec engine 9.2, 9.3, 22).

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <sqlite3.h>

#include "base/endian.h"
#include "format/wal.h"
#include "tests/support/db_fixture.h"
#include "tests/support/fault_env.h"
#include "tests/support/recorded_log.h"

namespace litestream {
namespace {

class ContinueTest : public DbFixture {
 protected:
  // The WAL with the frames behind `from` that hold a leaf of the freelist above `old_pages` left
  // out: what another writer than SQLite could have written.
  static std::vector<std::byte> WithoutFreePages(const std::vector<std::byte>& wal,
                                                 std::uint64_t from, std::uint32_t old_pages) {
    const auto header = ParseWalHeader(std::span(wal).first(kWalHeaderSize));
    EXPECT_TRUE(header.ok() && header.value());
    const std::size_t frame_size = WalFrameSize(header.value()->page_size);
    std::uint32_t trunk = 0;
    for (std::size_t at = from; at < wal.size(); at += frame_size) {
      if (LoadBe32(&wal[at]) == 1) trunk = LoadBe32(&wal[at + kWalFrameHeaderSize + 32]);
    }
    std::vector<std::byte> out(wal.begin(), wal.begin() + static_cast<std::ptrdiff_t>(from));
    WalChecksum checksum = {LoadBe32(&wal[from - frame_size + 16]),
                            LoadBe32(&wal[from - frame_size + 20])};
    for (std::size_t at = from; at < wal.size(); at += frame_size) {
      auto frame = std::vector(wal.begin() + static_cast<std::ptrdiff_t>(at),
                               wal.begin() + static_cast<std::ptrdiff_t>(at + frame_size));
      const std::uint32_t pgno = LoadBe32(&frame[0]);
      if (pgno > old_pages && pgno != trunk && LoadBe32(&frame[4]) == 0) continue;
      const bool big_endian = header.value()->big_endian_checksums;
      const auto bytes = std::span<const std::byte>(frame);
      checksum = ContinueWalChecksum(checksum, bytes.first(8), big_endian);
      checksum = ContinueWalChecksum(checksum, bytes.subspan(kWalFrameHeaderSize), big_endian);
      StoreBe32(&frame[16], checksum[0]);
      StoreBe32(&frame[20], checksum[1]);
      out.insert(out.end(), frame.begin(), frame.end());
    }
    return out;
  }
  // The same WAL as a machine of the other byte order would have summed it.
  static std::vector<std::byte> SummedBigEndian(std::vector<std::byte> wal) {
    StoreBe32(&wal[0], 0x377f0683);
    WalChecksum checksum = {};
    const auto sum = [&checksum, &wal](std::size_t at, std::size_t size) {
      checksum = ContinueWalChecksum(checksum, std::span(wal).subspan(at, size), true);
    };
    const auto store = [&checksum, &wal](std::size_t at) {
      StoreBe32(&wal[at], checksum[0]);
      StoreBe32(&wal[at + 4], checksum[1]);
    };
    const std::uint32_t page_size = LoadBe32(&wal[8]);
    sum(0, 24);
    store(24);
    for (std::size_t at = kWalHeaderSize; at < wal.size(); at += WalFrameSize(page_size)) {
      sum(at, 8);
      sum(at + kWalFrameHeaderSize, page_size);
      store(at + 16);
    }
    return wal;
  }
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

// The same, of a WAL that came from a machine of the other byte order: the header that said so is
// overwritten by then.
TEST_F(ContinueTest, D1TailOfTheOtherByteOrderIsNoticed) {
  {
    const auto source = dir_.path() / "source";
    SqliteApp app(source);
    CreateTable(app, 20);
    std::filesystem::copy(source, Path());
    const auto wal = SummedBigEndian(ReadWholeFile(source.string() + "-wal"));
    std::ofstream(Wal(), std::ios::binary)
        .write(reinterpret_cast<const char*>(wal.data()), static_cast<std::streamsize>(wal.size()));
  }
  SqliteApp app(Path());
  app.Exec("PRAGMA wal_autocheckpoint = 0");
  ASSERT_EQ(app.Int("SELECT count(*) FROM t"), 20);
  Sync();
  Stop();
  Write(app, 10);
  app.Exec("PRAGMA wal_checkpoint(RESTART)");
  Write(app, 1);
  RecordedLog recorded(LogLevel::kInfo);
  log_ = recorded.logger();
  EXPECT_EQ(Sync(), Txid{2});
  EXPECT_EQ(recorded.Count("behind the last captured one were never captured"), 1);
  ExpectRestores();
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

// D5: one restart, and the new generation is so long that it covers the captured end and what was
// behind it.
TEST_F(ContinueTest, D5OverwrittenEndIsADoubt) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Sync();
  Stop();
  app.Exec("UPDATE t SET x = 'not captured' WHERE id < 10");
  app.Exec("PRAGMA wal_checkpoint(RESTART)");
  const auto wal = std::filesystem::file_size(Wal());
  while (std::filesystem::file_size(Wal()) == wal) {
    app.Exec("UPDATE t SET x = randomblob(2000) WHERE id = 15");
  }
  Sync();
  ExpectRestores();
}

// R9: a position at the front of an empty WAL, which has no frame that could prove anything.
TEST_F(ContinueTest, R9PositionAtTheFrontOfAnEmptyWal) {
  for (const bool away : {false, true}) {
    for (const bool other_salts : {false, true}) {
      SCOPED_TRACE(fmt::format("away {}, other salts {}", away, other_salts));
      SqliteApp app(Path());
      app.Exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, x BLOB)");
      Write(app, 5);
      app.Exec("PRAGMA wal_checkpoint(TRUNCATE)");
      Sync();
      if (away) Stop();
      if (other_salts) {
        Write(app, 1);
        app.TryExec("PRAGMA wal_checkpoint(TRUNCATE)");
      }
      Write(app, 1);
      Sync();
      ExpectRestores();
      EXPECT_EQ(engine().Status().errors, 0U);
      Stop();
    }
  }
}

// A clean stop, after which the application goes on as it likes.
TEST_F(ContinueTest, CleanStopThenTheApplicationGoesOn) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Run(std::chrono::minutes(1));
  for (const char* checkpoint :
       {"", "PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(RESTART)",
        "PRAGMA wal_checkpoint(TRUNCATE)"}) {
    SCOPED_TRACE(checkpoint);
    Close();
    Write(app, 3);
    app.Exec(checkpoint);
    Write(app, 1);
    Run(std::chrono::minutes(1));
    ExpectRestores();
  }
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
  OutliveLease();
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

// Grown by a transaction that does not write all of the new pages (they are free, SQLite never
// reads them); what another writer than SQLite could leave.
class GrowthTest : public ContinueTest {
 protected:
  // Captures a table, and commits such a transaction while nobody looks. How many bytes are left
  // out of the log.
  std::uint64_t GrowWithoutPages() {
    SqliteApp app(Path());
    CreateTable(app, 20);
    Sync();
    const auto captured = static_cast<std::uint64_t>(Newest().wal_offset + Newest().wal_size);
    Stop();
    const auto old_pages = static_cast<std::uint32_t>(app.Int("PRAGMA page_count"));
    app.Exec("BEGIN");
    Write(app, 40);
    app.Exec("DELETE FROM t WHERE id > 20; COMMIT");
    EXPECT_GT(app.Int("PRAGMA freelist_count"), 20);
    sqlite3_db_config(app.db(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    app.Close();
    std::filesystem::remove(Path().string() + "-shm");
    const auto wal = ReadWholeFile(Wal());
    WriteWholeFile(Wal(), WithoutFreePages(wal, captured, old_pages));
    return wal.size() - std::filesystem::file_size(Wal());
  }
};

// R5: the file holds them all the same, or no restore could lay it over the one before.
TEST_F(GrowthTest, R5GrowthByPagesThatAreNotInTheWal) {
  ASSERT_GT(GrowWithoutPages(), 20U * 4096);
  EXPECT_EQ(Sync(), Txid{2});
  EXPECT_GT(Newest().wal_offset, 32);
  ExpectRestores();
  SqliteApp app(Path());
  EXPECT_EQ(app.Text("PRAGMA integrity_check"), "ok");
}

// Such a page is read from the database file, and a checkpoint may have put it there as a commit
// behind this piece of the backlog wrote it: the piece goes on until it has that commit too.
TEST_F(GrowthTest, APageFromLaterIsNotPutIntoAnEarlierState) {
  ASSERT_GT(GrowWithoutPages(), 20U * 4096);
  SqliteApp app(Path());
  app.Exec("PRAGMA wal_autocheckpoint = 0");
  Write(app, 5);
  app.Exec("PRAGMA wal_checkpoint(PASSIVE)");
  max_sync_wal_bytes_ = 1;
  EXPECT_EQ(Sync(), Txid{2}) << "a piece of its own for the commit that grows";
  EXPECT_GT(Newest().wal_offset, 32);
  ExpectRestores();
}

// A process died while it staged a file: the rest is removed, and the TXID is used again.
TEST_F(ContinueTest, UnfinishedFileIsRemoved) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Sync();
  Stop();
  const auto left = Meta() / "ltx/0/0000000000000002-0000000000000002.ltx.tmp";
  WriteWholeFile(left, std::vector<std::byte>(100));
  Sync();
  EXPECT_FALSE(std::filesystem::exists(left));
  Write(app, 1);
  EXPECT_EQ(Sync(), Txid{2});
  ExpectRestores();
}

// R25: a call that is ended in the middle is no sign of a lost WAL.
TEST_F(ContinueTest, R25CancelledIsNoDoubt) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Write(app, 200);
  Sync();
  testing::FaultEnv files(Env::Real());
  for (const bool attached : {true, false}) {
    SCOPED_TRACE(attached);
    if (!attached) {
      Stop();
      env_ = &files;
    }
    Write(app, 3);
    std::stop_source stop;
    stop.request_stop();
    const Context ended(stop.get_token(), std::nullopt, clock_);
    const auto synced = engine().SyncOnce(ended);
    ASSERT_FALSE(synced.ok());
    EXPECT_TRUE(synced.error().Is(ErrorCode::kCancelled)) << synced.error().message();
    Sync();
    EXPECT_GT(Newest().wal_offset, 32);  // An ordinary stretch, not all or a comparison.
    ExpectRestores();
  }
  Stop();
}

// R18, R31: closing captures what is committed and lets everything go, also with a caller who waits
// no longer, without a database, and twice.
TEST_F(ContinueTest, R31CloseAlwaysLetsGo) {
  SqliteApp app(Path());
  CreateTable(app, 20);
  Sync();
  Write(app, 1);
  std::stop_source stop;
  stop.request_stop();
  const Context ended(stop.get_token(), std::nullopt, clock_);
  (void)CloseEngine(ended, std::chrono::seconds(1)).ok();
  EXPECT_EQ(engine().Status().txid, Txid{2});
  EXPECT_EQ(engine().Status().state, DatabaseState::kClosed);
  // Neither the read transaction nor the lock is held any more.
  EXPECT_EQ(app.TryExec("PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
  EXPECT_EQ(std::filesystem::file_size(Wal()), 0U);
  EXPECT_TRUE(Env::Real().Lock(Meta() / "lock", {}).ok());
  EXPECT_TRUE(CloseEngine(ctx_, std::chrono::seconds(1)).ok());
  Stop();
  Sync();
  ExpectRestores();
}

TEST_F(ContinueTest, R18CloseAfterTheDatabaseVanished) {
  auto app = std::make_unique<SqliteApp>(Path());
  CreateTable(*app, 20);
  Run(std::chrono::minutes(1));
  app.reset();
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(Path().string() + suffix);
  }
  Close();
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
