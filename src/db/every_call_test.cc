// Every single call that the engine makes, to SQLite's files, to its own and to the replica, fails
// once, is its last, or is the moment in which somebody else does something. Attach, capture,
// checkpoint and upload are all on the way.

#include <map>
#include <set>

#include <fmt/format.h>
#include <sqlite3.h>

#include "format/names.h"
#include "tests/support/db_fixture.h"
#include "tests/support/fault_env.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/remote_app.h"

namespace litestream {
namespace {

using testing::FaultEnv;
using testing::FaultVfs;

class EveryCallTest : public DbFixture {
 protected:
  EveryCallTest() {
    env_ = &files_;
    sqlite_vfs_ = vfs_.name();
    checkpoint_.min_pages = 20;
    files_.SetHook([this](const char*, const std::filesystem::path&) -> Result<void> {
      if (AtCall()) return Error(env_code_, "planted");
      return {};
    });
    vfs_.SetHook([this](const char*, const char*) {
      return at_sqlite_ && AtCall() ? sqlite_code_ : SQLITE_OK;
    });
    store_.SetFaults([this](StorageCall, const FileId&) {
      return AtCall() ? StorageFault::kFailBefore : StorageFault::kNone;
    });
  }

  // True: this call fails. (Nothing is counted while nothing is armed: restores have threads.)
  bool AtCall() {
    if (at_ == kNever || acting_ || ++calls_ < at_) return false;
    if (calls_ > at_) return dead_;
    if (!act_) return fails_;
    acting_ = true;
    act_();
    acting_ = false;
    return false;
  }
  void Arm(std::uint64_t nth) {
    calls_ = 0;
    at_ = nth;
  }
  // Nothing fails any more. False: the call that was armed was never reached.
  bool Disarm() {
    const bool reached = calls_ >= at_;
    at_ = kNever;
    return reached;
  }

  void Create(SqliteApp& app) {
    app.Exec("PRAGMA wal_autocheckpoint = 0; PRAGMA busy_timeout = 0");
    app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
    Write(app, 3);
  }
  void Write(SqliteApp& app, int rows) {
    for (int i = 0; i < rows; ++i) app.TryExec("INSERT INTO t (x) VALUES (randomblob(2000))");
  }
  static constexpr std::uint64_t kNever = ~std::uint64_t{0};
  FaultEnv files_{Env::Real()};
  FaultVfs vfs_{"every-call"};
  ErrorCode env_code_ = ErrorCode::kIo;
  int sqlite_code_ = SQLITE_IOERR;
  bool fails_ = true;
  bool dead_ = false;      // What follows fails too.
  bool at_sqlite_ = true;  // SQLite's calls count too.
  std::function<void()> act_;

 private:
  bool acting_ = false;
  std::uint64_t calls_ = 0;
  std::uint64_t at_ = kNever;
};

// --- A call fails. D8, R2: half an attach is none, and the next try begins anew. ---

struct Failure {
  const char* name;
  ErrorCode env_code;
  int sqlite_code;
};

class CallFailsTest : public EveryCallTest, public ::testing::WithParamInterface<Failure> {};

// A clean start each time: attach, first capture, capture, checkpoint.
TEST_P(CallFailsTest, D8R2ItGoesOnByItself) {
  env_code_ = GetParam().env_code;
  sqlite_code_ = GetParam().sqlite_code;
  SqliteApp app(Path());
  Create(app);
  bool reached = true;
  for (std::uint64_t nth = 1; reached && !HasFailure(); ++nth) {
    SCOPED_TRACE(fmt::format("call {} fails", nth));
    Arm(nth);
    Run(std::chrono::seconds(2));
    Write(app, 25);
    Run(std::chrono::seconds(100));
    reached = Disarm();
    Run(std::chrono::minutes(20));  // Longer than any back-off.
    EXPECT_EQ(engine().Status().state, DatabaseState::kReplicating) << engine().Status().error;
    ExpectRestores();
    Close();
    app.Exec("DELETE FROM t");
  }
}

INSTANTIATE_TEST_SUITE_P(Codes, CallFailsTest,
                         ::testing::Values(Failure{"Io", ErrorCode::kIo, SQLITE_IOERR},
                                           Failure{"DiskFull", ErrorCode::kNoSpace, SQLITE_FULL},
                                           Failure{"Denied", ErrorCode::kDenied, SQLITE_PERM},
                                           Failure{"Busy", ErrorCode::kUnavailable, SQLITE_BUSY}),
                         [](const auto& info) { return std::string(info.param.name); });

// --- A call is the last one: the process dies. ---

// The application goes on, checkpoints, restarts the WAL; the next process finds it so.
TEST_F(EveryCallTest, DiesAtAnyCall) {
  dead_ = true;
  SqliteApp app(Path());
  Create(app);
  const char* const checkpoints[] = {"PRAGMA wal_checkpoint(PASSIVE)",
                                     "PRAGMA wal_checkpoint(RESTART)",
                                     "PRAGMA wal_checkpoint(TRUNCATE)", ""};
  std::map<Txid, std::vector<std::byte>> states;
  bool reached = true;
  int round = 0;
  for (std::uint64_t nth = 1; reached && !HasFailure(); ++nth, ++round) {
    SCOPED_TRACE(fmt::format("dies at call {}", nth));
    Arm(nth);
    Run(std::chrono::seconds(2));
    Write(app, 25);
    Run(std::chrono::seconds(100));
    Stop();
    reached = Disarm();
    Write(app, 1 + round % 5);
    app.TryExec(checkpoints[round % 4]);
    Write(app, round % 3);
    const Txid txid = Sync();
    states[txid] = CheckpointedCopy(Path());
    Stop();
    app.Exec("DELETE FROM t");
  }
  for (const auto& [txid, bytes] : states) {
    EXPECT_TRUE(Restored(txid) == bytes) << FormatTxid(txid);
  }
}

// --- In the moment of a call, an application does something. ---

struct Act {
  const char* name;
  const char* sql;
};

class ActAtCallTest : public EveryCallTest, public ::testing::WithParamInterface<Act> {
 protected:
  // All states that were ever committed, as they would restore.
  void Note() { committed_.insert(CheckpointedCopy(Path())); }
  std::set<std::vector<std::byte>> committed_;
};

// R4, R6, R7, R33, D10: whatever is committed or checkpointed while a full file is made, a stretch
// is captured or a checkpoint runs, every file leads to a state that was committed, and the last
// one to the newest.
TEST_P(ActAtCallTest, EveryStateWasCommitted) {
  auto app = std::make_unique<SqliteApp>(Path());
  Create(*app);
  Note();
  act_ = [&] {
    for (int i = 0; i < 2; ++i) {
      app->TryExec("INSERT INTO t (x) VALUES (randomblob(5000))");
      Note();
    }
    app->TryExec(GetParam().sql);
    Note();
    app->TryExec("UPDATE t SET x = randomblob(100) WHERE id % 3 = 0");
    Note();
  };
  bool reached = true;
  for (std::uint64_t nth = 1; reached && !HasFailure(); ++nth) {
    SCOPED_TRACE(fmt::format("acts at call {}", nth));
    ASSERT_TRUE(MakeMemoryClient(store_)->DeleteAll(ctx_).ok());
    std::filesystem::remove_all(Meta());
    committed_.clear();
    Note();
    Arm(nth);
    Run(std::chrono::seconds(2));
    Write(*app, 25);
    Note();
    Run(std::chrono::seconds(100));
    reached = Disarm();
    Run(std::chrono::minutes(2));
    const Txid newest = engine().Status().txid;
    EXPECT_EQ(engine().Status().errors, 0U) << engine().Status().error;
    ExpectRestores();
    for (Txid txid{1}; txid <= newest; txid = txid.Next()) {
      EXPECT_TRUE(committed_.contains(Restored(txid))) << FormatTxid(txid);
    }
    Stop();
    app->Exec("DELETE FROM t");
  }
}

// R6: commits in the moment of every call, each on another page, so that a lost one shows. (Not at
// SQLite's: what changes whenever it looks makes it give up.)
TEST_F(EveryCallTest, R6CommitsAtEveryCall) {
  at_sqlite_ = false;
  auto app = std::make_unique<SqliteApp>(Path());
  Create(*app);
  Write(*app, 60);
  std::set<std::vector<std::byte>> committed = {CheckpointedCopy(Path())};
  int commits = 0;
  act_ = [&] {
    Arm(1);
    const int row = 1 + commits * 7 % 60;
    const int code =
        app->TryExec(fmt::format("UPDATE t SET x = randomblob(2000) WHERE id = {}", row));
    if (code == SQLITE_OK) ++commits;
    if (code == SQLITE_OK) committed.insert(CheckpointedCopy(Path()));
  };
  Arm(1);
  Run(std::chrono::seconds(20));
  Disarm();
  Run(std::chrono::minutes(2));
  EXPECT_GT(engine().Status().checkpoints, 3U);
  EXPECT_GT(commits, 100);
  EXPECT_EQ(engine().Status().errors, 0U) << engine().Status().error;
  ExpectRestores();
  for (Txid txid{1}; txid <= engine().Status().txid; txid = txid.Next()) {
    EXPECT_TRUE(committed.contains(Restored(txid))) << FormatTxid(txid);
  }
}

INSTANTIATE_TEST_SUITE_P(Acts, ActAtCallTest,
                         ::testing::Values(Act{"Commits", ""},
                                           Act{"Passive", "PRAGMA wal_checkpoint(PASSIVE)"},
                                           Act{"Restart", "PRAGMA wal_checkpoint(RESTART)"},
                                           Act{"Truncate", "PRAGMA wal_checkpoint(TRUNCATE)"},
                                           Act{"Vacuum", "VACUUM"}),
                         [](const auto& info) { return std::string(info.param.name); });

// D16: another database takes the path in the moment of a call. No file mixes the two.
TEST_F(EveryCallTest, D16ReplacedAtAnyCall) {
  const auto other = dir_.path() / "other";
  std::unique_ptr<SqliteApp> app;
  std::set<std::vector<std::byte>> committed;
  // Between SQLite's opening of the database and of its -shm, no connection survives it.
  at_sqlite_ = false;
  act_ = [&] {
    app.reset();
    for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(Path().string() + suffix);
    std::filesystem::rename(other, Path());
    app = std::make_unique<SqliteApp>(Path());
    committed.insert(CheckpointedCopy(Path()));
    Write(*app, 5);
    committed.insert(CheckpointedCopy(Path()));
  };
  bool reached = true;
  for (std::uint64_t nth = 1; reached && !HasFailure(); ++nth) {
    SCOPED_TRACE(fmt::format("replaced at call {}", nth));
    ASSERT_TRUE(MakeMemoryClient(store_)->DeleteAll(ctx_).ok());
    std::filesystem::remove_all(Meta());
    for (const char* suffix : {"", "-wal", "-shm"}) {
      std::filesystem::remove(Path().string() + suffix);
      std::filesystem::remove(other.string() + suffix);
    }
    {
      SqliteApp second(other);
      second.Exec("CREATE TABLE u (y); CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
      for (int i = 0; i < 20; ++i) second.Exec("INSERT INTO u VALUES (randomblob(3000))");
    }
    app = std::make_unique<SqliteApp>(Path());
    Create(*app);
    committed = {CheckpointedCopy(Path())};
    Arm(nth);
    Run(std::chrono::seconds(2));
    Write(*app, 25);
    committed.insert(CheckpointedCopy(Path()));
    Run(std::chrono::seconds(100));
    reached = Disarm();
    Run(std::chrono::minutes(20));
    ExpectRestores();
    const Txid newest = engine().Status().txid;
    for (Txid txid{1}; txid <= newest; txid = txid.Next()) {
      EXPECT_TRUE(committed.contains(Restored(txid))) << FormatTxid(txid);
    }
    Stop();
    app.reset();
  }
}

// The -shm file is deleted in the moment of a call: from then on nobody sees our locks, and another
// process checkpoints and restarts the WAL while we read it (D6, R3, D16).
TEST_F(EveryCallTest, D6ShmDeletedAtAnyCall) {
  // In the middle of a checkpoint or a recovery no SQLite survives it.
  at_sqlite_ = false;
  RemoteApp app(Path());
  const auto rows = [](const auto& query) {
    return query("SELECT group_concat(substr(x, 5990), ',') FROM t WHERE id % 75 = 0");
  };
  const auto remote_rows = [&] { return rows([&](const char* sql) { return app.Query(sql); }); };
  const auto restored_rows = [&](std::optional<Txid> txid) {
    const TempDir dir;
    WriteWholeFile(dir.path() / "copy", Restored(txid));
    SqliteApp copy(dir.path() / "copy");
    EXPECT_EQ(copy.Text("PRAGMA integrity_check"), "ok");
    return rows([&](const char* sql) { return copy.Text(sql); });
  };
  std::set<std::string> committed;
  int value = 0;
  // The database is larger than what is read at once; these are rows all over it.
  const auto write = [&](int count, const char* which) {
    for (int i = 0; i < count; ++i) {
      app.Exec(fmt::format("UPDATE t SET x = printf('%06000d', {}) WHERE {}", ++value, which));
    }
    committed.insert(remote_rows());
  };
  act_ = [&] {
    app.Close();
    std::filesystem::remove(Path().string() + "-shm");
    for (int i = 0; i < 3; ++i) {
      app.Exec("PRAGMA wal_autocheckpoint = 0");
      write(5, "id % 75 = 0");
      app.Exec("PRAGMA wal_checkpoint(TRUNCATE)");
    }
    write(2, "id % 150 = 0");
  };
  bool reached = true;
  for (std::uint64_t nth = 1; reached && !HasFailure(); ++nth) {
    SCOPED_TRACE(fmt::format("deleted at call {}", nth));
    ASSERT_TRUE(MakeMemoryClient(store_)->DeleteAll(ctx_).ok());
    std::filesystem::remove_all(Meta());
    for (const char* suffix : {"", "-wal", "-shm"}) {
      std::filesystem::remove(Path().string() + suffix);
    }
    ASSERT_EQ(app.Exec("PRAGMA wal_autocheckpoint = 0"), SQLITE_OK);
    ASSERT_EQ(app.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x); WITH RECURSIVE n(i) AS "
                       "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450) "
                       "INSERT INTO t (x) SELECT printf('%06000d', 0) FROM n;"
                       "PRAGMA wal_checkpoint(TRUNCATE)"),
              SQLITE_OK);
    write(1, "id % 150 = 0");
    committed = {remote_rows()};
    Arm(nth);
    Run(std::chrono::seconds(2));
    write(3, "id % 150 = 0");
    Run(std::chrono::seconds(100));
    reached = Disarm();
    Run(std::chrono::minutes(20));
    EXPECT_EQ(restored_rows(std::nullopt), remote_rows());
    const Txid newest = engine().Status().txid;
    for (Txid txid{1}; txid <= newest; txid = txid.Next()) {
      EXPECT_TRUE(committed.contains(restored_rows(txid))) << FormatTxid(txid);
    }
    Stop();
    app.Close();
  }
}

}  // namespace
}  // namespace litestream
