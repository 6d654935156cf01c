#include "http/date.h"

#include <gtest/gtest.h>

namespace litestream::http {
namespace {

TEST(DateTest, BothWays) {
  const WallTime time(std::chrono::milliseconds(1'767'323'045'000));
  EXPECT_EQ(ParseDate("Fri, 02 Jan 2026 03:04:05 GMT"), time);
  EXPECT_EQ(FormatDate(time + std::chrono::milliseconds(999)), "Fri, 02 Jan 2026 03:04:05 GMT");
  EXPECT_EQ(FormatDate(WallTime()), "Thu, 01 Jan 1970 00:00:00 GMT");
  for (const char* bad : {"", "Fri, 02 Jan 2026 03:04:05", "Fri, 32 Jan 2026 03:04:05 GMT",
                          "Fri, 02 anF 2026 03:04:05 GMT", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}) {
    EXPECT_EQ(ParseDate(bad), WallTime()) << bad;
  }
}

TEST(DateTest, RetryAfterInSecondsOrAsADate) {
  const WallTime now(std::chrono::milliseconds(1'767'323'040'000));
  const auto after = [&](const char* value) { return RetryAfter({{"Retry-After", value}}, now); };
  EXPECT_EQ(after("7"), std::chrono::seconds(7));
  EXPECT_EQ(after("Fri, 02 Jan 2026 03:04:05 GMT"), std::chrono::seconds(5));
  for (const char* late : {"100000", "Fri, 31 Dec 9999 23:59:59 GMT"}) {
    EXPECT_EQ(after(late), std::chrono::hours(24)) << late;
  }
  for (const char* nothing : {"", "-1", "soon", "Fri, 02 Jan 2026 03:03:05 GMT"}) {
    EXPECT_EQ(after(nothing), std::chrono::seconds(0)) << nothing;
  }
}

}  // namespace
}  // namespace litestream::http
