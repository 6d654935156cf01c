// A database at which nothing happens: closed, and only watched.

#include <utility>

#include "base/try.h"
#include "db/database.h"
#include "format/names.h"

namespace litestream {
namespace {

// What is looked at while it is parked, should no event tell: soon, as long as something is left to
// do, and rarely after that.
constexpr std::chrono::seconds kSoon{30};
constexpr std::chrono::minutes kRarely{5};
// For applications that still read the WAL when it is to be emptied.
constexpr std::chrono::milliseconds kReadersLimit{10};
// When it could not be parked because its file was just written.
constexpr std::chrono::nanoseconds kFreshRetry = std::chrono::milliseconds(200);

MonoTime NextOf(MonoTime now, std::chrono::nanoseconds grid) {
  return now + grid - now.time_since_epoch() % grid;
}

}  // namespace

// Where a clean stop has left it.
Result<void> Database::FindParked(const Context&) {
  may_be_parked_ = false;
  const auto note = LS_TRY(ReadPositionNote(env_, options_.meta_path / "position"));
  if (!note || !note->parked || note->boot == 0 || note->boot != HashOfBoot(env_)) return {};
  const auto header = ReadLocalHeader(env_, LocalPath(note->txid));
  if (!header.ok() || !header.value().Proof()) return {};
  // A full file that was asked for since leads to the same state, and the replica may have it.
  if (LS_TRY(Exists(env_, LocalPath(note->txid.Next())))) return {};
  parked_ = Parked{.note = *note, .checksum = header.value().Proof()->after};
  if (!LS_TRY(IsStillParked())) {
    parked_.reset();
    return {};
  }
  const auto meta = LS_TRY(env_.Stat(options_.meta_path));
  file_owner_ = {.mode = meta.mode & 0666, .uid = meta.uid, .gid = meta.gid};
  // Only to see whether another process is at work: a descriptor for each is too much.
  auto locked = LockMeta();
  meta_lock_.reset();
  if (!locked.ok()) {
    parked_.reset();
    return locked;
  }
  KeepHoldings(/*meta_is_new=*/false);
  database_bytes_ = note->parked->size_bytes;
  BeginChain();
  offered_ = note->txid;
  for (auto& uploader : uploaders_) {
    uploader->Offer({.range = TxidRange{note->txid, note->txid}, .chain = attach_count_});
  }
  MutexLock lock(mu_);
  status_.txid = note->txid;
  return {};
}

Result<bool> Database::IsStillParked() {
  if (rebase_above_.load() != 0 || full_wanted_.load()) return false;
  const auto found = [this](const char* suffix) {
    return env_.Stat(options_.path.string() + suffix);
  };
  const auto database = found("");
  if (!database.ok()) {
    return database.error().Is(ErrorCode::kNotFound) ? Result<bool>(false)
                                                     : Result<bool>(database.error());
  }
  const PositionNote& note = parked_->note;
  if (database.value().identity != note.database || StampOf(database.value()) != *note.parked) {
    return false;
  }
  const auto wal = found("-wal");
  if (wal.ok()) return wal.value().size_bytes == 0;
  return wal.error().Is(ErrorCode::kNotFound) ? Result<bool>(true) : Result<bool>(wal.error());
}

// Another process had the state directory, and was asked for a full file: the database is as it
// was, and the replica is ahead of what is offered from here.
Result<bool> Database::WentOnElsewhere() {
  return IsFailing() ? Exists(env_, LocalPath(parked_->note.txid.Next())) : Result<bool>(false);
}

Result<NextRun> Database::StepParked(const Context& ctx) {
  const bool watched = WatchParked();
  // Armed first, tested after: what came in between is seen now.
  if (!LS_TRY(IsStillParked()) || LS_TRY(WentOnElsewhere())) {
    log_.Debug("woken");
    open_for_request_ = rebase_above_.load() != 0 || full_wanted_.load();
    // Who waits for it need not know that the database was closed. (A snapshot is asked for again.)
    full_awaited_ = full_wanted_.load() && !StreamsSnapshots();
    parked_.reset();
    file_watch_.reset();
    wal_watch_.reset();
    return NextRun::At(Now());
  }
  {
    MutexLock lock(mu_);
    status_.state = DatabaseState::kParked;
    status_.last_capture = env_.clock().Now();
  }
  const bool rests = LetGoOfParked(ctx);
  if (!watched && options_.monitor_interval.count() > 0) {
    return NextRun::At(Now() + options_.monitor_interval);
  }
  return NextRun::At(rests ? NextOf(Now(), kRarely) : NextOf(Now(), kSoon));
}

// The file (it may leave WAL mode, or somebody may write over it), its WAL if there is one, and
// what comes and goes beside them.
bool Database::WatchParked() {
  const auto wake = [this](FileEvent, const std::string&) { Wake(); };
  const auto arm = [&](std::unique_ptr<FileWatch>& watch, const std::filesystem::path& path) {
    if (watch && watch->Rearm().ok()) return true;
    auto made = env_.WatchFile(path, wake);
    const bool there = made.ok() || !made.error().Is(ErrorCode::kNotFound);
    watch = made.ok() ? std::move(made).value() : nullptr;
    return watch != nullptr || !there;
  };
  ArmWatches();
  const bool file = arm(file_watch_, options_.path);
  const bool wal = arm(wal_watch_, options_.path.string() + "-wal");
  return directory_watch_ != nullptr && file && wal;
}

// When the replicas need nothing from here any more, what they hold goes to its file. True: nothing
// is left to do.
bool Database::LetGoOfParked(const Context& ctx) {
  for (const auto& uploader : uploaders_) {
    const ReplicaStatus status = uploader->Status();
    if (status.state != ReplicaState::kInSync || status.txid < parked_->note.txid) return false;
  }
  bool unsaved = false;
  for (const auto& holdings : holdings_) unsaved = unsaved || holdings->unsaved();
  if (unsaved) {
    // If another process has it, it is none of our business any more.
    if (!LockMeta().ok()) return true;
    SaveHoldings(ctx, rest_.exchange(false));
    meta_lock_.reset();
  }
  return !unsaved;
}

// True: it is parked now.
Result<bool> Database::ParkIfWanted(const Context& ctx) {
  const auto at = member_ ? member_->ParkAt() : std::nullopt;
  if (!at || *at > Now()) return false;
  auto parked = Park(ctx, /*with_effort=*/true);
  if (!parked.ok() || !parked.value()) {
    // Until it is old enough, unless others are at work, or the clock was set back.
    std::chrono::nanoseconds wait{0};
    if (parked.ok() && attachment_) wait = LS_TRY(UntilOldEnough());
    const bool fresh = wait.count() > 0 && wait <= OpenDatabases::kBusyRetry;
    member_->SetParkable(Now() + (fresh ? std::max(wait, kFreshRetry) : OpenDatabases::kBusyRetry));
  }
  return parked;
}

// Later writes have another time then. Not above 0: now.
Result<std::chrono::nanoseconds> Database::UntilOldEnough() {
  const NanoTime modified_at = LS_TRY(attachment_->DatabaseStat()).modified_at;
  const auto age = NanoTime(env_.clock().Now()) - modified_at;
  return GrainOf(modified_at) - age + std::chrono::nanoseconds(1);
}

Result<bool> Database::IsOldEnough() {
  return LS_TRY(UntilOldEnough()) <= std::chrono::nanoseconds(0);
}

Result<bool> Database::MayPark() {
  if (database_bytes_ > options_.park_max_bytes || old_states_.active()) return false;
  if (rebase_above_.load() != 0 || full_wanted_.load() || !capture_->sums_valid()) return false;
  // Its WAL would lie in a directory that is not watched.
  return LS_TRY(env_.ResolveLink(options_.path)) == options_.path;
}

// Everything is captured. If it is as it would be parked, and the replicas have it, that is noted
// while it is open: then it makes room without a write, and a start after a crash finds it parked.
// The hold goes on, so the note stays true: what is committed stays in the WAL, from its front on,
// and what backfills it changes the file's times.
Result<void> Database::NoteAtRest() {
  if (!member_ || !attachment_->restart_allowed() || attachment_->held().frames != 0) return {};
  for (const auto& uploader : uploaders_) {
    const ReplicaStatus status = uploader->Status();
    if (status.state != ReplicaState::kInSync || status.txid < capture_->position().txid) return {};
  }
  if (!LS_TRY(MayPark()) || LS_TRY(attachment_->WalFileSize()) > 0 || !LS_TRY(IsOldEnough())) {
    return {};
  }
  LS_TRY(DropInstance());
  LS_TRY(capture_->NoteParked(*attachment_));
  return {};
}

// Everything is captured. `with_effort`: a checkpoint may be made for it, and readers waited for.
Result<bool> Database::Park(const Context& ctx, bool with_effort) {
  if (!LS_TRY(MayPark()) || !LS_TRY(EmptyWal(ctx, with_effort)) || !LS_TRY(IsOldEnough())) {
    return false;
  }
  capture_->CloseNewest();
  OfferWhatWasOpen(/*fresh=*/false);
  LS_TRY(attachment_->SyncDatabaseData());
  SaveHoldings(ctx, /*at_once=*/true);
  LS_TRY(DropInstance());
  Parked parked{.note = LS_TRY(capture_->NoteParked(*attachment_)),
                .checksum = capture_->position().after};
  parked_ = std::move(parked);
  log_.Debug("parked", {{"txid", FormatTxid(parked_->note.txid)}});
  // What is watched stays the same.
  auto directory_watch = std::move(directory_watch_);
  auto wal_watch = std::move(wal_watch_);
  CloseAll();
  directory_watch_ = std::move(directory_watch);
  wal_watch_ = std::move(wal_watch);
  // What the uploaders still read here stays as it is, whoever comes.
  meta_lock_.reset();
  return true;
}

// False: others are at work.
Result<bool> Database::EmptyWal(const Context& ctx, bool with_effort) {
  // A holder on mark 0 has seen everything in the file.
  if (!attachment_->restart_allowed()) {
    if (!with_effort) return false;
    LS_TRY(checkpointer_.Run(ctx, *attachment_, *capture_,
                             [this](const Batch& batch) { OnBatch(batch); }));
    if (!attachment_->restart_allowed()) return false;
  }
  if (LS_TRY(attachment_->WalFileSize()) > 0) {
    const auto limit = with_effort ? kReadersLimit : std::chrono::milliseconds(0);
    if (LS_TRY(attachment_->WaitForReaders(CheckpointMode::kTruncate, limit)).busy) return false;
  }
  // What was committed since stays in the WAL.
  const WalView view = LS_TRY(attachment_->Peek());
  return view.frames == 0 && LS_TRY(attachment_->WalFileSize()) == 0 && attachment_->Holding();
}

}  // namespace litestream
