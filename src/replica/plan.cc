#include "replica/plan.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/try.h"
#include "format/names.h"

namespace litestream {
namespace {

bool IsRange(const TxidRange& range) {
  return range.min >= Txid{1} && range.min <= range.max;
}

// Whether the target allows this file at all.
bool IsUsable(const FileInfo& file, const RestoreTarget& target) {
  if (!IsRange(file.id.txids)) return false;
  if (target.txid && file.id.txids.max > *target.txid) return false;
  if (target.before && file.created_at >= *target.before) return false;
  return true;
}

bool IsBetter(const FileInfo& a, const FileInfo& b) {
  const TxidRange& x = a.id.txids;
  const TxidRange& y = b.id.txids;
  if (x.max != y.max) return x.max > y.max;
  if (x.min != y.min) return x.min < y.min;
  if (a.id.level != b.id.level) return a.id.level > b.id.level;
  return a.created_at < b.created_at;
}

// Walks one level's files once, while the plan advances.
class LevelCursor {
 public:
  LevelCursor(const std::vector<FileInfo>& files, const RestoreTarget& target)
      : files_(&files), target_(&target) {}

  // The best file that continues from `reached`, or null.
  const FileInfo* Best(Txid reached) {
    if (best_ != nullptr && best_->id.txids.max <= reached) best_ = nullptr;
    for (; next_ < files_->size(); ++next_) {
      const FileInfo& file = (*files_)[next_];
      if (file.id.txids.min > reached.Next()) break;
      if (file.id.txids.max <= reached || !IsUsable(file, *target_)) continue;
      if (best_ == nullptr || IsBetter(file, *best_)) best_ = &file;
    }
    return best_;
  }

  // Where the first usable file begins that no Best() has reached.
  std::optional<Txid> NextUnreached() const {
    for (std::size_t i = next_; i < files_->size(); ++i) {
      const FileInfo& file = (*files_)[i];
      if (IsUsable(file, *target_)) return file.id.txids.min;
    }
    return std::nullopt;
  }

 private:
  const std::vector<FileInfo>* files_;
  const RestoreTarget* target_;
  std::size_t next_ = 0;
  const FileInfo* best_ = nullptr;
};

const FileInfo* ChooseSnapshot(const std::vector<FileInfo>& snapshots,
                               const RestoreTarget& target) {
  const FileInfo* chosen = nullptr;
  for (const FileInfo& file : snapshots) {
    // Anything else than a whole database has no business on this level.
    if (file.id.txids.min != Txid{1} || !IsUsable(file, target)) continue;
    if (chosen == nullptr || file.id.txids.max > chosen->id.txids.max) chosen = &file;
  }
  return chosen;
}

std::string DescribeHole(const RestorePlan& plan) {
  return fmt::format("have up to {} but next file starts at {}", FormatTxid(plan.max_txid()),
                     FormatTxid(*plan.next_behind_hole));
}

Error NotAvailable(const RestorePlan& plan, const RestoreTarget& target) {
  std::string why = "transaction not available";
  if (plan.next_behind_hole) {
    why += plan.files.empty() ? fmt::format(": no snapshot, the first file starts at {}",
                                            FormatTxid(*plan.next_behind_hole))
                              : ": " + DescribeHole(plan);
  } else if (target.txid && !plan.files.empty()) {
    why += fmt::format(": files end at {}", FormatTxid(plan.max_txid()));
  }
  return {ErrorCode::kNotFound, std::move(why)};
}

}  // namespace

bool ReplicaListing::empty() const {
  return std::ranges::all_of(levels, [](const auto& level) { return level.empty(); });
}

Txid ReplicaListing::newest() const {
  Txid newest;
  for (const auto& level : levels) {
    for (const FileInfo& file : level) newest = std::max(newest, file.id.txids.max);
  }
  return newest;
}

std::optional<WallTime> ReplicaListing::oldest_time() const {
  std::optional<WallTime> oldest;
  for (const auto& level : levels) {
    for (const FileInfo& file : level) {
      oldest = oldest ? std::min(*oldest, file.created_at) : file.created_at;
    }
  }
  return oldest;
}

std::optional<WallTime> ReplicaListing::newest_time() const {
  std::optional<WallTime> newest;
  for (const auto& level : levels) {
    for (const FileInfo& file : level) {
      newest = newest ? std::max(*newest, file.created_at) : file.created_at;
    }
  }
  return newest;
}

Result<ReplicaListing> ListReplica(const Context& ctx, ReplicaClient& client, bool exact_times) {
  ReplicaListing listing{.levels = LS_TRY(client.ListAll(ctx, exact_times))};
  for (auto& files : listing.levels) {
    std::erase_if(files, [](const FileInfo& file) { return !IsRange(file.id.txids); });
    // Some servers sort by the first TXID only.
    std::ranges::sort(files, {}, [](const FileInfo& file) { return file.id.txids; });
  }
  return listing;
}

Result<RestorePlan> PlanRestore(const ReplicaListing& listing, const RestoreTarget& target) {
  if (target.txid && target.before) {
    return Error(ErrorCode::kInvalidArgument, "cannot specify both TXID & timestamp to restore");
  }
  RestorePlan plan;
  Txid reached;
  const auto take = [&](const FileInfo& file) {
    plan.files.push_back(file);
    reached = file.id.txids.max;
  };
  const auto arrived = [&]() { return target.txid && reached >= *target.txid; };

  if (const FileInfo* snapshot = ChooseSnapshot(listing.levels[kSnapshotLevel.value], target)) {
    take(*snapshot);
    if (arrived()) return plan;
  }
  std::vector<LevelCursor> cursors;
  for (int level = kMaxMergeLevel.value; level >= 0; --level) {
    cursors.emplace_back(listing.levels[static_cast<std::size_t>(level)], target);
  }
  while (!arrived()) {
    const FileInfo* best = nullptr;
    for (LevelCursor& cursor : cursors) {
      const FileInfo* candidate = cursor.Best(reached);
      if (candidate != nullptr && (best == nullptr || IsBetter(*candidate, *best))) {
        best = candidate;
      }
    }
    if (best == nullptr) break;
    take(*best);
  }
  if (arrived()) return plan;

  for (const LevelCursor& cursor : cursors) {
    const auto next = cursor.NextUnreached();
    if (next && (!plan.next_behind_hole || *next < *plan.next_behind_hole)) {
      plan.next_behind_hole = next;
    }
  }
  if (plan.files.empty() || target.txid) return NotAvailable(plan, target);
  if (plan.next_behind_hole && !target.before) {
    return Error(ErrorCode::kCorruption, "non-contiguous ltx files: " + DescribeHole(plan));
  }
  return plan;
}

}  // namespace litestream
