#include "replica/retention_times.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <iterator>

namespace litestream {
namespace {

using std::chrono::days;
using std::chrono::floor;
using Bucket = std::int64_t (*)(WallTime);

std::int64_t HourOf(WallTime time) {
  return floor<std::chrono::hours>(time).time_since_epoch().count();
}
std::int64_t DayOf(WallTime time) {
  return floor<days>(time).time_since_epoch().count();
}
std::int64_t WeekOf(WallTime time) {
  constexpr days kMondayToThursday{3};  // 1970 began with a Thursday.
  return floor<std::chrono::weeks>(time + kMondayToThursday).time_since_epoch().count();
}
std::int64_t MonthOf(WallTime time) {
  const std::chrono::year_month_day date(floor<days>(time));
  return std::int64_t{int{date.year()}} * 12 + unsigned{date.month()};
}

}  // namespace

bool IsRange(const FileInfo& file) {
  return file.id.txids.min >= Txid{1} && file.id.txids.min <= file.id.txids.max;
}

bool IsSnapshot(const FileInfo& file) {
  return file.id.level == kSnapshotLevel && IsRange(file) && file.id.txids.min == Txid{1};
}

Ages::Ages(const ReplicaListing& listing, WallTime now) : now_(now) {
  for (const auto& level : listing.levels) {
    for (const FileInfo& file : level) {
      if (!IsRange(file) || !IsKnown(file)) continue;
      steps_.push_back({.txid = file.id.txids.max, .youngest = file.created_at});
    }
  }
  std::ranges::sort(steps_, {}, &Step::txid);
  for (std::size_t i = 1; i < steps_.size(); ++i) {
    steps_[i].youngest = std::max(steps_[i].youngest, steps_[i - 1].youngest);
  }
}

bool Ages::IsKnown(const FileInfo& file) const {
  return file.created_at > WallTime() && file.created_at <= now_;
}

WallTime Ages::Youngest(const FileInfo& file) const {
  const auto end = std::ranges::upper_bound(steps_, file.id.txids.max, {}, &Step::txid);
  return end == steps_.begin() ? WallTime() : std::prev(end)->youngest;
}

Tiers::Tiers(const std::vector<FileInfo>& snapshots, const KeepTiers& keep, const Ages& ages) {
  const struct {
    int count;
    RetentionReason reason;
    Bucket bucket;
  } tiers[] = {{keep.monthly, RetentionReason::kMonthly, MonthOf},
               {keep.weekly, RetentionReason::kWeekly, WeekOf},
               {keep.daily, RetentionReason::kDaily, DayOf},
               {keep.hourly, RetentionReason::kHourly, HourOf}};
  for (const auto& tier : tiers) {
    std::map<std::int64_t, Txid, std::greater<>> newest;
    for (const FileInfo& file : snapshots) {
      if (!IsSnapshot(file) || !ages.IsKnown(file)) continue;
      Txid& best = newest[tier.bucket(file.created_at)];
      best = std::max(best, file.id.txids.max);
    }
    int left = tier.count;
    for (const auto& bucket : newest) {
      if (left-- <= 0) break;
      kept_.emplace(bucket.second, tier.reason);
    }
  }
}

std::optional<RetentionReason> Tiers::Find(Txid max) const {
  const auto found = kept_.find(max);
  if (found == kept_.end()) return std::nullopt;
  return found->second;
}

}  // namespace litestream
