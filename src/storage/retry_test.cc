#include "storage/retry.h"

#include <vector>

#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "tests/contract/bodies.h"

namespace litestream {
namespace {

using std::chrono::milliseconds;

TEST(Retry, WhatMayWorkTheNextTime) {
  const struct {
    ErrorCode code;
    bool want;
  } cases[] = {
      {ErrorCode::kUnavailable, true},      {ErrorCode::kThrottled, true},
      {ErrorCode::kTimeout, true},          {ErrorCode::kNotFound, false},
      {ErrorCode::kAlreadyExists, false},   {ErrorCode::kCorruption, false},
      {ErrorCode::kInvalidArgument, false}, {ErrorCode::kDenied, false},
      {ErrorCode::kNoSpace, false},         {ErrorCode::kIo, false},
      {ErrorCode::kCancelled, false},       {ErrorCode::kUnsupported, false},
      {ErrorCode::kInternal, false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(ToString(c.code));
    ManualClock clock;
    const Context ctx(std::stop_token(), std::nullopt, clock);
    int calls = 0;
    const auto result = Retry(ctx, {.attempts = 3}, [&]() -> Result<void> {
      ++calls;
      return Error(c.code, "x");
    });
    EXPECT_EQ(IsRetryable(Error(c.code, "")), c.want);
    EXPECT_EQ(calls, c.want ? 3 : 1);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), c.code);
    EXPECT_EQ(result.error().message(), c.want ? "after 3 attempts: x" : "x");
  }
}

TEST(Retry, StopsWhenItWorks) {
  ManualClock clock;
  const Context ctx(std::stop_token(), std::nullopt, clock);
  int calls = 0;
  const auto result = Retry(ctx, {}, [&calls]() -> Result<void> {
    if (++calls < 3) return Error(ErrorCode::kUnavailable, "x");
    return {};
  });
  EXPECT_TRUE(result.ok());
  EXPECT_EQ(calls, 3);
}

TEST(Retry, DelaysDoubleUpToTheLargestWithFullJitter) {
  const RetryPolicy policy{
      .attempts = 100, .first_delay = milliseconds(100), .max_delay = milliseconds(1000)};
  const struct {
    int failures;
    milliseconds bound;
  } cases[] = {{1, milliseconds(100)},    {2, milliseconds(200)},  {3, milliseconds(400)},
               {4, milliseconds(800)},    {5, milliseconds(1000)}, {6, milliseconds(1000)},
               {1000, milliseconds(1000)}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.failures);
    ManualClock clock;
    std::chrono::nanoseconds sum{0};
    std::chrono::nanoseconds largest{0};
    constexpr int kDraws = 2000;
    for (int i = 0; i < kDraws; ++i) {
      const auto delay = RetryDelay(policy, c.failures, clock);
      ASSERT_GE(delay.count(), 0);
      ASSERT_LE(delay, c.bound);
      largest = std::max(largest, delay);
      sum += delay;
      clock.Advance(milliseconds(1));
    }
    EXPECT_GT(largest, c.bound * 9 / 10) << "the whole range is used";
    EXPECT_NEAR(static_cast<double>((sum / kDraws).count()),
                static_cast<double>(std::chrono::nanoseconds(c.bound).count()) / 2,
                static_cast<double>(std::chrono::nanoseconds(c.bound).count()) / 20);
  }
  EXPECT_EQ(RetryDelay({.first_delay = milliseconds(0)}, 3, ManualClock()).count(), 0);
}

TEST(Retry, OurOwnEndIsNotRepeated) {
  ManualClock clock;
  std::stop_source stop;
  const Context ctx(stop.get_token(), clock.Monotonic() + milliseconds(1), clock);
  int calls = 0;
  const auto late =
      Retry(ctx, {.attempts = 100, .first_delay = milliseconds(1000)}, [&]() -> Result<void> {
        ++calls;
        clock.Advance(milliseconds(5));
        return Error(ErrorCode::kTimeout, "list");
      });
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code(), ErrorCode::kTimeout);
  EXPECT_EQ(late.error().message(), "list: deadline passed");
  EXPECT_EQ(calls, 1);

  stop.request_stop();
  const auto stopped = Retry(ctx, {}, [&]() -> Result<void> {
    ++calls;
    return {};
  });
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(calls, 1) << "not even tried";
}

TEST(Retry, CancelledWhileItWaits) {
  std::stop_source stop;
  const Context ctx(stop.get_token());
  int calls = 0;
  const auto result = Retry(ctx, {.first_delay = std::chrono::hours(1)}, [&]() -> Result<void> {
    ++calls;
    stop.request_stop();
    return Error(ErrorCode::kUnavailable, "put");
  });
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(calls, 1);
}

TEST(Retry, WaitsAsLongAsTheServerAsksFor) {
  ManualClock clock;
  const Context ctx(std::stop_token(), std::nullopt, clock);
  const RetryPolicy policy{.attempts = 3,
                           .first_delay = std::chrono::milliseconds(0),
                           .max_delay = std::chrono::milliseconds(0)};
  std::chrono::nanoseconds asked{0};
  std::vector<std::chrono::nanoseconds> times;
  const MonoTime begun = clock.Monotonic();
  const auto result = Retry(
      ctx, policy,
      [&]() -> Result<void> {
        times.emplace_back(clock.Monotonic() - begun);
        asked = times.size() == 1 ? std::chrono::seconds(7) : std::chrono::seconds(86400);
        return Error(ErrorCode::kThrottled, "slow down");
      },
      asked);
  EXPECT_FALSE(result.ok());
  ASSERT_EQ(times.size(), 3U);
  EXPECT_EQ(times[1], std::chrono::seconds(7));
  EXPECT_EQ(times[2], std::chrono::seconds(7) + kMaxRetryAfter);
}

}  // namespace
}  // namespace litestream
