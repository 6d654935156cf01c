// How a database is met: the state directory, the first capture, and letting go.

#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "db/database.h"
#include "db/state_instance.h"
#include "format/crc64.h"
#include "format/names.h"

namespace litestream {
namespace {

// A database in which nothing had happened may be closed at once.
constexpr std::chrono::milliseconds kMet{0};
// One whose snapshot is waited for stays until it has begun to be read.
constexpr std::chrono::seconds kAwaited{30};
// One that an uploader has asked something of stays until that is done, or so long. (It asks once
// more, after another listing, because the request was made of files that might have been others.)
constexpr std::chrono::minutes kRequested{5};

}  // namespace

Result<bool> Database::TryAttach(const Context& ctx) {
  const auto stat = env_.Stat(options_.path);
  if (!stat.ok()) {
    if (stat.error().Is(ErrorCode::kNotFound)) return false;
    return Error(stat.error());
  }
  if (stat.value().type != FileType::kRegular) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{}: not a regular file", options_.path.string()));
  }
  // Somebody is going to make a database of it; the switch to WAL mode would fix its page size.
  if (stat.value().size_bytes == 0) return false;
  SetState(DatabaseState::kAttaching);
  log_.Debug("attaching");
  LS_TRY(CheckIsDatabase(env_, options_.path));
  auto prepared = PrepareMeta(ctx, stat.value());
  if (!prepared.ok()) {
    const Error& error = prepared.error();
    if (!error.Is(ErrorCode::kDenied)) return std::move(prepared).error();
    return Error(
        ErrorCode::kDenied,
        fmt::format("{} (litestream keeps its local state there: let it write, or set meta-path "
                    "to a directory where it may)",
                    error.message()));
  }
  attachment_ = LS_TRY(Attachment::Open(env_, options_.path, options_.sqlite_vfs));
  if (attachment_->switched_to_wal()) log_.Info("switched the database to WAL mode");
  auto captured = FirstCapture(ctx);
  if (!captured.ok()) {
    Detach();
    return std::move(captured).error();
  }
  SetState(DatabaseState::kReplicating);
  return true;
}

Result<void> Database::PrepareMeta(const Context& ctx, const FileStat& database) {
  const FileStat parent = LS_TRY(env_.Stat(options_.path.parent_path()));
  // With a meta-path elsewhere, the database's own directory may well be closed to writing.
  const FileOwner directories{.mode = parent.mode | 0700, .uid = parent.uid, .gid = parent.gid};
  file_owner_ = {.mode = database.mode & 0666, .uid = database.uid, .gid = database.gid};
  // Our lock may lie in a directory that was removed meanwhile; it keeps nobody out of a new one.
  if (meta_lock_ && !LS_TRY(LockIsInPlace())) LoseMeta();
  const bool is_new = LS_TRY(MakeMeta(directories));
  if (!meta_lock_) {
    auto locked = LockMeta();
    // It was parked, and another process has it now.
    if (!locked.ok() && offered_ != Txid{}) BeginChain();
    LS_TRY(std::move(locked));
    KeepInstance();
  }
  local_ = std::make_unique<LocalLtx>(env_, options_.meta_path, directories, file_owner_);
  LS_TRY(local_->Open());
  sums_ = LS_TRY(PageSums::Open(env_, options_.meta_path / "pages.sum", file_owner_));
  capture_ = std::make_unique<Capture>(env_, *local_, *sums_, options_.meta_path / "position",
                                       file_owner_, log_);
  capture_->SetWatcher(old_states_);
  KeepHoldings(is_new);
  return capture_->Load(ctx);
}

// A file for each place.
void Database::KeepHoldings(bool meta_is_new) {
  for (std::size_t i = 0; i < holdings_.size(); ++i) {
    const std::string place = options_.replicas[i].client->Describe();
    const std::string name = "catalogue-" + FormatHex64(Crc64(0, std::as_bytes(std::span(place))));
    // Another process may have come and gone before we had the lock.
    const auto there = meta_is_new ? Exists(env_, options_.meta_path / name) : Result<bool>(true);
    const bool is_new = there.ok() && !there.value();
    holdings_[i]->KeepIn(std::make_shared<CatalogueFile>(env_, options_.meta_path / name,
                                                         file_owner_, /*gone=*/is_new),
                         place, is_new);
  }
}

// After a first sync nobody has to look again whether all is quiet.
void Database::OnRest() {
  rest_ = true;
  Wake();
}

// What is saved costs only a listing if it is not. Not `at_once`: if nothing has changed since the
// last time.
void Database::SaveHoldings(const Context& ctx, bool at_once) {
  const Txid txid = parked_ ? parked_->note.txid : capture_->position().txid;
  const auto checksum = parked_ ? parked_->checksum : capture_->position().after;
  if (!checksum) return;
  for (std::size_t i = 0; i < holdings_.size(); ++i) {
    const LeaseMark lease = fences_[i]->MarkForHeirs(Now());
    auto saved = at_once ? holdings_[i]->Save(ctx, txid, *checksum, lease)
                         : holdings_[i]->SaveIfQuiet(ctx, txid, *checksum, lease);
    if (!saved.ok()) log_.Debug("cannot save the catalogue", {{"error", saved.error().message()}});
  }
}

// Beside the database its directory is there, or has just been removed and must not come back.
// True: it is new, and has nothing in it.
Result<bool> Database::MakeMeta(const FileOwner& owner) {
  const std::filesystem::path parent = options_.meta_path.parent_path();
  if (parent != options_.path.parent_path()) LS_TRY(CreateDirectories(env_, parent, owner));
  auto made = env_.CreateDirectory(options_.meta_path, owner);
  if (made.ok()) {
    LS_TRY(env_.SyncDirectory(parent));
    return true;
  }
  if (!made.error().Is(ErrorCode::kAlreadyExists)) return std::move(made).error();
  // Unless something else has its name.
  LS_TRY(CreateDirectoriesBelow(env_, parent, options_.meta_path, owner));
  return false;
}

Result<void> Database::LockMeta() {
  const std::filesystem::path path = options_.meta_path / "lock";
  auto lock = env_.Lock(path, file_owner_);
  if (!lock.ok() && lock.error().Is(ErrorCode::kAlreadyExists)) {
    return Error(ErrorCode::kUnavailable,
                 fmt::format("{}: another process replicates this database (it holds {})",
                             options_.path.string(), path.string()));
  }
  meta_lock_ = LS_TRY(std::move(lock));
  meta_lock_identity_ = LS_TRY(env_.Stat(path)).identity;
  return {};
}

// Whoever was here before, and is dead, has left the name of its leases.
void Database::KeepInstance() {
  const std::filesystem::path path = options_.meta_path / "instance";
  has_instance_ = true;
  if (const auto found = ReadInstance(env_, path, meta_lock_identity_)) {
    instance_ = *found;
    for (const auto& fence : fences_) fence->SetInstance(instance_);
    return;
  }
  auto written = WriteInstance(env_, path, instance_, meta_lock_identity_, file_owner_);
  if (!written.ok()) {
    log_.Debug("cannot note the instance, a process that follows may have to wait for the lease",
               {{"error", written.error().message()}});
  }
}

// Before the lock is let go of by a process that lives on.
Result<void> Database::DropInstance() {
  if (!has_instance_) return {};
  auto removed = env_.Remove(options_.meta_path / "instance");
  if (!removed.ok() && !removed.error().Is(ErrorCode::kNotFound)) {
    return std::move(removed).error().Wrap("forget the instance");
  }
  has_instance_ = false;
  return {};
}

Result<bool> Database::LockIsInPlace() {
  const auto lock = env_.Stat(options_.meta_path / "lock");
  if (lock.ok()) return lock.value().identity == meta_lock_identity_;
  return lock.error().Is(ErrorCode::kNotFound) ? Result<bool>(false) : Result<bool>(lock.error());
}

// Somebody may remove the state directory while we run, and then our lock keeps nobody out: another
// process makes the directory anew and has a lock of its own. True: it is ours as before, or was
// removed and nobody came in between. False: it belongs to another history, load it; or the
// database is gone too, and a new state directory would be in the way of whoever removes it all.
Result<bool> Database::KeepMeta() {
  if (LS_TRY(LockIsInPlace())) return true;
  if (!LS_TRY(Exists(env_, options_.path))) return false;
  log_.Warn("the state directory was removed while it was in use, making it anew",
            {{"path", options_.meta_path.string()}});
  meta_lock_.reset();
  const FileStat parent = LS_TRY(env_.Stat(options_.path.parent_path()));
  static_cast<void>(LS_TRY(MakeMeta({.mode = parent.mode, .uid = parent.uid, .gid = parent.gid})));
  LS_TRY(LockMeta());
  KeepInstance();
  const auto files = env_.List(options_.meta_path / "ltx" / "0");
  if (!files.ok()) {
    if (!files.error().Is(ErrorCode::kNotFound)) return Error(files.error());
    return true;
  }
  return files.value().empty();
}

// The database is gone, and was while nobody watched. What was captured of it before, and no
// replica has, is the only copy.
Result<void> Database::OfferLeftovers() {
  if (attach_count_ > 0) return {};
  const auto meta = env_.Stat(options_.meta_path / "ltx" / "0");
  if (!meta.ok()) {
    return meta.error().Is(ErrorCode::kNotFound) ? Result<void>() : Result<void>(meta.error());
  }
  file_owner_ = {
      .mode = meta.value().mode & 0666, .uid = meta.value().uid, .gid = meta.value().gid};
  if (!meta_lock_) {
    LS_TRY(LockMeta());
    KeepInstance();
  }
  local_ = std::make_unique<LocalLtx>(env_, options_.meta_path, file_owner_, file_owner_);
  LS_TRY(local_->Open());
  if (!local_->range()) return {};
  // What goes up now must not leave an old catalogue behind.
  KeepHoldings(/*meta_is_new=*/false);
  ++attach_count_;
  OfferFiles();
  return {};
}

// The state directory may be another process's now, and then nothing in it is ours to write or to
// upload.
void Database::LoseMeta() {
  meta_lock_.reset();
  for (const auto& holdings : holdings_) holdings->KeepIn(nullptr, "");
  BeginChain();
}

// The local files that come are not known to continue those before. Said before the first of them
// is there, so that nobody takes it for one of the last chain.
void Database::BeginChain() {
  ++attach_count_;
  last_full_ = {};
  rebased_above_ = {};
  // What was asked for was asked of the last chain.
  rebase_above_ = 0;
  full_wanted_ = false;
  offered_ = {};
  for (auto& uploader : uploaders_) uploader->Offer({.chain = attach_count_});
}

Result<void> Database::FirstCapture(const Context& ctx) {
  BeginChain();
  const WalView view = attachment_->held();
  const Decision decision = LS_TRY(capture_->Examine(*attachment_, view));
  switch (decision.continuation) {
    case Continuation::kFirst:
      break;
    case Continuation::kSame:
      break;
    case Continuation::kRestarted:
      // As it is after each time that it was parked.
      if (decision.reason != "parked") {
        log_.Info("the WAL was restarted while it was not watched, nothing was lost");
      }
      break;
    case Continuation::kDoubt:
      log_.Info("comparing the database with what was captured", {{"reason", decision.reason}});
      break;
  }
  const Txid before = capture_->position().txid;
  LS_TRY(CaptureAll(ctx, decision.continuation));
  if (std::exchange(full_awaited_, false)) full_wanted_ = true;
  // A fleet that is met for the first time is not likely to be in use as a whole.
  const bool in_use = before != Txid{} && capture_->position().txid != before;
  StayOpen(in_use                              ? options_.stay_open
           : open_for_request_                 ? std::chrono::nanoseconds(kRequested)
           : snapshot_awaited_.exchange(false) ? kAwaited
                                               : std::chrono::nanoseconds(kMet));
  // The upload is under way already.
  if (capture_->SumsAreBehind()) LS_TRY(capture_->FlushSums());
  if (!capture_->NoteProvesNothing()) LS_TRY(capture_->NoteFiles(*attachment_));
  checkpointer_.Reset(Now());
  scrubber_.ForgetWal();
  // No WAL test sees a database file that was written over in place.
  scrubber_.StartPass();
  pace_.Settle();
  directory_watch_.reset();
  wal_watch_.reset();
  log_.Debug("attached", {{"txid", FormatTxid(capture_->position().txid)}});
  OfferFiles();
  return {};
}

// Captures everything up to what the holder sees.
Result<void> Database::CaptureAll(const Context& ctx, Continuation how) {
  const WalView view = attachment_->held();
  if (how == Continuation::kDoubt) {
    OnBatch(LS_TRY(capture_->Difference(ctx, *attachment_, view)));
    return {};
  }
  if (how == Continuation::kFirst) {
    OnBatch(LS_TRY(SizeNow() > options_.stream_above_bytes
                       ? capture_->Baseline(ctx, *attachment_, view)
                       : capture_->Full(ctx, *attachment_, view)));
    return {};
  }
  bool from_front = how == Continuation::kRestarted;
  for (;;) {
    LS_TRY(ctx.Check());
    const Batch batch = LS_TRY(
        capture_->Incremental(ctx, *attachment_, view, from_front, options_.max_sync_wal_bytes));
    OnBatch(batch);
    from_front = from_front && batch.txid == Txid{};
    if (!batch.more) return {};
  }
}

void Database::Detach() {
  // Without the lock the files are not ours to write.
  if (attachment_ && capture_ && meta_lock_) {
    // What these save is only time at the next start.
    auto flushed = capture_->SumsAreBehind() ? capture_->FlushSums() : Result<void>();
    if (flushed.ok()) flushed = capture_->NoteFiles(*attachment_);
    if (!flushed.ok()) {
      log_.Warn("cannot save page sums, the next start may have to read the database",
                {{"error", flushed.error().message()}});
    }
    OfferWhatWasOpen(/*fresh=*/false);
  }
  CloseAll();
}

void Database::CloseAll() {
  old_states_.BreakAll(Error(ErrorCode::kUnavailable, "the database was closed meanwhile"));
  directory_watch_.reset();
  wal_watch_.reset();
  attachment_.reset();
  capture_.reset();
  sums_.reset();
  local_.reset();
  if (member_) member_->Leave();
}

}  // namespace litestream
