#include "db/snapshot_stream.h"

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/scheduler.h"
#include "format/names.h"
#include "storage/memory_client.h"
#include "tests/contract/bodies.h"
#include "tests/support/db_fixture.h"

namespace litestream {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

class SnapshotStreamTest : public DbFixture {
 protected:
  SnapshotStreamTest() { stream_above_bytes_ = 0; }

  std::vector<FileInfo> Files(Level level) {
    return MakeMemoryClient(store_)->List(ctx_, level, {}).value();
  }
  static std::uint64_t Calls(const MemoryStore& store) {
    std::uint64_t calls = 0;
    for (const auto call :
         {StorageCall::kList, StorageCall::kOpen, StorageCall::kWrite, StorageCall::kDelete}) {
      calls += store.calls(call);
    }
    return calls;
  }
  std::uint64_t LocalBytes() {
    std::uint64_t bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator(Meta() / "ltx/0")) {
      bytes += entry.file_size();
    }
    return bytes;
  }
};

TEST_F(SnapshotStreamTest, NoCopyOnTheLocalDisk) {
  SqliteApp app(Path());
  CreateTable(app, 500);
  Run(seconds(5));
  const auto snapshots = Files(kSnapshotLevel);
  ASSERT_EQ(snapshots.size(), 1U);
  EXPECT_EQ(snapshots[0].id.txids, (TxidRange{Txid{1}, Txid{1}}));
  // A file of one transaction behind it, by which stock Litestream finds its place.
  ASSERT_EQ(Files(kLevel0).size(), 1U);
  EXPECT_EQ(Files(kLevel0)[0].id.txids, (TxidRange{Txid{2}, Txid{2}}));
  EXPECT_LT(LocalBytes(), 10'000U);
  EXPECT_GT(snapshots[0].size_bytes, 1'000'000U);
  ExpectRestores();
  EXPECT_TRUE(Restored(Txid{1}) == CheckpointedCopy(Path()));
}

TEST_F(SnapshotStreamTest, Once) {
  SqliteApp app(Path());
  CreateTable(app, 50);
  EXPECT_EQ(Sync(), Txid{2});
  Write(app, 1);
  EXPECT_EQ(Sync(), Txid{3});
  ASSERT_TRUE(engine().SnapshotOnce(ctx_).ok());
  ExpectRestores();
}

// The replica is away when it begins, and everything before it comes back is in one snapshot.
TEST_F(SnapshotStreamTest, BeginsWhenTheReplicaIsThere) {
  SqliteApp app(Path());
  CreateTable(app, 50);
  store_.SetFaults([](StorageCall, const FileId&) { return StorageFault::kFailBefore; });
  Run(minutes(1));
  Write(app, 5);
  Run(minutes(1));
  Stop();
  Write(app, 5);
  Run(minutes(1));
  store_.SetFaults(nullptr);
  Run(minutes(10));
  EXPECT_EQ(engine().Status().replicas[0].state, ReplicaState::kInSync);
  ASSERT_EQ(Files(kSnapshotLevel).size(), 1U);
  ExpectRestores();
}

TEST_F(SnapshotStreamTest, LostAnswerIsRecognised) {
  SqliteApp app(Path());
  CreateTable(app, 50);
  int lost = 0;
  store_.SetFaults([&lost](StorageCall call, const FileId& id) {
    const bool it = call == StorageCall::kWrite && id.level == kSnapshotLevel && lost++ == 0;
    return it ? StorageFault::kFailAfter : StorageFault::kNone;
  });
  Run(minutes(1));
  EXPECT_EQ(lost, 1);
  EXPECT_EQ(engine().Status().replicas[0].state, ReplicaState::kInSync);
  EXPECT_EQ(Files(kSnapshotLevel).size(), 1U);
  ExpectRestores();
}

TEST_F(SnapshotStreamTest, EmptiedReplicaGetsAnother) {
  SqliteApp app(Path());
  CreateTable(app, 50);
  Run(minutes(1));
  ASSERT_TRUE(MakeMemoryClient(store_)->DeleteAll(ctx_).ok());
  Close();
  Write(app, 1);
  Run(minutes(1));
  ASSERT_EQ(Files(kSnapshotLevel).size(), 1U);
  ExpectRestores();
}

// A history that the replica has from elsewhere: ours goes on above it.
TEST_F(SnapshotStreamTest, GoesOnAboveAnotherHistory) {
  SqliteApp app(Path());
  CreateTable(app, 50);
  Run(minutes(1));
  Write(app, 3);
  Run(minutes(1));
  const Txid before = engine().Status().txid;
  Stop();
  std::filesystem::remove_all(Meta());
  Write(app, 1);
  Run(minutes(1));
  const auto snapshots = Files(kSnapshotLevel);
  ASSERT_EQ(snapshots.size(), 2U);
  EXPECT_EQ(snapshots[1].id.txids.max, before.Next());
  ExpectRestores();
  EXPECT_FALSE(Restored(before) == Restored());
}

// Snapshots of the day, from the database, end what is new; they do not make something new.
TEST_F(SnapshotStreamTest, IdleMakesNoSnapshots) {
  SqliteApp app(Path());
  CreateTable(app, 50);
  const MemoryStore other;
  DatabaseOptions options = Options();
  options.replicas.push_back(ReplicaIn(other));
  options.upkeep.levels = {seconds(30), minutes(5)};
  options.upkeep.snapshot_interval = hours(1);
  engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
  Run(minutes(5));
  app.Exec("UPDATE t SET x = randomblob(3000)");
  Run(hours(30));
  const auto calls = Calls(store_) + Calls(other);
  const auto txid = engine().Status().txid;
  Run(hours(24));
  EXPECT_EQ(Calls(store_) + Calls(other), calls);
  EXPECT_EQ(engine().Status().txid, txid);
  ExpectRestores();
}

// A hole on the replica is healed by a snapshot behind it.
TEST_F(SnapshotStreamTest, HoleIsHealed) {
  SqliteApp app(Path());
  CreateTable(app, 50);
  DatabaseOptions options = Options();
  options.upkeep.levels = {seconds(30)};
  options.local_retention = seconds(1);
  engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
  Run(minutes(2));
  for (int i = 0; i < 5; ++i) {
    Write(app, 1);
    Run(minutes(1));
  }
  const auto merged = Files(Level{1});
  ASSERT_GE(merged.size(), 3U);
  const std::vector<FileId> gone = {merged[1].id};
  ASSERT_TRUE(MakeMemoryClient(store_)->Delete(ctx_, gone).ok());
  for (const FileInfo& file : Files(kLevel0)) {
    const std::vector<FileId> id = {file.id};
    ASSERT_TRUE(MakeMemoryClient(store_)->Delete(ctx_, id).ok());
  }
  Close();
  engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
  Write(app, 1);
  Run(minutes(30));
  EXPECT_GE(Files(kSnapshotLevel).size(), 2U);
  ExpectRestores();
}

// --- While it is read, the database goes on: with real threads. ---

// Does something when so many bytes of a snapshot were read.
class GatedClient final : public contract::ForwardingClient {
 public:
  GatedClient(std::unique_ptr<ReplicaClient> base, std::uint64_t bytes, std::function<void()> gate)
      : ForwardingClient(*base), base_(std::move(base)), bytes_(bytes), gate_(std::move(gate)) {}
  Result<FileInfo> Write(const Context& ctx, const FileId& id, ByteSource& body,
                         const WriteOptions& options) override {
    if (id.level != kSnapshotLevel) return ForwardingClient::Write(ctx, id, body, options);
    ++snapshots_;
    GatedSource gated(*this, body);
    return ForwardingClient::Write(ctx, id, gated, options);
  }
  // That were begun.
  int snapshots() const { return snapshots_; }

 private:
  class GatedSource final : public ByteSource {
   public:
    GatedSource(GatedClient& client, ByteSource& body) : client_(client), body_(body) {}
    Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
      auto got = body_.Read(ctx, out.first(std::min<std::size_t>(out.size(), 4096)));
      if (got.ok()) read_ += got.value();
      if (read_ >= client_.bytes_ && client_.gate_) std::exchange(client_.gate_, nullptr)();
      return got;
    }

   private:
    GatedClient& client_;
    ByteSource& body_;
    std::uint64_t read_ = 0;
  };
  const std::unique_ptr<ReplicaClient> base_;
  const std::uint64_t bytes_;
  std::function<void()> gate_;
  std::atomic<int> snapshots_ = 0;
};

class WhileReadTest : public ::testing::TestWithParam<int> {
 protected:
  static constexpr int kRows = 3000;  // Several slices.

  void Start(std::function<void()> gate) {
    app_.Exec("PRAGMA wal_autocheckpoint = 0");
    app_.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
    app_.Exec("BEGIN");
    for (int i = 0; i < kRows; ++i) app_.Exec("INSERT INTO t (x) VALUES (randomblob(3000))");
    app_.Exec("COMMIT");
    // What is to be read lies in the WAL, in the database, or in both.
    if (GetParam() == 1) app_.Exec("PRAGMA wal_checkpoint(PASSIVE)");
    if (GetParam() == 2) app_.Exec("PRAGMA wal_checkpoint(TRUNCATE)");
    if (GetParam() >= 1) app_.Exec("UPDATE t SET x = randomblob(2900) WHERE id % 7 = 0");
    DatabaseOptions options;
    options.path = path_;
    options.stream_above_bytes = 0;
    options.monitor_interval = std::chrono::milliseconds(20);
    options.checkpoint.min_pages = 10;
    ReplicaOptions replica;
    replica.sync_interval = std::chrono::milliseconds(20);
    client_ = std::make_shared<GatedClient>(MakeMemoryClient(store_), 1'500'000, std::move(gate));
    replica.client = client_;
    options.replicas = {replica};
    database_.emplace(Env::Real(), *scheduler_, options, Logger());
    database_->Start();
  }
  // Polls: what it waits for comes by itself.
  void WaitFor(const std::function<bool(const DatabaseStatus&)>& there) {
    const MonoTime until = Clock::Real().Monotonic() + seconds(60);
    while (!there(database_->Status())) {
      ASSERT_LT(Clock::Real().Monotonic(), until)
          << "TXID " << database_->Status().txid.value << ", checkpoints "
          << database_->Status().checkpoints << ", blocked "
          << database_->Status().checkpoint_blocked << ", " << database_->Status().error;
      Clock::Real().Wait({}, std::chrono::milliseconds(1));
    }
  }
  // A capture, and a checkpoint, of all that was committed.
  void WaitForCheckpoint() {
    const auto before = database_->Status();
    app_.Exec("UPDATE t SET x = randomblob(3000) WHERE id < 20");
    WaitFor([&](const DatabaseStatus& now) {
      return now.captured_wal_bytes > before.captured_wal_bytes &&
             now.checkpoints > before.checkpoints;
    });
  }
  void ExpectRestores(int snapshots = 1) {
    WaitFor([&](const DatabaseStatus& status) {
      return status.replicas[0].state == ReplicaState::kInSync &&
             status.replicas[0].txid == status.txid && status.txid > Txid{2};
    });
    database_.reset();
    EXPECT_EQ(client_->snapshots(), snapshots);
    const TempDir out;
    const Context ctx = Context::Background();
    const auto client = MakeMemoryClient(store_);
    const auto listing = ListReplica(ctx, *client, true);
    ASSERT_TRUE(listing.ok());
    // The snapshot, and everything behind it.
    ASSERT_FALSE(listing.value().levels[kSnapshotLevel.value].empty());
    const auto plan = PlanRestore(listing.value(), {});
    ASSERT_TRUE(plan.ok());
    EXPECT_EQ(plan.value().files[0].id.level, kSnapshotLevel);
    RestoreOptions options;
    options.output = out.path() / "restored";
    const auto report = Restore(ctx, Env::Real(), *client, plan.value(), options);
    ASSERT_TRUE(report.ok()) << report.error().message();
    EXPECT_EQ(report.value().proof, ProofState::kProven);
    EXPECT_TRUE(ReadWholeFile(options.output) == CheckpointedCopy(path_));
  }

  TempDir dir_;
  std::filesystem::path path_ = dir_.path() / "db";
  SqliteApp app_{path_};
  MemoryStore store_;
  std::shared_ptr<GatedClient> client_;
  std::unique_ptr<Scheduler> scheduler_ = MakePoolScheduler({.capture_threads = 2});
  std::optional<Database> database_;
};

TEST_P(WhileReadTest, PagesChange) {
  Start([this] {
    app_.Exec("UPDATE t SET x = randomblob(3000) WHERE id % 3 = 0");
    WaitForCheckpoint();
    app_.Exec("UPDATE t SET x = randomblob(3000) WHERE id % 5 = 0");
    WaitForCheckpoint();
  });
  ExpectRestores();
}

TEST_P(WhileReadTest, TheDatabaseGrowsAndShrinks) {
  Start([this] {
    app_.Exec("INSERT INTO t (x) SELECT randomblob(3000) FROM t LIMIT 500");
    WaitForCheckpoint();
    app_.Exec("DELETE FROM t WHERE id > 100");
    app_.Exec("VACUUM");
    WaitForCheckpoint();
    app_.Exec("INSERT INTO t (x) VALUES (randomblob(3000))");
    WaitForCheckpoint();
  });
  ExpectRestores();
}

// Others checkpoint, too, and restart the WAL.
TEST_P(WhileReadTest, OthersCheckpoint) {
  Start([this] {
    for (int i = 0; i < 20; ++i) {
      app_.Exec("UPDATE t SET x = randomblob(3000) WHERE id % 20 = " + std::to_string(i));
      app_.Exec("PRAGMA wal_checkpoint(PASSIVE)");
      WaitForCheckpoint();
      app_.Exec("PRAGMA wal_checkpoint(RESTART)");
    }
  });
  ExpectRestores();
}

// Another one is at its place: what was read of the old one is not finished.
TEST_P(WhileReadTest, TheDatabaseIsReplaced) {
  Start([this] {
    const auto other_path = dir_.path() / "other";
    {
      SqliteApp other(other_path);
      other.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
      other.Exec("INSERT INTO t (x) VALUES (randomblob(30000))");
    }
    app_.Close();
    for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(path_.string() + suffix);
    std::filesystem::rename(other_path, path_);
    WaitFor([](const DatabaseStatus& status) { return status.txid > Txid{2}; });
  });
  ExpectRestores(/*snapshots=*/2);
}

INSTANTIATE_TEST_SUITE_P(Where, WhileReadTest, ::testing::Values(0, 1, 2));

}  // namespace
}  // namespace litestream
