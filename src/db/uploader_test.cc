// Replicas that are away, wiped, ahead, holed, or somebody else's (spec engine 12, 22).

#include <filesystem>

#include <fmt/format.h>

#include "db/upload_group.h"
#include "format/names.h"
#include "replica/verify.h"
#include "storage/memory_client.h"
#include "tests/support/byte_streams.h"
#include "tests/support/db_fixture.h"
#include "tests/support/fault_env.h"

namespace litestream {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class UploaderTest : public DbFixture {
 protected:
  UploaderTest() { row_bytes_ = 500; }

  void Create(SqliteApp& app) {
    app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
    Write(app, 1);
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
  // Level 0 as "1 2-4 5".
  static std::string Level0(const MemoryStore& store) {
    const auto files = MakeMemoryClient(store)->List(Context::Background(), kLevel0, {});
    std::string text;
    for (const FileInfo& file : files.value()) {
      const auto [min, max] = file.id.txids;
      text += fmt::format("{}{}", text.empty() ? "" : " ", min.value);
      if (max != min) text += fmt::format("-{}", max.value);
    }
    return text;
  }
  std::string Level0() const { return Level0(store_); }
  void ExpectProven() {
    const auto report = VerifyReplica(ctx_, *MakeMemoryClient(store_), {});
    ASSERT_TRUE(report.ok());
    EXPECT_TRUE(report.value().proven);
    for (const auto& problem : report.value().problems) ADD_FAILURE() << problem.what;
  }
  // Local file `txid` of a database elsewhere.
  std::vector<std::byte> FileOfAnotherDatabase(Txid txid) {
    const TempDir dir;
    DatabaseOptions options;
    options.path = dir.path() / "db";
    SqliteApp app(options.path);
    app.Exec("CREATE TABLE other (x)");
    Database other(*env_, scheduler_, options, log_);
    while (other.Status().txid < txid) {
      app.Exec("INSERT INTO other VALUES (randomblob(300))");
      EXPECT_TRUE(other.SyncOnce(ctx_).ok());
    }
    return ReadWholeFile(other.meta_path() / "ltx/0" / FormatLtxFilename({txid, txid}));
  }
  // One more local file, which does not reach the replica.
  void CaptureOnly(SqliteApp& app) {
    Write(app, 1);
    EXPECT_FALSE(engine().SyncOnce(ctx_).ok());
  }
  // A replica that is away while so many files are made, and then comes back.
  void Backlog(SqliteApp& app, int files) {
    FailEverything();
    for (int i = 0; i < files - 1; ++i) CaptureOnly(app);
    store_.SetFaults(nullptr);
    Write(app, 1);
    Sync();
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

// The replica was away for long, and when it comes back a full file is needed: one long wait is
// enough.
TEST_F(UploaderTest, FullFileEndsTheWait) {
  SqliteApp app(Path());
  Create(app);
  Run(seconds(5));
  FailEverything();
  Write(app, 1);
  Run(minutes(60));
  std::filesystem::remove_all(Meta() / "ltx/0");
  store_.SetFaults(nullptr);
  Run(minutes(5) + seconds(10));
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

// --- What waits goes up in few files. ---

// A replica that was away gets the backlog merged, and the newest file by itself.
TEST_F(UploaderTest, BacklogIsMerged) {
  SqliteApp app(Path());
  Create(app);
  Sync();
  Backlog(app, 11);
  EXPECT_EQ(Level0(), "1 2-11 12");
  ExpectRestores();
  ExpectProven();
  // The last of them can be restored, and what is inside of them not.
  EXPECT_FALSE(Restored(Txid{11}).empty());
  const auto listing = ListReplica(ctx_, *MakeMemoryClient(store_), false);
  EXPECT_FALSE(PlanRestore(listing.value(), {.txid = Txid{5}, .before = {}}).ok());
  Write(app, 1);
  Sync();
  EXPECT_EQ(Level0(), "1 2-11 12 13");
}

// From nothing: the first file holds everything and stays by itself.
TEST_F(UploaderTest, BacklogFromTheStart) {
  SqliteApp app(Path());
  Create(app);
  Backlog(app, 5);
  EXPECT_EQ(Level0(), "1 2-4 5");
  ExpectRestores();
  ExpectProven();
}

// What a replica holds is kept over a restart, as long as nothing changes behind it.
TEST_F(UploaderTest, StartWithNothingToDoListsNothing) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(10));
  ASSERT_EQ(store_.calls(StorageCall::kList), 10U);
  for (const bool clean : {true, false}) {
    SCOPED_TRACE(clean);
    Write(app, 1);
    Run(minutes(10));
    clean ? Close() : Stop();
    const auto lists = store_.calls(StorageCall::kList);
    Run(minutes(10));
    EXPECT_EQ(engine().Status().replicas[0].state, ReplicaState::kInSync);
    EXPECT_EQ(engine().Status().replicas[0].txid, engine().Status().txid);
    EXPECT_EQ(store_.calls(StorageCall::kList), lists);
    // Before the first upload it is looked at: somebody may have emptied it meanwhile.
    for (const int expected : {10, 10}) {
      Write(app, 1);
      Run(minutes(1));
      EXPECT_EQ(store_.calls(StorageCall::kList), lists + expected);
    }
    ExpectRestores();
  }
  // A process that dies while the replica changes has to look.
  Write(app, 1);
  Run(seconds(1));
  Stop();
  const auto lists = store_.calls(StorageCall::kList);
  Run(minutes(1));
  EXPECT_EQ(store_.calls(StorageCall::kList), lists + 10);
  ExpectRestores();
  ExpectProven();
}

// The first commit after a start goes at once, whenever the replica was looked at.
TEST_F(UploaderTest, FirstCommitAfterAStartDoesNotWait) {
  DatabaseOptions options = Options();
  options.replicas[0].sync_interval = minutes(10);
  SqliteApp app(Path());
  Create(app);
  for (int i = 0; i < 2; ++i) {
    engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
    Run(seconds(40));
    ASSERT_EQ(engine().Status().replicas[0].state, ReplicaState::kInSync);
    Write(app, 1);
    Run(seconds(40));
    // At the very first start the database itself went up just before.
    EXPECT_EQ(engine().Status().replicas[0].txid == engine().Status().txid, i == 1);
    Close();
  }
}

// While nobody looked, the database went on, and somebody emptied the replica.
TEST_F(UploaderTest, WhatWasSavedIsNotBuiltOn) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(10));
  Close();
  Write(app, 2);
  auto lists = store_.calls(StorageCall::kList);
  Run(minutes(10));
  EXPECT_EQ(store_.calls(StorageCall::kList), lists + 10);
  Close();
  for (const FileInfo& file : Files(kLevel0)) Delete(file.id);
  lists = store_.calls(StorageCall::kList);
  Run(minutes(10));
  EXPECT_EQ(store_.calls(StorageCall::kList), lists);
  Write(app, 1);
  Run(minutes(10));
  EXPECT_EQ(engine().Status().replicas[0].state, ReplicaState::kInSync);
  ExpectRestores();
  ExpectProven();
}

TEST_F(UploaderTest, FilesAPassAreLimited) {
  SqliteApp app(Path());
  Create(app);
  DatabaseOptions options = Options();
  options.replicas[0].max_files_per_pass = 1;
  engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
  Backlog(app, 5);
  EXPECT_EQ(Level0(), "1 2-4 5");
}

// The answer of a merged upload is lost, or the process dies right after it: what comes next begins
// behind it.
TEST_F(UploaderTest, MergedUploadIsNotRepeated) {
  for (const bool dies : {false, true}) {
    SCOPED_TRACE(dies);
    ASSERT_TRUE(MakeMemoryClient(store_)->DeleteAll(ctx_).ok());
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
      std::filesystem::remove_all(entry.path());
    }
    SqliteApp app(Path());
    Create(app);
    Sync();
    FailEverything();
    for (int i = 0; i < 4; ++i) CaptureOnly(app);
    store_.SetFaults([](StorageCall call, const FileId& id) {
      return call == StorageCall::kWrite && id.txids == TxidRange{Txid{2}, Txid{5}}
                 ? StorageFault::kFailAfter
                 : StorageFault::kNone;
    });
    Write(app, 1);
    EXPECT_FALSE(engine().SyncOnce(ctx_).ok());
    EXPECT_EQ(Level0(), "1 2-5");
    if (dies) Stop();
    Backlog(app, 3);
    EXPECT_EQ(Level0(), "1 2-5 6-8 9");
    ExpectRestores();
    ExpectProven();
    Stop();
  }
}

// A hole before a merged object: what is behind it is compared, and not sent again.
TEST_F(UploaderTest, HoleBeforeMergedFiles) {
  SqliteApp app(Path());
  Create(app);
  Sync();
  Write(app, 1);
  Sync();
  Write(app, 1);
  Sync();
  Backlog(app, 4);
  ASSERT_EQ(Level0(), "1 2 3 4-6 7");
  Stop();
  Delete({kLevel0, {Txid{2}, Txid{2}}});
  Delete({kLevel0, {Txid{3}, Txid{3}}});
  Backlog(app, 2);
  EXPECT_EQ(Level0(), "1 2-3 4-6 7 8 9");
  ExpectRestores();
  ExpectProven();
}

// What has a merged object's name and not its content is not ours.
TEST_F(UploaderTest, MergedFileOfSomebodyElse) {
  SqliteApp app(Path());
  Create(app);
  Sync();
  Backlog(app, 4);
  ASSERT_EQ(Level0(), "1 2-4 5");
  Stop();
  Delete({kLevel0, {Txid{1}, Txid{1}}});
  const auto client = MakeMemoryClient(store_);
  const FileId id{kLevel0, {Txid{2}, Txid{4}}};
  std::vector<std::byte> bytes(Files(kLevel0)[0].size_bytes);
  ASSERT_EQ(ReadFull(ctx_, *client->Open(ctx_, id, {}).value(), bytes).value(), bytes.size());
  bytes.back() ^= std::byte{1};
  testing::SpanSource source(bytes);
  ASSERT_TRUE(client->Write(ctx_, id, source, {}).ok());
  const auto synced = engine().SyncOnce(ctx_);
  ASSERT_FALSE(synced.ok());
  EXPECT_NE(synced.error().message().find("is there with other content"), std::string::npos)
      << synced.error().message();
}

// Each replica merges what it lacks; they need not agree on it.
TEST_F(UploaderTest, ReplicasMergeOnTheirOwn) {
  MemoryStore second;
  DatabaseOptions options = Options();
  const ReplicaOptions other = ReplicaIn(second);
  options.replicas.push_back(other);
  engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  for (int i = 0; i < 6; ++i) {
    const bool away = i >= 2 && i < 5;
    second.SetFaults([away](StorageCall, const FileId&) {
      return away ? StorageFault::kFailBefore : StorageFault::kNone;
    });
    Write(app, 1);
    Run(minutes(20));
  }
  EXPECT_EQ(Level0(), "1 2 3 4 5 6 7");
  EXPECT_EQ(Level0(second), "1 2 3 4-6 7");
  std::swap(store_, second);
  ExpectRestores();
  ExpectProven();
}

// The database begins a new chain with another page size: a snapshot, and nothing across it.
TEST_F(UploaderTest, MergesEndAtAChangeOfThePageSize) {
  SqliteApp app(Path());
  Create(app);
  Sync();
  FailEverything();
  CaptureOnly(app);
  CaptureOnly(app);
  Stop();
  app.Exec("PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM");
  app.Exec("PRAGMA journal_mode = WAL");
  CaptureOnly(app);
  CaptureOnly(app);
  CaptureOnly(app);
  store_.SetFaults(nullptr);
  Write(app, 1);
  Sync();
  EXPECT_EQ(Level0(), "1 2-3 5-6 7");
  ASSERT_EQ(Files(kSnapshotLevel).size(), 1U);
  EXPECT_EQ(Files(kSnapshotLevel)[0].id.txids.max, Txid{4});
  ExpectRestores();
}

class UploadGroupTest : public ::testing::Test {
 protected:
  std::filesystem::path Path(Txid txid) const { return dir_.path() / FormatTxid(txid); }
  // Files 1 to `count`; only header and size matter.
  void Make(std::uint64_t first, std::uint64_t count, std::uint64_t size_bytes,
            std::optional<LtxProof> proof = LtxProof{1, 1}, std::uint32_t page_size = 4096) {
    for (std::uint64_t n = first; n < first + count; ++n) {
      LtxHeader header{.page_size = page_size, .commit_pages = 1, .txids = {Txid{n}, Txid{n}}};
      header.SetProof(proof);
      auto file = Env::Real().Open(Path(Txid{n}), {.write = true, .create = true, .owner = {}});
      ASSERT_TRUE(file.value()->WriteAt(FormatLtxHeader(header), 0).ok());
      ASSERT_TRUE(file.value()->Truncate(size_bytes).ok());
    }
  }
  TxidRange Next(std::uint64_t first, std::uint64_t last) {
    const auto group = NextUploadGroup(
        Env::Real(), [this](Txid txid) { return Path(txid); }, Txid{first}, Txid{last});
    EXPECT_TRUE(group.ok());
    return group.ok() ? group.value().txids : TxidRange{};
  }
  static TxidRange Range(std::uint64_t min, std::uint64_t max) { return {Txid{min}, Txid{max}}; }

  TempDir dir_;
};

TEST_F(UploadGroupTest, Limits) {
  Make(2, 600, 200);
  EXPECT_EQ(Next(2, 2), Range(2, 2));
  EXPECT_EQ(Next(2, 3), Range(2, 2));
  EXPECT_EQ(Next(2, 4), Range(2, 3));
  EXPECT_EQ(Next(2, 601), Range(2, 1 + kMaxMergedFiles));
  // The limit of bytes; one that is larger goes alone.
  Make(10, 4, kMaxMergedBytes / 2 - 200);
  EXPECT_EQ(Next(9, 601), Range(9, 11));
  EXPECT_EQ(Next(11, 601), Range(11, 12));
  Make(10, 1, kMaxMergedBytes * 2);
  EXPECT_EQ(Next(9, 601), Range(9, 9));
  EXPECT_EQ(Next(10, 601), Range(10, 10));
}

TEST_F(UploadGroupTest, FullFilesStayAlone) {
  Make(1, 10, 200);
  EXPECT_EQ(Next(1, 10), Range(1, 1));
  Make(5, 1, 200, LtxProof{.before = 0, .after = 1});
  EXPECT_EQ(Next(2, 10), Range(2, 4));
  EXPECT_EQ(Next(5, 10), Range(5, 5));
  EXPECT_EQ(Next(6, 10), Range(6, 9));
  Make(7, 1, 200, LtxProof{1, 1}, 1024);
  EXPECT_EQ(Next(6, 10), Range(6, 6));
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
  for (std::uint64_t i = 1; i < 4; ++i) {
    std::filesystem::remove(Meta() / "ltx/0" / FormatLtxFilename({Txid{i}, Txid{i}}));
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

// D7: the full file that a wiped replica needs is made while most of the database is in the WAL,
// and the position lies far behind its front.
TEST_F(UploaderTest, D7FullFileReadsTheWholeWal) {
  SqliteApp app(Path());
  app.Exec("PRAGMA wal_autocheckpoint = 0");
  Create(app);
  for (int i = 0; i < 3; ++i) {
    Write(app, 30);
    Sync();
  }
  ASSERT_LT(std::filesystem::file_size(Path()), 10'000U);
  ASSERT_TRUE(MakeMemoryClient(store_)->DeleteAll(ctx_).ok());
  for (const Txid txid : {Txid{1}, Txid{2}}) {
    std::filesystem::remove(Meta() / "ltx/0" / FormatLtxFilename({txid, txid}));
  }
  Stop();
  Sync();
  ASSERT_EQ(Files(kSnapshotLevel).size(), 1U);
  ExpectRestores();
}

// The replica is wiped under a running engine. That is seen when it is next listed: at the next
// error, or after hours.
TEST_F(UploaderTest, WipedWhileRunning) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  ASSERT_TRUE(MakeMemoryClient(store_)->DeleteAll(ctx_).ok());
  for (int hour = 0; hour < 7; ++hour) {
    Write(app, 1);
    Run(minutes(60));
  }
  ExpectRestores();
}

// R19: a local file is damaged before it was uploaded. A full file takes its place.
TEST_F(UploaderTest, R19DamagedLocalFileIsBridged) {
  for (const bool restart : {false, true}) {
    SCOPED_TRACE(restart);
    SqliteApp app(Path());
    app.Exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, x BLOB)");
    Write(app, 1);
    Run(minutes(10));
    FailEverything();
    for (int i = 0; i < 3; ++i) {
      Write(app, 1);
      Run(minutes(1));
    }
    const Txid damaged = engine().Status().replicas[0].txid.Next();
    ASSERT_LT(damaged, engine().Status().txid);
    const auto path = Meta() / "ltx/0" / FormatLtxFilename({damaged, damaged});
    auto bytes = ReadWholeFile(path);
    bytes[20] ^= std::byte{0xff};
    WriteWholeFile(path, bytes);
    if (restart) Stop();
    store_.SetFaults(nullptr);
    Run(minutes(20));
    EXPECT_EQ(engine().Status().replicas[0].state, ReplicaState::kInSync)
        << engine().Status().replicas[0].error;
    ExpectRestores();
    EXPECT_EQ(Files(kSnapshotLevel).size(), restart ? 2U : 1U);
  }
}

// R19: the newest local file, which goes up by itself, is damaged anywhere: it does not reach the
// replica, and what it held does.
TEST_F(UploaderTest, R19DamagedNewestFileIsNotUploaded) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(10));
  constexpr std::size_t kPlaces = 20;
  for (std::size_t i = 0; i < kPlaces; ++i) {
    SCOPED_TRACE(i);
    FailEverything();
    Write(app, 1);
    Run(minutes(1));
    const Txid newest = engine().Status().txid;
    ASSERT_EQ(engine().Status().replicas[0].txid.Next(), newest);
    const auto path = Meta() / "ltx/0" / FormatLtxFilename({newest, newest});
    auto bytes = ReadWholeFile(path);
    bytes[i * (bytes.size() - 1) / (kPlaces - 1)] ^= std::byte{0x10};
    WriteWholeFile(path, bytes);
    store_.SetFaults(nullptr);
    Run(minutes(20));
    ASSERT_EQ(engine().Status().replicas[0].state, ReplicaState::kInSync)
        << engine().Status().replicas[0].error;
    ExpectRestores();
  }
  ExpectProven();
}

// A local file of another history, whole in itself (another process has made the state directory
// anew): what goes up continues what is there.
TEST_F(UploaderTest, LocalFileOfAnotherHistoryIsNotUploaded) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(10));
  FailEverything();
  Write(app, 1);
  Run(minutes(1));
  const Txid foreign = engine().Status().txid;
  ASSERT_EQ(engine().Status().replicas[0].txid.Next(), foreign);
  const auto path = Meta() / "ltx/0" / FormatLtxFilename({foreign, foreign});
  WriteWholeFile(path, FileOfAnotherDatabase(foreign));
  store_.SetFaults(nullptr);
  Run(minutes(20));
  EXPECT_EQ(engine().Status().replicas[0].state, ReplicaState::kInSync)
      << engine().Status().replicas[0].error;
  ExpectRestores();
  ExpectProven();
}

// R24: what one pass leaves over goes in the next one, at once, not an interval later.
TEST_F(UploaderTest, R24LimitedPassesFollowEachOther) {
  DatabaseOptions options = Options();
  options.replicas[0].max_files_per_pass = 1;
  options.replicas[0].sync_interval = std::chrono::hours(1);
  engine_ = std::make_unique<Database>(Env::Real(), scheduler_, options, log_);
  SqliteApp app(Path());
  Create(app);
  FailEverything();
  Run(seconds(10));
  for (int i = 0; i < 9; ++i) {
    Write(app, 1);
    Run(seconds(40));
  }
  store_.SetFaults(nullptr);
  Run(std::chrono::hours(2));  // The back-off begins with the interval.
  // The full file, the merged backlog, the newest: three passes.
  EXPECT_EQ(Files(kLevel0).size(), 3U);
  EXPECT_EQ(engine().Status().replicas[0].txid, engine().Status().txid);
  ExpectRestores();
}

// D21, R8, R21: while a call to the replica hangs, everything else goes on: captures, checkpoints,
// status. (The call is in a task of its own; the others run in the middle of it.)
TEST_F(UploaderTest, D21HangingReplicaHoldsNobody) {
  checkpoint_.min_pages = 20;
  SqliteApp app(Path());
  app.Exec("PRAGMA wal_autocheckpoint = 0");
  Create(app);
  for (const auto hanging : {StorageCall::kList, StorageCall::kWrite}) {
    bool inside = false;
    bool done = false;
    store_.SetFaults([&](StorageCall call, const FileId&) {
      if (call != hanging || inside || done) return StorageFault::kNone;
      inside = true;
      const auto before = engine().Status();
      Write(app, 30);
      Run(minutes(2));
      const auto after = engine().Status();
      EXPECT_GT(after.txid, before.txid);
      EXPECT_GT(after.checkpoints, before.checkpoints);
      inside = false;
      done = true;
      return StorageFault::kFailBefore;
    });
    Write(app, 1);
    Run(minutes(10));
    EXPECT_TRUE(done);
    ExpectRestores();
    Stop();
  }
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
  OutliveLease();
  const auto theirs = Restored(Txid{2});
  SqliteApp app(Path());
  Create(app);
  EXPECT_EQ(Sync(), Txid{3});
  ExpectRestores();
  EXPECT_TRUE(Restored(Txid{2}) == theirs);
}

// The same while both run: the one that comes second goes on above the first, once. The first says
// that somebody else writes there, and they do not overtake each other in turns.
TEST_F(UploaderTest, TwoDatabasesOfOneReplicaDoNotTakeTurns) {
  const auto other_path = dir_.path() / "other";
  SqliteApp app(Path());
  DatabaseOptions own = Options();
  own.replicas[0].lease = LeaseMode::kOff;
  engine_ = std::make_unique<Database>(*env_, scheduler_, own, log_);
  Create(app);
  Run(minutes(1));
  SqliteApp other_app(other_path);
  other_app.Exec("CREATE TABLE o (x)");
  DatabaseOptions options = Options();
  options.path = other_path;
  options.replicas[0].lease = LeaseMode::kOff;
  Database other(Env::Real(), scheduler_, options, log_);
  other.Start();
  for (int i = 0; i < 30; ++i) {
    Write(app, 1);
    other_app.Exec("INSERT INTO o VALUES (randomblob(100))");
    Run(minutes(1));
  }
  const ReplicaStatus loser = engine().Status().replicas[0];
  EXPECT_EQ(loser.state, ReplicaState::kFailing);
  EXPECT_NE(loser.error.find("another process or database replicates to this place"),
            std::string::npos)
      << loser.error;
  EXPECT_EQ(other.Status().replicas[0].state, ReplicaState::kInSync);
  EXPECT_TRUE(Restored() == CheckpointedCopy(other_path));
  EXPECT_LT(other.Status().txid, Txid{40});
}

// A slow or dead replica does not hold the others.
TEST_F(UploaderTest, ReplicasAreIndependent) {
  MemoryStore second;
  DatabaseOptions options = Options();
  const ReplicaOptions dead = ReplicaIn(second);
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

// A replica that is away does not fill the local disk, nor cost one that is well anything.
TEST_F(UploaderTest, LocalFilesOfADeadReplicaAreLimited) {
  for (const std::uint64_t stream_above : {std::uint64_t{0}, std::uint64_t{1} << 40}) {
    SCOPED_TRACE(stream_above);
    Stop();
    std::filesystem::remove_all(Meta());
    const MemoryStore well;
    MemoryStore away;
    DatabaseOptions options = Options();
    options.replicas = {ReplicaIn(well), ReplicaIn(away)};
    options.local_retention = seconds(1);
    options.local_retention_bytes = 60'000;
    options.stream_above_bytes = stream_above;
    engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
    SqliteApp app(Path());
    app.Exec("DROP TABLE IF EXISTS t");
    Create(app);
    Run(minutes(1));
    away.SetFaults([](StorageCall, const FileId&) { return StorageFault::kFailBefore; });
    const auto local_bytes = [this] {
      std::uint64_t bytes = 0;
      for (const auto& file : std::filesystem::directory_iterator(Meta() / "ltx/0")) {
        bytes += file.file_size();
      }
      return bytes;
    };
    for (int i = 0; i < 60; ++i) {
      Write(app, 1);
      Run(seconds(60));
      ASSERT_LT(local_bytes(), 80'000U) << i;
    }
    // Of the one that is well every transaction is there.
    const auto listing = ListReplica(ctx_, *MakeMemoryClient(well), false).value();
    EXPECT_GE(listing.levels[0].size(), 60U);
    away.SetFaults(nullptr);
    Run(minutes(20));
    for (const ReplicaStatus& status : engine().Status().replicas) {
      EXPECT_EQ(status.state, ReplicaState::kInSync);
      EXPECT_EQ(status.txid, engine().Status().txid);
    }
    EXPECT_EQ(ListReplica(ctx_, *MakeMemoryClient(away), false).value().levels[9].size(),
              stream_above == 0 ? 2U : 1U);
    store_ = well;
    ExpectRestores();
    store_ = away;
    ExpectRestores();
  }
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

// The database is replaced, and the stop comes before anybody has noticed.
TEST_F(UploaderTest, CloseAfterTheDatabaseWasReplaced) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(1));
  const auto other = dir_.path() / "other";
  {
    SqliteApp maker(other);
    maker.Exec("CREATE TABLE other (x)");
  }
  std::filesystem::remove(Wal());
  std::filesystem::remove(Path().string() + "-shm");
  std::filesystem::rename(other, Path());
  Close();
  ExpectRestores();
}

// The replica is ahead, capture has to go on above it, and the stop comes before that succeeded.
TEST_F(UploaderTest, CloseInTheMiddleOfARebase) {
  SqliteApp app(Path());
  Create(app);
  Write(app, 2);
  Sync();
  Write(app, 1);
  EXPECT_EQ(Sync(), Txid{2});
  Stop();
  std::filesystem::remove_all(Meta());
  Write(app, 1);  // Else its first file may be the same as before, if it is fast enough.
  testing::FaultEnv files(Env::Real());
  bool fails = true;
  files.SetHook([&fails](const char*, const std::filesystem::path& path) -> Result<void> {
    const bool above = path.filename().string().starts_with("0000000000000003-");
    if (fails && above) return Error(ErrorCode::kIo, "planted");
    return {};
  });
  env_ = &files;
  Run(minutes(1));
  EXPECT_EQ(engine().Status().state, DatabaseState::kFailing);
  EXPECT_LT(engine().Status().errors, 20U);  // It backs off.
  Write(app, 1);
  fails = false;
  Close();
  ExpectRestores();
}

// The state directory is lost, and the replicas are ahead by different numbers.
TEST_F(UploaderTest, TwoReplicasAreAhead) {
  for (const bool first_is_further : {false, true}) {
    SCOPED_TRACE(first_is_further);
    SqliteApp app(Path());
    app.Exec("DROP TABLE IF EXISTS t");
    Create(app);
    MemoryStore second;
    const ReplicaOptions other = ReplicaIn(second);
    const auto make_engine = [&] {
      DatabaseOptions options = Options();
      options.replicas.insert(options.replicas.begin() + (first_is_further ? 0 : 1), other);
      engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
    };
    make_engine();
    Write(app, 3);
    Run(minutes(1));
    FailEverything();
    Write(app, 1);
    Run(minutes(1));
    store_.SetFaults(nullptr);
    Stop();
    std::filesystem::remove_all(Meta());
    make_engine();
    Run(minutes(10));
    for (const auto& replica : engine().Status().replicas) {
      EXPECT_EQ(replica.state, ReplicaState::kInSync);
      EXPECT_EQ(replica.txid, engine().Status().txid);
    }
    ExpectRestores();
    Stop();
  }
}

// What an uploader asked for is not forgotten when the first attempt at it fails.
TEST_F(UploaderTest, RebaseThatFailsAtItsBeginning) {
  SqliteApp app(Path());
  Create(app);
  Write(app, 2);
  Sync();
  Stop();
  std::filesystem::remove_all(Meta());
  Write(app, 1);  // Else its first file may be the same as before, if it is fast enough.
  testing::FaultEnv files(Env::Real());
  int failures = 3;
  files.SetHook([&](const char* call, const std::filesystem::path& path) -> Result<void> {
    if (failures == 0 || std::string_view(call) != "remove" || path != Meta() / "ltx/0") return {};
    --failures;
    return Error(ErrorCode::kIo, "planted");
  });
  env_ = &files;
  Run(minutes(5));
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(engine().Status().replicas[0].state, ReplicaState::kInSync);
  ExpectRestores();
  Stop();
}

// The database is lost with its last commits not uploaded: what was captured of them is.
TEST_F(UploaderTest, UploadsWhatIsLeftOfALostDatabase) {
  std::vector<std::byte> last;
  {
    SqliteApp app(Path());
    Create(app);
    Run(minutes(1));
    FailEverything();
    Write(app, 3);
    Run(minutes(1));
    Stop();
    last = CheckpointedCopy(Path());
  }
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(Path().string() + suffix);
  }
  store_.SetFaults(nullptr);
  Run(minutes(1));
  EXPECT_EQ(engine().Status().state, DatabaseState::kWaiting);
  EXPECT_TRUE(Restored() == last);
  // A new one is another chain behind it.
  SqliteApp app(Path());
  Create(app);
  Run(minutes(2));
  ExpectRestores();
  Close();
}

// And if the replica has gone on in another way meanwhile, they stay, and nobody waits for them.
TEST_F(UploaderTest, LeavesWhatDoesNotContinueTheReplica) {
  {
    SqliteApp app(Path());
    Create(app);
    Run(minutes(1));
    FailEverything();
    Write(app, 1);
    Run(minutes(1));
    Stop();
    store_.SetFaults(nullptr);
    // Somebody replicated from another place.
    std::filesystem::rename(Meta(), dir_.path() / "aside");
    Write(app, 1);
    Run(minutes(1));
    Stop();
    std::filesystem::remove_all(Meta());
    std::filesystem::rename(dir_.path() / "aside", Meta());
  }
  const auto before = Restored();
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(Path().string() + suffix);
  }
  Run(minutes(1));
  const auto lists = store_.calls(StorageCall::kList);
  Run(minutes(10));
  EXPECT_EQ(store_.calls(StorageCall::kList), lists);
  EXPECT_TRUE(Restored() == before);
  EXPECT_FALSE(std::filesystem::is_empty(Meta() / "ltx/0"));
  Close();
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
  const auto closed = CloseEngine(limited, std::chrono::milliseconds(500));
  ASSERT_FALSE(closed.ok());
  EXPECT_NE(closed.error().message().find("shutdown sync timeout after"), std::string::npos)
      << closed.error().message();
}

// A replica that is dead, with another behind it: the last commits reach the other at once.
TEST_F(UploaderTest, CloseTriesAllReplicasBeforeItTriesAgain) {
  SqliteApp app(Path());
  Create(app);
  MemoryStore dead;
  dead.SetFaults([](StorageCall, const FileId&) { return StorageFault::kFailBefore; });
  DatabaseOptions options = Options();
  const ReplicaOptions replica = ReplicaIn(dead);
  options.replicas.insert(options.replicas.begin(), replica);
  Database database(*env_, scheduler_, options, log_);
  database.Start();
  scheduler_.RunFor(minutes(1));
  Write(app, 1);
  MonoTime arrived;
  store_.SetFaults([&](StorageCall call, const FileId&) {
    if (call == StorageCall::kWrite) arrived = clock_.Monotonic();
    return StorageFault::kNone;
  });
  const MonoTime began = clock_.Monotonic();
  Database* const only = &database;
  const Context limited = ctx_.WithDeadline(began + seconds(30));
  const auto closed = CloseDatabases(limited, {&only, 1}, std::chrono::milliseconds(500));
  EXPECT_FALSE(closed.front().ok());
  EXPECT_EQ(arrived, began);
  ExpectRestores();
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
