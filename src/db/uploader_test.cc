// Replicas that are away, wiped, ahead, holed, or somebody else's (spec engine 12, 22).

#include <filesystem>

#include <fmt/format.h>

#include "format/names.h"
#include "storage/memory_client.h"
#include "tests/support/db_fixture.h"

namespace litestream {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class UploaderTest : public DbFixture {
 protected:
  void Create(SqliteApp& app) {
    app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
    Write(app, 1);
  }
  void Write(SqliteApp& app, int rows) {
    for (int i = 0; i < rows; ++i) app.Exec("INSERT INTO t (x) VALUES (randomblob(500))");
  }
  std::vector<FileInfo> Files(Level level) {
    const auto client = MakeMemoryClient(store_);
    auto files = client->List(ctx_, level, {});
    EXPECT_TRUE(files.ok());
    return files.value();
  }
  void Delete(const FileId& id) {
    const auto client = MakeMemoryClient(store_);
    EXPECT_TRUE(client->Delete(ctx_, std::span(&id, 1)).ok());
  }
  void FailEverything() {
    store_.SetFaults([](StorageCall, const FileId&) { return StorageFault::kFailBefore; });
  }
};

// D9: a replica that is away at the start does not keep capture from working.
TEST_F(UploaderTest, D9CaptureDoesNotWaitForTheReplica) {
  SqliteApp app(Path());
  Create(app);
  FailEverything();
  Run(minutes(1));
  Write(app, 3);
  Run(minutes(1));
  auto status = engine().Status();
  EXPECT_GE(status.txid, Txid{2});
  EXPECT_EQ(status.state, DatabaseState::kReplicating);
  EXPECT_EQ(status.replicas[0].state, ReplicaState::kFailing);
  EXPECT_NE(status.replicas[0].error, "");
  store_.SetFaults(nullptr);
  Run(minutes(10));  // R20: it went on trying.
  status = engine().Status();
  EXPECT_EQ(status.replicas[0].state, ReplicaState::kInSync);
  EXPECT_EQ(status.replicas[0].txid, status.txid);
  ExpectRestores();
}

// Somebody removes our state directory while we run, and then an upload fails: what the replica has
// cannot be compared with anything any more, but replication goes on.
TEST_F(UploaderTest, GoesOnWithoutTheLocalFiles) {
  SqliteApp app(Path());
  Create(app);
  Run(seconds(5));
  std::filesystem::remove_all(Meta());
  int writes = 0;
  store_.SetFaults([&writes](StorageCall call, const FileId&) {
    return call == StorageCall::kWrite && writes++ == 0 ? StorageFault::kFailBefore
                                                        : StorageFault::kNone;
  });
  Write(app, 3);
  Run(minutes(20));
  EXPECT_EQ(engine().Status().replicas[0].state, ReplicaState::kInSync);
  ExpectRestores();
}

// D12, R39: every failure is counted and backed off from.
TEST_F(UploaderTest, D12AwayReplicaIsNotHammered) {
  SqliteApp app(Path());
  Create(app);
  FailEverything();
  Run(minutes(60));
  EXPECT_LT(store_.calls(StorageCall::kList), 600U);
}

// An answer that is lost after the work was done is no conflict.
TEST_F(UploaderTest, LostAnswersAreRecognised) {
  SqliteApp app(Path());
  Create(app);
  int n = 0;
  store_.SetFaults([&n](StorageCall call, const FileId&) {
    return call == StorageCall::kWrite && n++ % 2 == 0 ? StorageFault::kFailAfter
                                                       : StorageFault::kNone;
  });
  for (int i = 0; i < 5; ++i) {
    Write(app, 1);
    Run(minutes(1));
  }
  store_.SetFaults(nullptr);
  Run(minutes(10));
  EXPECT_EQ(Files(kLevel0).size(), engine().Status().txid.value);
  ExpectRestores();
}

// R46, D13: a hole in the replica is filled from the local files.
TEST_F(UploaderTest, R46HoleIsFilled) {
  SqliteApp app(Path());
  Create(app);
  for (int i = 0; i < 6; ++i) {
    Write(app, 1);
    Sync();
  }
  Stop();
  Delete({kLevel0, {Txid{3}, Txid{3}}});
  Delete({kLevel0, {Txid{5}, Txid{5}}});
  Write(app, 1);
  Sync();
  EXPECT_EQ(Files(kLevel0).size(), 7U);
  ExpectRestores();
}

// The replica was wiped while nobody ran, and not all local files are there any more.
TEST_F(UploaderTest, WipedReplicaGetsASnapshot) {
  SqliteApp app(Path());
  Create(app);
  for (int i = 0; i < 6; ++i) {
    Write(app, 1);
    Sync();
  }
  Stop();
  ASSERT_TRUE(MakeMemoryClient(store_)->DeleteAll(ctx_).ok());
  for (int i = 1; i < 4; ++i) {
    std::filesystem::remove(Meta() / "ltx/0" / FormatLtxFilename({Txid(i), Txid(i)}));
  }
  Write(app, 1);
  Sync();
  ASSERT_EQ(Files(kSnapshotLevel).size(), 1U);
  EXPECT_EQ(Files(kSnapshotLevel)[0].id.txids.min, Txid{1});
  ExpectRestores();
  Write(app, 1);
  Sync();
  ExpectRestores();
}

// D11: the position is the end of the run over all levels, not the newest level-0 file.
TEST_F(UploaderTest, D11ExpiredLevel0FilesAreNotMissed) {
  SqliteApp app(Path());
  Create(app);
  const auto client = MakeMemoryClient(store_);
  Sync();
  Write(app, 1);
  Sync();
  // A snapshot stands for both, and a lifecycle rule removed the level-0 files.
  Stop();
  ASSERT_TRUE(client->DeleteAll(ctx_).ok());
  std::filesystem::remove(Meta() / "ltx/0" / FormatLtxFilename({Txid{1}, Txid{1}}));
  Sync();  // Sends a snapshot 1..3.
  ASSERT_EQ(Files(kSnapshotLevel).size(), 1U);
  const auto level0 = Files(kLevel0).size();
  Stop();
  Sync();
  EXPECT_EQ(Files(kLevel0).size(), level0);
  EXPECT_EQ(Files(kSnapshotLevel).size(), 1U);
  Write(app, 1);
  Sync();
  ExpectRestores();
}

// A replica of another database: nothing of it is overwritten; ours goes on above it.
TEST_F(UploaderTest, AnotherDatabasesReplicaIsNotOverwritten) {
  const auto other_path = dir_.path() / "other";
  {
    SqliteApp other(other_path);
    other.Exec("CREATE TABLE o (x)");
    DatabaseOptions options = Options();
    options.path = other_path;
    Database engine(Env::Real(), scheduler_, options, log_);
    ASSERT_TRUE(engine.SyncOnce(ctx_).ok());
    other.Exec("INSERT INTO o VALUES (1)");
    ASSERT_TRUE(engine.SyncOnce(ctx_).ok());
  }
  const auto theirs = Restored(Txid{2});
  SqliteApp app(Path());
  Create(app);
  EXPECT_EQ(Sync(), Txid{3});
  ExpectRestores();
  EXPECT_TRUE(Restored(Txid{2}) == theirs);
}

// A slow or dead replica does not hold the others.
TEST_F(UploaderTest, ReplicasAreIndependent) {
  MemoryStore second;
  DatabaseOptions options = Options();
  ReplicaOptions dead;
  dead.client = MakeMemoryClient(second);
  second.SetFaults([](StorageCall, const FileId&) { return StorageFault::kFailBefore; });
  options.replicas.insert(options.replicas.begin(), dead);
  engine_ = std::make_unique<Database>(Env::Real(), scheduler_, options, log_);
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  Write(app, 1);
  Run(minutes(10));
  const auto status = engine().Status();
  EXPECT_EQ(status.replicas[0].state, ReplicaState::kFailing);
  EXPECT_EQ(status.replicas[1].txid, status.txid);
  ExpectRestores();
  // And nothing that the dead one lacks was removed locally.
  second.SetFaults(nullptr);
  Run(minutes(20));
  EXPECT_EQ(engine().Status().replicas[0].txid, status.txid);
}

// Local files go when every replica has them and they are old; the newest stays.
TEST_F(UploaderTest, R34LocalFilesArePruned) {
  SqliteApp app(Path());
  Create(app);
  for (int i = 0; i < 5; ++i) {
    Write(app, 1);
    Run(minutes(1));
  }
  const auto txid = engine().Status().txid;
  for (const auto& entry : std::filesystem::directory_iterator(Meta() / "ltx/0")) {
    SetMtime(entry.path(), 1'000'000'000);  // Long ago.
  }
  Run(minutes(2));
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(Meta() / "ltx/0")) {
    ++files;
  }
  EXPECT_EQ(files, 1U);
  Stop();
  Write(app, 1);
  EXPECT_EQ(Sync(), txid.Next());
  ExpectRestores();
}

// R40: what is committed before a clean shutdown is in the replica after it.
TEST_F(UploaderTest, R40CloseDrains) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  Write(app, 4);
  Close();
  ExpectRestores();
}

// Stopped before the first step ran: what was committed before is captured all the same.
TEST_F(UploaderTest, CloseBeforeTheFirstStep) {
  SqliteApp app(Path());
  Create(app);
  engine().Start();
  Close();
  ExpectRestores();
}

TEST_F(UploaderTest, CloseGivesUpAtItsDeadline) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  Write(app, 1);
  FailEverything();
  const Context limited = ctx_.WithDeadline(clock_.Monotonic() + seconds(30));
  const auto closed = engine().Close(limited, std::chrono::milliseconds(500));
  ASSERT_FALSE(closed.ok());
  EXPECT_NE(closed.error().message().find("shutdown sync timeout after"), std::string::npos)
      << closed.error().message();
}

// The state directory vanishes under a running engine.
TEST_F(UploaderTest, StateDirectoryDeletedWhileRunning) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  std::filesystem::remove_all(Meta());
  Write(app, 1);
  Run(minutes(30));
  ExpectRestores();
  Write(app, 1);
  Run(minutes(2));
  ExpectRestores();
}

// The database is deleted and created again under a running engine.
TEST_F(UploaderTest, DatabaseDeletedAndCreatedAgain) {
  auto app = std::make_unique<SqliteApp>(Path());
  Create(*app);
  Run(minutes(1));
  app.reset();
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(Path().string() + suffix);
  }
  Run(minutes(2));
  EXPECT_EQ(engine().Status().state, DatabaseState::kWaiting);
  app = std::make_unique<SqliteApp>(Path());
  app->Exec("CREATE TABLE fresh (x)");
  Run(minutes(2));
  EXPECT_EQ(engine().Status().state, DatabaseState::kReplicating);
  ExpectRestores();
}

// The time of day jumps both ways: nothing stops, nothing is lost.
TEST_F(UploaderTest, ClockJumps) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  const WallTime now = clock_.Now();
  for (const auto jump : {std::chrono::hours(-48), std::chrono::hours(24 * 365)}) {
    clock_.SetNow(now + jump);
    Write(app, 1);
    Run(minutes(2));
    ExpectRestores();
  }
}

}  // namespace
}  // namespace litestream
