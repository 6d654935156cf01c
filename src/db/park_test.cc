// Databases at which nothing happens: closed, and found again (design 9).

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <vector>

#include "db/store.h"
#include "format/names.h"
#include "tests/support/db_fixture.h"
#include "tests/support/fault_env.h"
#include "tests/support/recorded_log.h"

namespace litestream {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr const char* kCompared = "comparing the database with what was captured";

class ParkTest : public DbFixture {
 protected:
  ParkTest() {
    log_ = recorded_.logger();
    row_bytes_ = 500;
  }
  DatabaseOptions ParkingOptions() {
    DatabaseOptions options = Options();
    options.open_databases = &open_;
    return options;
  }
  void Start() {
    engine_ = std::make_unique<Database>(*env_, scheduler_, ParkingOptions(), log_);
    Run(seconds(1));
  }
  // The database file, so long from now.
  void SetWritten(std::chrono::hours from_now) {
    std::filesystem::last_write_time(Path(),
                                     std::filesystem::file_time_type::clock::now() + from_now);
  }
  // The file's times are those of the real clock, and the engine's are simulated. One that is
  // parked already (on a slow machine) is left as it is: this would be a change.
  void Age() {
    if (State() == DatabaseState::kParked) return;
    SetWritten(-std::chrono::hours(1));
  }
  void Park() {
    Run(minutes(6));
    Age();
    Run(minutes(6));
    ASSERT_EQ(State(), DatabaseState::kParked) << engine().Status().error;
  }
  DatabaseState State() { return engine().Status().state; }
  // Attached, with everything in its file and an empty WAL, and replicated.
  void StartAtRest(OpenDatabases& all) {
    {
      SqliteApp app(Path());
      CreateTable(app, 5);
    }
    SetWritten(-std::chrono::hours(1));
    DatabaseOptions options = Options();
    options.open_databases = &all;
    engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
    Run(minutes(2));
    ASSERT_EQ(State(), DatabaseState::kReplicating);
  }
  void ExpectLevel() {
    const DatabaseStatus status = engine().Status();
    EXPECT_EQ(status.replicas[0].state, ReplicaState::kInSync) << status.replicas[0].error;
    EXPECT_EQ(status.replicas[0].txid, status.txid);
    ExpectRestores();
  }
  std::uintmax_t WalBytes() {
    return std::filesystem::exists(Wal()) ? std::filesystem::file_size(Wal()) : 0;
  }

  RecordedLog recorded_{LogLevel::kDebug};
  OpenDatabases open_{0};
};

TEST_F(ParkTest, IdleDatabaseIsClosed) {
  SqliteApp app(Path());
  CreateTable(app, 5);
  Start();
  EXPECT_EQ(State(), DatabaseState::kReplicating);
  Park();
  EXPECT_EQ(WalBytes(), 0U);
  ExpectLevel();
  // Nobody holds it any more: not the database, and not our state.
  app.Exec("PRAGMA locking_mode = EXCLUSIVE");
  app.Exec("BEGIN EXCLUSIVE");
  app.Exec("ROLLBACK");
  EXPECT_TRUE(Env::Real().Lock(Meta() / "lock", {}).ok());
}

TEST_F(ParkTest, CommitsWakeIt) {
  SqliteApp app(Path());
  CreateTable(app, 5);
  Start();
  for (int i = 0; i < 3; ++i) {
    SCOPED_TRACE(i);
    Park();
    const Txid before = engine().Status().txid;
    Write(app, 3);
    Run(minutes(6));
    EXPECT_EQ(engine().Status().txid, before.Next());
    ExpectLevel();
  }
  // Everything was in the WAL, from its front on.
  EXPECT_EQ(recorded_.Count(kCompared), 0);
  EXPECT_GE(recorded_.Count("parked"), 3);
}

// The WAL is gone when we look, and its commits are in the file.
TEST_F(ParkTest, ApplicationThatClosesTheDatabase) {
  {
    SqliteApp app(Path());
    CreateTable(app, 5);
    Start();
    Park();
  }
  {
    SqliteApp app(Path());
    Write(app, 3);
    app.Exec("PRAGMA wal_checkpoint(TRUNCATE)");
  }
  Run(minutes(6));
  EXPECT_EQ(recorded_.Count(kCompared), 1);
  ExpectLevel();
}

// Part of it is in the file already, and all of it in the WAL.
TEST_F(ParkTest, CheckpointByTheApplication) {
  SqliteApp app(Path());
  CreateTable(app, 5);
  Start();
  Park();
  Write(app, 3);
  app.Exec("PRAGMA wal_checkpoint(PASSIVE)");
  Write(app, 3);
  Run(minutes(6));
  EXPECT_EQ(recorded_.Count(kCompared), 1);
  ExpectLevel();
}

TEST_F(ParkTest, ReplacedOrDeletedWhileItIsParked) {
  {
    SqliteApp app(Path());
    CreateTable(app, 5);
    Start();
    Park();
  }
  const auto copy = dir_.path() / "copy";
  std::filesystem::copy_file(Path(), copy);
  std::filesystem::remove(Path());
  std::filesystem::remove(Wal());
  Run(minutes(6));
  EXPECT_EQ(State(), DatabaseState::kWaiting);
  {
    SqliteApp other(copy);
    Write(other, 7);
  }
  std::filesystem::rename(copy, Path());
  Run(minutes(6));
  EXPECT_EQ(recorded_.Count(kCompared), 1);
  ExpectLevel();
}

// A clean stop parks, and the start opens nothing and asks for nothing.
TEST_F(ParkTest, StopAndStart) {
  SqliteApp app(Path());
  CreateTable(app, 5);
  Start();
  Run(minutes(5));
  Age();
  Close();
  EXPECT_EQ(WalBytes(), 0U);
  const auto lists = store_.calls(StorageCall::kList);
  Start();
  Run(minutes(6));
  EXPECT_EQ(State(), DatabaseState::kParked);
  EXPECT_EQ(store_.calls(StorageCall::kList), lists);
  ExpectLevel();
  EXPECT_EQ(recorded_.Count("attached"), 1);
  // And once more.
  Close();
  Write(app, 2);
  Start();
  Run(minutes(6));
  ExpectLevel();
  EXPECT_EQ(recorded_.Count(kCompared), 0);
  EXPECT_EQ(recorded_.Count("attached"), 2);
}

// The replica was emptied, and only the database has what it needs.
TEST_F(ParkTest, StopOpensItIfTheReplicaNeedsIt) {
  SqliteApp app(Path());
  CreateTable(app, 5);
  Start();
  Park();
  Close();
  const auto client = MakeMemoryClient(store_);
  const auto files = client->List(ctx_, kLevel0, {});
  for (const FileInfo& file : files.value()) {
    ASSERT_TRUE(client->Delete(ctx_, std::span(&file.id, 1)).ok());
  }
  for (const auto& entry : std::filesystem::directory_iterator(Meta())) {
    if (entry.path().filename().string().starts_with("catalogue-")) {
      std::filesystem::remove(entry.path());
    }
  }
  for (const auto& entry : std::filesystem::directory_iterator(Meta() / "ltx/0")) {
    if (entry.path().filename() != FormatLtxFilename({Txid{1}, Txid{1}})) continue;
    std::filesystem::remove(entry.path());
  }
  engine_ = std::make_unique<Database>(*env_, scheduler_, ParkingOptions(), log_);
  store_.SetFaults([](StorageCall, const FileId&) { return StorageFault::kFailBefore; });
  Run(seconds(1));
  store_.SetFaults(nullptr);
  Close();
  ExpectRestores();
}

// Before the first commit a note would prove nothing; with it, it is there.
// The catalogue was saved while the lease was good, and the stop gives that up.
TEST_F(ParkTest, AStopSavesTheMarkThatItLeaves) {
  {
    SqliteApp app(Path());
    CreateTable(app, 5);
  }
  SetWritten(-std::chrono::hours(1));
  DatabaseOptions options = ParkingOptions();
  options.upkeep.levels = {seconds(2)};
  const auto start = [&] {
    engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
    Run(seconds(10));
    EXPECT_EQ(State(), DatabaseState::kParked);
  };
  start();
  const auto leases = store_.calls(StorageCall::kPutObject);
  Close();
  EXPECT_EQ(store_.calls(StorageCall::kPutObject) - leases, 1U) << "given up";
  start();
  SqliteApp app(Path());
  Write(app, 1);
  Run(minutes(1));
  ExpectLevel();
  EXPECT_EQ(recorded_.Count("another process wrote the lease"), 0);
}

// It is parked under a lease that is valid. Whoever takes the state directory has to wait for that:
// the process lives, and may still write.
TEST_F(ParkTest, AnHeirWaitsForTheLeaseOfAParkedDatabase) {
  {
    SqliteApp app(Path());
    CreateTable(app, 5);
  }
  SetWritten(-std::chrono::hours(1));
  DatabaseOptions options = ParkingOptions();
  options.upkeep.levels = {seconds(2)};
  engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
  Run(seconds(10));
  ASSERT_EQ(State(), DatabaseState::kParked);
  // It finds the catalogue, and nothing to do; and then a commit, before the parked one hears of
  // it.
  Database heir(*env_, scheduler_, Options(), log_);
  ASSERT_TRUE(heir.SyncOnce(ctx_).ok());
  SqliteApp app(Path());
  Write(app, 1);
  const MonoTime begun = clock_.Monotonic();
  const auto synced = heir.SyncOnce(ctx_);
  ASSERT_TRUE(synced.ok()) << synced.error().message();
  EXPECT_GT(clock_.Monotonic() - begun, seconds(10));
  ExpectRestores();
}

// What the replica holds is another history's, and the database is closed before anybody knows.
TEST_F(ParkTest, AnotherHistoryIsGoneOnAbove) {
  for (const bool at_the_stop : {false, true}) {
    SCOPED_TRACE(at_the_stop);
    Txid before;
    {
      SqliteApp app(Path());
      app.Exec("DROP TABLE IF EXISTS t");
      CreateTable(app, 1);
      Start();
      Write(app, 2);
      Run(minutes(1));
      before = engine().Status().txid;
      Stop();
      std::filesystem::remove_all(Meta());
      app.Exec("DELETE FROM t");
    }
    SetWritten(-std::chrono::hours(1));
    if (at_the_stop) {
      store_.SetFaults([](StorageCall, const FileId&) { return StorageFault::kFailBefore; });
    }
    Start();
    Run(minutes(1));
    store_.SetFaults(nullptr);
    if (at_the_stop) {
      EXPECT_EQ(State(), DatabaseState::kParked);
      Close();
    } else {
      EXPECT_LT(recorded_.Count("woken"), 3);
      EXPECT_GT(engine().Status().txid, before);
      ExpectLevel();
      Stop();
    }
    EXPECT_TRUE(Restored() == CheckpointedCopy(Path()));
  }
}

// The clock was set back: the file seems to be written in the future, and cannot be parked.
TEST_F(ParkTest, AFileFromTheFutureIsLookedAtRarely) {
  {
    SqliteApp app(Path());
    CreateTable(app, 5);
  }
  SetWritten(std::chrono::hours(24));
  Start();
  Run(minutes(2));
  EXPECT_EQ(State(), DatabaseState::kReplicating);
  EXPECT_LT(scheduler_.RunFor(minutes(10)), 100U);
}

// A writer died in the middle of a commit: its frames stand behind the end of the log. Whoever
// waits for that commit does not try to park all the time.
TEST_F(ParkTest, FramesOfADeadWriterCostNothing) {
  SqliteApp app(Path());
  app.Exec("PRAGMA wal_autocheckpoint = 0");
  CreateTable(app, 5);
  Start();
  Write(app, 2);
  Run(seconds(2));
  {
    // What it wrote: a frame of this generation, and no commit.
    std::fstream wal(Wal(), std::ios::in | std::ios::out | std::ios::binary);
    std::vector<char> frame(24 + 4096);
    wal.seekg(-static_cast<std::streamoff>(frame.size()), std::ios::end);
    wal.read(frame.data(), static_cast<std::streamsize>(frame.size()));
    std::fill_n(frame.begin() + 4, 4, '\0');
    wal.seekp(0, std::ios::end);
    wal.write(frame.data(), static_cast<std::streamsize>(frame.size()));
  }
  Age();
  Run(minutes(1));
  EXPECT_LT(scheduler_.RunFor(minutes(10)), 200U);
}

TEST_F(ParkTest, FirstNoteComesWithTheFirstCommit) {
  {
    SqliteApp app(Path());
    CreateTable(app, 5);
  }
  Run(seconds(1));
  EXPECT_EQ(engine().Status().txid, Txid{1});
  EXPECT_FALSE(std::filesystem::exists(Meta() / "position"));
  SqliteApp app(Path());
  app.Exec("PRAGMA wal_autocheckpoint = 0");
  Write(app, 1);
  Run(seconds(31));  // Events of the machine come in their own time; the slow tick comes.
  EXPECT_TRUE(std::filesystem::exists(Meta() / "position"));
  Stop();
  Write(app, 1);
  Run(seconds(2));
  EXPECT_EQ(engine().Status().txid, Txid{3});
  EXPECT_EQ(recorded_.Count(kCompared), 0);
  ExpectRestores();
}

// It is noted while there is time.
TEST_F(ParkTest, MakesRoomWithoutAWrite) {
  OpenDatabases all(1);
  StartAtRest(all);
  const auto long_ago = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(Meta())) {
    files.push_back(entry.path());
  }
  for (const auto& file : files) std::filesystem::last_write_time(file, long_ago);
  {
    OpenDatabases::Member other(all, [] {});
    EXPECT_FALSE(other.Enter(scheduler_.clock().Monotonic()));
    Run(seconds(1));
    EXPECT_EQ(State(), DatabaseState::kParked);
    EXPECT_TRUE(other.Enter(scheduler_.clock().Monotonic()));
  }
  for (const auto& file : files) {
    EXPECT_EQ(std::filesystem::last_write_time(file), long_ago) << file;
  }
  SqliteApp app(Path());
  Write(app, 3);
  Run(minutes(6));
  ExpectLevel();
  EXPECT_EQ(recorded_.Count(kCompared), 0);
  Stop();
}

// What died while it was open and at rest is found parked, with all that was committed since.
TEST_F(ParkTest, CrashAtRest) {
  OpenDatabases all(1);
  StartAtRest(all);
  Stop();
  Start();
  Run(minutes(6));
  EXPECT_EQ(State(), DatabaseState::kParked);
  EXPECT_EQ(recorded_.Count("attached"), 1);
  Stop();
  SqliteApp app(Path());
  app.Exec("PRAGMA wal_autocheckpoint = 0");
  Write(app, 3);
  Start();
  ExpectLevel();
  EXPECT_EQ(recorded_.Count(kCompared), 0);
}

// A commit after the note, and a crash: the note speaks of the past.
TEST_F(ParkTest, CrashAfterItWasAtRest) {
  OpenDatabases all(1);
  StartAtRest(all);
  SqliteApp app(Path());
  app.Exec("PRAGMA wal_autocheckpoint = 0");
  for (int i = 0; i < 3; ++i) {
    Write(app, 1);
    Run(minutes(1));
  }
  const Txid last = engine().Status().txid;
  Stop();
  app.Exec("PRAGMA wal_checkpoint(TRUNCATE)");
  Start();
  EXPECT_GE(engine().Status().txid, last);
  EXPECT_EQ(recorded_.Count("attached"), 2);
  ExpectLevel();
}

// A file that changes nothing, such as a full one that a replica wanted, leaves the database as it
// is noted. The replica may have that file.
TEST_F(ParkTest, LocalFileBehindTheNote) {
  SqliteApp app(Path());
  CreateTable(app, 5);
  Start();
  Park();
  Close();
  const auto local = [this](std::uint64_t txid) {
    return Meta() / "ltx/0" / FormatLtxFilename({Txid{txid}, Txid{txid}});
  };
  std::uint64_t newest = 1;
  while (std::filesystem::exists(local(newest + 1))) ++newest;
  std::filesystem::copy_file(local(newest), local(newest + 1));
  Start();
  EXPECT_EQ(recorded_.Count("attached"), 2);
  EXPECT_GT(engine().Status().txid, Txid{newest});
  ExpectLevel();
}

// Stopped while it is parked, with commits that nobody has looked at.
TEST_F(ParkTest, StopTakesTheLastCommits) {
  SqliteApp app(Path());
  CreateTable(app, 5);
  Start();
  Park();
  Write(app, 2);
  Close();
  ExpectRestores();
}

// The times of a write may survive a power failure, and its data not, or the other way round.
TEST_F(ParkTest, ProvesNothingAfterTheMachineWasStartedAnew) {
  SqliteApp app(Path());
  CreateTable(app, 5);
  Start();
  Park();
  Close();
  testing::FaultEnv env(Env::Real());
  env.SetBootId("another");
  env_ = &env;
  Start();
  EXPECT_EQ(recorded_.Count(kCompared), 1);
  ExpectLevel();
  Stop();
}

// A snapshot that has to be read from the database is due while it is parked.
TEST_F(ParkTest, IsWokenForASnapshot) {
  SqliteApp app(Path());
  app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
  row_bytes_ = 3900;  // Random bytes: a merge would not be cheaper.
  Write(app, 20);
  DatabaseOptions options = ParkingOptions();
  options.upkeep.levels = {seconds(30)};
  options.upkeep.snapshot_interval = std::chrono::hours(6);
  engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
  for (int i = 0; i < 3; ++i) {
    SCOPED_TRACE(i);
    // The first may have its snapshot at once, the next one only in some hours.
    for (int commit = 0; commit < 2; ++commit) {
      app.Exec("UPDATE t SET x = randomblob(3900) WHERE id % 2 = 0");
      Park();
    }
    const Txid before = engine().Status().txid;
    // It is parked again before anybody asks once more.
    for (int part = 0; part < 13 * 12; ++part) {
      Age();
      Run(minutes(5));
    }
    const auto snapshots = MakeMemoryClient(store_)->List(ctx_, kSnapshotLevel, {});
    ASSERT_TRUE(snapshots.ok());
    EXPECT_GE(snapshots.value().back().id.txids.max, before);
    // One is enough.
    EXPECT_LE(engine().Status().txid, before.Next());
    ExpectLevel();
  }
}

TEST_F(ParkTest, LargeOnesStayOpen) {
  SqliteApp app(Path());
  CreateTable(app, 100);
  DatabaseOptions options = ParkingOptions();
  options.park_max_bytes = 10'000;
  engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
  Run(minutes(6));
  Age();
  Run(minutes(60));
  EXPECT_EQ(State(), DatabaseState::kReplicating);
}

// A reader who stays keeps the WAL from being emptied.
TEST_F(ParkTest, ReadersAreLeftAlone) {
  SqliteApp app(Path());
  CreateTable(app, 5);
  SqliteApp reader(Path());
  Start();
  reader.Exec("BEGIN; SELECT count(*) FROM t");
  Write(app, 1);
  Run(minutes(6));
  Age();
  Run(minutes(6));
  EXPECT_EQ(State(), DatabaseState::kReplicating);
  EXPECT_EQ(reader.Int("SELECT count(*) FROM t"), 5);
  reader.Exec("COMMIT");
  Run(minutes(6));
  Age();
  Run(minutes(6));
  EXPECT_EQ(State(), DatabaseState::kParked);
  ExpectLevel();
}

// --- How many are open. ---

class Woken {
 public:
  std::function<void()> Callback() {
    return [this] { ++count_; };
  }
  int Take() { return std::exchange(count_, 0); }

 private:
  int count_ = 0;
};

TEST(OpenDatabases, WhoIsIdleLongestMakesRoom) {
  OpenDatabases all(2);
  Woken woken[4];
  OpenDatabases::Member a(all, woken[0].Callback());
  OpenDatabases::Member b(all, woken[1].Callback());
  OpenDatabases::Member c(all, woken[2].Callback());
  OpenDatabases::Member d(all, woken[3].Callback());
  const MonoTime now{minutes(1)};
  EXPECT_TRUE(a.Enter(now));
  EXPECT_TRUE(b.Enter(now));
  a.SetParkable(now - seconds(1));
  b.SetParkable(now - seconds(2));
  EXPECT_FALSE(a.ParkAt());
  EXPECT_FALSE(c.Enter(now));
  EXPECT_EQ(woken[1].Take(), 1);
  EXPECT_EQ(b.ParkAt(), MonoTime{});
  // Asking again asks nobody else; another one does.
  EXPECT_FALSE(c.Enter(now));
  EXPECT_EQ(woken[0].Take(), 0);
  EXPECT_FALSE(d.Enter(now));
  EXPECT_EQ(woken[0].Take(), 1);
  b.Leave();
  EXPECT_EQ(woken[2].Take(), 1);
  EXPECT_TRUE(c.Enter(now));
  c.SetParkable(now + minutes(5));
  // It cannot: nobody is left to be asked, so nobody waits.
  a.SetParkable(now + minutes(5));
  EXPECT_EQ(woken[3].Take(), 1);
  EXPECT_TRUE(d.Enter(now));
  EXPECT_EQ(a.ParkAt(), now + minutes(5));
  d.Leave();
  EXPECT_FALSE(a.ParkAt());
}

// However many come at once: they wait for those who go, and nobody waits for ever for those who
// cannot.
TEST(OpenDatabases, MoreWaitThanAreOpen) {
  OpenDatabases all(2);
  Woken woken;
  std::vector<std::unique_ptr<OpenDatabases::Member>> members;
  for (int i = 0; i < 10; ++i) {
    members.push_back(std::make_unique<OpenDatabases::Member>(all, woken.Callback()));
  }
  MonoTime now{minutes(1)};
  int inside = 0;
  for (const auto& member : members) inside += member->Enter(now) ? 1 : 0;
  EXPECT_EQ(inside, 2);
  now += seconds(9);
  EXPECT_FALSE(members[5]->Enter(now));
  members[0]->Leave();
  inside = 0;
  for (std::size_t i = 1; i < members.size(); ++i) inside += members[i]->Enter(now) ? 1 : 0;
  EXPECT_EQ(inside, 2);
  now += seconds(20);
  EXPECT_TRUE(members[9]->Enter(now));
}

TEST(OpenDatabases, WhoGoesAwayIsForgotten) {
  OpenDatabases all(1);
  Woken woken[2];
  auto a = std::make_unique<OpenDatabases::Member>(all, woken[0].Callback());
  auto b = std::make_unique<OpenDatabases::Member>(all, woken[1].Callback());
  EXPECT_TRUE(a->Enter(MonoTime{}));
  a->SetParkable(MonoTime{});
  EXPECT_FALSE(b->Enter(MonoTime{}));
  a.reset();
  EXPECT_EQ(woken[1].Take(), 1);
  EXPECT_TRUE(b->Enter(MonoTime{}));
  b.reset();
}

TEST(OpenDatabases, NoLimit) {
  OpenDatabases all(-1);
  Woken woken;
  OpenDatabases::Member a(all, woken.Callback());
  EXPECT_TRUE(a.Enter(MonoTime{}));
  a.SetParkable(MonoTime{});
  EXPECT_FALSE(a.ParkAt());
}

// Many databases, few of which may be open: all are replicated, by the real scheduler.
TEST(OpenDatabasesTest, FleetTakesTurns) {
  constexpr int kDatabases = 40;
  constexpr int kLimit = 4;
  const TempDir dir;
  std::vector<std::unique_ptr<MemoryStore>> stores;
  RecordedLog recorded(LogLevel::kDebug);
  const auto scheduler = MakePoolScheduler({});
  Store store(Env::Real(), *scheduler, {.max_open_databases = kLimit}, recorded.logger());
  for (int i = 0; i < kDatabases; ++i) {
    DatabaseOptions options;
    options.path = dir.path() / ("db" + std::to_string(i));
    SqliteApp app(options.path);
    app.Exec("CREATE TABLE t (x)");
    app.Close();
    std::filesystem::last_write_time(
        options.path, std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
    stores.push_back(std::make_unique<MemoryStore>());
    ReplicaOptions replica;
    replica.client = MakeMemoryClient(*stores.back());
    options.replicas = {replica};
    ASSERT_TRUE(store.Add(options).ok());
  }
  store.Start();
  const Context ctx(std::stop_token(), Clock::Real().Monotonic() + minutes(2), Clock::Real());
  const auto done = [&] {
    int level = 0;
    int parked = 0;
    for (const DatabaseStatus& status : store.Status()) {
      level += status.replicas[0].state == ReplicaState::kInSync ? 1 : 0;
      parked += status.state == DatabaseState::kParked ? 1 : 0;
    }
    // Who is met when nobody can make room goes in, too.
    return level == kDatabases && parked >= kDatabases - 2 * kLimit;
  };
  while (!done() && ctx.Wait(std::chrono::milliseconds(5)).ok()) continue;
  EXPECT_TRUE(done());
  ASSERT_TRUE(store.Close({}).ok());
}

// The replica's lease has run out long ago. Nobody else had it: what is known of the replica
// counts.
TEST_F(ParkTest, AWakeUpCostsOneWriteOfTheLease) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  Start();
  Park();
  const auto calls = [this] {
    return std::array{store_.calls(StorageCall::kPutObject), store_.calls(StorageCall::kGetObject),
                      store_.calls(StorageCall::kList)};
  };
  const auto before = calls();
  Write(app, 1);
  Run(minutes(6));
  const auto after = calls();
  ExpectLevel();
  EXPECT_EQ(after[0], before[0] + 1);
  EXPECT_EQ(after[1], before[1]);
  EXPECT_EQ(after[2], before[2]);
}

// The lock of the state directory is free then, and its process lives: whoever comes must not take
// the lease up.
TEST_F(ParkTest, AParkedDatabaseLeavesNoNameBehind) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  Start();
  EXPECT_TRUE(std::filesystem::exists(Meta() / "instance"));
  Park();
  EXPECT_FALSE(std::filesystem::exists(Meta() / "instance"));
  Write(app, 1);
  Run(minutes(6));
  ExpectLevel();
  EXPECT_TRUE(std::filesystem::exists(Meta() / "instance"));
}

}  // namespace
}  // namespace litestream
