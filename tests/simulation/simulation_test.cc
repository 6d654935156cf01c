// The simulator itself: that it is a machine, that it is the same every time, and that it finds a
// bug when there is one.

#include "tests/simulation/simulation.h"

#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/simulation/application.h"
#include "tests/simulation/runner.h"
#include "tests/simulation/vfs.h"
#include "tests/simulation/world.h"

namespace litestream::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::int64_t kMinuteNs = 60'000'000'000;

TEST(FiberTest, StandsStillAndGoesOn) {
  std::string seen;
  Fiber fiber([&seen] {
    seen += "a";
    Fiber::Suspend();
    seen += "b";
  });
  fiber.Resume();
  seen += "1";
  EXPECT_FALSE(fiber.done());
  fiber.Resume();
  EXPECT_TRUE(fiber.done());
  EXPECT_EQ(seen, "a1b");
}

TEST(PosixLocksTest, AnyCloseDropsAllLocksOfTheProcess) {
  using Kind = PosixLocks::Kind;
  PosixLocks locks;
  EXPECT_TRUE(locks.Set(1, 10, 5, Kind::kShared));
  EXPECT_TRUE(locks.Set(2, 10, 5, Kind::kShared));
  EXPECT_FALSE(locks.Set(1, 10, 5, Kind::kExclusive));
  EXPECT_TRUE(locks.CloseAny(2, 10));
  EXPECT_FALSE(locks.CloseAny(2, 10));
  EXPECT_TRUE(locks.Set(1, 10, 5, Kind::kExclusive));
  EXPECT_FALSE(locks.Set(2, 10, 5, Kind::kShared));
  locks.Die(1);
  EXPECT_TRUE(locks.Set(2, 10, 5, Kind::kExclusive));
}

class WorldTest : public ::testing::Test {
 protected:
  WorldTest() : world_(1, 100) {
    SeedSqlite(1);
    EXPECT_TRUE(world_.disk().CreateDirectory("/data", {}).ok());
    EXPECT_TRUE(world_.disk().SyncDirectory("/").ok());
  }
  void Run() { world_.Run(world_.now_ns() + kMinuteNs); }

  World world_;
  Plan plan_;
};

TEST_F(WorldTest, SleepersWakeInTheOrderOfTheirTimes) {
  std::string seen;
  world_.Start("a", {}, [&](Process& p) {
    p.Sleep(seconds(2));
    seen += "a";
  });
  world_.Start("b", {}, [&](Process& p) {
    p.Sleep(seconds(1));
    seen += "b";
  });
  Run();
  EXPECT_EQ(seen, "ba");
}

TEST_F(WorldTest, WhatADeadProcessDoesHasNoEffect) {
  bool locked = false;
  const std::uint32_t pid =
      world_
          .Start("victim", {},
                 [&](Process& p) {
                   const auto lock = p.env().Lock("/data/lock", {});
                   const auto file = p.env().Open("/data/file", {.write = true, .create = true});
                   const std::byte byte{1};
                   EXPECT_TRUE(file.value()->WriteAt({&byte, 1}, 0).ok());
                   p.Sleep(seconds(10));
                   EXPECT_TRUE(p.dead());
                   EXPECT_FALSE(file.value()->WriteAt({&byte, 1}, 1).ok());
                   // Waits do not hold it up.
                   p.clock().Wait({}, std::chrono::hours(1));
                 })
          .pid();
  world_.Start("killer", {}, [&](Process& p) {
    p.Sleep(seconds(1));
    EXPECT_FALSE(p.env().Lock("/data/lock", {}).ok());
    world_.Crash(pid);
    p.Sleep(milliseconds(1));
    locked = p.env().Lock("/data/lock", {}).ok();
  });
  Run();
  EXPECT_FALSE(world_.Alive(pid));
  EXPECT_TRUE(locked);
  EXPECT_EQ(world_.disk().Stat("/data/file").value().size_bytes, 1U);
}

// A writer dies in every one of its calls in turn. Whoever comes after it finds a whole database,
// with the commit or without.
TEST_F(WorldTest, SqliteSurvivesADeathInEveryCall) {
  const std::string path = "/data/db";
  std::int64_t total = 0;
  for (std::uint64_t call = 1; call < 250; ++call) {
    const std::uint32_t pid =
        world_
            .Start("writer", {},
                   [&](Process& p) {
                     AppConnection app(p, plan_, path);
                     if (!app.Open()) return;
                     (void)app.Exec("PRAGMA journal_mode = wal");
                     (void)app.Exec("PRAGMA wal_autocheckpoint = 3");
                     (void)app.Exec("CREATE TABLE IF NOT EXISTS t (x)");
                     (void)app.Exec("INSERT INTO t VALUES (randomblob(3000))");
                   })
            .pid();
    world_.Find(pid)->CrashInCall(call);
    Run();
    world_.Start("reader", {}, [&](Process& p) {
      AppConnection app(p, plan_, path);
      EXPECT_TRUE(app.Open());
      EXPECT_EQ(app.Text("PRAGMA integrity_check"), "ok");
      if (app.Number("SELECT count(*) FROM sqlite_schema") == 0) return;
      const auto rows = app.Number("SELECT count(*) FROM t");
      ASSERT_TRUE(rows);
      EXPECT_GE(*rows, total);
      EXPECT_LE(*rows, total + 1);
      total = *rows;
    });
    Run();
    ASSERT_FALSE(world_.failed()) << world_.failure() << "\n" << world_.trace().Last(60);
  }
  EXPECT_GT(total, 10);
}

TEST(SimulationTest, TheSameSeedIsTheSameRun) {
  std::set<std::uint64_t> hashes;
  for (const std::uint64_t seed : {2U, 16U, 37U}) {
    RunOptions options{.seed = seed, .busy = std::chrono::minutes(2)};
    const RunResult first = RunSimulation(options);
    EXPECT_EQ(first.failure, "");
    EXPECT_GT(first.commits, 3U);
    // Other addresses, the same run.
    const std::vector<char> elsewhere(1'000'003);
    const RunResult second = RunSimulation(options);
    EXPECT_EQ(first.hash, second.hash);
    EXPECT_EQ(first.events, second.events);
    hashes.insert(first.hash);
    // All faults that happened, as a script: the same again.
    options.script.emplace();
    for (const Fault& fault : first.faults) options.script->insert(fault.key);
    EXPECT_EQ(RunSimulation(options).hash, first.hash);
  }
  EXPECT_EQ(hashes.size(), 3U);
}

}  // namespace
}  // namespace litestream::sim
