// How a database is let go of, in the two steps of CloseDatabases (db/close.h).

#include <algorithm>
#include <utility>
#include <vector>

#include "base/try.h"
#include "db/database.h"

namespace litestream {

// Capturing is local and short; it is done even when the caller is in a hurry.
Result<void> Database::CaptureLast(const Context& ctx) {
  const Context local_ctx = Context(std::stop_token(), std::nullopt, ctx.clock());
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
  return first;
}

Result<void> Database::Release() {
  StopTask();
  StopReplicas();
  Detach();
  meta_lock_.reset();
  SetState(DatabaseState::kClosed);
  return last_captured_.value_or(Result<void>());
}

}  // namespace litestream
