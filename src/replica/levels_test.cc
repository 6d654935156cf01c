#include "replica/levels.h"

#include <map>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "format/names.h"

namespace litestream {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

TEST(LevelsTest, Validate) {
  const auto level = [](int n, milliseconds interval) { return LevelInterval{n, interval}; };
  std::vector<LevelInterval> nine;
  for (int n = 0; n <= 9; ++n) nine.push_back(level(n, n == 0 ? 0s : 1s));
  const struct {
    std::vector<LevelInterval> levels;
    const char* error;
  } cases[] = {
      {DefaultLevels(), ""},
      {{level(0, 0s)}, ""},
      {{nine.begin(), nine.end() - 1}, ""},
      {{}, "at least one compaction level is required"},
      {{level(1, 30s)}, "compaction level number out of order: 1, expected 0"},
      {{level(0, 0s), level(2, 30s)}, "compaction level number out of order: 2, expected 1"},
      {nine, "compaction level cannot exceed 8"},
      {{level(0, 1s)}, "cannot set interval on compaction level zero"},
      {{level(0, 0s), level(1, 0s)}, "interval required for level 1"},
      {{level(0, 0s), level(1, -1s)}, "interval required for level 1"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.error);
    const auto valid = ValidateLevels(c.levels);
    EXPECT_EQ(valid.ok() ? "" : valid.error().message(), c.error);
    EXPECT_TRUE(valid.ok() || valid.error().Is(ErrorCode::kInvalidArgument));
  }
}

WallTime At(const char* text) {
  return ParseTimestamp(text).value();
}

// But for the jitter, periods begin where those of Litestream do.
TEST(LevelsTest, PeriodsAreAligned) {
  const struct {
    milliseconds interval;
    const char* now;
    const char* start;
  } cases[] = {
      {30s, "2026-08-05T10:11:42.5Z", "2026-08-05T10:11:30Z"},
      {30s, "2026-08-05T10:11:30Z", "2026-08-05T10:11:30Z"},
      {5min, "2026-08-05T10:14:59.999Z", "2026-08-05T10:10:00Z"},
      {1h, "1969-12-31T23:30:00Z", "1969-12-31T23:00:00Z"},
      {24h, "2026-08-05T10:11:42Z", "2026-08-05T00:00:00Z"},
      {168h, "2026-08-05T10:11:42Z", "2026-08-03T00:00:00Z"},  // Monday.
      {7s, "0001-01-01T00:00:13Z", "0001-01-01T00:00:07Z"},
      {7s, "0000-12-31T23:59:59Z", "0000-12-31T23:59:53Z"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.now);
    const LevelTurns turns(Level{1}, c.interval, "file:///replica");
    const milliseconds jitter = turns.jitter();
    EXPECT_EQ(turns.PeriodStart(At(c.now) + jitter), At(c.start) + jitter);
  }
}

TEST(LevelsTest, AFleetIsSpread) {
  constexpr int kDatabases = 10'000;
  const auto spread_of = [](milliseconds interval, milliseconds spread) {
    std::map<std::int64_t, int> slots;
    for (int i = 0; i < kDatabases; ++i) {
      const LevelTurns turns(Level{1}, interval, "s3://bucket/db" + std::to_string(i));
      EXPECT_EQ(turns.jitter(),
                LevelTurns(Level{1}, interval, "s3://bucket/db" + std::to_string(i)).jitter());
      EXPECT_GE(turns.jitter(), 0ms);
      EXPECT_LT(turns.jitter(), spread);
      ++slots[turns.jitter() * 30 / spread];
    }
    int most = 0;
    for (const auto& [slot, count] : slots) most = std::max(most, count);
    return most;
  };
  // A thirtieth each would be 333.
  EXPECT_LT(spread_of(30s, 30s), 420);
  EXPECT_LT(spread_of(24h, 1h), 420);
}

// One turn of a level after another, by a clock that can be set.
class Turns {
 public:
  explicit Turns(milliseconds interval) : interval_(interval), turns_(Level{2}, interval, "x") {}

  milliseconds UntilDue() const {
    const milliseconds wait = turns_.UntilDue(done_, now());
    EXPECT_GE(wait, 0ms);
    EXPECT_LE(wait, interval_);
    return wait;
  }
  void Do() {
    done_ = now();
    EXPECT_GT(UntilDue(), 0ms) << "due again at the same moment";
  }
  Moment now() const { return {clock_.Now(), clock_.Monotonic()}; }
  milliseconds jitter() const { return turns_.jitter(); }
  ManualClock& clock() { return clock_; }

 private:
  const milliseconds interval_;
  LevelTurns turns_;
  ManualClock clock_;
  std::optional<Moment> done_;
};

TEST(LevelsTest, OneTurnAPeriod) {
  Turns turns(30s);
  EXPECT_EQ(turns.UntilDue(), 0ms);
  turns.clock().SetNow(At("2026-08-05T10:11:40Z") + turns.jitter());
  turns.Do();
  EXPECT_EQ(turns.UntilDue(), 20s);
  turns.clock().Advance(20s - 1ms);
  EXPECT_EQ(turns.UntilDue(), 1ms);
  turns.clock().Advance(1ms);
  EXPECT_EQ(turns.UntilDue(), 0ms);
  turns.clock().Advance(29s);  // Late, in the same period.
  EXPECT_EQ(turns.UntilDue(), 0ms);
  turns.Do();
  EXPECT_EQ(turns.UntilDue(), 1s);
}

TEST(LevelsTest, AClockThatJumpsNeitherStopsNorSpins) {
  Turns turns(5min);
  turns.clock().SetNow(At("2026-08-05T10:11:00Z") + turns.jitter());
  turns.Do();
  turns.clock().SetNow(At("2027-08-05T10:11:00Z"));
  EXPECT_EQ(turns.UntilDue(), 0ms);
  turns.Do();
  // A year back: one interval by the other clock, not a year.
  turns.clock().SetNow(At("2026-08-05T10:11:30Z") + turns.jitter());
  EXPECT_EQ(turns.UntilDue(), 5min);
  turns.clock().Advance(2min);
  EXPECT_EQ(turns.UntilDue(), 3min);
  turns.clock().Advance(3min);
  EXPECT_EQ(turns.UntilDue(), 0ms);
  turns.Do();
  // By a moment, over the beginning of the period in which it was done.
  turns.clock().SetNow(At("2026-08-05T10:20:00.1Z") + turns.jitter());
  turns.Do();
  turns.clock().SetNow(At("2026-08-05T10:19:59.9Z") + turns.jitter());
  EXPECT_EQ(turns.UntilDue(), 5min);
  turns.clock().Advance(200ms);
  EXPECT_EQ(turns.UntilDue(), 5min - 200ms);
}

// The time of the newest file, which anybody may have written.
TEST(LevelsTest, AnyTimeMayBeTheLast) {
  const LevelTurns turns(Level{1}, 30s, "x");
  const ManualClock clock;
  const Moment now{clock.Now(), clock.Monotonic()};
  EXPECT_EQ(turns.UntilDue(Moment{WallTime::min(), now.mono}, now), 0ms);
  EXPECT_EQ(turns.UntilDue(Moment{WallTime::max(), now.mono}, now), 30s);
}

TEST(LevelsTest, RandomJumps) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    const milliseconds interval(1 + static_cast<std::int64_t>(random() % 100'000));
    Turns turns(interval);
    turns.Do();
    MonoTime last = turns.now().mono;
    int done = 0;
    for (int i = 0; i < 100; ++i) {
      if (random() % 8 == 0) {
        const auto year = static_cast<std::int64_t>(random() % 31'536'000'000);
        turns.clock().SetNow(turns.now().wall + milliseconds(year) * (random() % 2 == 0 ? 1 : -1));
      }
      // Asked again in the middle, as when something else wakes the caller.
      const milliseconds wait = turns.UntilDue();
      turns.clock().Advance(random() % 3 == 0 ? wait / 2 : wait);
      if (turns.UntilDue() > 0ms) continue;
      EXPECT_LE(turns.now().mono - last, interval);
      turns.Do();
      last = turns.now().mono;
      ++done;
    }
    EXPECT_GT(done, 20);
  }
}

}  // namespace
}  // namespace litestream
