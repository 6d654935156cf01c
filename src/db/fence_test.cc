// Two writers of one replica, and what the lease costs. Each test fails if the fence is left out.

#include "db/fence.h"

#include <filesystem>
#include <string>

#include "base/memory_env.h"
#include "storage/lease.h"
#include "tests/contract/bodies.h"
#include "tests/support/db_fixture.h"
#include "tests/support/recorded_log.h"
#include "tests/support/split_env.h"

namespace litestream {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class FenceTest : public DbFixture {
 protected:
  FenceTest() {
    log_ = recorded_.logger();
    row_bytes_ = 500;
    // Events of the machine come in their own time; without them the log is looked at every second.
    without_events_.SetWatches(false);
    env_ = &without_events_;
    store_.SetFaults([this](StorageCall call, const FileId& id) {
      if (call == StorageCall::kWrite || call == StorageCall::kDelete) written_ += 1;
      return faults_ ? faults_(call, id) : StorageFault::kNone;
    });
  }

  // So many requests for the lease since the last call.
  struct Asked {
    std::uint64_t gets = 0;
    std::uint64_t puts = 0;
    std::uint64_t lists = 0;
    friend bool operator==(const Asked&, const Asked&) = default;
    friend void PrintTo(const Asked& asked, std::ostream* out) {
      *out << asked.gets << " GET, " << asked.puts << " PUT, " << asked.lists << " LIST";
    }
  };
  Asked AskedSince() {
    const Asked all{.gets = store_.calls(StorageCall::kGetObject),
                    .puts = store_.calls(StorageCall::kPutObject),
                    .lists = store_.calls(StorageCall::kList)};
    const Asked before = std::exchange(asked_, all);
    return {.gets = all.gets - before.gets,
            .puts = all.puts - before.puts,
            .lists = all.lists - before.lists};
  }
  // Another machine takes the lease: at once if it may, else after it has run out.
  Result<Lease> Stranger() { return Leaser(*other_, {"stranger:1", "s"}).Acquire(ctx_); }
  // What it writes to hold it for so long.
  std::string StrangersLease(std::chrono::hours duration) {
    return FormatLease({.generation = 7,
                        .expires_at = clock_.Now() + duration,
                        .owner = "stranger:1",
                        .instance = ""});
  }
  ReplicaStatus Replica() { return engine().Status().replicas[0]; }
  // Until everything is in sync, and the lease has run out.
  void Quiet() {
    Run(minutes(2));
    ASSERT_EQ(Replica().state, ReplicaState::kInSync) << Replica().error;
    AskedSince();
  }
  // The other history is longer than ours: files that do not belong to it are there.
  void RemoveFile(const FileId& id) { ASSERT_TRUE(other_->Delete(ctx_, std::span(&id, 1)).ok()); }

  MemoryEnv nothing_{clock_, 1};
  SplitEnv without_events_{"/nowhere", nothing_};
  RecordedLog recorded_{LogLevel::kInfo};
  std::function<StorageFault(StorageCall, const FileId&)> faults_;
  std::uint64_t written_ = 0;
  Asked asked_;
  const std::unique_ptr<ReplicaClient> other_ = MakeMemoryClient(store_);
};

TEST_F(FenceTest, CostOfAFirstStartAndOfQuiet) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  Run(seconds(5));
  EXPECT_EQ(AskedSince(), (Asked{.gets = 1, .puts = 1, .lists = 10}));
  Quiet();
  Run(std::chrono::hours(24));
  EXPECT_EQ(AskedSince(), Asked()) << "an idle database asks for nothing";
  Write(app, 1);
  Run(minutes(10));
  EXPECT_EQ(AskedSince().puts, 1U) << "a lone commit";
}

TEST_F(FenceTest, CostOfABusyStretch) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  Run(seconds(1));
  AskedSince();
  for (int i = 0; i < 100; ++i) {
    Write(app, 1);
    Run(seconds(1));
  }
  const Asked asked = AskedSince();
  EXPECT_GE(asked.puts, 9U);
  EXPECT_LE(asked.puts, 10U) << "one in ten seconds";
  EXPECT_EQ(asked.gets + asked.lists, 0U);
}

// A commit every 20 s: the lease outlives one pause, and not two.
TEST_F(FenceTest, CostOfLoneCommits) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  Run(seconds(20));
  AskedSince();
  for (int i = 0; i < 10; ++i) {
    Write(app, 1);
    Run(seconds(20));
  }
  EXPECT_LE(AskedSince().puts, 6U);
}

// Clean stop, start, stop: with nothing to do nothing is asked.
TEST_F(FenceTest, AStartWithNothingToDoAsksForNothing) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  Quiet();
  for (int i = 0; i < 3; ++i) {
    Close();
    Run(minutes(2));
    ASSERT_EQ(Replica().state, ReplicaState::kInSync);
    EXPECT_EQ(AskedSince(), Asked());
  }
  Write(app, 1);
  Run(seconds(3));
  EXPECT_EQ(AskedSince(), (Asked{.gets = 0, .puts = 1, .lists = 10}))
      << "by the mark that was saved; the replica is looked at once after a start";
  Close();
  EXPECT_EQ(AskedSince().puts, 1U) << "given up";
  ASSERT_TRUE(Stranger().ok()) << "nobody has to wait for who stopped cleanly";
}

// The process dies. Its heir in the state directory does not wait; anybody else does.
TEST_F(FenceTest, TheOwnLeaseIsTakenUpAfterAKill) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  Run(seconds(5));
  Stop();
  Write(app, 1);
  const auto held = Stranger();
  ASSERT_FALSE(held.ok());
  EXPECT_EQ(held.error().code(), ErrorCode::kAlreadyExists);
  Run(seconds(2));
  EXPECT_EQ(Replica().state, ReplicaState::kInSync) << Replica().error;
  EXPECT_EQ(Replica().txid, Txid{2});
  // A copy of the state directory is no heir: its lock is another file.
  Stop();
  const auto copy = dir_.path() / "copy";
  std::filesystem::copy(Meta(), copy, std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(Meta());
  std::filesystem::rename(copy, Meta());
  Write(app, 1);
  Run(seconds(2));
  EXPECT_EQ(Replica().state, ReplicaState::kFailing);
  EXPECT_NE(Replica().error.find("holds its lease"), std::string::npos) << Replica().error;
  Run(minutes(1));
  EXPECT_EQ(Replica().state, ReplicaState::kInSync) << Replica().error;
  ExpectRestores();
}

// Another machine holds it: nothing is written, it is said once, and looked at slowly.
TEST_F(FenceTest, WhileAnotherHoldsItNothingIsWritten) {
  Leaser stranger(*other_, {"stranger:1", "s"});
  auto lease = stranger.Acquire(ctx_);
  ASSERT_TRUE(lease.ok());
  AskedSince();
  SqliteApp app(Path());
  CreateTable(app, 1);
  for (int i = 0; i < 60; ++i) {
    Write(app, 1);
    Run(seconds(5));
    lease = stranger.Renew(ctx_, lease.value());
    ASSERT_TRUE(lease.ok());
  }
  EXPECT_EQ(written_, 0U);
  EXPECT_EQ(Replica().state, ReplicaState::kFailing);
  EXPECT_NE(Replica().error.find("stranger:1"), std::string::npos) << Replica().error;
  EXPECT_EQ(recorded_.Count("another process has the lease"), 1);
  EXPECT_EQ(recorded_.Count("monitor error"), 0);
  const Asked asked = AskedSince();
  EXPECT_LE(asked.gets, 16U) << "in five minutes";
  EXPECT_EQ(asked.lists, 0U);
  ASSERT_TRUE(stranger.GiveUp(ctx_, MarkOf(lease.value())).ok());
  Run(seconds(35));
  EXPECT_EQ(Replica().state, ReplicaState::kInSync) << Replica().error;
  EXPECT_EQ(recorded_.Count("took the lease"), 1);
  ExpectRestores();
}

// Its holder had a wrong clock, and is gone: nobody waits for a day that is far away.
TEST_F(FenceTest, ALeaseOfAWrongClockEnds) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  ASSERT_TRUE(other_->PutObject(ctx_, kLeaseName, StrangersLease(std::chrono::hours(24)), "").ok());
  Run(minutes(4));
  EXPECT_EQ(written_, 0U);
  EXPECT_EQ(Replica().state, ReplicaState::kFailing);
  Run(minutes(2));
  EXPECT_EQ(Replica().state, ReplicaState::kInSync) << Replica().error;
  ExpectRestores();
}

// The same clock, and he is there: each renewal is a change.
TEST_F(FenceTest, ALeaseOfAWrongClockThatIsRenewedStays) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  std::string tag;
  for (int i = 0; i < 20; ++i) {
    const std::string lease = StrangersLease(std::chrono::hours(24));
    tag = other_->PutObject(ctx_, kLeaseName, lease, tag).value();
    Run(seconds(30));
  }
  EXPECT_EQ(written_, 0U);
}

// It ran out in a quiet time, and somebody came: what was known of the replica is void.
TEST_F(FenceTest, WhoComesInAQuietTimeIsNoticed) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  Quiet();
  Leaser stranger(*other_, {"stranger:1", "s"});
  const auto lease = stranger.Acquire(ctx_);
  ASSERT_TRUE(lease.ok());
  // He does what he likes there: our only file goes, and the snapshot.
  for (Level level = kLevel0; level <= kSnapshotLevel; ++level.value) {
    const auto files = other_->List(ctx_, level, {});
    ASSERT_TRUE(files.ok());
    for (const FileInfo& file : files.value()) RemoveFile(file.id);
  }
  written_ = 0;
  AskedSince();
  Write(app, 1);
  Run(seconds(10));
  EXPECT_EQ(written_, 0U);
  EXPECT_EQ(Replica().state, ReplicaState::kFailing);
  EXPECT_EQ(recorded_.Count("lost the lease"), 1);
  ASSERT_TRUE(stranger.GiveUp(ctx_, MarkOf(lease.value())).ok());
  Run(minutes(2));
  EXPECT_EQ(Replica().state, ReplicaState::kInSync) << Replica().error;
  EXPECT_GE(AskedSince().lists, 10U);
  ExpectRestores();
}

// The same, and he is gone when we come again.
TEST_F(FenceTest, WhoCameAndWentIsNoticed) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  Quiet();
  for (const bool released : {true, false}) {
    SCOPED_TRACE(released);
    Leaser stranger(*other_, {"stranger:1", "s"});
    const auto lease = stranger.Acquire(ctx_);
    ASSERT_TRUE(lease.ok());
    if (released) {
      ASSERT_TRUE(stranger.Release(ctx_, lease.value()).ok());
    } else {
      OutliveLease();
    }
    AskedSince();
    Write(app, 1);
    Run(minutes(1));
    EXPECT_EQ(Replica().state, ReplicaState::kInSync) << Replica().error;
    EXPECT_EQ(AskedSince().lists, 10U);
    Quiet();
  }
  EXPECT_EQ(recorded_.Count("another process wrote the lease"), 2);
  ExpectRestores();
}

// What an earlier process saved counts only if nobody came since.
TEST_F(FenceTest, WhatWasSavedIsVoidIfSomebodyCame) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  Quiet();
  Close();
  ASSERT_TRUE(Stranger().ok());
  OutliveLease();
  Run(minutes(5));
  AskedSince();
  Write(app, 1);
  Run(minutes(1));
  EXPECT_EQ(Replica().state, ReplicaState::kInSync) << Replica().error;
  EXPECT_EQ(AskedSince().lists, 10U);
  EXPECT_EQ(recorded_.Count("another process wrote the lease"), 1);
}

// A store that is away when the lease is due: it goes on while the lease is good, not longer.
TEST_F(FenceTest, RenewalThatFails) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  Run(seconds(1));
  faults_ = [](StorageCall call, const FileId&) {
    return call == StorageCall::kPutObject ? StorageFault::kFailBefore : StorageFault::kNone;
  };
  std::uint64_t before = 0;
  for (int i = 0; i < 40; ++i) {
    before = i < 24 ? written_ : before;
    Write(app, 1);
    Run(seconds(1));
    if (i == 22) {
      EXPECT_EQ(Replica().state, ReplicaState::kInSync) << Replica().error;
    }
  }
  EXPECT_LE(written_ - before, 2U);
  EXPECT_EQ(Replica().state, ReplicaState::kFailing);
  faults_ = nullptr;
  Run(minutes(5));
  EXPECT_EQ(Replica().state, ReplicaState::kInSync) << Replica().error;
  ExpectRestores();
}

// An answer that is lost is no other's hands: nothing is listed anew for it.
TEST_F(FenceTest, RenewalWhoseAnswerIsLost) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  Quiet();
  Holdings holdings;
  Fence fence(*env_, *other_, holdings, LeaseMode::kAuto, log_);
  OutliveLease();
  const auto first = fence.Hold(ctx_);
  ASSERT_TRUE(first.ok()) << first.error().message();
  OutliveLease();
  faults_ = [](StorageCall call, const FileId&) {
    return call == StorageCall::kPutObject ? StorageFault::kFailAfter : StorageFault::kNone;
  };
  EXPECT_FALSE(fence.Hold(ctx_).ok());
  faults_ = nullptr;
  const auto again = fence.Hold(ctx_);
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(again.value(), first.value()) << "the same term";
}

// A parked database's lock is free, and so another process may have read the same file. One of them
// goes on in the term; the other one has to notice.
TEST_F(FenceTest, AMarkThatTwoProcessesHaveRead) {
  Holdings holdings;
  Fence first(*env_, *other_, holdings, LeaseMode::kAuto, log_);
  first.SetInstance(1);
  ASSERT_TRUE(first.Hold(ctx_).ok());
  OutliveLease();
  const LeaseMark saved{.generation = first.mark().generation, .tag = first.mark().tag};
  Holdings holdings_of_second;
  Fence second(*env_, *other_, holdings_of_second, LeaseMode::kAuto, log_);
  second.SetInstance(2);
  second.Remember(saved);
  ASSERT_TRUE(first.Hold(ctx_).ok());
  const auto taken = second.Hold(ctx_);
  ASSERT_FALSE(taken.ok());
  EXPECT_TRUE(second.blocked_until(clock_.Monotonic()));
  OutliveLease();
  const auto later = second.Hold(ctx_);
  ASSERT_TRUE(later.ok()) << later.error().message();
  EXPECT_NE(later.value(), Fence::Term{0}) << "what the file says is void";
  EXPECT_FALSE(first.Hold(ctx_).ok());
}

// What goes up slowly keeps its lease, and is broken off if it cannot.
TEST_F(FenceTest, AnUploadOfMinutesKeepsItsLease) {
  Holdings holdings;
  Fence fence(*env_, *other_, holdings, LeaseMode::kAuto, log_);
  const auto term = fence.Hold(ctx_);
  ASSERT_TRUE(term.ok());
  const UploadGuard guard = fence.GuardFor(ctx_, term.value());
  AskedSince();
  for (int i = 0; i < 60; ++i) {
    clock_.Advance(seconds(5));
    ASSERT_TRUE(guard(ctx_).ok()) << i;
    EXPECT_FALSE(Stranger().ok()) << i;
  }
  EXPECT_EQ(asked_.puts + 30, store_.calls(StorageCall::kPutObject)) << "one in ten seconds";
  // The process is not run for a minute, and somebody else comes.
  OutliveLease();
  ASSERT_TRUE(Stranger().ok());
  EXPECT_FALSE(guard(ctx_).ok());
  EXPECT_FALSE(fence.Hold(ctx_).ok());
  OutliveLease();
  const auto next = fence.Hold(ctx_);
  ASSERT_TRUE(next.ok()) << next.error().message();
  EXPECT_NE(next.value(), term.value());
  EXPECT_FALSE(guard(ctx_).ok()) << "it was begun in another term";
}

// Merges and deletes are fenced as uploads are.
TEST_F(FenceTest, TheKeeperNeedsItToo) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  engine_ = [this] {
    DatabaseOptions options = Options();
    options.upkeep.levels = {std::chrono::hours(1)};
    return std::make_unique<Database>(*env_, scheduler_, options, log_);
  }();
  Run(seconds(5));
  Write(app, 1);
  Run(seconds(40));
  ASSERT_EQ(Replica().state, ReplicaState::kInSync) << Replica().error;
  written_ = 0;
  Leaser stranger(*other_, {"stranger:1", "s"});
  auto lease = stranger.Acquire(ctx_);
  ASSERT_TRUE(lease.ok());
  for (int i = 0; i < 400; ++i) {
    Run(seconds(10));
    lease = stranger.Renew(ctx_, lease.value());
    ASSERT_TRUE(lease.ok());
  }
  EXPECT_EQ(written_, 0U);
  EXPECT_NE(Replica().upkeep.error.find("stranger:1"), std::string::npos);
  EXPECT_EQ(recorded_.Count("lost the lease"), 1);
  EXPECT_EQ(recorded_.Count("compaction failed"), 0);
  ASSERT_TRUE(stranger.GiveUp(ctx_, MarkOf(lease.value())).ok());
  Run(minutes(70));
  EXPECT_EQ(Replica().upkeep.error, "");
  EXPECT_EQ(Replica().upkeep.merged, Txid{2});
  ExpectRestores();
}

// The catalogue was saved while the lease was good. The stop gives that up, and the next process
// has to know the mark that it leaves.
TEST_F(FenceTest, AStopSavesTheMarkThatItLeaves) {
  {
    SqliteApp app(Path());
    CreateTable(app, 1);
  }
  DatabaseOptions options = Options();
  options.upkeep.levels = {seconds(2)};
  const auto start = [&] {
    engine_ = std::make_unique<Database>(*env_, scheduler_, options, log_);
    Run(seconds(10));
  };
  start();
  AskedSince();
  Close();
  EXPECT_EQ(AskedSince().puts, 1U) << "given up";
  start();
  SqliteApp app(Path());
  Write(app, 1);
  Run(seconds(3));
  EXPECT_EQ(AskedSince(), (Asked{.gets = 0, .puts = 1, .lists = 10}));
  EXPECT_EQ(recorded_.Count("another process wrote the lease"), 0);
}

// A place without conditional writes.
class Unconditional final : public contract::ForwardingClient {
 public:
  explicit Unconditional(std::unique_ptr<ReplicaClient> inner)
      : ForwardingClient(*inner), inner_(std::move(inner)) {}
  std::string Describe() const override { return "plain"; }
  Result<std::string> PutObject(const Context&, std::string_view, std::string_view,
                                std::string_view) override {
    ++asked;
    return Error(ErrorCode::kUnsupported, "no conditional writes");
  }
  int asked = 0;

 private:
  const std::unique_ptr<ReplicaClient> inner_;
};

// `-once` waits for what a dead process has left to run out.
TEST_F(FenceTest, OnceWaitsForWhatWasLeft) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  ASSERT_TRUE(Stranger().ok());
  const MonoTime begun = clock_.Monotonic();
  EXPECT_EQ(Sync(), Txid{1});
  EXPECT_GT(clock_.Monotonic() - begun, seconds(25));
  EXPECT_LT(clock_.Monotonic() - begun, seconds(35));
  ExpectRestores();
}

// It does not wait for ever.
TEST_F(FenceTest, OnceGivesUpOnALeaseThatStays) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  ASSERT_TRUE(other_->PutObject(ctx_, kLeaseName, StrangersLease(std::chrono::hours(1)), "").ok());
  const MonoTime begun = clock_.Monotonic();
  const auto synced = engine().SyncOnce(ctx_);
  ASSERT_FALSE(synced.ok());
  EXPECT_NE(synced.error().message().find("stranger:1"), std::string::npos);
  EXPECT_LT(clock_.Monotonic() - begun, minutes(2));
  EXPECT_EQ(written_, 0U);
}

// Nobody has to wait for a process that ended, whether it could upload everything or not.
TEST_F(FenceTest, AStopThatFailsGivesItUpToo) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  Run(seconds(5));
  faults_ = [](StorageCall call, const FileId&) {
    return call == StorageCall::kWrite ? StorageFault::kFailBefore : StorageFault::kNone;
  };
  Write(app, 1);
  const auto soon = ctx_.WithDeadline(clock_.Monotonic() + seconds(3));
  EXPECT_FALSE(CloseEngine(soon, seconds(1)).ok());
  Stop();
  EXPECT_TRUE(Stranger().ok());
}

TEST_F(FenceTest, Modes) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  const struct {
    LeaseMode mode;
    bool conditional;
    bool written;
  } cases[] = {{LeaseMode::kAuto, true, true},     {LeaseMode::kAuto, false, true},
               {LeaseMode::kRequired, true, true}, {LeaseMode::kRequired, false, false},
               {LeaseMode::kOff, true, true},      {LeaseMode::kOff, false, true}};
  for (const auto& c : cases) {
    SCOPED_TRACE(static_cast<int>(c.mode));
    SCOPED_TRACE(c.conditional);
    const MemoryStore store;
    const auto plain = std::make_shared<Unconditional>(MakeMemoryClient(store));
    DatabaseOptions options = Options();
    options.replicas = {ReplicaIn(store)};
    options.replicas[0].lease = c.mode;
    if (!c.conditional) options.replicas[0].client = plain;
    Database database(*env_, scheduler_, options, log_);
    const auto synced = database.SyncOnce(ctx_);
    EXPECT_EQ(synced.ok(), c.written) << (synced.ok() ? "" : synced.error().message());
    if (!synced.ok()) {
      EXPECT_NE(synced.error().message().find("lease: required"), std::string::npos);
    }
    Write(app, 1);
    EXPECT_EQ(database.SyncOnce(ctx_).ok(), c.written);
    const bool there = MakeMemoryClient(store)->GetObject(ctx_, kLeaseName).ok();
    EXPECT_EQ(there, c.conditional && c.mode != LeaseMode::kOff);
    EXPECT_LE(plain->asked, c.mode == LeaseMode::kAuto ? 1 : 2);
  }
  EXPECT_EQ(recorded_.Count("no conditional writes here"), 1);
}

TEST_F(FenceTest, AnotherWritersRubbishIsSaid) {
  ASSERT_TRUE(other_->PutObject(ctx_, kLeaseName, "rubbish", "").ok());
  SqliteApp app(Path());
  CreateTable(app, 1);
  Run(seconds(10));
  EXPECT_EQ(written_, 0U);
  EXPECT_NE(Replica().error.find("remove lock.json"), std::string::npos) << Replica().error;
  ASSERT_TRUE(other_->DeleteObject(ctx_, kLeaseName, "").ok());
  Run(minutes(6));
  EXPECT_EQ(Replica().state, ReplicaState::kInSync) << Replica().error;
}

// Ten thousand databases, a replica each: this is part of what each of them costs.
static_assert(sizeof(Fence) <= 300);

}  // namespace
}  // namespace litestream
