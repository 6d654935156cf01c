// The seal of a checkpoint is taken in by the next capture, so that it costs no upload of its own;
// whatever happens in between, nothing is lost.

#include <map>
#include <random>

#include <fmt/format.h>

#include "base/memory_env.h"
#include "format/names.h"
#include "replica/verify.h"
#include "tests/support/db_fixture.h"
#include "tests/support/split_env.h"

namespace litestream {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

class SealTest : public DbFixture {
 protected:
  SealTest() {
    env_ = &split_;
    split_.SetWatches(false);
    EXPECT_TRUE(CreateDirectories(memory_, dir_.path(), {}).ok());
    checkpoint_.min_pages = 20;
    memory_.SetFault([this](const EnvCallInfo& info) { return OnCall(info); });
  }

  void Create(SqliteApp& app) {
    app.Exec("PRAGMA wal_autocheckpoint = 0");
    app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
    app_ = &app;
    Run(seconds(2));
  }
  void Write(int rows) {
    for (int i = 0; i < rows; ++i) app_->Exec("INSERT INTO t (x) VALUES (randomblob(3000))");
  }
  // Writes enough for a checkpoint, and then, between the capture and the seal, what `tail` says.
  void Load(const std::string& tail = "INSERT INTO t (x) VALUES (randomblob(900))") {
    tail_ = tail;
    Write(30);
  }

  std::optional<EnvFault> OnCall(const EnvCallInfo& info) {
    // A captured file is being made durable; the checkpoint comes next.
    if (!tail_.empty() && info.call == EnvCall::kSyncDirectory && info.path.filename() == "0") {
      const std::string tail = std::exchange(tail_, "");
      app_->Exec(tail);
    }
    return fault_ ? fault_(info) : std::nullopt;
  }

  // Level 0 of the replica, and of the local state.
  std::vector<FileInfo> Level0() {
    auto files = MakeMemoryClient(store_)->List(ctx_, kLevel0, {});
    EXPECT_TRUE(files.ok());
    return files.value();
  }
  Txid NewestOnReplica() { return Level0().back().id.txids.max; }
  Txid NewestLocal() {
    Txid newest;
    const auto entries = memory_.List(Meta() / "ltx" / "0");
    for (const auto& entry : entries.value()) {
      const auto range = ParseLtxFilename(entry.name);
      if (range) newest = std::max(newest, range->max);
    }
    return newest;
  }
  void ExpectProven() {
    const auto report = VerifyReplica(ctx_, *MakeMemoryClient(store_), {});
    ASSERT_TRUE(report.ok());
    EXPECT_TRUE(report.value().proven);
    for (const auto& problem : report.value().problems) ADD_FAILURE() << problem.what;
  }
  void ExpectLevel() {
    ExpectRestores();
    ExpectProven();
  }

  MemoryEnv memory_{clock_, 7};
  SplitEnv split_{Meta(), memory_};
  SqliteApp* app_ = nullptr;
  std::string tail_;
  std::function<std::optional<EnvFault>(const EnvCallInfo&)> fault_;
};

// A checkpoint each second, each with commits that slip in before its seal: one upload each.
TEST_F(SealTest, ConstantLoadMakesOneUploadAnInterval) {
  SqliteApp app(Path());
  Create(app);
  const auto puts = store_.calls(StorageCall::kWrite);
  const auto checkpoints = engine().Status().checkpoints;
  for (int second = 0; second < 60; ++second) {
    Load();
    Run(seconds(1));
    ASSERT_TRUE(tail_.empty());
    ASSERT_EQ(NewestLocal(), NewestOnReplica().Next());
  }
  EXPECT_GE(engine().Status().checkpoints - checkpoints, 59U);
  EXPECT_LE(store_.calls(StorageCall::kWrite) - puts, 64U);
  for (const FileInfo& file : Level0()) EXPECT_EQ(file.id.txids.min, file.id.txids.max);
  Run(seconds(3));
  ExpectLevel();
}

// If nothing follows, the seal goes by itself when a capture would have been due.
TEST_F(SealTest, GoesByItselfAfterQuiet) {
  SqliteApp app(Path());
  Create(app);
  Load();
  Run(seconds(1));
  EXPECT_EQ(NewestLocal(), NewestOnReplica().Next());
  Run(seconds(1));
  EXPECT_EQ(NewestLocal(), NewestOnReplica());
  ExpectLevel();
  const auto status = engine().Status();
  EXPECT_EQ(status.txid, status.replicas[0].txid);
}

TEST_F(SealTest, IsTakenInByTheNextCapture) {
  SqliteApp app(Path());
  Create(app);
  Load();
  Run(seconds(1));
  const Txid seal = NewestLocal();
  ASSERT_EQ(seal, NewestOnReplica().Next());
  Write(1);
  Run(seconds(1));
  EXPECT_EQ(NewestLocal(), seal);
  EXPECT_EQ(NewestOnReplica(), seal);
  ExpectLevel();
}

TEST_F(SealTest, CloseUploadsIt) {
  SqliteApp app(Path());
  Create(app);
  Load();
  Run(seconds(1));
  ASSERT_EQ(NewestLocal(), NewestOnReplica().Next());
  Close();
  ExpectLevel();
}

// Somebody removes it, or everything: what it holds is sent again with the next snapshot.
TEST_F(SealTest, IsRemovedBeforeTheNextCapture) {
  SqliteApp app(Path());
  Create(app);
  for (const bool everything : {false, true}) {
    SCOPED_TRACE(everything);
    Load();
    Run(seconds(1));
    const Txid seal = NewestLocal();
    ASSERT_EQ(seal, NewestOnReplica().Next());
    const auto removed =
        everything ? memory_.RemoveTree(Meta())
                   : memory_.Remove(Meta() / "ltx" / "0" / FormatLtxFilename({seal, seal}));
    ASSERT_TRUE(removed.ok());
    Write(1);
    Run(minutes(10));
    ExpectLevel();
    EXPECT_EQ(engine().Status().state, DatabaseState::kReplicating);
  }
}

// What the application does between the capture and the seal, and what comes after.
TEST_F(SealTest, GrowsAndShrinks) {
  SqliteApp app(Path(), "PRAGMA auto_vacuum = full");
  Create(app);
  const char* tails[] = {
      "DELETE FROM t WHERE id % 2 = 0",
      "INSERT INTO t (x) VALUES (randomblob(200000))",
      "DELETE FROM t",
      "UPDATE t SET x = randomblob(3000) WHERE id % 7 = 0",
  };
  const char* next[] = {
      "INSERT INTO t (x) VALUES (randomblob(150000))",
      "DELETE FROM t",
      "DELETE FROM t WHERE id % 3 = 0",
      "BEGIN; DELETE FROM t; INSERT INTO t (x) VALUES (randomblob(90000)); COMMIT",
  };
  int taken_in = 0;
  for (const char* tail : tails) {
    for (const char* statement : next) {
      SCOPED_TRACE(fmt::format("{}; {}", tail, statement));
      Load(tail);
      Run(seconds(1));
      if (NewestLocal() == NewestOnReplica().Next()) ++taken_in;
      app.Exec(statement);
      Run(seconds(4));
      ExpectLevel();
      if (HasFailure()) return;
    }
  }
  // Not a seal that holds the whole database.
  EXPECT_GT(taken_in, 6);
}

TEST_F(SealTest, RandomLife) {
  std::mt19937 random(11);
  SqliteApp app(Path(), "PRAGMA auto_vacuum = full");
  Create(app);
  const char* statements[] = {
      "INSERT INTO t (x) VALUES (randomblob(9000))",       "DELETE FROM t WHERE id % 3 = 0",
      "UPDATE t SET x = randomblob(500) WHERE id % 5 = 1", "DELETE FROM t",
      "INSERT INTO t (x) VALUES (randomblob(100))",
  };
  for (int i = 0; i < 80 && !HasFailure(); ++i) {
    SCOPED_TRACE(i);
    Load(statements[random() % std::size(statements)]);
    Run(milliseconds(100 + random() % 2500));
    app.Exec(statements[random() % std::size(statements)]);
    if (random() % 6 == 0) Stop();
    if (random() % 4 == 0) {
      Run(seconds(40));
      ExpectLevel();
    }
  }
}

class SealFaultTest : public SealTest {
 protected:
  // Calls of the state directory from the seal on, until the next file is on the replica.
  void Scenario() {
    Load();
    for (int i = 0; i < 30 && NewestLocal() != NewestOnReplica().Next(); ++i) {
      Run(milliseconds(100));
    }
    ASSERT_EQ(NewestLocal(), NewestOnReplica().Next());
    counting_ = true;
    Write(2);
    Run(seconds(2));
    counting_ = false;
  }
  bool counting_ = false;
  int count_ = 0;
};

TEST_F(SealFaultTest, EveryCallMayFail) {
  SqliteApp app(Path());
  Create(app);
  int calls = 0;
  fault_ = [&](const EnvCallInfo&) -> std::optional<EnvFault> {
    if (counting_) ++calls;
    return std::nullopt;
  };
  Scenario();
  ASSERT_GT(calls, 10);
  for (int nth = 1; nth <= calls && !HasFailure(); ++nth) {
    SCOPED_TRACE(fmt::format("call {} fails", nth));
    count_ = 0;
    fault_ = [&](const EnvCallInfo&) -> std::optional<EnvFault> {
      if (!counting_ || ++count_ != nth) return std::nullopt;
      return EnvFault{.code = ErrorCode::kIo, .written_bytes = 100};
    };
    Scenario();
    fault_ = nullptr;
    Run(minutes(10));
    ExpectLevel();
  }
}

TEST_F(SealFaultTest, PowerMayFailAtEveryCall) {
  SqliteApp app(Path());
  Create(app);
  int calls = 0;
  fault_ = [&](const EnvCallInfo&) -> std::optional<EnvFault> {
    if (counting_) ++calls;
    return std::nullopt;
  };
  Scenario();
  ASSERT_GT(calls, 10);
  for (int nth = 1; nth <= calls && !HasFailure(); ++nth) {
    SCOPED_TRACE(fmt::format("power fails at call {}", nth));
    count_ = 0;
    fault_ = [&](const EnvCallInfo&) -> std::optional<EnvFault> {
      if (count_ == 0 && !counting_) return std::nullopt;
      if (++count_ < nth) return std::nullopt;
      if (count_ == nth) memory_.Crash(static_cast<std::uint64_t>(nth));
      return EnvFault{.code = ErrorCode::kIo};
    };
    Scenario();
    Stop();
    fault_ = nullptr;
    tail_.clear();
    Run(seconds(90));
    ExpectLevel();
  }
}

}  // namespace
}  // namespace litestream
