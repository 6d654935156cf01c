#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "litestream/replica_client.h"
#include "litestream/result.h"
#include "litestream/types.h"
#include "replica/plan.h"

namespace litestream {

// So many snapshots are kept beyond the window: the newest of each of the last n hours, days, weeks
// (from Monday) and months that have one, in UTC. 0: none.
struct KeepTiers {
  int hourly = 0;
  int daily = 0;
  int weekly = 0;
  int monthly = 0;
};

struct RetentionPolicy {
  bool enabled = true;
  // How long files of level 0 stay once they are merged. 0 or less: for ever.
  std::chrono::milliseconds l0_retention = std::chrono::minutes(5);
  // The window: so far back every moment can be restored.
  std::chrono::milliseconds snapshot_retention = std::chrono::hours(24);
  KeepTiers keep;
};

// So much later than the window asks for do snapshots leave it: a restore that was planned before
// can be completed. (One that takes longer and finds a file gone plans again.)
inline constexpr std::chrono::hours kRestoreGrace{1};
// When the window has begun so long ago with the same snapshot, the files below it go.
inline constexpr std::chrono::hours kIdleGrace{24};

enum class RetentionReason : unsigned char {
  // Removed.
  kOutsideWindow,  // A snapshot older than the base that no tier keeps.
  kBelowFloor,     // Nothing that is promised needs it.
  kMerged,         // Level 0, old enough, and level 1 or a snapshot holds it.
  // Kept: snapshots.
  kBase,      // The newest from before the window begins.
  kInWindow,  // Behind the base.
  kHourly,
  kDaily,
  kWeekly,
  kMonthly,
  kNotSnapshot,  // Its first transaction is not 1; no restore uses it.
  // Kept: levels 1 to 8.
  kAboveFloor,  // The window, or a restore under way, may need it.
  // Kept: level 0.
  kForEver,        // l0_retention is off.
  kRecent,         // It, or the next one, is younger than l0_retention.
  kNotMerged,      // Level 1 does not hold it whole.
  kNeededByNewer,  // A file that is kept builds on it.
  kBehindKept,     // Level 0 goes from its front only.
  // Kept: any.
  kNewestOfLevel,
  kTimeUnknown,  // Its time is missing or in the future.
  kNoBase,       // No snapshot is old enough to be the base.
  kDisabled,
  kNotRange,  // No range of transactions.
};
// In words, for people.
std::string_view ReasonText(RetentionReason reason);

struct RetentionVerdict {
  FileInfo file;
  RetentionReason reason{};
};

struct RetentionPlan {
  // In the order in which to remove them. After any number of them the promises hold, and a pass
  // that was broken off finds the rest again: snapshots come last.
  std::vector<RetentionVerdict> remove;
  std::vector<RetentionVerdict> keep;  // By level and transactions.
  WallTime window_start;
  // The snapshot that the window begins with; unset if none is old enough.
  std::optional<FileInfo> base;
  Txid floor;  // What ends before it may go, but for snapshots; 0: nothing.
  std::uint64_t remove_bytes = 0;
};

// Decides which files of a replica may go. Pure: does no I/O, and does not depend on the listing's
// order. Files that are not listed do not exist.
//
// Promises, in terms of what PlanRestore does with the files that are left:
//  1. Every moment from `window_start` on that could be restored can be. The base is the newest
//     snapshot that a restore to `window_start` may use, or could kRestoreGrace ago; it stays, and
//     every snapshot behind it. (While there is none: but for moments before the end of the first
//     file of level 1, if no snapshot was made of what level 0 began with.)
//  2. Every point from the base on stays, but for the ends of level-0 files that kMerged removes:
//     between the points of level 1, and more than l0_retention ago. The last l0_retention keep
//     the points of level 0.
//  3. The newest point stays, and the newest file of every level.
//  4. What the tiers keep stays: single points. What lies between them goes with the window.
//  5. Of level 0 only a front part goes, so that what is left has no new hole.
//  6. Of levels 1 to 8 only what ends before the floor goes, and from there level 0, too
//     (kBelowFloor). The floor is the newest snapshot below the base; the base itself once it is
//     older than the window and kIdleGrace, so that an idle database loses what it no longer needs.
//     So a restore within the window that was planned up to kRestoreGrace ago finds all its files
//     but those that kMerged removes.
//  7. A clock that jumped removes nothing. A file counts as no older than any file of earlier
//     transactions. A snapshot whose time is missing or yet to come stays; so does such a file of
//     level 0 with all behind it, until it ends before the floor and so must be old.
//
// Errors: kInternal if a plan would break promise 2 or 3 (each is checked before it is returned).
Result<RetentionPlan> PlanRetention(const ReplicaListing& listing, const RetentionPolicy& policy,
                                    WallTime now);

}  // namespace litestream
