#include "litestream/clock.h"

#include <thread>

#include <gtest/gtest.h>

#include "litestream/context.h"

namespace litestream {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

TEST(RealClock, WaitTakesAtLeastTheTime) {
  const Clock& clock = Clock::Real();
  const MonoTime before = clock.Monotonic();
  clock.Wait({}, 5ms);
  EXPECT_GE(clock.Monotonic() - before, 5ms);
}

TEST(RealClock, WaitOfNothingOrLessReturns) {
  Clock::Real().Wait({}, 0ms);
  Clock::Real().Wait({}, -1h);
}

TEST(RealClock, StopEndsWait) {
  const Clock& clock = Clock::Real();
  std::stop_source source;
  const MonoTime before = clock.Monotonic();
  std::jthread stopper([&] { source.request_stop(); });
  clock.Wait(source.get_token(), std::chrono::nanoseconds::max());
  EXPECT_LT(clock.Monotonic() - before, 1h);
  clock.Wait(source.get_token(), 1h);  // Already stopped.
  EXPECT_LT(clock.Monotonic() - before, 1h);
}

TEST(RealClock, NowIsTheTimeOfDay) {
  const auto want = std::chrono::system_clock::now();
  EXPECT_LT(std::chrono::abs(Clock::Real().Now() - want), 60s);
}

TEST(Context, WaitSaysWhyItWasCutShort) {
  std::stop_source source;
  const MonoTime soon = Clock::Real().Monotonic() + 1ms;
  const Context ctx(source.get_token(), soon);
  const auto late = ctx.Wait(1h);
  ASSERT_FALSE(late.ok());
  EXPECT_TRUE(late.error().Is(ErrorCode::kTimeout));
  source.request_stop();
  const auto stopped = ctx.Wait(1h);
  ASSERT_FALSE(stopped.ok());
  EXPECT_TRUE(stopped.error().Is(ErrorCode::kCancelled));
}

}  // namespace
}  // namespace litestream
