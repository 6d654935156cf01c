// A random life of one database: an application that writes, vacuums, checkpoints and restarts, an
// engine that comes and goes, and every captured state compared with what SQLite itself holds.

#include <map>
#include <random>

#include <fmt/format.h>

#include "format/names.h"
#include "tests/support/db_fixture.h"

namespace litestream {
namespace {

struct Life {
  const char* name;
  int page_size;
  const char* auto_vacuum;
  bool app_checkpoints;
  std::uint64_t batch_limit;
  bool background;  // The engine runs by itself, with its checkpoints, in simulated time.
};

class LifetimeTest : public DbFixture, public ::testing::WithParamInterface<Life> {
 protected:
  void OpenApp() {
    app_ = std::make_unique<SqliteApp>(
        Path(), fmt::format("PRAGMA page_size = {}; PRAGMA auto_vacuum = {}", GetParam().page_size,
                            GetParam().auto_vacuum));
    app_->Exec(GetParam().app_checkpoints ? "PRAGMA wal_autocheckpoint = 50"
                                          : "PRAGMA wal_autocheckpoint = 0");
    app_->Exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, x BLOB)");
  }
  int Pick(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }

  void Act() {
    switch (Pick(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        app_->Exec(fmt::format("INSERT INTO t (x) VALUES (randomblob({}))", Pick(3000)));
        break;
      case 5:
        app_->Exec(
            fmt::format("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                        "WHERE i < {}) INSERT INTO t (x) SELECT randomblob(500) FROM n",
                        Pick(300) + 1));
        break;
      case 6:
        app_->Exec(fmt::format("DELETE FROM t WHERE id % 5 = {}", Pick(5)));
        break;
      case 7:
        app_->Exec(fmt::format("UPDATE t SET x = randomblob(700) WHERE id % 9 = {}", Pick(9)));
        break;
      case 8:
        app_->TryExec("VACUUM");
        break;
      case 9:
        app_->Exec("PRAGMA incremental_vacuum(3)");
        break;
      case 10:
        app_->Exec("BEGIN; DELETE FROM t; ROLLBACK");
        break;
      case 11: {
        const char* modes[] = {"PASSIVE", "FULL", "RESTART", "TRUNCATE"};
        app_->TryExec("PRAGMA busy_timeout = 0");
        app_->TryExec(fmt::format("PRAGMA wal_checkpoint({})", modes[Pick(4)]));
        app_->TryExec("PRAGMA busy_timeout = 5000");
        break;
      }
      case 12:
        app_.reset();
        OpenApp();
        break;
      case 13:
        Stop();
        break;
      case 14:
        if (GetParam().background) Run(std::chrono::milliseconds(Pick(3000)));
        break;
      default:
        Capture();
    }
  }

  void Capture() {
    Txid txid;
    if (GetParam().background) {
      // After the slow tick everything is captured and uploaded.
      Run(std::chrono::seconds(40 + Pick(60)));
      txid = engine().Status().txid;
    } else {
      txid = Sync();
    }
    const auto now = CheckpointedCopy(Path());
    const auto [known, is_new] = states_.try_emplace(txid, now);
    // A TXID that stays the same stands for the same database.
    EXPECT_TRUE(is_new || known->second == now) << FormatTxid(txid);
  }

  std::mt19937 random_;
  std::unique_ptr<SqliteApp> app_;
  std::map<Txid, std::vector<std::byte>> states_;
};

TEST_P(LifetimeTest, EveryCapturedStateRestores) {
  const auto seed = static_cast<unsigned>(::testing::UnitTest::GetInstance()->random_seed()) + 1;
  SCOPED_TRACE(fmt::format("seed {} (--gtest_random_seed={})", seed, seed - 1));
  random_.seed(seed);
  max_sync_wal_bytes_ = GetParam().batch_limit;
  OpenApp();
  checkpoint_.min_pages = 20;
  for (int i = 1; i <= 150 && !HasFailure(); ++i) {
    Act();
    // However the dice fall, some states are compared.
    if (i % 15 == 0) Capture();
  }
  Capture();
  for (const auto& [txid, bytes] : states_) {
    EXPECT_TRUE(Restored(txid) == bytes) << "TXID " << FormatTxid(txid);
  }
  EXPECT_GT(states_.size(), 5U);
}

INSTANTIATE_TEST_SUITE_P(
    Lives, LifetimeTest,
    ::testing::Values(Life{"Plain", 4096, "none", false, 64U << 20, false},
                      Life{"AutoVacuum", 4096, "full", true, 64U << 20, false},
                      Life{"SmallPagesSmallBatches", 512, "incremental", true, 20'000, false},
                      Life{"LargePages", 65536, "none", true, 0, false},
                      Life{"NoCheckpointsSmallBatches", 1024, "full", false, 10'000, false},
                      Life{"PlainInBackground", 4096, "none", false, 64U << 20, true},
                      Life{"AutoVacuumInBackground", 4096, "full", true, 100'000, true},
                      Life{"SmallPagesInBackground", 512, "incremental", true, 20'000, true},
                      Life{"Pages16KInBackground", 16384, "none", false, 0, true}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace litestream
