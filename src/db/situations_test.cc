// What happens to databases, their logs and our state directory from outside (spec engine 22), with
// the engine running in the background: nothing stops silently, and the replica ends up right.

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <sqlite3.h>

#include "format/names.h"
#include "tests/support/db_fixture.h"
#include "tests/support/fault_env.h"
#include "tests/support/recorded_log.h"

namespace litestream {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class SituationTest : public DbFixture {
 protected:
  SituationTest() {
    log_ = recorded_.logger();
    row_bytes_ = 1500;
  }

  void Create(SqliteApp& app) { CreateTable(app, 5); }
  void RemoveDatabase() {
    for (const char* suffix : {"", "-wal", "-shm"}) {
      std::filesystem::remove(Path().string() + suffix);
    }
  }
  void ExpectReplicating() {
    const DatabaseStatus status = engine().Status();
    EXPECT_EQ(status.state, DatabaseState::kReplicating) << status.error;
    EXPECT_EQ(status.replicas[0].state, ReplicaState::kInSync) << status.replicas[0].error;
    EXPECT_EQ(status.replicas[0].txid, status.txid);
    ExpectRestores();
  }

  RecordedLog recorded_{LogLevel::kInfo};
};

// --- Databases that come and go. ---

TEST_F(SituationTest, AppearsLater) {
  Run(minutes(5));
  EXPECT_EQ(engine().Status().state, DatabaseState::kWaiting);
  EXPECT_FALSE(std::filesystem::exists(Meta()));
  EXPECT_FALSE(std::filesystem::exists(Path()));
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  ExpectReplicating();
}

// The state directory is removed while we run, and another process makes it anew before we write
// there again: it is that process's now, and nothing of ours goes into it until it ends.
TEST_F(SituationTest, StateDirectoryTakenByAnotherProcess) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  ExpectReplicating();
  std::filesystem::remove_all(Meta());
  std::filesystem::create_directory(Meta());
  auto other = Env::Real().Lock(Meta() / "lock", FileOwner{});
  ASSERT_TRUE(other.ok());
  Write(app, 3);
  Run(minutes(2));
  EXPECT_EQ(engine().Status().state, DatabaseState::kFailing);
  EXPECT_NE(engine().Status().error.find("another process replicates this database"),
            std::string::npos)
      << engine().Status().error;
  EXPECT_FALSE(std::filesystem::exists(Meta() / "ltx"));
  EXPECT_FALSE(std::filesystem::exists(Meta() / "position"));
  other = Error(ErrorCode::kCancelled, "it ended");
  Run(minutes(2));
  ExpectReplicating();
}

// What the other process keeps there is not ours to upload, even if it is what we wait for.
TEST_F(SituationTest, NothingIsUploadedOfAnotherProcess) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  ExpectReplicating();
  store_.SetFaults([](StorageCall, const FileId&) { return StorageFault::kFailBefore; });
  Write(app, 1);
  Run(minutes(1));
  const Txid next = engine().Status().replicas[0].txid.Next();
  ASSERT_EQ(engine().Status().txid, next);
  const auto path = Meta() / "ltx/0" / FormatLtxFilename({next, next});
  const auto file = ReadWholeFile(path);
  std::filesystem::remove_all(Meta());
  std::filesystem::create_directories(path.parent_path());
  auto other = Env::Real().Lock(Meta() / "lock", FileOwner{});
  ASSERT_TRUE(other.ok());
  WriteWholeFile(path, file);
  Run(minutes(2));
  store_.SetFaults(nullptr);
  const auto lists = store_.calls(StorageCall::kList);
  const auto writes = store_.calls(StorageCall::kWrite);
  Run(minutes(30));
  EXPECT_EQ(store_.calls(StorageCall::kList), lists);
  EXPECT_EQ(store_.calls(StorageCall::kWrite), writes);
  EXPECT_EQ(engine().Status().replicas[0].state, ReplicaState::kUnknown);
}

// The same while the database is away: the lock that we still hold is one on a file that is gone.
TEST_F(SituationTest, StateDirectoryTakenWhileTheDatabaseIsAway) {
  {
    SqliteApp app(Path());
    Create(app);
    Run(minutes(1));
    ExpectReplicating();
  }
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(Path().string() + suffix);
  }
  Run(minutes(2));
  EXPECT_EQ(engine().Status().state, DatabaseState::kWaiting);
  std::filesystem::remove_all(Meta());
  std::filesystem::create_directory(Meta());
  auto other = Env::Real().Lock(Meta() / "lock", FileOwner{});
  ASSERT_TRUE(other.ok());
  SqliteApp app(Path());
  Create(app);
  Run(minutes(2));
  EXPECT_EQ(engine().Status().state, DatabaseState::kFailing);
  EXPECT_FALSE(std::filesystem::exists(Meta() / "ltx"));
  other = Error(ErrorCode::kCancelled, "it ended");
  Run(minutes(2));
  ExpectReplicating();
}

TEST_F(SituationTest, ZeroBytesUntilSomebodyWrites) {
  { std::ofstream create(Path()); }
  Run(minutes(5));
  EXPECT_EQ(engine().Status().state, DatabaseState::kWaiting);
  EXPECT_EQ(std::filesystem::file_size(Path()), 0U);
  SqliteApp app(Path(), "PRAGMA page_size = 1024; PRAGMA auto_vacuum = full");
  Create(app);
  Run(minutes(1));
  EXPECT_EQ(app.Int("PRAGMA page_size"), 1024);
  EXPECT_EQ(app.Int("PRAGMA auto_vacuum"), 1);
  ExpectReplicating();
}

// D2, D17: the database and our state vanish under a running engine, and another database takes the
// path. Its TXID 1 lies below what the replica holds: it goes on above, and is never laid over it.
TEST_F(SituationTest, D2NewChainGoesOnAboveTheReplica) {
  auto app = std::make_unique<SqliteApp>(Path());
  Create(*app);
  for (int i = 0; i < 4; ++i) {
    Write(*app, 1);
    Run(minutes(1));
  }
  const Txid before = engine().Status().txid;
  ASSERT_GE(before, Txid{4});
  const auto old_state = Restored(before);
  app.reset();
  RemoveDatabase();
  Run(minutes(1));
  ASSERT_EQ(engine().Status().state, DatabaseState::kWaiting);
  std::filesystem::remove_all(Meta());
  app = std::make_unique<SqliteApp>(Path());
  Create(*app);
  Run(minutes(2));
  EXPECT_GT(engine().Status().txid, before);
  ExpectReplicating();
  for (int i = 0; i < 6; ++i) {
    Write(*app, 1);
    Run(minutes(1));
  }
  ExpectReplicating();
  EXPECT_TRUE(Restored(before) == old_state);
}

// The same, and the new chain is longer than the old one before the replica is looked at again.
TEST_F(SituationTest, D2NewChainThatOvertakesAnAwayReplica) {
  auto app = std::make_unique<SqliteApp>(Path());
  Create(*app);
  Run(minutes(1));
  const Txid before = engine().Status().txid;
  const auto old_state = Restored(before);
  store_.SetFaults([](StorageCall, const FileId&) { return StorageFault::kFailBefore; });
  app.reset();
  RemoveDatabase();
  Run(minutes(1));
  std::filesystem::remove_all(Meta());
  app = std::make_unique<SqliteApp>(Path());
  Create(*app);
  for (int i = 0; i < 5; ++i) {
    Write(*app, 1);
    Run(minutes(1));
  }
  store_.SetFaults(nullptr);
  Run(minutes(20));
  ExpectReplicating();
  EXPECT_TRUE(Restored(before) == old_state);
}

// D3: the same engine meets the same database again; what it remembered of the WAL does not count.
TEST_F(SituationTest, D3NothingIsRememberedAcrossAnAbsence) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  const auto aside = dir_.path() / "aside";
  app.Close();
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::rename(Path().string() + suffix, aside.string() + suffix);
  }
  Run(minutes(1));
  ASSERT_EQ(engine().Status().state, DatabaseState::kWaiting);
  {
    SqliteApp unseen(aside);
    Write(unseen, 4);
    unseen.Exec("PRAGMA wal_checkpoint(TRUNCATE)");
    Write(unseen, 1);
    unseen.Exec("PRAGMA wal_checkpoint(TRUNCATE)");
  }
  std::filesystem::rename(aside, Path());
  Run(minutes(2));
  ExpectReplicating();
}

// The state directory is removed while the database is away, which is what a reset does.
TEST_F(SituationTest, StateRemovedDuringAnAbsence) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  app.Close();
  const auto aside = dir_.path() / "aside";
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::rename(Path().string() + suffix, aside.string() + suffix);
  }
  Run(minutes(1));
  std::filesystem::remove_all(Meta());
  for (const char* suffix : {"-wal", "-shm", ""}) {
    std::filesystem::rename(aside.string() + suffix, Path().string() + suffix);
  }
  Run(minutes(2));
  ExpectReplicating();
}

// --- Logs that are taken away. ---

// The -wal file is deleted under an application that has it open. What it commits from then on is
// in a file without a name until it closes; then SQLite moves it into the database. We must not
// stand in the way of that, nor capture a mixture.
TEST_F(SituationTest, WalDeletedWhileRunning) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  std::filesystem::remove(Wal());
  app.Exec("INSERT INTO t (x) VALUES ('in the nameless file')");
  Run(minutes(10));
  app.Close();
  {
    SqliteApp again(Path());
    EXPECT_EQ(again.Text("PRAGMA integrity_check"), "ok");
    EXPECT_EQ(again.Int("SELECT count(*) FROM t"), 6);
    Write(again, 2);
    Run(minutes(20));
    ExpectReplicating();
  }
}

// A header that is torn, in a log that nobody has open: SQLite sees an empty log, and so do we.
TEST_F(SituationTest, TornWalHeader) {
  SqliteApp app(Path());
  Create(app);
  app.Exec("PRAGMA wal_checkpoint(FULL)");
  Run(minutes(1));
  Stop();
  app.Exec("PRAGMA journal_mode");  // Keeps the log at close.
  int keep = 1;
  sqlite3_file_control(app.db(), "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
  app.Close();
  auto wal = ReadWholeFile(Wal());
  ASSERT_GE(wal.size(), 32U);
  wal[26] ^= std::byte{0x55};
  WriteWholeFile(Wal(), wal);
  Run(minutes(1));
  ExpectReplicating();
  SqliteApp again(Path());
  Write(again, 2);
  Run(minutes(2));
  ExpectReplicating();
}

// Leaving WAL mode is refused while we hold the database; what was switched while we were away is
// switched back, and said.
TEST_F(SituationTest, SwitchedOutOfWalMode) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  app.Exec("PRAGMA busy_timeout = 0");
  EXPECT_EQ(app.TryExec("PRAGMA journal_mode = delete"), SQLITE_BUSY);
  Write(app, 1);
  Run(minutes(1));
  ExpectReplicating();
  Stop();
  app.Exec("PRAGMA journal_mode = delete");
  Write(app, 1);
  app.Close();
  Run(minutes(2));
  EXPECT_EQ(recorded_.Count("switched the database to WAL mode"), 1);
  ExpectReplicating();
}

// --- Rights, space, file systems. ---

// No events arrive, and none can be asked for: the monitor interval finds what is new.
TEST_F(SituationTest, FileSystemWithoutEvents) {
  testing::FaultEnv files(Env::Real());
  env_ = &files;
  files.SetHook([](const char* call, const std::filesystem::path&) -> Result<void> {
    if (std::string_view(call) != "watch") return {};
    return Error(ErrorCode::kUnsupported, "no events here");
  });
  Run(seconds(10));
  SqliteApp app(Path());
  Create(app);
  Run(seconds(3));
  EXPECT_EQ(engine().Status().txid, Txid{1});
  Write(app, 1);
  Run(seconds(3));
  ExpectReplicating();
  Stop();
}

// A full disk costs nothing but time, and is probed often enough that replication goes on soon
// after somebody made room. Nothing half-written stays.
TEST_F(SituationTest, R39DiskFullIsSaidAndProbed) {
  testing::FaultEnv files(Env::Real());
  env_ = &files;
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  files.SetHook([this](const char* call, const std::filesystem::path& path) -> Result<void> {
    if (std::string_view(call) != "write" || !path.string().starts_with(Meta().string())) return {};
    return Error(ErrorCode::kNoSpace, "write " + path.string() + ": No space left on device");
  });
  Write(app, 3);
  Run(minutes(60));
  const DatabaseStatus full = engine().Status();
  EXPECT_TRUE(full.disk_full);
  EXPECT_EQ(full.state, DatabaseState::kFailing);
  EXPECT_NE(full.error.find(".tmp: No space left on device"), std::string::npos) << full.error;
  EXPECT_LT(full.errors, 400U);
  EXPECT_LE(recorded_.Count("disk full while staging ltx file"), 125);
  for (const auto& entry : std::filesystem::directory_iterator(Meta() / "ltx/0")) {
    EXPECT_EQ(entry.path().extension(), ".ltx");
  }
  files.SetHook(nullptr);
  Run(seconds(20));
  EXPECT_FALSE(engine().Status().disk_full);
  ExpectReplicating();
  Stop();
}

TEST_F(SituationTest, StateDirectoryWithoutRights) {
  testing::FaultEnv files(Env::Real());
  env_ = &files;
  SqliteApp app(Path());
  Create(app);
  files.SetHook([this](const char* call, const std::filesystem::path& path) -> Result<void> {
    if (std::string_view(call) != "mkdir" || path != Meta()) return {};
    return Error(ErrorCode::kDenied, "mkdir " + path.string() + ": Permission denied");
  });
  Run(minutes(60));
  const DatabaseStatus status = engine().Status();
  EXPECT_EQ(status.state, DatabaseState::kFailing);
  // What, where, and what to do.
  EXPECT_NE(status.error.find(Meta().string() + ": Permission denied"), std::string::npos)
      << status.error;
  EXPECT_NE(status.error.find("meta-path"), std::string::npos) << status.error;
  EXPECT_LT(status.errors, 50U);
  files.SetHook(nullptr);
  Run(minutes(6));
  ExpectReplicating();
  Stop();
}

// --- Applications. ---

// R1: a transaction that is not committed spills into the WAL, and is rolled back or goes on.
TEST_F(SituationTest, R1UncommittedFramesAreNotCaptured) {
  SqliteApp app(Path());
  Create(app);
  app.Exec("PRAGMA cache_size = 5");
  Run(minutes(1));
  for (const char* end : {"ROLLBACK", "COMMIT"}) {
    app.Exec("PRAGMA wal_checkpoint(TRUNCATE)");
    app.Exec("BEGIN");
    Write(app, 60);
    ASSERT_GT(std::filesystem::file_size(Wal()), 50'000U);
    const auto before = engine().Status().txid;
    Run(minutes(2));
    EXPECT_EQ(engine().Status().txid, before);
    EXPECT_EQ(engine().Status().errors, 0U);
    app.Exec(end);
    Write(app, 1);
    Run(minutes(2));
    ExpectReplicating();
  }
}

// R10: the database shrinks to less than what the WAL holds.
TEST_F(SituationTest, R10VacuumShrinks) {
  SqliteApp app(Path());
  Create(app);
  Write(app, 200);
  Run(minutes(1));
  app.Exec("DELETE FROM t WHERE id > 3");
  app.Exec("VACUUM");
  Run(minutes(1));
  ExpectReplicating();
  EXPECT_LT(Restored().size(), 60'000U);
  Write(app, 50);
  Run(minutes(1));
  ExpectReplicating();
}

// R15: neither size, nor time, nor header of the WAL tell that something was committed.
TEST_F(SituationTest, R15SameSizeAndTimeAndHeaderAreNoQuiet) {
  checkpoint_.interval = {};  // A restart of the WAL would change its header.
  SqliteApp app(Path());
  Create(app);
  Write(app, 100);
  app.Exec("PRAGMA wal_checkpoint(RESTART)");
  Write(app, 1);
  Run(minutes(1));
  const auto header = [this] {
    auto wal = ReadWholeFile(Wal());
    wal.resize(32);
    return wal;
  };
  const auto first_header = header();
  const auto size = std::filesystem::file_size(Wal());
  const auto time = std::filesystem::last_write_time(Wal());
  for (int i = 0; i < 3; ++i) {
    const auto txid = engine().Status().txid;
    Write(app, 1);
    std::filesystem::last_write_time(Wal(), time);
    ASSERT_EQ(std::filesystem::file_size(Wal()), size);
    ASSERT_EQ(header(), first_header);
    Run(seconds(40));
    EXPECT_EQ(engine().Status().txid, txid.Next());
  }
  ExpectReplicating();
}

TEST_F(SituationTest, SchemaChanges) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  for (const char* sql :
       {"CREATE INDEX i ON t (x)", "ALTER TABLE t ADD COLUMN y DEFAULT 7",
        "CREATE VIEW v AS SELECT * FROM t", "DROP INDEX i", "ALTER TABLE t RENAME TO u"}) {
    app.Exec(sql);
    Run(minutes(1));
    ExpectReplicating();
  }
}

// Tables that stock Litestream left are an application's like any other: kept, and never written.
TEST_F(SituationTest, StockTablesAreLeftAlone) {
  SqliteApp app(Path());
  Create(app);
  app.Exec("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)");
  app.Exec("INSERT INTO _litestream_seq VALUES (1, 41)");
  app.Exec("CREATE TABLE _litestream_lock (id INTEGER)");
  Run(minutes(3));
  EXPECT_EQ(app.Int("SELECT seq FROM _litestream_seq"), 41);
  app.Exec("DROP TABLE _litestream_lock");
  app.Exec("DROP TABLE _litestream_seq");
  Run(minutes(3));
  EXPECT_EQ(app.Int("SELECT count(*) FROM sqlite_schema"), 1);
  EXPECT_EQ(engine().Status().errors, 0U);
  ExpectReplicating();
}

// Somebody writes over the file in place, past SQLite. No test of the WAL sees that; the scrubber
// does within a day, says so, and the replica gets what the file now holds.
TEST_F(SituationTest, WrittenOverInPlaceIsFoundWithinADay) {
  SqliteApp app(Path());
  Create(app);
  app.Exec("PRAGMA wal_checkpoint(TRUNCATE)");
  Run(minutes(5));
  app.Exec("INSERT INTO t (x) VALUES (randomblob(10))");
  Run(minutes(5));
  ASSERT_EQ(engine().Status().scrub.differences, 0U);
  auto file = ReadWholeFile(Path());
  file[file.size() - 100] ^= std::byte{1};
  WriteWholeFile(Path(), file);
  Run(std::chrono::hours(25));
  EXPECT_EQ(engine().Status().scrub.differences, 1U);
  EXPECT_EQ(recorded_.Count("pages that were never captured"), 1);
  ExpectReplicating();
}

}  // namespace
}  // namespace litestream
