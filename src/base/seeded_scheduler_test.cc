#include "base/seeded_scheduler.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace litestream {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

class SeededSchedulerTest : public ::testing::Test {
 protected:
  std::unique_ptr<Task> Start(TaskFunction function) {
    return scheduler_.Start(Pool::kCapture, "t", std::move(function));
  }

  ManualClock clock_;
  SeededScheduler scheduler_{1, clock_};
};

TEST_F(SeededSchedulerTest, RunsAtTheStartAndWhenWoken) {
  int runs = 0;
  const auto task = Start([&](const Context&) {
    ++runs;
    return NextRun::WhenWoken();
  });
  EXPECT_EQ(scheduler_.RunUntilIdle(), 1U);
  EXPECT_FALSE(scheduler_.RunOne());
  task->Wake();
  task->Wake();
  EXPECT_EQ(scheduler_.RunUntilIdle(), 1U);
  EXPECT_EQ(runs, 2);
}

TEST_F(SeededSchedulerTest, AWakeDuringARunCausesAnother) {
  std::unique_ptr<Task> task;
  int runs = 0;
  task = Start([&](const Context&) {
    if (++runs == 1) task->Wake();
    return NextRun::WhenWoken();
  });
  EXPECT_EQ(scheduler_.RunUntilIdle(), 2U);
}

TEST_F(SeededSchedulerTest, AStoppedTaskIsNotRunAgain) {
  auto held = std::make_shared<int>(0);
  const auto task = Start([held](const Context&) { return NextRun::At({}); });
  EXPECT_TRUE(scheduler_.RunOne());
  task->Stop();
  EXPECT_EQ(held.use_count(), 1);
  task->Wake();
  task->Stop();
  EXPECT_FALSE(scheduler_.RunOne());
}

TEST_F(SeededSchedulerTest, TheClockJumpsFromTimerToTimer) {
  const MonoTime start = clock_.Monotonic();
  std::string trace;
  const auto note = [&](const char* name, const Context& ctx) {
    const auto at = std::chrono::round<std::chrono::milliseconds>(ctx.clock().Monotonic() - start);
    trace += name + std::to_string(at.count()) + " ";
  };
  const auto often = Start([&](const Context& ctx) {
    note("a", ctx);
    return NextRun::At(ctx.clock().Monotonic() + 300ms);
  });
  EXPECT_EQ(scheduler_.RunUntilIdle(), 1U);
  const auto seldom = Start([&](const Context& ctx) {
    note("b", ctx);
    return NextRun::At(ctx.clock().Monotonic() + 500ms);
  });
  EXPECT_EQ(scheduler_.RunFor(1s), 6U);
  EXPECT_EQ(trace, "a0 b0 a300 b500 a600 a900 b1000 ");
  EXPECT_EQ(clock_.Monotonic() - start, 1s);
}

TEST_F(SeededSchedulerTest, ATaskThatNeverRestsIsCutShort) {
  const auto task = Start([](const Context&) { return NextRun::At({}); });
  EXPECT_EQ(scheduler_.RunUntilIdle(100), 100U);
  EXPECT_EQ(scheduler_.RunFor(1h, 100), 100U);
}

TEST_F(SeededSchedulerTest, WaitingInATaskMovesTheClock) {
  const MonoTime start = clock_.Monotonic();
  const auto task = Start([](const Context& ctx) {
    EXPECT_TRUE(ctx.Wait(50ms).ok());
    return NextRun::WhenWoken();
  });
  scheduler_.RunUntilIdle();
  EXPECT_EQ(clock_.Monotonic() - start, 50ms);
}

TEST_F(SeededSchedulerTest, TasksMayEndOthersAndThemselves) {
  int runs = 0;
  auto victim = Start([&](const Context&) {
    ++runs;
    return NextRun::At({});
  });
  scheduler_.RunOne();
  std::unique_ptr<Task> killer;
  bool stopped = false;
  auto held = std::make_shared<int>(0);
  killer = Start([&, held](const Context& ctx) {
    victim.reset();
    killer.reset();
    stopped = ctx.stop().stop_requested();
    return NextRun::At({});
  });
  scheduler_.RunUntilIdle(100);
  EXPECT_TRUE(stopped);
  EXPECT_EQ(held.use_count(), 1);
  const int at_end = runs;
  EXPECT_FALSE(scheduler_.RunOne());
  EXPECT_EQ(runs, at_end);
}

TEST(SeededScheduler, TheSeedDecidesTheOrder) {
  const auto run = [](std::uint64_t seed) {
    ManualClock clock;
    SeededScheduler scheduler(seed, clock);
    std::string order;
    std::vector<std::unique_ptr<Task>> tasks;
    for (const char c : {'a', 'b', 'c'}) {
      tasks.push_back(scheduler.Start(Pool::kIo, "t", [&order, c](const Context&) {
        order += c;
        return NextRun::WhenWoken();
      }));
    }
    scheduler.RunUntilIdle();
    return order;
  };
  std::set<std::string> orders;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    EXPECT_EQ(run(seed), run(seed)) << seed;
    orders.insert(run(seed));
  }
  EXPECT_EQ(orders.size(), 6U);
}

}  // namespace
}  // namespace litestream
