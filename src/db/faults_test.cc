// The state directory fails, or loses power, at any call: nothing that was acknowledged is lost,
// and everything goes on by itself.

#include <map>
#include <utility>

#include <fmt/format.h>

#include "base/memory_env.h"
#include "format/names.h"
#include "tests/support/db_fixture.h"
#include "tests/support/recorded_log.h"
#include "tests/support/split_env.h"

namespace litestream {
namespace {

class FaultsTest : public DbFixture {
 protected:
  FaultsTest() {
    env_ = &split_;
    EXPECT_TRUE(CreateDirectories(memory_, dir_.path(), {}).ok());
    checkpoint_.min_pages = 20;
    row_bytes_ = 2000;
  }
  // A start, a capture, a checkpoint: some hundred calls that a fault may hit.
  void Work(SqliteApp& app) {
    Write(app, 2);
    (void)engine().SyncOnce(ctx_).ok();
    Write(app, 25);
    Run(std::chrono::seconds(100));
    app.Exec("DELETE FROM t");
  }
  // Every call of the start, where most differ, then one in a while.
  static std::uint64_t NthCall(int round) {
    const auto n = static_cast<std::uint64_t>(round);
    return round < 40 ? n + 1 : 40 + (n - 39) * 7;
  }
  static constexpr int kRounds = 80;

  MemoryEnv memory_{clock_, 7};
  SplitEnv split_{Meta(), memory_};
};

struct Case {
  const char* why;
  ErrorCode code;
};

class EveryCallFailsTest : public FaultsTest, public ::testing::WithParamInterface<Case> {};

TEST_P(EveryCallFailsTest, ItGoesOnByItself) {
  SqliteApp app(Path());
  app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
  for (int round = 0; round < kRounds && !HasFailure(); ++round) {
    const std::uint64_t nth = NthCall(round);
    SCOPED_TRACE(fmt::format("call {} fails", nth));
    const std::uint64_t at = memory_.call_count() + nth;
    memory_.SetFault([&](const EnvCallInfo& info) -> std::optional<EnvFault> {
      if (info.number != at) return std::nullopt;
      return EnvFault{.code = GetParam().code, .written_bytes = 100};
    });
    Work(app);
    memory_.SetFault(nullptr);
    Run(std::chrono::minutes(20));  // Longer than any back-off.
    ExpectRestores();
    Stop();
  }
}

INSTANTIATE_TEST_SUITE_P(Codes, EveryCallFailsTest,
                         ::testing::Values(Case{"disk full", ErrorCode::kNoSpace},
                                           Case{"input/output error", ErrorCode::kIo}));

// The last commit is in a durable file, only the page sums behind it could not be written. Nobody
// commits any more, so nothing brings the uploader another file.
TEST_F(FaultsTest, CaptureThatFailsBehindItsFileIsUploaded) {
  SqliteApp app(Path());
  app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
  Run(std::chrono::seconds(5));
  bool failed = false;
  memory_.SetFault([&failed](const EnvCallInfo& info) -> std::optional<EnvFault> {
    if (failed || info.call != EnvCall::kWrite || info.path.filename() != "pages.sum") {
      return std::nullopt;
    }
    failed = true;
    return EnvFault{.code = ErrorCode::kIo};
  });
  Write(app, 1);
  // Past the next checkpoint, which needs the read transaction to follow.
  const std::size_t runs = scheduler_.RunFor(std::chrono::minutes(5));
  EXPECT_TRUE(failed);
  EXPECT_LT(runs, 1'000U);
  EXPECT_GT(engine().Status().checkpoints, 0U);
  EXPECT_EQ(engine().Status().replicas[0].txid, engine().Status().txid);
  ExpectRestores();
}

// And when mending the table fails, too, the position stands.
TEST_F(FaultsTest, MendThatFailsKeepsThePosition) {
  RecordedLog log(LogLevel::kInfo);
  log_ = log.logger();
  SqliteApp app(Path());
  app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
  Run(std::chrono::seconds(5));
  int failed = 0;
  memory_.SetFault([&failed](const EnvCallInfo& info) -> std::optional<EnvFault> {
    if (failed == 2 || info.call != EnvCall::kWrite || info.path.filename() != "pages.sum") {
      return std::nullopt;
    }
    ++failed;
    return EnvFault{.code = ErrorCode::kIo};
  });
  for (int i = 0; i < 2; ++i) {
    Write(app, 1);
    scheduler_.RunFor(std::chrono::minutes(1));
  }
  EXPECT_EQ(failed, 2);
  EXPECT_EQ(log.Count("opening the database again"), 0);
  EXPECT_EQ(log.Count("comparing the database"), 0);
  ExpectRestores();
}

// The table takes only some of what a capture found, and at once a mark follows, for a snapshot
// that the replica needs. The mark's page in the table does not make the rest of it right.
TEST_F(FaultsTest, MarkBehindACaptureThatFailedHalfway) {
  RecordedLog log(LogLevel::kInfo);
  log_ = log.logger();
  stream_above_bytes_ = 0;
  SqliteApp app(Path());
  app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
  Write(app, 50);
  Run(std::chrono::seconds(5));
  Close();
  ASSERT_TRUE(MakeMemoryClient(store_)->DeleteAll(ctx_).ok());
  Write(app, 1);
  int writes = 0;
  const auto fail_the_second = [&writes](const EnvCallInfo& info) -> std::optional<EnvFault> {
    if (info.call != EnvCall::kWrite || info.path.filename() != "pages.sum" || ++writes != 2) {
      return std::nullopt;
    }
    return EnvFault{.code = ErrorCode::kIo};
  };
  // While it is looked at what the replica needs.
  bool changed = false;
  store_.SetFaults([&](StorageCall call, const FileId&) {
    if (call == StorageCall::kList && !std::exchange(changed, true)) {
      app.Exec("UPDATE t SET x = randomblob(400) WHERE id IN (1, 25, 50)");
      memory_.SetFault(fail_the_second);
    }
    return StorageFault::kNone;
  });
  Run(std::chrono::minutes(1));
  EXPECT_GT(writes, 2);
  EXPECT_EQ(log.Count("cannot write page sums"), 1);
  for (int i = 0; i < 3; ++i) {
    app.Exec("UPDATE t SET x = randomblob(400) WHERE id IN (2, 25, 49)");
    Run(std::chrono::minutes(1));
  }
  EXPECT_EQ(log.Count("page sums do not add up"), 0);
  store_.SetFaults(nullptr);
  ExpectRestores();
}

// What a sync that failed was to write is lost, and the next one says nothing of it.
TEST_F(FaultsTest, SyncOfThePageSumsThatFailed) {
  RecordedLog log(LogLevel::kInfo);
  log_ = log.logger();
  SqliteApp app(Path());
  app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
  Write(app, 20);
  Run(std::chrono::minutes(5));
  int syncs = 0;
  memory_.SetFault([&syncs](const EnvCallInfo& info) -> std::optional<EnvFault> {
    if (info.call != EnvCall::kSyncData || info.path.filename() != "pages.sum" || ++syncs != 1) {
      return std::nullopt;
    }
    return EnvFault{.code = ErrorCode::kIo};
  });
  app.Exec("UPDATE t SET x = randomblob(300)");
  Run(std::chrono::minutes(5));
  // Nothing that the next one changes.
  app.Exec("DELETE FROM t WHERE id = 1");
  Run(std::chrono::minutes(5));
  EXPECT_GT(syncs, 2);
  Stop();
  memory_.SetFault(nullptr);
  memory_.Crash([](const UnsyncedChange& change) { return change.path.filename() != "pages.sum"; });
  Run(std::chrono::minutes(5));
  EXPECT_EQ(log.Count("page sums do not add up"), 0);
  ExpectRestores();
}

// R23: the power fails at the n-th call; what was not synced is lost, in part or whole. Every
// transaction that the replica held then still restores to what it was, and the newest state is the
// database's.
TEST_F(FaultsTest, PowerFailsAtEveryCall) {
  SqliteApp app(Path());
  app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
  std::map<Txid, std::vector<std::byte>> states;
  for (int round = 0; round < kRounds && !HasFailure(); ++round) {
    const std::uint64_t nth = NthCall(round);
    SCOPED_TRACE(fmt::format("power fails at call {}", nth));
    const std::uint64_t at = memory_.call_count() + nth;
    memory_.SetFault([&](const EnvCallInfo& info) -> std::optional<EnvFault> {
      if (info.number < at) return std::nullopt;
      if (info.number == at) memory_.Crash(nth);
      return EnvFault{.code = ErrorCode::kIo};  // The process does nothing any more.
    });
    Work(app);
    Stop();
    memory_.SetFault(nullptr);
    const Txid txid = Sync();
    states[txid] = CheckpointedCopy(Path());
    Stop();
  }
  for (const auto& [txid, bytes] : states) {
    EXPECT_TRUE(Restored(txid) == bytes) << FormatTxid(txid);
  }
}

}  // namespace
}  // namespace litestream
