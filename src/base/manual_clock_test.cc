#include "base/manual_clock.h"

#include <gtest/gtest.h>

namespace litestream {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""us;

TEST(ManualClock, AdvancesBothClocksAndNeverBack) {
  ManualClock clock(WallTime(1000s));
  const MonoTime start = clock.Monotonic();
  clock.Advance(1500us);
  EXPECT_EQ(clock.Monotonic() - start, 1500us);
  EXPECT_EQ(clock.Now(), WallTime(1000s + 1ms));
  clock.Advance(-1h);
  clock.AdvanceTo(start);
  EXPECT_EQ(clock.Monotonic() - start, 1500us);
  clock.AdvanceTo(start + 2s);
  EXPECT_EQ(clock.Now(), WallTime(1002s));
}

TEST(ManualClock, TheTimeOfDayIsSetApart) {
  ManualClock clock;
  const MonoTime start = clock.Monotonic();
  clock.Advance(1s);
  clock.SetNow(WallTime(5s));
  EXPECT_EQ(clock.Now(), WallTime(5s));
  EXPECT_EQ(clock.Monotonic() - start, 1s);
  clock.Advance(1s);
  EXPECT_EQ(clock.Now(), WallTime(6s));
}

TEST(ManualClock, WaitAdvancesUnlessStopped) {
  ManualClock clock;
  const MonoTime start = clock.Monotonic();
  std::stop_source source;
  clock.Wait(source.get_token(), 3s);
  EXPECT_EQ(clock.Monotonic() - start, 3s);
  source.request_stop();
  clock.Wait(source.get_token(), 3s);
  EXPECT_EQ(clock.Monotonic() - start, 3s);
}

}  // namespace
}  // namespace litestream
