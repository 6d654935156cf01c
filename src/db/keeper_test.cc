// Levels, snapshots and retention of a live database, by the simulated clock (spec engine 11 to
// 14).

#include <filesystem>
#include <map>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include "base/memory_env.h"
#include "format/names.h"
#include "replica/restore_points.h"
#include "replica/verify.h"
#include "storage/memory_client.h"
#include "tests/support/byte_streams.h"
#include "tests/support/db_fixture.h"
#include "tests/support/recorded_log.h"
#include "tests/support/split_env.h"

namespace litestream {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

class KeeperTest : public DbFixture {
 protected:
  KeeperTest() {
    env_ = &split_;
    split_.SetWatches(false);
    EXPECT_TRUE(CreateDirectories(memory_, dir_.path(), {}).ok());
    row_bytes_ = 400;
    upkeep_.levels = {seconds(30), minutes(5), hours(1)};
    log_ = recorded_.logger();
    Restart();
  }
  void Restart() {
    Stop();
    DatabaseOptions options = Options();
    options.upkeep = upkeep_;
    options.local_retention = {};
    options.open_databases = open_;
    engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
  }
  void Create(SqliteApp& app) {
    app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
    Write(app, 3);
  }
  // A commit every so often.
  void Busy(SqliteApp& app, std::chrono::seconds duration, std::chrono::seconds every) {
    for (seconds at{0}; at < duration; at += every) {
      app.Exec("UPDATE t SET x = randomblob(400) WHERE id = (SELECT 1 + abs(random()) % 3)");
      Run(every);
    }
  }
  std::vector<FileInfo> Files(int level) {
    auto files = MakeMemoryClient(store_)->List(ctx_, Level{static_cast<std::uint8_t>(level)}, {});
    EXPECT_TRUE(files.ok());
    return files.value();
  }
  void Delete(const FileId& id) {
    EXPECT_TRUE(MakeMemoryClient(store_)->Delete(ctx_, std::span(&id, 1)).ok());
  }
  void Damage(const FileInfo& file) {
    const auto client = MakeMemoryClient(store_);
    auto source = client->Open(ctx_, file.id, {});
    ASSERT_TRUE(source.ok());
    std::vector<std::byte> bytes(file.size_bytes);
    ASSERT_EQ(ReadFull(ctx_, *source.value(), bytes).value(), bytes.size());
    bytes[bytes.size() / 2] ^= std::byte{0xff};
    testing::SpanSource damaged(bytes);
    ASSERT_TRUE(client->Write(ctx_, file.id, damaged, {.created_at = file.created_at}).ok());
  }
  std::uint64_t AllCalls() {
    std::uint64_t all = 0;
    for (int i = 0; i <= static_cast<int>(StorageCall::kDeleteObject); ++i) {
      all += store_.calls(static_cast<StorageCall>(i));
    }
    return all;
  }
  // Every point that is listed restores, and the newest is the database.
  void ExpectAllRestore() {
    const auto listing = ListReplica(ctx_, *MakeMemoryClient(store_), true);
    ASSERT_TRUE(listing.ok());
    for (const RestorePoint& point : FindRestorePoints(listing.value()).points) {
      SCOPED_TRACE(FormatTxid(point.txid));
      EXPECT_FALSE(Restored(point.txid).empty());
    }
    ExpectRestores();
  }
  std::filesystem::path SavedCatalogue() {
    const auto entries = env_->List(Meta());
    std::filesystem::path found;
    if (!entries.ok()) return found;
    for (const DirectoryEntry& entry : entries.value()) {
      if (entry.name.starts_with("catalogue-")) found = Meta() / entry.name;
    }
    return found;
  }
  const UpkeepStatus Status() { return engine().Status().replicas[0].upkeep; }
  std::size_t LocalFiles() {
    const auto files = split_.List(Meta() / "ltx/0");
    return files.ok() ? files.value().size() : 0;
  }

  MemoryEnv memory_{clock_, 7};
  SplitEnv split_{Meta(), memory_};
  UpkeepOptions upkeep_;
  OpenDatabases* open_ = nullptr;  // Set: idle databases are parked.
  RecordedLog recorded_{LogLevel::kInfo};
};

TEST_F(KeeperTest, MergesLevelByLevel) {
  SqliteApp app(Path());
  Create(app);
  Busy(app, hours(3), seconds(10));
  EXPECT_GE(Files(3).size(), 2U);
  EXPECT_LE(Files(3).size(), 4U);
  EXPECT_GE(Files(2).size(), 30U);
  EXPECT_GE(Files(1).size(), 300U);
  // Of level 0 the last five minutes, and what level 1 does not have yet.
  EXPECT_LE(Files(0).size(), 40U);
  EXPECT_GE(Files(0).size(), 25U);
  EXPECT_LE(Files(9).size(), 2U);  // The first file, and that of the day.
  // Locally, what is not merged yet.
  EXPECT_LE(LocalFiles(), 10U);
  // Nothing that was uploaded is downloaded for that.
  EXPECT_LE(store_.calls(StorageCall::kOpen), 8U + Files(2).size() * 12 + Files(3).size() * 14);
  EXPECT_EQ(Status().error, "");
  ExpectAllRestore();
}

// Its lease is the one that the commit has paid for, wherever the turns of the place fall.
TEST_F(KeeperTest, TheMergeAfterALoneCommitCostsNoLease) {
  SqliteApp app(Path());
  Create(app);
  for (int shift = 0; shift < 10; ++shift) {
    SCOPED_TRACE(shift);
    Run(seconds(63));  // The commits come at another moment of the period.
    const std::uint64_t leases = store_.calls(StorageCall::kPutObject);
    Busy(app, minutes(5), minutes(1));
    EXPECT_EQ(Status().merged, engine().Status().txid) << "each within its minute";
    // Levels 2 and 3 have turns in that time, too.
    EXPECT_LE(store_.calls(StorageCall::kPutObject) - leases, 7U);
  }
  ExpectAllRestore();
}

// A first sync leaves nothing to be done later: the catalogue is saved when the last merge is done,
// and not at some slow tick.
TEST_F(KeeperTest, TheCatalogueIsSavedWhenTheFirstSyncIsDone) {
  SqliteApp app(Path());
  Create(app);
  int waited = 0;
  while (SavedCatalogue().empty() && waited < 100) {
    Run(seconds(1));
    ++waited;
  }
  EXPECT_LE(waited, 33) << "level 1, every 30 s";
  EXPECT_EQ(Files(9).size(), 1U);
}

// D18, R37: an idle database is left alone when all is done.
TEST_F(KeeperTest, IdleAsksForNothing) {
  SqliteApp app(Path());
  Create(app);
  Busy(app, minutes(10), seconds(5));
  Run(hours(24 * 5));
  EXPECT_EQ(Files(0).size(), 1U);
  const std::uint64_t calls = AllCalls();
  const std::size_t runs = scheduler_.RunFor(hours(24));
  EXPECT_EQ(AllCalls(), calls);
  // The slow tick of capture, without events every second.
  EXPECT_LT(runs, 90'000U);
  ExpectAllRestore();
}

// D20: what was promised can be restored, however the snapshots fall.
TEST_F(KeeperTest, TheWindowIsRestorable) {
  upkeep_.snapshot_interval = hours(6);
  Restart();
  SqliteApp app(Path());
  Create(app);
  std::map<WallTime, std::vector<std::byte>> states;
  for (int hour = 0; hour < 60; ++hour) {
    app.Exec("INSERT INTO t (x) VALUES (randomblob(400))");
    Run(minutes(45));
    states[clock_.Now()] = CheckpointedCopy(Path());
    Run(minutes(15));
  }
  EXPECT_LE(Files(9).size(), 8U);
  const auto listing = ListReplica(ctx_, *MakeMemoryClient(store_), true).value();
  const auto client = MakeMemoryClient(store_);
  int checked = 0;
  for (const auto& [time, state] : states) {
    if (time < clock_.Now() - hours(24)) continue;
    const auto plan = PlanRestore(listing, {.txid = {}, .before = time});
    ASSERT_TRUE(plan.ok()) << plan.error().message();
    EXPECT_TRUE(Restored(plan.value().max_txid()) == state);
    ++checked;
  }
  EXPECT_GE(checked, 23);
  EXPECT_GT(Status().removed_files, 100U);
}

// What was known of a quiet replica lies in a file; somebody removes that, or damages it.
TEST_F(KeeperTest, GoesOnWithoutTheSavedCatalogue) {
  SqliteApp app(Path());
  Create(app);
  for (const bool damaged : {false, true}) {
    SCOPED_TRACE(damaged);
    Write(app, 1);
    Run(minutes(10));
    // When levels have their turn depends on the replica's name.
    for (int i = 0; i < 20 && SavedCatalogue().empty(); ++i) Run(minutes(1));
    const auto path = SavedCatalogue();
    ASSERT_FALSE(path.empty());
    if (damaged) {
      ASSERT_TRUE(env_->Open(path, {.write = true}).value()->Truncate(10).ok());
    } else {
      ASSERT_TRUE(env_->Remove(path).ok());
    }
    Write(app, 1);
    Run(minutes(2));
    // In level 1, or in the snapshot of the day if that was due just then.
    Txid kept;
    for (const int level : {1, 9}) {
      for (const FileInfo& file : Files(level)) kept = std::max(kept, file.id.txids.max);
    }
    EXPECT_EQ(kept, engine().Status().txid);
    ExpectRestores();
  }
}

// The database is gone while nobody watches. What is left of it is merged, and what was saved
// before says no more than there was.
TEST_F(KeeperTest, WhatIsLeftOfALostDatabaseIsNoLongerAsSaved) {
  upkeep_.levels = {seconds(30)};
  Restart();
  {
    SqliteApp app(Path());
    Create(app);
    Busy(app, minutes(3), seconds(10));
    for (int i = 0; i < 20 && SavedCatalogue().empty(); ++i) Run(minutes(1));
  }
  ASSERT_FALSE(SavedCatalogue().empty());
  upkeep_.levels = {seconds(30), minutes(1)};
  Restart();
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(Path().string() + suffix);
  }
  ASSERT_FALSE(SavedCatalogue().empty());
  Run(minutes(5));
  EXPECT_FALSE(Files(2).empty());
  EXPECT_TRUE(SavedCatalogue().empty());
}

// Two replicas of a database that does not compress, so that its snapshots are read from it: one
// full file does for both, and the idle database makes no more of them.
TEST_F(KeeperTest, TwoReplicasShareAFullFile) {
  MemoryStore second;
  upkeep_.snapshot_interval = minutes(10);
  Stop();
  DatabaseOptions options = Options();
  const ReplicaOptions other = ReplicaIn(second);
  options.replicas.push_back(other);
  options.upkeep = upkeep_;
  engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
  SqliteApp app(Path());
  app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
  row_bytes_ = 3900;
  Write(app, 20);
  Busy(app, minutes(30), seconds(20));
  Run(minutes(30));
  const Txid txid = engine().Status().txid;
  Run(hours(5));
  EXPECT_EQ(engine().Status().txid, txid);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Files(9).back().id.txids.max, txid);
    ExpectRestores();
    std::swap(store_, second);
  }
}

// D13, R46: a file of a level is gone, and what it was made of too.
TEST_F(KeeperTest, MissingFileIsGoneAround) {
  SqliteApp app(Path());
  Create(app);
  Busy(app, minutes(28), seconds(10));
  // The second that is not merged yet; each replica has its turns at other moments.
  std::vector<FileInfo> files;
  std::size_t lost = 0;
  do {
    Busy(app, seconds(30), seconds(10));
    files = Files(1);
    lost = files.size();
    while (lost > 0 && files[lost - 1].id.txids.min > Files(2).back().id.txids.max) --lost;
    ++lost;
  } while (lost >= files.size() && files.size() < 100);
  ASSERT_GT(files.size(), 20U);
  ASSERT_LT(lost, files.size());
  Delete(files[lost].id);
  for (const FileInfo& file : Files(0)) {
    if (file.id.txids.max <= files[lost].id.txids.max) Delete(file.id);
  }
  Busy(app, minutes(30), seconds(10));
  Run(minutes(10));
  EXPECT_GT(Files(2).back().id.txids.max, files[lost].id.txids.max);
  EXPECT_GE(Files(9).size(), 2U);
  ExpectRestores();
  const auto calls = AllCalls();
  Run(hours(2));
  EXPECT_LT(AllCalls() - calls, 60U);
}

TEST_F(KeeperTest, DamagedFileIsGoneAround) {
  for (const bool newest : {false, true}) {
    SCOPED_TRACE(newest);
    SqliteApp app(Path());
    app.Exec("DROP TABLE IF EXISTS t");
    Create(app);
    std::vector<FileInfo> files;  // Of level 1, not merged yet.
    for (int i = 0; i < 60 && files.size() < 3; ++i) {
      Busy(app, seconds(30), seconds(10));
      files = Files(1);
      const Txid merged = Files(2).empty() ? Txid{} : Files(2).back().id.txids.max;
      std::erase_if(files, [&](const FileInfo& file) { return file.id.txids.min <= merged; });
    }
    ASSERT_EQ(files.size(), 3U);
    Damage(newest ? files.back() : files[1]);
    Busy(app, minutes(30), seconds(10));
    Run(minutes(10));
    EXPECT_GT(Files(2).back().id.txids.max, files.back().id.txids.max);
    ExpectRestores();
    EXPECT_EQ(recorded_.Count("is of no use, going around it"), newest ? 2 : 1);
  }
}

// R12: local files are preferred, and a damaged one does no harm.
TEST_F(KeeperTest, DamagedLocalFileIsReadFromTheReplica) {
  SqliteApp app(Path());
  Create(app);
  Run(minutes(2));
  Busy(app, seconds(5), seconds(1));
  const Txid txid = engine().Status().txid;
  const auto path = Meta() / "ltx/0" / FormatLtxFilename({txid, txid});
  {
    auto file = split_.Open(path, {.write = true});
    ASSERT_TRUE(file.ok());
    const std::byte wrong[4] = {};
    ASSERT_TRUE(file.value()->WriteAt(wrong, 140).ok());
  }
  Busy(app, minutes(2), seconds(5));
  EXPECT_GT(Files(1).back().id.txids.max, txid);
  EXPECT_EQ(recorded_.Count("a local file is damaged"), 1);
  ExpectAllRestore();
}

// A page size that changes: a snapshot, and no merge across it.
TEST_F(KeeperTest, PageSizeChanges) {
  {
    SqliteApp app(Path());
    app.Exec("PRAGMA page_size = 4096");
    Create(app);
    Busy(app, minutes(10), seconds(20));
  }
  Stop();
  {
    SqliteApp app(Path());
    app.Exec(
        "PRAGMA journal_mode = delete; PRAGMA page_size = 1024; VACUUM; "
        "PRAGMA journal_mode = wal");
  }
  Restart();
  SqliteApp app(Path());
  Busy(app, hours(2), seconds(20));
  EXPECT_GE(Files(9).size(), 2U);
  EXPECT_GT(Files(3).back().id.txids.max.value, 100U);
  EXPECT_EQ(Status().error, "");
  ExpectAllRestore();
}

TEST_F(KeeperTest, AwayReplicaIsNotHammered) {
  SqliteApp app(Path());
  Create(app);
  Busy(app, minutes(10), seconds(10));
  store_.SetFaults([](StorageCall call, const FileId& id) {
    const bool fails = call == StorageCall::kWrite && id.level != kLevel0;
    return fails ? StorageFault::kFailBefore : StorageFault::kNone;
  });
  const auto writes = store_.calls(StorageCall::kWrite);
  Busy(app, hours(2), seconds(60));
  EXPECT_LT(store_.calls(StorageCall::kWrite) - writes, 120U + 60U);
  EXPECT_NE(Status().error, "");
  // Nothing goes that is not merged.
  EXPECT_GE(Files(0).size(), 120U);
  EXPECT_GE(LocalFiles(), 120U);
  store_.SetFaults(nullptr);
  Busy(app, minutes(20), seconds(30));
  EXPECT_EQ(Status().error, "");
  EXPECT_LE(Files(0).size(), 60U);
  ExpectAllRestore();
}

// An answer to a merge that was lost: the same file again, not another beside it.
TEST_F(KeeperTest, LostAnswersAreRecognised) {
  SqliteApp app(Path());
  Create(app);
  int n = 0;
  store_.SetFaults([&n](StorageCall call, const FileId& id) {
    const bool loses = call == StorageCall::kWrite && id.level != kLevel0 && n++ % 2 == 0;
    return loses ? StorageFault::kFailAfter : StorageFault::kNone;
  });
  Busy(app, hours(1), seconds(10));
  store_.SetFaults(nullptr);
  for (const int level : {1, 2}) {
    Txid end;
    for (const FileInfo& file : Files(level)) {
      if (end != Txid{}) {
        EXPECT_EQ(file.id.txids.min, end.Next()) << level;
      }
      end = file.id.txids.max;
    }
  }
  ExpectAllRestore();
}

// A bucket that locks its objects.
TEST_F(KeeperTest, DeniedDeletesAreSaidOnce) {
  SqliteApp app(Path());
  Create(app);
  store_.SetFaults([](StorageCall call, const FileId& id) {
    const bool locked = call == StorageCall::kDelete && id.txids.max.value % 2 == 0;
    return locked ? StorageFault::kDenied : StorageFault::kNone;
  });
  Busy(app, minutes(30), seconds(10));
  EXPECT_EQ(recorded_.Count("does not let files be removed"), 1);
  Run(hours(1));
  const auto deletes = store_.calls(StorageCall::kDelete);
  Run(hours(1));
  EXPECT_EQ(store_.calls(StorageCall::kDelete), deletes);
  for (const FileInfo& file : Files(0)) {
    EXPECT_TRUE(file.id.txids.max.value % 2 == 0 || file.id == Files(0).back().id);
  }
}

// -once -enforce-retention, of what has piled up.
TEST_F(KeeperTest, RetentionOnDemand) {
  SqliteApp app(Path());
  Create(app);
  upkeep_.snapshot_interval = minutes(20);
  upkeep_.retention.snapshot_retention = hours(1);
  upkeep_.retention.enabled = false;
  Restart();
  Busy(app, hours(5), seconds(60));
  upkeep_.retention.enabled = true;
  Restart();
  ASSERT_TRUE(engine().SyncOnce(ctx_).ok());
  const auto listing = ListReplica(ctx_, *MakeMemoryClient(store_), true);
  ASSERT_TRUE(listing.ok());
  const auto plan = PlanRetention(listing.value(), upkeep_.retention, env_->clock().Now());
  ASSERT_TRUE(plan.ok());
  EXPECT_GE(plan.value().remove.size(), 200U);
  // What a store keeps in spite of its answer is an error.
  store_.SetFaults([](StorageCall call, const FileId&) {
    return call == StorageCall::kDelete ? StorageFault::kIgnored : StorageFault::kNone;
  });
  EXPECT_FALSE(engine().RetainOnce(ctx_).ok());
  store_.SetFaults({});
  Restart();
  ASSERT_TRUE(engine().SyncOnce(ctx_).ok());
  const auto retained = engine().RetainOnce(ctx_);
  EXPECT_TRUE(retained.ok()) << retained.error().message();
  std::vector<FileId> kept;
  std::vector<FileId> there;
  for (const RetentionVerdict& verdict : plan.value().keep) kept.push_back(verdict.file.id);
  for (int level = 0; level < kLevelCount; ++level) {
    for (const FileInfo& file : Files(level)) there.push_back(file.id);
  }
  EXPECT_EQ(there, kept);
  ExpectAllRestore();
  // There is nothing left to do.
  const auto deletes = store_.calls(StorageCall::kDelete);
  EXPECT_TRUE(engine().RetainOnce(ctx_).ok());
  EXPECT_EQ(store_.calls(StorageCall::kDelete), deletes);
  // And it goes on from there.
  Busy(app, hours(2), seconds(60));
  ExpectAllRestore();
}

TEST_F(KeeperTest, RetentionOnDemandThatIsDisabledSaysSo) {
  SqliteApp app(Path());
  Create(app);
  upkeep_.retention.enabled = false;
  Restart();
  ASSERT_TRUE(engine().SyncOnce(ctx_).ok());
  EXPECT_TRUE(engine().RetainOnce(ctx_).ok());
  EXPECT_EQ(recorded_.Count("retention is disabled"), 1);
}

// A store that acknowledges deletes and keeps the files.
TEST_F(KeeperTest, DeletesThatDoNothingEnd) {
  SqliteApp app(Path());
  Create(app);
  store_.SetFaults([](StorageCall call, const FileId&) {
    return call == StorageCall::kDelete ? StorageFault::kIgnored : StorageFault::kNone;
  });
  Busy(app, minutes(30), seconds(10));
  EXPECT_EQ(recorded_.Count("says that it removes files, and keeps them"), 1);
  const auto deletes = store_.calls(StorageCall::kDelete);
  Busy(app, minutes(30), seconds(10));
  EXPECT_EQ(store_.calls(StorageCall::kDelete), deletes);
  ExpectRestores();
}

TEST_F(KeeperTest, RetentionCanBeOff) {
  upkeep_.retention.enabled = false;
  Restart();
  SqliteApp app(Path());
  Create(app);
  Busy(app, minutes(30), seconds(10));
  EXPECT_EQ(store_.calls(StorageCall::kDelete), 0U);
  EXPECT_LE(LocalFiles(), 10U);
}

// The process is killed again and again, at no particular moment.
// What grows old after a restart goes all the same, while nobody writes and nothing is open.
TEST_F(KeeperTest, RetentionOfAParkedDatabase) {
  OpenDatabases open{0};
  open_ = &open;
  Restart();
  SqliteApp app(Path());
  Create(app);
  const auto park = [&] {
    Run(minutes(6));
    struct timespec times[2] = {};
    const auto now = clock_.Now().time_since_epoch() - minutes(1);
    times[0].tv_sec = times[1].tv_sec = std::chrono::duration_cast<seconds>(now).count();
    if (engine().Status().state != DatabaseState::kParked) {
      EXPECT_EQ(::utimensat(AT_FDCWD, Path().c_str(), times, 0), 0);
    }
    Run(minutes(6));
    return engine().Status().state == DatabaseState::kParked;
  };
  Busy(app, minutes(20), minutes(1));
  ASSERT_TRUE(park());
  EXPECT_GT(Files(1).size(), 10U);
  EXPECT_GT(Files(2).size(), 2U);
  Close();
  Restart();
  Run(hours(24 * 7));
  EXPECT_EQ(engine().Status().state, DatabaseState::kParked);
  EXPECT_EQ(Files(0).size(), 1U);
  EXPECT_EQ(Files(1).size(), 1U);
  EXPECT_EQ(Files(2).size(), 1U);
  ExpectAllRestore();
}

TEST_F(KeeperTest, RestartsAtAnyTime) {
  SqliteApp app(Path());
  Create(app);
  for (int i = 0; i < 60; ++i) {
    Busy(app, seconds(20 + i * 7 % 60), seconds(5));
    Restart();
  }
  Busy(app, hours(1), seconds(30));
  EXPECT_GE(Files(2).size(), 10U);
  EXPECT_LE(Files(0).size(), 30U);
  EXPECT_EQ(recorded_.Count("compaction failed"), 0);
  ExpectAllRestore();
}

}  // namespace
}  // namespace litestream
