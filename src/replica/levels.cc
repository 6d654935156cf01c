#include "replica/levels.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <fmt/core.h>

#include "format/crc64.h"
#include "format/page_sum.h"

namespace litestream {
namespace {

using std::chrono::milliseconds;

// 0001-01-01T00:00Z, a Monday.
constexpr WallTime kFirstPeriod{milliseconds(-62'135'596'800'000)};

// A place differs from the next one in its last digits; mixed, that shows in all bits.
std::uint64_t HashOf(std::string_view place, Level level) {
  return MixPageSum(Crc64(level.value, std::as_bytes(std::span(place))));
}

}  // namespace

std::vector<LevelInterval> DefaultLevels() {
  return {{.level = 0, .interval = milliseconds(0)},
          {.level = 1, .interval = std::chrono::seconds(30)},
          {.level = 2, .interval = std::chrono::minutes(5)},
          {.level = 3, .interval = std::chrono::hours(1)}};
}

Result<void> ValidateLevels(std::span<const LevelInterval> levels) {
  const auto invalid = [](std::string what) {
    return Error(ErrorCode::kInvalidArgument, std::move(what));
  };
  if (levels.empty()) return invalid("at least one compaction level is required");
  int expected = 0;
  for (const LevelInterval& level : levels) {
    if (level.level != expected) {
      return invalid(fmt::format("compaction level number out of order: {}, expected {}",
                                 level.level, expected));
    }
    if (level.level > kMaxMergeLevel.value) {
      return invalid(fmt::format("compaction level cannot exceed {}", kMaxMergeLevel.value));
    }
    if (level.level == 0 && level.interval != milliseconds(0)) {
      return invalid("cannot set interval on compaction level zero");
    }
    if (level.level != 0 && level.interval <= milliseconds(0)) {
      return invalid(fmt::format("interval required for level {}", level.level));
    }
    ++expected;
  }
  return {};
}

LevelTurns::LevelTurns(Level level, milliseconds interval, std::string_view place)
    : interval_(interval) {
  const auto spread =
      static_cast<std::uint64_t>(std::min<milliseconds>(interval, kMaxJitter).count());
  jitter_ = milliseconds(static_cast<std::int64_t>(HashOf(place, level) % spread));
}

WallTime LevelTurns::PeriodStart(WallTime now) const {
  milliseconds into = (now - kFirstPeriod - jitter_) % interval_;
  if (into < milliseconds(0)) into += interval_;
  return now - into;
}

milliseconds LevelTurns::UntilDue(const std::optional<Moment>& done, const Moment& now) const {
  if (!done) return milliseconds(0);
  const milliseconds passed = std::chrono::floor<milliseconds>(now.mono - done->mono);
  if (passed >= interval_) return milliseconds(0);
  const WallTime start = PeriodStart(now.wall);
  if (done->wall < start) return milliseconds(0);
  const milliseconds left = interval_ - std::max(passed, milliseconds(0));
  // The time of day went back: which period that turn belonged to means nothing any more.
  if (done->wall > now.wall) return left;
  return std::min(start + interval_ - now.wall, left);
}

}  // namespace litestream
