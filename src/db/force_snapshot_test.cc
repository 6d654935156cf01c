#include "db/force_snapshot.h"

#include <filesystem>

#include <fmt/format.h>

#include "format/names.h"
#include "replica/verify.h"
#include "storage/memory_client.h"
#include "tests/support/byte_streams.h"
#include "tests/support/db_fixture.h"

namespace litestream {
namespace {

class ForceSnapshotTest : public DbFixture {
 protected:
  void Create(SqliteApp& app, int transactions) {
    app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
    for (int i = 0; i < transactions; ++i) {
      app.Exec("INSERT INTO t (x) VALUES (randomblob(5000))");
      Sync();
    }
  }
  void RemoveLocal(std::uint64_t min, std::uint64_t max) {
    for (std::uint64_t n = min; n <= max; ++n) {
      std::filesystem::remove(Meta() / "ltx/0" / FormatLtxFilename({Txid{n}, Txid{n}}));
    }
  }
  void Snapshot() {
    const auto made = engine().SnapshotOnce(ctx_);
    ASSERT_TRUE(made.ok()) << made.error().message();
  }
  static FileId SnapshotId(std::uint64_t max) { return {kSnapshotLevel, {Txid{1}, Txid{max}}}; }

  std::vector<FileInfo> Files(Level level) {
    return MakeMemoryClient(store_)->List(ctx_, level, {}).value();
  }
  std::vector<std::byte> Read(const FileId& id) {
    const auto client = MakeMemoryClient(store_);
    for (const FileInfo& file : Files(id.level)) {
      if (file.id != id) continue;
      std::vector<std::byte> bytes(file.size_bytes);
      EXPECT_EQ(ReadFull(ctx_, *client->Open(ctx_, id, {}).value(), bytes).value(), bytes.size());
      return bytes;
    }
    ADD_FAILURE() << "not there";
    return {};
  }
  void Damage(const FileId& id) {
    auto bytes = Read(id);
    bytes[bytes.size() - 20] ^= std::byte{1};
    testing::SpanSource source(bytes);
    ASSERT_TRUE(MakeMemoryClient(store_)->Write(ctx_, id, source, {}).ok());
  }
  // The snapshot alone is the database.
  void ExpectSnapshotIsDatabase(std::uint64_t txid) {
    ASSERT_EQ(Files(kSnapshotLevel).size(), 1U);
    ASSERT_EQ(Files(kSnapshotLevel)[0].id, SnapshotId(txid));
    const auto listing = ListReplica(ctx_, *MakeMemoryClient(store_), false).value();
    const auto plan = PlanRestore(listing, {});
    ASSERT_TRUE(plan.ok());
    EXPECT_EQ(plan.value().files.size(), 1U);
    ExpectRestores();
    const auto report = VerifyReplica(ctx_, *MakeMemoryClient(store_), {});
    EXPECT_TRUE(report.value().proven);
    for (const auto& problem : report.value().problems) ADD_FAILURE() << problem.what;
  }
};

TEST_F(ForceSnapshotTest, OfLocalFiles) {
  SqliteApp app(Path());
  Create(app, 5);
  const auto opens = store_.calls(StorageCall::kOpen);
  Snapshot();
  EXPECT_EQ(store_.calls(StorageCall::kOpen), opens);
  ExpectSnapshotIsDatabase(5);
  // Once more: it is written again, and the same.
  const auto first = Read(SnapshotId(5));
  const auto writes = store_.calls(StorageCall::kWrite);
  Snapshot();
  EXPECT_EQ(store_.calls(StorageCall::kWrite), writes + 1);
  EXPECT_TRUE(Read(SnapshotId(5)) == first);
  // The time is that of the state.
  EXPECT_EQ(Files(kSnapshotLevel)[0].created_at, Files(kLevel0).back().created_at);
}

TEST_F(ForceSnapshotTest, OfTheReplicasFiles) {
  SqliteApp app(Path());
  Create(app, 6);
  Stop();
  RemoveLocal(1, 4);
  Sync();
  Snapshot();
  ExpectSnapshotIsDatabase(6);
}

// From the snapshot before, and what came after it.
TEST_F(ForceSnapshotTest, OfAnOlderSnapshot) {
  SqliteApp app(Path());
  Create(app, 3);
  Snapshot();
  app.Exec("INSERT INTO t (x) VALUES (randomblob(5000))");
  Sync();
  Stop();
  RemoveLocal(1, 3);
  const FileId gone[] = {{kLevel0, {Txid{1}, Txid{1}}}, {kLevel0, {Txid{2}, Txid{2}}}};
  ASSERT_TRUE(MakeMemoryClient(store_)->Delete(ctx_, gone).ok());
  Sync();
  Snapshot();
  ASSERT_EQ(Files(kSnapshotLevel).size(), 2U);
  const FileId old = SnapshotId(3);
  ASSERT_TRUE(MakeMemoryClient(store_)->Delete(ctx_, std::span(&old, 1)).ok());
  ExpectSnapshotIsDatabase(4);
}

TEST_F(ForceSnapshotTest, MendsADamagedOne) {
  for (const bool local : {true, false}) {
    SCOPED_TRACE(local);
    SqliteApp app(Path());
    if (local) Create(app, 4);
    Snapshot();
    Damage(SnapshotId(4));
    EXPECT_FALSE(VerifyReplica(ctx_, *MakeMemoryClient(store_), {}).value().problems.empty());
    if (!local) {
      Stop();
      RemoveLocal(1, 3);
      Sync();
    }
    Snapshot();
    ExpectSnapshotIsDatabase(4);
  }
}

// Neither local files nor the replica's lead there: the database does.
TEST_F(ForceSnapshotTest, ReadsTheDatabaseIfTheFilesWillNotDo) {
  for (const bool damaged : {true, false}) {
    SCOPED_TRACE(damaged);
    ASSERT_TRUE(MakeMemoryClient(store_)->DeleteAll(ctx_).ok());
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
      std::filesystem::remove_all(entry.path());
    }
    SqliteApp app(Path());
    Create(app, 5);
    Stop();
    RemoveLocal(1, 4);
    const FileId first{kLevel0, {Txid{1}, Txid{1}}};
    Sync();
    if (damaged) {
      Damage(first);
    } else {
      ASSERT_TRUE(MakeMemoryClient(store_)->Delete(ctx_, std::span(&first, 1)).ok());
    }
    Snapshot();
    ASSERT_EQ(Files(kSnapshotLevel).size(), 1U);
    EXPECT_EQ(Files(kSnapshotLevel)[0].id, SnapshotId(6));
    ExpectRestores();
    Stop();
  }
}

// A good snapshot stays when the new one cannot be made.
TEST_F(ForceSnapshotTest, FailureReplacesNothing) {
  SqliteApp app(Path());
  Create(app, 4);
  Snapshot();
  const auto before = Read(SnapshotId(4));
  Stop();
  RemoveLocal(1, 3);
  Sync();
  store_.SetFaults([](StorageCall call, const FileId& id) {
    return call == StorageCall::kRead && id.txids.min == Txid{2} ? StorageFault::kFailBefore
                                                                 : StorageFault::kNone;
  });
  const auto made = engine().SnapshotOnce(ctx_);
  EXPECT_FALSE(made.ok());
  store_.SetFaults(nullptr);
  EXPECT_TRUE(Read(SnapshotId(4)) == before);
  ExpectSnapshotIsDatabase(4);
}

TEST_F(ForceSnapshotTest, EveryReplicaGetsOne) {
  MemoryStore second;
  DatabaseOptions options = Options();
  const ReplicaOptions other = ReplicaIn(second);
  options.replicas.push_back(other);
  engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
  SqliteApp app(Path());
  Create(app, 3);
  Snapshot();
  ExpectSnapshotIsDatabase(3);
  std::swap(store_, second);
  ExpectSnapshotIsDatabase(3);
}

}  // namespace
}  // namespace litestream
