#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "litestream/result.h"
#include "litestream/types.h"

namespace litestream {

// How often a level is merged from the one below it. Level 0 is never merged; its interval is 0.
struct LevelInterval {
  int level = 0;  // As configured, so it may be anything.
  std::chrono::milliseconds interval{0};
};

// Level 1 every 30 s, 2 every 5 min, 3 every hour.
std::vector<LevelInterval> DefaultLevels();
// kInvalidArgument unless the levels are 0, 1, 2, ... up to at most 8, and all but level 0 have an
// interval. The messages are those of Litestream.
Result<void> ValidateLevels(std::span<const LevelInterval> levels);

// A moment by both clocks. The time of day says which period it is in, and may jump; the other one
// says how long ago it was.
struct Moment {
  WallTime wall;
  MonoTime mono;
};

// When one level of one database has its turn.
//
// Periods begin at the multiples of the interval since 0001-01-01T00:00Z, as in Litestream, so that
// a day begins at midnight UTC and a week on Monday; each database is later by its own jitter, so
// that a fleet does not come all at once. A level has one turn in every period.
//
// Invariants:
// 1. UntilDue is never longer than the interval, and counted by the monotonic clock a level waits
//    no longer than that, however the time of day jumps.
// 2. Without jumps there is exactly one turn in a period, and one that was done is never due again
//    at the same moment.
class LevelTurns {
 public:
  // `interval` is positive. `place` is the replica's (ReplicaClient::Describe).
  LevelTurns(Level level, std::chrono::milliseconds interval, std::string_view place);

  // When the period of `now` began.
  WallTime PeriodStart(WallTime now) const;
  // How long until the next turn; 0: now. `done` is when the last one was; unset: never. After a
  // start that may be the time of the level's newest file and the monotonic time of the start.
  std::chrono::milliseconds UntilDue(const std::optional<Moment>& done, const Moment& now) const;

  // Less than the interval and kMaxJitter, always the same for a level and place.
  std::chrono::milliseconds jitter() const { return jitter_; }

 private:
  std::chrono::milliseconds interval_;
  std::chrono::milliseconds jitter_;
};

// Enough to spread a fleet, and a daily snapshot still comes in the first hour of the day.
inline constexpr std::chrono::hours kMaxJitter{1};

}  // namespace litestream
