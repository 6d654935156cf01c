#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "base/try.h"
#include "db/keeper.h"
#include "format/names.h"

namespace litestream {
namespace {

// So many files are removed with one call.
constexpr std::size_t kMaxRemoved = 1000;
// So much later than it could be, or a sixteenth of the time until then, may a file be removed.
constexpr std::chrono::seconds kRetentionGrain{15};

}  // namespace

// The holdings without what is known to stay.
ReplicaListing Keeper::Removable() const {
  ReplicaListing listing = work_.Listing();
  // What nothing can be made of can still be removed.
  for (const auto& [id, file] : bad_) listing.levels[id.level.value].push_back(file);
  return listing;
}

// Whether retention would remove anything at that moment.
bool Keeper::WouldRemove(const ReplicaListing& listing, WallTime at) const {
  const auto plan = PlanRetention(listing, options_.retention, at);
  return plan.ok() && std::ranges::any_of(plan.value().remove, [this](const auto& verdict) {
           return !undeletable_.contains(verdict.file.id);
         });
}

// When retention has something to do next, if nothing changes. Retention depends on the time alone
// then, and what it removes only grows with it, so that the moment can be searched for.
Keeper::Next Keeper::NextRetention(const Moment& now) const {
  using std::chrono::hours;
  using std::chrono::minutes;
  using std::chrono::seconds;
  static constexpr std::array<seconds, 6> kLooks = {seconds(0), minutes(1), minutes(6),
                                                    hours(2),   hours(72),  hours(24 * 60)};
  if (!options_.retention.enabled || !deletes_work_) return std::nullopt;
  const ReplicaListing listing = Removable();
  const auto* const found = std::ranges::find_if(
      kLooks, [&](seconds look) { return WouldRemove(listing, now.wall + look); });
  if (found == kLooks.end()) return std::nullopt;
  seconds early = found == kLooks.begin() ? *found : *std::prev(found);
  seconds late = *found;
  while (late - early > std::max<seconds>(kRetentionGrain, late / 16)) {
    const seconds middle = early + (late - early) / 2;
    (WouldRemove(listing, now.wall + middle) ? late : early) = middle;
  }
  return now.mono + late;
}

Result<void> Keeper::Retain(const Context& ctx, WallTime now) {
  if (!options_.retention.enabled || !deletes_work_) return {};
  LS_TRY(CheckRemoved(ctx));
  if (!deletes_work_) return {};
  const RetentionPlan plan = LS_TRY(PlanRetention(Removable(), options_.retention, now));
  NoteLevel0(plan);
  std::vector<FileId> ids;
  for (const RetentionVerdict& verdict : plan.remove) {
    if (!undeletable_.contains(verdict.file.id)) ids.push_back(verdict.file.id);
  }
  for (std::size_t i = 0; i < ids.size(); i += kMaxRemoved) {
    LS_TRY(Remove(ctx, std::span(ids).subspan(i, std::min(kMaxRemoved, ids.size() - i))),
           "retention");
  }
  std::map<int, int> by_level;
  for (const FileId& id : ids) ++by_level[id.level.value];
  for (const auto& [level, count] : by_level) {
    if (level == 0) {
      log_.Info("l0 retention enforced",
                {{"deleted_count", count}, {"max_l1_txid", FormatTxid(work_.newest(Level{1}))}});
    } else {
      log_.Info("retention enforced", {{"level", level}, {"deleted_count", count}});
    }
  }
  return {};
}

void Keeper::NoteLevel0(const RetentionPlan& plan) {
  UpkeepStatus::Level0 level0{.known = true};
  for (const RetentionVerdict& verdict : plan.remove) {
    if (verdict.file.id.level == kLevel0) ++level0.removed;
  }
  for (const RetentionVerdict& verdict : plan.keep) {
    if (verdict.file.id.level != kLevel0) continue;
    ++(verdict.reason == RetentionReason::kNotMerged ? level0.not_merged : level0.kept);
  }
  MutexLock lock(mu_);
  status_.level0 = level0;
}

Result<void> Keeper::RetainOnce(const Context& ctx) {
  if (!options_.retention.enabled) {
    log_.Warn("retention is disabled, nothing is removed",
              {{"hint", "set retention.enabled: true, or leave it to a lifecycle rule"}});
    return {};
  }
  term_ = fence_.term();
  auto holdings = LS_TRY(holdings_.Look(ctx));
  if (!holdings) {
    return Error(ErrorCode::kUnavailable,
                 "what the replica holds has changed meanwhile, try again");
  }
  work_ = std::move(*holdings);
  auto retained = Retain(ctx, env_.clock().Now());
  work_ = Catalogue();
  LS_TRY(std::move(retained));
  LS_TRY(CheckRemoved(ctx));
  if (deletes_work_) return {};
  return Error(ErrorCode::kIo, "the replica says that it removes files, and keeps them");
}

// In this order. Those that may not be removed (a bucket that locks its objects) are found one by
// one, said once, and left alone from then on.
Result<void> Keeper::Remove(const Context& ctx, std::span<const FileId> ids) {
  LS_TRY(HoldLease(ctx));
  const auto change = LS_TRY(holdings_.Begin(ctx));
  auto removed = client_.Delete(ctx, ids);
  if (!removed.ok() && removed.error().Is(ErrorCode::kDenied)) {
    if (ids.size() > 1) {
      LS_TRY(Remove(ctx, ids.first(ids.size() / 2)));
      return Remove(ctx, ids.subspan(ids.size() / 2));
    }
    if (undeletable_.empty()) {
      log_.Warn("the replica does not let files be removed, they stay",
                {{"level", int{ids.front().level.value}},
                 {"file", FormatLtxFilename(ids.front().txids)},
                 {"error", removed.error().message()},
                 {"hint",
                  "right if the bucket locks its objects for a time; else allow deletes, or "
                  "set retention.enabled: false and leave it to a lifecycle rule"}});
    }
    undeletable_.insert(ids.front());
    return {};
  }
  LS_TRY(std::move(removed));
  for (const FileId& id : ids) holdings_.Remove(id);
  if (!removed_) removed_ = ids.front();
  MutexLock lock(mu_);
  status_.removed_files += ids.size();
  return {};
}

// There are stores that say yes and remove nothing. Looked at once, for one file, when some time
// has passed.
Result<void> Keeper::CheckRemoved(const Context& ctx) {
  if (!removed_ || removed_checked_) return {};
  const auto files =
      LS_TRY(client_.List(ctx, removed_->level, {.seek = removed_->txids.min, .limit = 100}));
  removed_checked_ = true;
  deletes_work_ =
      std::ranges::none_of(files, [this](const FileInfo& file) { return file.id == *removed_; });
  if (deletes_work_) return {};
  log_.Error("the replica says that it removes files, and keeps them; not removing any more",
             {{"level", int{removed_->level.value}},
              {"file", FormatLtxFilename(removed_->txids)},
              {"hint", "see whether the store keeps old versions, or needs another permission"}});
  return {};
}

}  // namespace litestream
