#include "db/checkpointer.h"

#include <algorithm>
#include <utility>

#include "base/try.h"

namespace litestream {

Checkpointer::Checkpointer(const CheckpointOptions& options, Logger log)
    : options_(options), log_(std::move(log)) {}

void Checkpointer::Reset(MonoTime now) {
  last_run_ = now;
  not_before_ = now;
  backoff_ = {};
  fruitless_ = 0;
  blocked_since_.reset();
  done_salts_ = {};
  done_frames_ = 0;
}

std::uint32_t Checkpointer::NewFrames(const WalView& held) const {
  if (held.salts != done_salts_ || held.frames < done_frames_) return held.frames;
  return held.frames - done_frames_;
}

bool Checkpointer::Due(const WalView& held, MonoTime now) const {
  const auto at = NextDue(held);
  return at && *at <= now;
}

std::optional<MonoTime> Checkpointer::NextDue(const WalView& held) const {
  const std::uint32_t fresh = NewFrames(held);
  if (fresh == 0) return std::nullopt;
  if (fresh >= options_.min_pages) return not_before_;
  if (options_.truncate_pages >= 0 && held.frames >= options_.truncate_pages) return not_before_;
  if (options_.interval.count() <= 0) return std::nullopt;
  return std::max(not_before_, last_run_ + options_.interval);
}

// While an old state is read, the watcher has to know of the tail before the holder sees it. Unset:
// it knows. False: the tail was too long for that; the lock was released and it was captured.
Result<std::optional<bool>> Checkpointer::AnnounceTail(const Context& ctx, Attachment& attachment,
                                                       Capture& capture, const OnBatch& on_batch) {
  if (!capture.is_watched() || LS_TRY(capture.AnnounceTail(attachment, kMaxTailFrames))) {
    return std::optional<bool>();
  }
  attachment.UnlockWrites();
  const bool restart_allowed = attachment.restart_allowed();
  const WalView view = LS_TRY(attachment.Leap());
  auto batch = capture.Continue(ctx, attachment, view, restart_allowed, 0);
  if (!batch.ok()) {
    LS_TRY(attachment.Abandon());
    return std::move(batch).error();
  }
  on_batch(batch.value());
  LS_TRY(attachment.Land());
  return std::optional(false);
}

// Captures the tail under the write lock. False: it is too long to let writers wait for it; the
// lock was released and the tail captured without it.
Result<bool> Checkpointer::Seal(const Context& ctx, Attachment& attachment, Capture& capture,
                                const OnBatch& on_batch) {
  if (const auto done = LS_TRY(AnnounceTail(ctx, attachment, capture, on_batch))) return *done;
  const bool restart_allowed = attachment.restart_allowed();
  const WalView before = attachment.held();
  const WalView view = LS_TRY(attachment.RenewHolder());
  if (capture.IsCaptured(view)) return true;
  const std::uint32_t tail = view.salts == before.salts && view.frames >= before.frames
                                 ? view.frames - before.frames
                                 : view.frames;
  const bool is_short = tail <= kMaxTailFrames;
  if (!is_short) attachment.UnlockWrites();
  const Batch batch = LS_TRY(capture.Continue(ctx, attachment, view, restart_allowed, 0));
  capture.LeaveOpen(batch);
  on_batch(batch);
  return is_short;
}

Result<CheckpointOutcome> Checkpointer::Run(const Context& ctx, Attachment& attachment,
                                            Capture& capture, const OnBatch& on_batch) {
  CheckpointOutcome outcome;
  for (int round = 0;; ++round) {
    LS_TRY(attachment.PassiveUnlocked());
    LS_TRY(attachment.SyncDatabaseData());
    auto locked = attachment.LockWrites(ctx, kLockLimit);
    if (!locked.ok()) {
      if (!locked.error().Is(ErrorCode::kUnavailable)) return std::move(locked).error();
      outcome.lock_busy = true;
      not_before_ = ctx.clock().Monotonic() + kLockLimit;
      return outcome;
    }
    auto sealed = Seal(ctx, attachment, capture, on_batch);
    if (!sealed.ok()) {
      attachment.UnlockWrites();
      return std::move(sealed).error();
    }
    if (sealed.value()) break;
    if (round + 1 == kMaxTailRounds) {
      // Writers are faster than we capture: let them, and come back.
      not_before_ = ctx.clock().Monotonic() + kFirstBackoff;
      return outcome;
    }
  }
  const bool stubborn = fruitless_ >= kStubbornAfter;
  auto backfilled =
      attachment.BackfillUnderLock(ctx, stubborn ? kStubbornLimit : std::chrono::milliseconds(0));
  attachment.UnlockWrites();
  const CheckpointResult result = LS_TRY(std::move(backfilled));
  outcome.complete = result.complete();
  const WalView held = attachment.held();
  const bool over_limit = options_.truncate_pages >= 0 && held.frames >= options_.truncate_pages;
  if (outcome.complete && (stubborn || over_limit)) {
    outcome.mode = over_limit ? CheckpointMode::kTruncate : CheckpointMode::kRestart;
    if (over_limit) {
      log_.Info("forcing truncate checkpoint",
                {{"wal_size", held.end_offset()},
                 {"threshold", WalSizeOf(static_cast<std::uint64_t>(options_.truncate_pages),
                                         attachment.page_size())}});
    }
    const auto waited = LS_TRY(attachment.WaitForReaders(outcome.mode, kStubbornLimit));
    if (waited.busy) outcome.complete = false;
  }
  NoteResult(held, outcome, ctx.clock().Monotonic());
  return outcome;
}

void Checkpointer::NoteResult(const WalView& held, const CheckpointOutcome& outcome, MonoTime now) {
  // A generation that we completed before and that is still there was not restarted: readers stay.
  const bool was_done = held.salts == done_salts_ && done_frames_ > 0;
  if (outcome.complete) {
    last_run_ = now;
    fruitless_ = was_done ? fruitless_ + 1 : 0;
    if (outcome.mode != CheckpointMode::kPassive) fruitless_ = 0;
    done_salts_ = held.salts;
    done_frames_ = held.frames;
    backoff_ = {};
    not_before_ = now;
    if (blocked_since_) log_.Info("checkpoint no longer blocked by readers");
    blocked_since_.reset();
    return;
  }
  ++fruitless_;
  backoff_ = backoff_.count() == 0 ? kFirstBackoff : std::min(backoff_ * 2, kMaxBackoff);
  not_before_ = now + backoff_;
  if (fruitless_ > kStubbornAfter && !blocked_since_) {
    blocked_since_ = now;
    log_.Warn("checkpoint blocked by a long reader, the WAL grows until it ends",
              {{"wal_size", held.end_offset()}, {"backoff", backoff_}});
  }
}

}  // namespace litestream
