#include "replica/retention.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/try.h"
#include "format/names.h"
#include "replica/restore_points.h"
#include "replica/retention_times.h"

namespace litestream {
namespace {

using std::chrono::milliseconds;
using Reason = RetentionReason;

// Which transactions level 1 holds.
class Coverage {
 public:
  explicit Coverage(const std::vector<FileInfo>& files) {
    for (const FileInfo& file : files) {  // Ascending.
      const TxidRange& txids = file.id.txids;
      if (!runs_.empty() && txids.min.value - 1 <= runs_.back().max.value) {
        runs_.back().max = std::max(runs_.back().max, txids.max);
      } else {
        runs_.push_back(txids);
      }
    }
  }
  bool Holds(const TxidRange& txids) const {
    const auto behind = std::ranges::upper_bound(runs_, txids.min, {}, &TxidRange::min);
    return behind != runs_.begin() && std::prev(behind)->max >= txids.max;
  }

 private:
  std::vector<TxidRange> runs_;
};

// Sorted, each file once: with its younger time if it is listed twice. What is no range goes to
// `others`.
ReplicaListing Sorted(ReplicaListing listing, std::vector<RetentionVerdict>& others) {
  for (auto& level : listing.levels) {
    std::erase_if(level, [&](const FileInfo& file) {
      if (IsRange(file)) return false;
      others.push_back({.file = file, .reason = Reason::kNotRange});
      return true;
    });
    std::ranges::sort(level, [](const FileInfo& a, const FileInfo& b) {
      if (a.id != b.id) return a.id < b.id;
      return a.created_at > b.created_at;
    });
    const auto same = [](const FileInfo& a, const FileInfo& b) { return a.id == b.id; };
    level.erase(std::unique(level.begin(), level.end(), same), level.end());
  }
  return listing;
}

Txid NewestOf(const std::vector<FileInfo>& level) {
  Txid newest;
  for (const FileInfo& file : level) {
    newest = std::max(newest, file.id.txids.max);
  }
  return newest;
}

// Whether there is a point from which the file leads on to its end.
bool LeadsOn(const std::vector<RestorePoint>& points, const TxidRange& txids) {
  if (txids.min == Txid{1}) return true;
  const auto end = std::ranges::lower_bound(points, txids.max, {}, &RestorePoint::txid);
  return end != points.begin() && std::prev(end)->txid.value >= txids.min.value - 1;
}

const RestorePoint* FindPoint(const std::vector<RestorePoint>& points, Txid txid) {
  const auto found = std::ranges::lower_bound(points, txid, {}, &RestorePoint::txid);
  return found == points.end() || found->txid != txid ? nullptr : &*found;
}

bool IsRemoval(Reason reason) {
  return reason == Reason::kOutsideWindow || reason == Reason::kBelowFloor ||
         reason == Reason::kMerged;
}

// Decides level by level. Borrows everything.
class Planner {
 public:
  Planner(const ReplicaListing& listing, const RetentionPolicy& policy, WallTime now)
      : listing_(listing), policy_(policy), now_(now), ages_(listing, now) {
    plan_.window_start = now - policy.snapshot_retention;
    FindBase();
    FindFloor();
  }

  // `spare_level0`: nothing of level 0 goes.
  RetentionPlan Plan(bool spare_level0) {
    Level0(spare_level0);
    for (std::uint8_t level = 1; level <= kMaxMergeLevel.value; ++level) Merged(level);
    Snapshots();
    return std::move(plan_);
  }

 private:
  const std::vector<FileInfo>& FilesOf(Level level) const { return listing_.levels[level.value]; }

  void Add(const FileInfo& file, Reason reason) {
    if (!policy_.enabled) reason = Reason::kDisabled;
    if (IsRemoval(reason)) plan_.remove_bytes += file.size_bytes;
    (IsRemoval(reason) ? plan_.remove : plan_.keep).push_back({.file = file, .reason = reason});
  }

  void FindBase() {
    const WallTime since = plan_.window_start - kRestoreGrace;
    for (const FileInfo& file : FilesOf(kSnapshotLevel)) {  // Ascending, so the newest wins.
      if (!IsSnapshot(file) || !ages_.IsKnown(file)) continue;
      if (ages_.Youngest(file) < since) plan_.base = file;
    }
  }
  void FindFloor() {
    if (!plan_.base) return;
    const Txid base = plan_.base->id.txids.max;
    if (ages_.Youngest(*plan_.base) < plan_.window_start - kIdleGrace) {
      plan_.floor = base;
      return;
    }
    for (const FileInfo& file : FilesOf(kSnapshotLevel)) {
      const Txid max = file.id.txids.max;
      if (IsSnapshot(file) && max < base) plan_.floor = std::max(plan_.floor, max);
    }
  }

  void Snapshots() {
    const auto& files = FilesOf(kSnapshotLevel);
    const Tiers tiers(files, policy_.keep, ages_);
    const Txid newest = NewestOf(files);
    for (const FileInfo& file : files) {
      const Txid max = file.id.txids.max;
      if (!IsSnapshot(file)) {
        Add(file, Reason::kNotSnapshot);
      } else if (!plan_.base) {
        Add(file, max == newest ? Reason::kNewestOfLevel : Reason::kNoBase);
      } else if (max >= plan_.base->id.txids.max) {
        Add(file, max == plan_.base->id.txids.max ? Reason::kBase : Reason::kInWindow);
      } else if (!ages_.IsKnown(file)) {
        Add(file, Reason::kTimeUnknown);
      } else {
        Add(file, tiers.Find(max).value_or(Reason::kOutsideWindow));
      }
    }
  }

  void Merged(std::uint8_t level) {
    const auto& files = FilesOf(Level{level});
    const Txid newest = NewestOf(files);
    for (const FileInfo& file : files) {
      if (file.id.txids.max == newest) {
        Add(file, Reason::kNewestOfLevel);
      } else if (file.id.txids.max < plan_.floor) {
        Add(file, Reason::kBelowFloor);
      } else {
        Add(file, plan_.base ? Reason::kAboveFloor : Reason::kNoBase);
      }
    }
  }

  // Whether something else holds a file of level 0: level 1 its transactions, or a snapshot the
  // state that it leads to, and from the same time on.
  bool IsHeld(const FileInfo& file, const Coverage& level1) const {
    if (level1.Holds(file.id.txids)) return true;
    const auto& snapshots = FilesOf(kSnapshotLevel);
    const auto same = std::ranges::find_if(snapshots, [&](const FileInfo& snapshot) {
      return snapshot.id.txids == TxidRange{Txid{1}, file.id.txids.max};
    });
    return same != snapshots.end() && ages_.IsKnown(*same) && same->created_at <= file.created_at;
  }

  // What level 0 says about a file that has nothing in front of it. `next`: the file behind.
  Reason OfFirst(const FileInfo& file, const FileInfo& next, const Coverage& level1) const {
    const WallTime since = now_ - policy_.l0_retention;
    const bool known = ages_.IsKnown(file);
    const bool below = file.id.txids.max < plan_.floor;
    if (below && !known) return Reason::kBelowFloor;
    if (!known) return Reason::kTimeUnknown;
    // A moment just behind `since` needs the last file from before it.
    if (ages_.Youngest(file) >= since || ages_.Youngest(next) >= since) return Reason::kRecent;
    if (below) return Reason::kBelowFloor;
    return IsHeld(file, level1) ? Reason::kMerged : Reason::kNotMerged;
  }

  void Level0(bool spare) {
    const auto& files = FilesOf(kLevel0);
    if (policy_.l0_retention <= milliseconds(0)) {
      for (const FileInfo& file : files) Add(file, Reason::kForEver);
      return;
    }
    const Coverage level1(FilesOf(Level{1}));
    const Txid newest = NewestOf(files);
    std::vector<Reason> reasons;
    for (std::size_t i = 0; i < files.size(); ++i) {
      Reason reason = Reason::kNewestOfLevel;
      if (files[i].id.txids.max != newest && i + 1 < files.size()) {
        reason = OfFirst(files[i], files[i + 1], level1);
      }
      reasons.push_back(reason);
      if (!IsRemoval(reason)) break;
    }
    std::size_t count = reasons.size();
    while (count > 0 && !IsRemoval(reasons[count - 1])) --count;
    while (count > 0 && (spare || !MayBeFirst(files[count]))) {
      reasons[--count] = Reason::kNeededByNewer;
    }
    for (std::size_t i = 0; i < files.size(); ++i) {
      const bool walked = i < reasons.size();
      const bool last = files[i].id.txids.max == newest;
      Add(files[i], walked ? reasons[i] : last ? Reason::kNewestOfLevel : Reason::kBehindKept);
    }
  }

  // Whether the files of level 0 from this one on lead to the same points without those before:
  // there is something for it to build on, or another way to its end.
  bool MayBeFirst(const FileInfo& file) {
    const TxidRange& txids = file.id.txids;
    if (plan_.base && txids.max <= plan_.base->id.txids.max) return true;
    if (points_.empty()) {
      points_ = FindRestorePoints(listing_).points;
      ReplicaListing upper = listing_;
      upper.levels[0].clear();
      without_level0_ = FindRestorePoints(upper).points;
    }
    if (LeadsOn(without_level0_, txids)) return true;
    const RestorePoint* const end = FindPoint(without_level0_, txids.max);
    return end != nullptr && end->time <= FindPoint(points_, txids.max)->time;
  }

  const ReplicaListing& listing_;
  const RetentionPolicy& policy_;
  const WallTime now_;
  const Ages ages_;
  RetentionPlan plan_;
  std::vector<RestorePoint> points_;  // Unset (empty) until they are needed; so the next.
  std::vector<RestorePoint> without_level0_;
};

// The promises about points, on what is left.
Result<void> Check(const ReplicaListing& listing, const RetentionPlan& plan) {
  ReplicaListing left;
  for (const RetentionVerdict& verdict : plan.keep) {
    left.levels[verdict.file.id.level.value].push_back(verdict.file);
  }
  const std::vector<RestorePoint> before = FindRestorePoints(listing).points;
  const std::vector<RestorePoint> after = FindRestorePoints(left).points;
  const auto lost = [](Txid txid) {
    return Error(ErrorCode::kInternal,
                 fmt::format("retention would take away transaction {}; nothing is removed",
                             FormatTxid(txid)));
  };
  if (before.empty()) return {};
  if (after.empty() || after.back().txid != before.back().txid) return lost(before.back().txid);
  const Txid base = plan.base ? plan.base->id.txids.max : Txid{};
  for (const RetentionVerdict& verdict : plan.keep) {
    const FileInfo& file = verdict.file;
    const TxidRange& txids = file.id.txids;
    const bool promised = IsSnapshot(file) || (file.id.level != kSnapshotLevel &&
                                               txids.max >= base && LeadsOn(before, txids));
    if (promised && FindPoint(after, txids.max) == nullptr) return lost(txids.max);
  }
  return {};
}

}  // namespace

std::string_view ReasonText(RetentionReason reason) {
  switch (reason) {
    case Reason::kOutsideWindow:
      return "a snapshot older than the window needs";
    case Reason::kBelowFloor:
      return "older than the window needs";
    case Reason::kMerged:
      return "merged, and older than l0-retention";
    case Reason::kBase:
      return "the snapshot that the window begins with";
    case Reason::kInWindow:
      return "a snapshot within the window";
    case Reason::kHourly:
      return "the snapshot of its hour";
    case Reason::kDaily:
      return "the snapshot of its day";
    case Reason::kWeekly:
      return "the snapshot of its week";
    case Reason::kMonthly:
      return "the snapshot of its month";
    case Reason::kNotSnapshot:
      return "among the snapshots, but none";
    case Reason::kAboveFloor:
      return "needed within the window, or by a restore under way";
    case Reason::kForEver:
      return "l0-retention is off";
    case Reason::kRecent:
      return "younger than l0-retention, or the last before that";
    case Reason::kNotMerged:
      return "not merged into level 1";
    case Reason::kNeededByNewer:
      return "newer files of level 0 build on it";
    case Reason::kBehindKept:
      return "behind a file of level 0 that is kept";
    case Reason::kNewestOfLevel:
      return "the newest of its level";
    case Reason::kTimeUnknown:
      return "its time is missing or in the future";
    case Reason::kNoBase:
      return "no snapshot is old enough for the window to begin with";
    case Reason::kDisabled:
      return "retention is disabled";
    case Reason::kNotRange:
      return "its name is no range of transactions";
  }
  return "";
}

Result<RetentionPlan> PlanRetention(const ReplicaListing& listing, const RetentionPolicy& policy,
                                    WallTime now) {
  std::vector<RetentionVerdict> others;
  const ReplicaListing sorted = Sorted(listing, others);
  RetentionPlan plan = Planner(sorted, policy, now).Plan(/*spare_level0=*/false);
  if (!Check(sorted, plan).ok()) {
    // Merged files overlap so that one of them builds on level 0 only.
    plan = Planner(sorted, policy, now).Plan(/*spare_level0=*/true);
    LS_TRY(Check(sorted, plan));
  }
  std::ranges::copy(others, std::back_inserter(plan.keep));
  return plan;
}

}  // namespace litestream
