// What is done in the caller's thread: a single sync, and the end, in the two steps of
// CloseDatabases (db/close.h).

#include <algorithm>
#include <utility>
#include <vector>

#include "base/try.h"
#include "db/database.h"

namespace litestream {
namespace {

constexpr std::chrono::seconds kLeaseFarewell{5};
// Whoever runs once waits so long for a lease that somebody has left, as after a power failure.
constexpr std::chrono::seconds kWaitForLease = 2 * kLeaseTimeToLive;

}  // namespace

Result<void> Database::SyncOnce(const Context& ctx) {
  if (!attachment_ && !LS_TRY(TryAttach(ctx))) {
    return Error(ErrorCode::kNotFound, "no position, waiting for data");
  }
  if (LS_TRY(CheckHold(ctx))) {
    if (!capture_->IsCaptured(LS_TRY(attachment_->Peek()))) LS_TRY(CaptureNew(ctx));
  } else if (!LS_TRY(TryAttach(ctx))) {
    return Error(ErrorCode::kNotFound, "no position, waiting for data");
  }
  for (std::size_t i = 0; i < uploaders_.size(); ++i) {
    const MonoTime until = Now() + kWaitForLease;
    auto drained = DrainOne(ctx, *uploaders_[i], 1);
    for (auto free_at = fences_[i]->blocked_until(Now()); !drained.ok() && free_at;
         free_at = fences_[i]->blocked_until(Now())) {
      if (*free_at > until) break;
      LS_TRY(ctx.Wait(*free_at - Now()));
      drained = DrainOne(ctx, *uploaders_[i], 1);
    }
    LS_TRY(std::move(drained), "replica {}", uploaders_[i]->Status().name);
  }
  return {};
}

Result<void> Database::SnapshotOnce(const Context& ctx) {
  for (auto& uploader : uploaders_) {
    const std::string name = uploader->Status().name;
    auto made = uploader->ForceSnapshot(ctx);
    if (made.ok()) continue;
    const bool files_will_not_do = made.error().Is(ErrorCode::kNotFound) ||
                                   made.error().Is(ErrorCode::kCorruption) ||
                                   made.error().Is(ErrorCode::kUnsupported);
    if (!files_will_not_do) return std::move(made).error().Wrap("replica " + name);
    log_.Warn("cannot make a snapshot of the files of the replica, reading the database",
              {{"replica", name}, {"error", made.error().message()}});
    full_wanted_ = true;
    LS_TRY(HandleRequests(ctx));
    LS_TRY(DrainOne(ctx, *uploader, 1), "replica {}", name);
    if (!StreamsSnapshots()) {
      LS_TRY(uploader->ForceSnapshot(ctx), "replica {}", name);
    } else if (!LS_TRY(uploader->StreamSnapshot(ctx, Txid{}), "replica {}", name)) {
      return Error(ErrorCode::kUnavailable, "the database cannot be read now, try again");
    }
  }
  return {};
}

Result<void> Database::RetainOnce(const Context& ctx) {
  for (std::size_t i = 0; i < keepers_.size(); ++i) {
    LS_TRY(keepers_[i]->RetainOnce(ctx), "replica {}", uploaders_[i]->Status().name);
  }
  return {};
}

// Uploads what is there. A replica may ask for more (a full file above what it holds), so a few
// rounds.
Result<void> Database::DrainOne(const Context& ctx, Uploader& uploader, int attempt) {
  constexpr int kMaxRounds = 4;
  for (int round = 0;; ++round) {
    auto drained = uploader.Drain(ctx, round == 0 ? attempt : 1);
    // It needs the database for that. Another uploader may still read it.
    LS_TRY(permit_.Take(Context(std::stop_token(), std::nullopt, ctx.clock())));
    const PermitHold hold(permit_);
    if (parked_ && may_attach_ && !LS_TRY(IsStillParked())) {
      parked_.reset();
      auto attached = TryAttach(ctx);
      if (!attached.ok()) {
        // Whoever has it now may take care of it. Not to have seen to it is no success.
        last_captured_ = Result<void>(attached.error());
        return std::move(attached).error();
      }
      // What it is offered now has to be compared with the replica again.
      if (round < kMaxRounds) continue;
    }
    const bool lost = !attachment_ && !parked_;
    if (lost && !drained.ok() && drained.error().Is(ErrorCode::kAlreadyExists)) {
      log_.Warn("what was captured of the lost database does not continue the replica, it stays",
                {{"path", (options_.meta_path / "ltx").string()}});
      return {};
    }
    // It can be read no more.
    if (lost && !may_attach_ && uploader.awaits_image()) return {};
    if (attachment_ && round < kMaxRounds && LS_TRY(HandleRequests(ctx))) continue;
    // It was opened, and is not any more: the next attempt begins with that.
    if (!drained.ok() && lost && !IsGone()) last_captured_.reset();
    return drained;
  }
}

// Capturing is local and short; it is done even when the caller is in a hurry.
Result<void> Database::CaptureLast(const Context& ctx) {
  const Context local_ctx = Context(std::stop_token(), std::nullopt, ctx.clock());
  if (parked_) {
    if (LS_TRY(IsStillParked())) return {};
    parked_.reset();
  }
  // If the files were replaced and nobody told, it attaches to what is there now.
  if (attachment_) LS_TRY(CheckHold(local_ctx));
  if (!attachment_ && waker_.load() != nullptr && may_attach_) {
    // Or stopped before it was attached, or meanwhile. That may take long, so it ends with the
    // caller's patience.
    LS_TRY(TryAttach(ctx));
  }
  if (!attachment_) return {};
  // A full file that was begun when the stop came; nothing else can follow before it.
  LS_TRY(HandleRequests(ctx));
  if (!capture_->IsCaptured(LS_TRY(attachment_->Peek()))) return CaptureNew(local_ctx);
  return {};
}

bool Database::IsFailing() const {
  return std::ranges::any_of(uploaders_, [](const auto& uploader) {
    return uploader->Status().state == ReplicaState::kFailing;
  });
}

Result<void> Database::Drain(const Context& ctx, int attempt) {
  if (!last_captured_) {
    for (auto& keeper : keepers_) keeper->Stop();
    StopTask();
    LS_TRY(permit_.Take(Context(std::stop_token(), std::nullopt, ctx.clock())));
    const PermitHold hold(permit_);
    last_captured_ = CaptureLast(ctx);
    if (attachment_) {
      capture_->CloseNewest();
      OfferWhatWasOpen(/*fresh=*/false);
    }
  }
  std::vector<Uploader*> order;
  for (auto& uploader : uploaders_) order.push_back(uploader.get());
  std::stable_partition(order.begin(), order.end(), [](const Uploader* uploader) {
    return uploader->Status().state != ReplicaState::kFailing;
  });
  Result<void> first;
  for (Uploader* const uploader : order) {
    auto drained = DrainOne(ctx, *uploader, attempt);
    if (first.ok() && !drained.ok()) first = std::move(drained);
  }
  if (first.ok()) ReleaseLeases(ctx);
  return first;
}

// What cannot be given up runs out.
void Database::ReleaseLeases(const Context& ctx) {
  for (const auto& fence : fences_) {
    auto released = fence->Release(ctx);
    if (released.ok()) continue;
    log_.Debug("cannot give up the lease", {{"error", released.error().message()}});
  }
}

// What is known of the replicas is to be saved, with the marks of leases that were given up:
// without them the next start would have to list. True: the state directory is ours for that.
bool Database::KeepsMarks() {
  if (attachment_) return meta_lock_ != nullptr;
  for (std::size_t i = 0; parked_ && i < holdings_.size(); ++i) {
    // Or was learnt again since it was saved.
    const bool old_mark = holdings_[i]->has_old_mark(fences_[i]->MarkForHeirs(Now()));
    if (old_mark || holdings_[i]->unsaved()) return meta_lock_ || LockMeta().ok();
  }
  return false;
}

Result<void> Database::Release() {
  StopTask();
  StopReplicas();
  // Not done yet if something could not be uploaded.
  ReleaseLeases(Context(std::stop_token(), Now() + kLeaseFarewell, scheduler_.clock()));
  if (KeepsMarks()) SaveHoldings(Context::Background(), /*at_once=*/true);
  if (attachment_ && meta_lock_ && last_captured_ && last_captured_->ok()) {
    // What this saves is only time at the next start.
    auto parked = Park(Context::Background(), /*with_effort=*/false);
    if (!parked.ok()) log_.Debug("cannot park", {{"error", parked.error().message()}});
  }
  Detach();
  meta_lock_.reset();
  SetState(DatabaseState::kClosed);
  return last_captured_.value_or(Result<void>());
}

}  // namespace litestream
