#include "base/backoff.h"

#include <limits>

#include <gtest/gtest.h>

namespace litestream {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

TEST(Backoff, DoublesUpToTheLimit) {
  Backoff backoff(100ms, 1s);
  for (int round = 0; round < 2; ++round) {
    for (const auto want : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
      EXPECT_EQ(backoff.Next(), want);
    }
    backoff.Reset();
  }
}

TEST(Backoff, Extremes) {
  Backoff small_limit(10s, 1s);
  EXPECT_EQ(small_limit.Next(), 1s);
  EXPECT_EQ(small_limit.Next(), 1s);
  Backoff huge(std::chrono::nanoseconds::max() / 3, std::chrono::nanoseconds::max());
  EXPECT_EQ(huge.Next(), std::chrono::nanoseconds::max() / 3);
  EXPECT_EQ(huge.Next(), std::chrono::nanoseconds::max() / 3 * 2);
  EXPECT_EQ(huge.Next(), std::chrono::nanoseconds::max());
  EXPECT_EQ(huge.NextJittered(0), std::chrono::nanoseconds::max());
  Backoff none(0ms, 0ms);
  EXPECT_EQ(none.NextJittered(7), 0ms);
}

TEST(Backoff, JitterShortensByUpToHalf) {
  Backoff backoff(100ms, 100ms);
  EXPECT_EQ(backoff.NextJittered(0), 100ms);
  EXPECT_EQ(backoff.NextJittered(50'000'000), 50ms);
  EXPECT_EQ(backoff.NextJittered(50'000'001), 100ms);
  EXPECT_GE(backoff.NextJittered(std::numeric_limits<std::uint64_t>::max()), 50ms);
}

}  // namespace
}  // namespace litestream
