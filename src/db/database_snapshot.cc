// Snapshots of a large database: read while they are sent.

#include <utility>

#include "base/try.h"
#include "db/database.h"

namespace litestream {
namespace {

// A mark behind the newest, and another one, if the first is not behind what is asked for.
constexpr int kMostMarks = 2;

}  // namespace

// How large it is, also when nothing is captured yet.
std::uint64_t Database::SizeNow() {
  const auto size = attachment_->DatabaseFileSize();
  const auto wal = attachment_->WalFileSize();
  return (size.ok() ? size.value() : 0) + (wal.ok() ? wal.value() : 0);
}

// With everything captured, a transaction behind it that changes nothing.
Result<void> Database::MakeMark(const Context& ctx) {
  if (!capture_->IsCaptured(LS_TRY(attachment_->Peek())) ||
      !capture_->IsCaptured(attachment_->held())) {
    LS_TRY(CaptureNew(ctx));
  }
  const Position& position = capture_->position();
  OldState state(env_, *attachment_, LS_TRY(MapHeld(ctx, *attachment_, position.commit_pages)), {},
                 file_owner_);
  std::vector<std::byte> page_one(position.page_size);
  LS_TRY(state.Read(page_one));
  OnBatch(LS_TRY(capture_->Mark(ctx, *attachment_, page_one)));
  return {};
}

// With everything captured: the newest transaction, if the replica has its file; else the one
// before a mark, which then follows.
Result<Txid> Database::ChooseEnd(const Context& ctx, Txid from, Txid there) {
  const auto is_captured = [this] {
    return capture_->IsCaptured(attachment_->held()) && !capture_->newest_is_open();
  };
  const Position& position = capture_->position();
  if (position.txid == there && there >= from && is_captured()) return there;
  for (int marks = 0; marks < kMostMarks; ++marks) {
    const bool behind = position.txid.value > from.value;
    if (capture_->newest_is_mark() && behind && is_captured()) break;
    LS_TRY(MakeMark(ctx));
  }
  return Txid{position.txid.value - 1};
}

// Who wanted to read the database while a step had it.
void Database::TellUploaders() {
  for (const auto& uploader : uploaders_) uploader->Wake();
}

Result<std::unique_ptr<SnapshotStream>> Database::OpenSnapshot(const Context& ctx, Txid from,
                                                               Txid there,
                                                               std::chrono::nanoseconds patience) {
  if (!permit_.Take(ctx.WithDeadline(Now() + patience)).ok() && !permit_.TakeOrAsk()) {
    LS_TRY(ctx.Check());
    return std::unique_ptr<SnapshotStream>();
  }
  const PermitHold hold(permit_);
  // The step that opens it, or brings the page sums in order, makes a mark, and tells.
  if (!attachment_) snapshot_awaited_ = true;
  if (!attachment_ || !capture_->sums_valid() || !capture_->position().after) {
    RequestFull();
    return std::unique_ptr<SnapshotStream>();
  }
  if (!LS_TRY(CheckHold(ctx))) {
    Wake();
    return std::unique_ptr<SnapshotStream>();
  }
  const Txid end = LS_TRY(ChooseEnd(ctx, from, there));
  const Position& position = capture_->position();
  LtxHeader header;
  header.page_size = position.page_size;
  header.commit_pages = position.commit_pages;
  header.txids = {Txid{1}, end};
  header.timestamp_ms =
      end == position.txid ? capture_->time_ms() : capture_->time_before_mark_ms();
  header.SetProof(LtxProof{.before = 0, .after = *position.after});
  auto state = std::make_shared<OldState>(env_, *attachment_,
                                          LS_TRY(MapHeld(ctx, *attachment_, position.commit_pages)),
                                          options_.meta_path / "changed-pages", file_owner_);
  old_states_.Add(state);
  return std::make_unique<SnapshotStream>(permit_, std::move(state), header,
                                          options_.stream_slice_bytes, [this] {
                                            scrub_wanted_ = true;
                                            Wake();
                                          });
}

}  // namespace litestream
