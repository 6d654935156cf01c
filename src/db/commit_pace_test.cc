#include "db/commit_pace.h"

#include <gtest/gtest.h>

namespace litestream {
namespace {

using std::chrono::milliseconds;

constexpr MonoTime kStart{std::chrono::hours(1)};

TEST(CommitPace, FindsACommitAtMostHalfAsLateAgainAsItTook) {
  for (const int commit_ms : {1, 3, 16, 50, 700, 20'000}) {
    SCOPED_TRACE(commit_ms);
    CommitPace pace;
    const MonoTime published = kStart + milliseconds(commit_ms);
    MonoTime now = kStart;
    int tests = 0;
    for (bool event = true; now < published; event = false) {
      now += pace.Next(now, event).wait;
      ++tests;
    }
    EXPECT_LE(now - published, milliseconds(commit_ms) / 2 + CommitPace::kShortest);
    EXPECT_LE(tests, 30);
  }
}

TEST(CommitPace, EventsWithoutEndCauseFewTests) {
  CommitPace pace;
  MonoTime now = kStart;
  int tests = 0;
  // A writer that writes all the time: an armed watch reports at once.
  for (bool event = true; now < kStart + std::chrono::seconds(10); ++tests) {
    const auto next = pace.Next(now, event);
    event = next.armed;
    if (!next.armed) now += next.wait;
  }
  EXPECT_LT(tests, 2 * 10 * 10 + 50);
}

TEST(CommitPace, WhatAKilledWriterLeftBehindDelaysNoLaterCommit) {
  CommitPace pace;
  MonoTime now = kStart;
  for (bool event = true; now < kStart + std::chrono::hours(1); event = false) {
    now += pace.Next(now, event).wait;
  }
  EXPECT_EQ(pace.Next(now, true).wait, CommitPace::kShortest);
}

TEST(CommitPace, BeginsAnewWhenSettled) {
  CommitPace pace;
  (void)pace.Next(kStart, true);
  pace.Settle();
  const MonoTime later = kStart + std::chrono::seconds(5);
  EXPECT_EQ(pace.Next(later, false).wait, CommitPace::kShortest);
}

}  // namespace
}  // namespace litestream
