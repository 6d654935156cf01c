#include "storage/limiter.h"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/manual_clock.h"

namespace litestream {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

class CountingTask final : public Task {
 public:
  void Stop() override {}
  void Wake() override { ++wakes; }
  int wakes = 0;
};

class LimiterTest : public ::testing::Test {
 protected:
  MonoTime Now() const { return clock_.Monotonic(); }

  const ManualClock clock_;
  const Context ctx_{std::stop_token(), std::nullopt, clock_};
};

// --- Turns. ---

TEST_F(LimiterTest, WithoutOneItIsAlwaysOnesTurn) {
  LimiterSeat seat(nullptr);
  EXPECT_FALSE(seat.limited());
  EXPECT_TRUE(seat.Ask(Now(), TurnSize::kLarge).granted);
  EXPECT_TRUE(seat.Wait(ctx_, TurnSize::kLarge).ok());
  seat.SetTask(nullptr);
  seat.Done(Now());
}

TEST_F(LimiterTest, InTheOrderOfAsking) {
  Limiter limiter({.uploads = 1});
  std::vector<std::unique_ptr<LimiterSeat>> seats;
  std::vector<CountingTask> tasks(3);
  for (CountingTask& task : tasks) {
    seats.push_back(std::make_unique<LimiterSeat>(&limiter));
    seats.back()->SetTask(&task);
  }
  EXPECT_TRUE(seats[0]->Ask(Now(), TurnSize::kSmall).granted);
  for (int i = 1; i < 3; ++i) {
    const auto answer = seats[i]->Ask(Now(), TurnSize::kSmall);
    EXPECT_FALSE(answer.granted);
    EXPECT_FALSE(answer.at) << "time does not help";
  }
  // The first one at once wants another turn: behind the others, however often it asks.
  seats[0]->Done(Now());
  EXPECT_FALSE(seats[0]->Ask(Now(), TurnSize::kSmall).granted);
  EXPECT_EQ(tasks[1].wakes, 1);
  EXPECT_EQ(tasks[2].wakes, 0);
  EXPECT_FALSE(seats[2]->Ask(Now(), TurnSize::kSmall).granted);
  EXPECT_TRUE(seats[1]->Ask(Now(), TurnSize::kSmall).granted);
  EXPECT_TRUE(seats[1]->Ask(Now(), TurnSize::kSmall).granted) << "it stays";
  seats[1]->Done(Now());
  EXPECT_TRUE(seats[2]->Ask(Now(), TurnSize::kSmall).granted);
  seats[2]->Done(Now());
  EXPECT_TRUE(seats[0]->Ask(Now(), TurnSize::kSmall).granted);
  EXPECT_EQ(tasks[0].wakes, 1);
  EXPECT_EQ(tasks[2].wakes, 1);
}

// However many databases have much to upload, one place is for those that have little.
TEST_F(LimiterTest, LargeTurnsLeaveAPlace) {
  Limiter limiter({.uploads = 3});
  LimiterSeat large[4] = {LimiterSeat(&limiter), LimiterSeat(&limiter), LimiterSeat(&limiter),
                          LimiterSeat(&limiter)};
  int granted = 0;
  for (LimiterSeat& seat : large) granted += seat.Ask(Now(), TurnSize::kLarge).granted ? 1 : 0;
  EXPECT_EQ(granted, 2);
  LimiterSeat small[2] = {LimiterSeat(&limiter), LimiterSeat(&limiter)};
  EXPECT_TRUE(small[0].Ask(Now(), TurnSize::kSmall).granted) << "past the large ones that wait";
  EXPECT_FALSE(small[1].Ask(Now(), TurnSize::kSmall).granted) << "all places are taken";
  // The place of a large one goes to whoever has waited longest.
  large[0].Done(Now());
  EXPECT_TRUE(large[2].Ask(Now(), TurnSize::kLarge).granted);
  EXPECT_FALSE(small[1].Ask(Now(), TurnSize::kSmall).granted);
  small[0].Done(Now());
  EXPECT_TRUE(small[1].Ask(Now(), TurnSize::kSmall).granted);
  EXPECT_FALSE(large[3].Ask(Now(), TurnSize::kLarge).granted);
}

TEST_F(LimiterTest, SmallTurnsDoNotStarveLargeOnes) {
  Limiter limiter({.uploads = 2});
  LimiterSeat small[3] = {LimiterSeat(&limiter), LimiterSeat(&limiter), LimiterSeat(&limiter)};
  LimiterSeat large(&limiter);
  EXPECT_TRUE(small[0].Ask(Now(), TurnSize::kSmall).granted);
  EXPECT_TRUE(small[1].Ask(Now(), TurnSize::kSmall).granted);
  EXPECT_FALSE(large.Ask(Now(), TurnSize::kLarge).granted);
  EXPECT_FALSE(small[2].Ask(Now(), TurnSize::kSmall).granted);
  small[0].Done(Now());
  EXPECT_FALSE(small[0].Ask(Now(), TurnSize::kSmall).granted);
  EXPECT_TRUE(large.Ask(Now(), TurnSize::kLarge).granted);
}

TEST_F(LimiterTest, TheOnlyPlaceIsForLargeOnesToo) {
  Limiter limiter({.uploads = 1});
  LimiterSeat seat(&limiter);
  EXPECT_TRUE(seat.Ask(Now(), TurnSize::kLarge).granted);
}

// A task that ends gives up its turn, or its place in the order.
TEST_F(LimiterTest, WhoGoesIsNotWaitedFor) {
  Limiter limiter({.uploads = 1});
  LimiterSeat last(&limiter);
  CountingTask task;
  last.SetTask(&task);
  {
    LimiterSeat first(&limiter);
    LimiterSeat second(&limiter);
    EXPECT_TRUE(first.Ask(Now(), TurnSize::kSmall).granted);
    EXPECT_FALSE(second.Ask(Now(), TurnSize::kSmall).granted);
    EXPECT_FALSE(last.Ask(Now(), TurnSize::kSmall).granted);
  }
  EXPECT_EQ(task.wakes, 1);
  EXPECT_TRUE(last.Ask(Now(), TurnSize::kSmall).granted);
}

// The turn came before the scheduler had given the task's handle.
TEST_F(LimiterTest, TurnBeforeThereIsATask) {
  Limiter limiter({.uploads = 1});
  LimiterSeat first(&limiter);
  LimiterSeat second(&limiter);
  EXPECT_TRUE(first.Ask(Now(), TurnSize::kSmall).granted);
  EXPECT_FALSE(second.Ask(Now(), TurnSize::kSmall).granted);
  first.Done(Now());
  CountingTask task;
  second.SetTask(&task);
  EXPECT_EQ(task.wakes, 1);
}

// --- Requests. ---

// A fleet that all wants something at once: so many requests a second, after those of one second.
TEST_F(LimiterTest, RequestsAreSpread) {
  constexpr int kSeats = 100;
  constexpr int kPerSecond = 5;
  Limiter limiter({.uploads = 4, .requests_per_second = kPerSecond});
  std::vector<std::unique_ptr<LimiterSeat>> seats;
  for (int i = 0; i < kSeats; ++i) seats.push_back(std::make_unique<LimiterSeat>(&limiter));
  std::vector<MonoTime> made;
  const MonoTime began = Now();
  std::vector<LimiterSeat*> waiting;
  for (auto& seat : seats) waiting.push_back(seat.get());
  while (!waiting.empty()) {
    std::optional<MonoTime> next;
    std::erase_if(waiting, [&](LimiterSeat* seat) {
      const auto answer = seat->Ask(Now(), TurnSize::kSmall);
      if (answer.at) next = answer.at;
      if (!answer.granted) return false;
      limiter.NoteRequest(Now());
      made.push_back(Now());
      seat->Done(Now());
      return true;
    });
    if (waiting.empty()) break;
    ASSERT_TRUE(next) << "somebody has to come again";
    ASSERT_GT(*next, Now());
    clock_.AdvanceTo(*next);
  }
  ASSERT_EQ(made.size(), std::size_t{kSeats});
  for (std::size_t i = 0; i < made.size(); ++i) {
    const auto earliest = seconds(1) * (static_cast<int>(i) - kPerSecond) / kPerSecond;
    EXPECT_GE(made[i] - began, earliest) << i;
  }
  EXPECT_LE(made.back() - began, seconds(kSeats / kPerSecond) + milliseconds(1)) << "and no slower";
}

// A step that needs many requests is not broken off. Who comes next pays.
TEST_F(LimiterTest, RequestsOfAStepArePaidAfterwards) {
  Limiter limiter({.uploads = 2, .requests_per_second = 2});
  LimiterSeat first(&limiter);
  LimiterSeat second(&limiter);
  CountingTask task;
  second.SetTask(&task);
  ASSERT_TRUE(first.Ask(Now(), TurnSize::kSmall).granted);
  for (int i = 0; i < 12; ++i) limiter.NoteRequest(Now());
  const auto answer = second.Ask(Now(), TurnSize::kSmall);
  EXPECT_FALSE(answer.granted);
  ASSERT_TRUE(answer.at);
  // 12 of 2 a second, of which the second before paid for 2, and one more.
  EXPECT_NEAR(static_cast<double>((*answer.at - Now()).count()), 5.5e9, 1e3);
  clock_.AdvanceTo(*answer.at);
  EXPECT_TRUE(second.Ask(Now(), TurnSize::kSmall).granted);
}

// The first in the order has been told when to come; when it goes, or has had its turn, the next
// one is told.
TEST_F(LimiterTest, SomebodyKeepsTheTime) {
  Limiter limiter({.uploads = 4, .requests_per_second = 1});
  LimiterSeat spender(&limiter);
  ASSERT_TRUE(spender.Ask(Now(), TurnSize::kSmall).granted);
  limiter.NoteRequest(Now());
  spender.Done(Now());
  auto first = std::make_unique<LimiterSeat>(&limiter);
  LimiterSeat second(&limiter);
  LimiterSeat third(&limiter);
  CountingTask tasks[3];
  first->SetTask(&tasks[0]);
  second.SetTask(&tasks[1]);
  third.SetTask(&tasks[2]);
  EXPECT_TRUE(first->Ask(Now(), TurnSize::kSmall).at);
  EXPECT_FALSE(second.Ask(Now(), TurnSize::kSmall).at);
  EXPECT_FALSE(third.Ask(Now(), TurnSize::kSmall).at);
  EXPECT_EQ(tasks[0].wakes, 0) << "it knows";
  first.reset();
  EXPECT_EQ(tasks[1].wakes, 1);
  const auto answer = second.Ask(Now(), TurnSize::kSmall);
  ASSERT_TRUE(answer.at);
  clock_.AdvanceTo(*answer.at);
  EXPECT_TRUE(second.Ask(Now(), TurnSize::kSmall).granted);
  EXPECT_EQ(tasks[2].wakes, 1);
  EXPECT_TRUE(third.Ask(Now(), TurnSize::kSmall).at);
}

// --- Waiting outside of the pools. ---

TEST_F(LimiterTest, WaitsForItsTurn) {
  Limiter limiter({.uploads = 1, .requests_per_second = 1});
  LimiterSeat seat(&limiter);
  const MonoTime began = Now();
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(seat.Wait(ctx_, TurnSize::kSmall).ok());
    limiter.NoteRequest(Now());
    seat.Done(Now());
  }
  EXPECT_GE(Now() - began, seconds(9));
  EXPECT_LE(Now() - began, seconds(10));
}

TEST_F(LimiterTest, WaitingEndsWithTheContext) {
  Limiter limiter({.uploads = 1});
  LimiterSeat holder(&limiter);
  ASSERT_TRUE(holder.Ask(Now(), TurnSize::kSmall).granted);
  LimiterSeat seat(&limiter);
  const auto late = seat.Wait(ctx_.WithDeadline(Now() + seconds(5)), TurnSize::kSmall);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code(), ErrorCode::kTimeout);
  std::stop_source stop;
  stop.request_stop();
  const auto stopped = seat.Wait(Context(stop.get_token(), std::nullopt, clock_), TurnSize::kSmall);
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().code(), ErrorCode::kCancelled);
  // It is not in the order any more.
  LimiterSeat next(&limiter);
  EXPECT_FALSE(next.Ask(Now(), TurnSize::kSmall).granted);
  holder.Done(Now());
  EXPECT_TRUE(next.Ask(Now(), TurnSize::kSmall).granted);
}

}  // namespace
}  // namespace litestream
