// Checkpoints (design 4.5): the WAL stays bounded, nothing is lost, nobody is hurt.

#include <filesystem>

#include <fmt/format.h>

#include "format/names.h"
#include "tests/support/db_fixture.h"

namespace litestream {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class CheckpointTest : public DbFixture {
 protected:
  CheckpointTest() {
    checkpoint_.min_pages = 50;
    row_bytes_ = 3500;
  }

  void Create(SqliteApp& app) { CreateTable(app, 30); }
  // By now the slow tick has seen everything, and the replica has it.
  void Settle() { Run(seconds(80)); }
};

TEST_F(CheckpointTest, TheWalIsReused) {
  SqliteApp app(Path());
  Create(app);
  Settle();
  std::uintmax_t largest = 0;
  for (int i = 0; i < 15; ++i) {
    Write(app, 60);
    Settle();
    largest = std::max(largest, std::filesystem::file_size(Wal()));
  }
  EXPECT_GT(engine().Status().checkpoints, 5U);
  // 15 * 60 rows would be over 3.7 MB.
  EXPECT_LT(largest, 800'000U);
  ExpectRestores();
}

// R13, R38: an idle database makes no files and no checkpoints, whatever the WAL's size on disk is.
TEST_F(CheckpointTest, R13IdleMakesNothing) {
  SqliteApp app(Path());
  Create(app);
  Write(app, 200);
  Settle();
  const auto before = engine().Status();
  Run(minutes(60));
  const auto after = engine().Status();
  EXPECT_EQ(after.txid, before.txid);
  EXPECT_LE(after.checkpoints, before.checkpoints + 1);
  EXPECT_EQ(after.errors, 0U);
}

// R17: our own checkpoint, and the restart after it, cost no comparison and no full file.
TEST_F(CheckpointTest, R17NoFullFileAfterACheckpoint) {
  SqliteApp app(Path());
  Create(app);
  Write(app, 100);
  Settle();
  ASSERT_GT(engine().Status().checkpoints, 0U);
  app.Exec("UPDATE t SET x = randomblob(10) WHERE id = 1");
  Settle();
  const auto txid = engine().Status().txid;
  LocalLtx local(Env::Real(), Meta(), {}, {});
  ASSERT_TRUE(local.Open().ok());
  const auto header = local.ReadHeader(txid);
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header.value().wal_offset, 32);
  EXPECT_LT(std::filesystem::file_size(local.Path(txid)), 20'000U);
  ExpectRestores();
}

// A small change is checkpointed after the interval too, once.
TEST_F(CheckpointTest, SmallChangesAreCheckpointedByTime) {
  SqliteApp app(Path());
  app.Exec("CREATE TABLE t (x)");
  Settle();
  Run(minutes(3));
  const auto checkpoints = engine().Status().checkpoints;
  app.Exec("INSERT INTO t VALUES (1)");
  Run(minutes(3));
  EXPECT_EQ(engine().Status().checkpoints, checkpoints + 1);
  EXPECT_EQ(std::filesystem::file_size(Path()),
            static_cast<std::uintmax_t>(4096 * app.Int("PRAGMA page_count")));
}

// D19, R32, R41: a reader that stays keeps the WAL from restarting. That costs retries that become
// rare, no files, and no writer an error.
TEST_F(CheckpointTest, D19LongReaderCostsNothingButWal) {
  SqliteApp app(Path());
  Create(app);
  Settle();
  SqliteApp reader(Path());
  reader.Exec("BEGIN; SELECT count(*) FROM t");
  app.Exec("PRAGMA busy_timeout = 0");
  Write(app, 200);
  Settle();
  const auto before = engine().Status();
  Run(minutes(60));
  const auto after = engine().Status();
  EXPECT_EQ(after.txid, before.txid);
  EXPECT_TRUE(after.checkpoint_blocked);
  EXPECT_LE(after.checkpoints - before.checkpoints, 65U);
  Write(app, 10);  // Succeeds at once.
  Settle();
  ExpectRestores();

  reader.Exec("COMMIT");
  Run(minutes(3));
  EXPECT_FALSE(engine().Status().checkpoint_blocked);
  Write(app, 10);
  Settle();
  EXPECT_LT(engine().Status().wal_bytes, 500'000U);  // A new generation.
  ExpectRestores();
}

// Overlapping short readers: somebody always reads, nobody for long. PASSIVE alone would never
// finish, or never let the WAL restart.
TEST_F(CheckpointTest, OverlappingShortReadersDoNotStarveIt) {
  SqliteApp app(Path());
  Create(app);
  Settle();
  SqliteApp first(Path());
  SqliteApp second(Path());
  first.Exec("BEGIN; SELECT count(*) FROM t");
  std::uintmax_t largest = 0;
  for (int i = 0; i < 40; ++i) {
    Write(app, 20);
    Run(seconds(2));
    second.Exec("BEGIN; SELECT count(*) FROM t");
    first.Exec("COMMIT");
    Write(app, 20);
    Run(seconds(2));
    first.Exec("BEGIN; SELECT count(*) FROM t");
    second.Exec("COMMIT");
    largest = std::max(largest, std::filesystem::file_size(Wal()));
  }
  first.Exec("COMMIT");
  Run(minutes(3));
  Write(app, 5);
  Settle();
  EXPECT_LT(engine().Status().wal_bytes, 1'000'000U);
  ExpectRestores();
}

TEST_F(CheckpointTest, TruncateOnlyAboveItsLimit) {
  checkpoint_.truncate_pages = 400;
  SqliteApp app(Path());
  Create(app);
  Write(app, 100);
  Settle();
  EXPECT_GT(std::filesystem::file_size(Wal()), 0U);
  SqliteApp reader(Path());
  reader.Exec("BEGIN; SELECT count(*) FROM t");
  Write(app, 300);
  Settle();
  EXPECT_GT(std::filesystem::file_size(Wal()), 400U * 4096);
  reader.Exec("COMMIT");
  Run(minutes(5));
  EXPECT_EQ(std::filesystem::file_size(Wal()), 0U);
  Write(app, 3);
  Settle();
  ExpectRestores();
}

// R42: two leapfrogs around an application's checkpoint: frames that nobody captured must not be
// backfilled and restarted over.
TEST_F(CheckpointTest, ApplicationCheckpointsBetweenLeapfrogs) {
  SqliteApp app(Path());
  Create(app);
  Sync();
  SqliteApp other(Path());
  other.Exec("PRAGMA busy_timeout = 0");
  for (int i = 0; i < 30; ++i) {
    Write(app, 1);
    for (const char* mode : {"PASSIVE", "FULL", "RESTART", "TRUNCATE"}) {
      other.TryExec(fmt::format("PRAGMA wal_checkpoint({})", mode));
    }
    Sync();
    for (const char* mode : {"TRUNCATE", "RESTART"}) {
      other.TryExec(fmt::format("PRAGMA wal_checkpoint({})", mode));
    }
  }
  ExpectRestores();
}

// R27: sizes are 64 bits wide; 64 KiB pages are not checkpointed early.
TEST(CheckpointerTest, R27SizesOfLargePages) {
  EXPECT_EQ(WalSizeOf(121'359, 65536), 32 + 121'359ULL * 65'560);
}

TEST(CheckpointerTest, DueBySizeOrTime) {
  CheckpointOptions options;
  Checkpointer checkpointer(options, Logger());
  const MonoTime start{std::chrono::hours(1)};
  checkpointer.Reset(start);
  WalView view{.frames = 0, .pages = 1, .page_size = 4096};
  EXPECT_FALSE(checkpointer.NextDue(view));
  view.frames = 1;
  EXPECT_EQ(checkpointer.NextDue(view), start + options.interval);
  view.frames = options.min_pages;
  EXPECT_EQ(checkpointer.NextDue(view), start);
}

}  // namespace
}  // namespace litestream
