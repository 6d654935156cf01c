#include "db/database.h"

#include <algorithm>
#include <utility>

#include "base/try.h"
#include "db/state_instance.h"
#include "format/names.h"

namespace litestream {
namespace {

// Also without an event, the exact test is repeated this often.
constexpr std::chrono::seconds kSlowTick{30};
// Within the monitor interval, so much waiting WAL causes a capture at once.
constexpr std::uint64_t kUrgentWalBytes = 16U << 20;
// How soon that is looked at again, at most and at least.
constexpr std::chrono::milliseconds kBacklogTest{100};
constexpr std::chrono::seconds kLongestBacklogTest{1};
constexpr std::chrono::seconds kWaitForFile{1};
constexpr std::chrono::minutes kMaxBackoff{5};
// What somebody else may end at any moment is probed more often: a full disk, while the WAL grows
// and room is made; another process that holds the database, whose end makes this one its heir.
constexpr std::chrono::seconds kMaxProbeBackoff{15};
constexpr std::chrono::seconds kLogInterval{30};
// So long a failure that may pass by itself is not said.
constexpr std::chrono::seconds kMayPass{1};
constexpr int kSweepAfterDiskFull = 3;
// Of local files; and a replica that was behind so long is not waited for when there are too many.
constexpr std::uint64_t kLeastLocalBytes = std::uint64_t{1} << 30;
constexpr std::chrono::minutes kTooLongBehind{10};

// For all databases at the same moments, so that a fleet wakes the machine once.
MonoTime SlowTickAfter(MonoTime now) {
  return now + kSlowTick - now.time_since_epoch() % kSlowTick;
}

}  // namespace

std::filesystem::path DefaultMetaPath(const std::filesystem::path& database) {
  return database.parent_path() / ("." + database.filename().string() + "-litestream");
}

Database::Database(Env& env, Scheduler& scheduler, const DatabaseOptions& options,
                   const Logger& log)
    : env_(env),
      scheduler_(scheduler),
      options_(options),
      log_(log.With({{"db", options.path.filename().string()}})),
      instance_(RandomNumber(env)),
      checkpointer_(options.checkpoint, log_),
      scrubber_(options.scrub_interval) {
  if (options_.meta_path.empty()) options_.meta_path = DefaultMetaPath(options_.path);
  for (const ReplicaOptions& replica : options_.replicas) {
    const Logger log_of_replica = log_.With({{"replica", std::string(replica.client->type())}});
    ReplicaHost& host = *this;
    holdings_.push_back(std::make_unique<Holdings>());
    Holdings& holdings = *holdings_.back();
    fences_.push_back(
        std::make_unique<Fence>(env_, *replica.client, holdings, replica.lease, log_));
    Fence& fence = *fences_.back();
    fence.SetInstance(instance_);
    uploaders_.push_back(std::make_unique<Uploader>(env_, scheduler_, host, fence, holdings,
                                                    replica, log_of_replica));
    Uploader& uploader = *uploaders_.back();
    keepers_.push_back(std::make_unique<Keeper>(env_, scheduler_, host, uploader, *replica.client,
                                                fence, holdings, replica.limiter.get(),
                                                options_.upkeep, log_of_replica));
    uploader.SetOnChange([keeper = keepers_.back().get()] { keeper->OnChange(); });
  }
}

Database::~Database() {
  StopTask();
  StopReplicas();
  Detach();
}

// Others may still wake the task while it ends, so it goes last.
void Database::StopTask() {
  if (task_) task_->Stop();
}

// A keeper uses its uploader, and an uploader tells its keeper. Uploaders tell each other.
void Database::StopReplicas() {
  for (auto& keeper : keepers_) keeper->Stop();
  for (auto& uploader : uploaders_) uploader->Stop();
  decltype(keepers_) keepers;
  decltype(uploaders_) uploaders;
  MutexLock lock(mu_);
  keepers.swap(keepers_);
  uploaders.swap(uploaders_);
}

void Database::Wake() {
  if (Task* task = waker_.load()) task->Wake();
}

void Database::Start() {
  if (options_.open_databases != nullptr) {
    member_.emplace(*options_.open_databases, [this] { Wake(); });
  }
  for (auto& keeper : keepers_) keeper->Start();
  for (auto& uploader : uploaders_) uploader->Start();
  task_ = scheduler_.Start(Pool::kCapture, options_.path.filename().string(),
                           [this](const Context& ctx) { return Step(ctx); });
  waker_ = task_.get();
  // For an event that came before anybody could be woken.
  task_->Wake();
}

DatabaseStatus Database::Status() const {
  MutexLock lock(mu_);
  DatabaseStatus status = status_;
  status.path = options_.path;
  status.database_bytes = database_bytes_;
  for (std::size_t i = 0; i < uploaders_.size(); ++i) {
    status.replicas.push_back(uploaders_[i]->Status());
    status.replicas.back().upkeep = keepers_[i]->Status();
  }
  return status;
}

void Database::SetState(DatabaseState state) {
  MutexLock lock(mu_);
  status_.state = state;
}

// --- The step. ---

NextRun Database::Step(const Context& ctx) {
  if (!permit_.TryTake()) return NextRun::At(Now() + Permit::kPoll);
  const PermitHold hold(permit_);
  return StepWithPermit(ctx);
}

NextRun Database::StepWithPermit(const Context& ctx) {
  step_began_ = Now();
  bool just_attached = false;
  if (!attachment_) {
    if (may_be_parked_) {
      auto found = FindParked(ctx);
      if (!found.ok()) return NoteFailure(found.error());
    }
    if (parked_) {
      const auto next = StepParked(ctx);
      if (!next.ok()) return NoteFailure(next.error());
      NoteSuccess();
      return next.value();
    }
    if (!HasRoom()) return NextRun::At(Now() + OpenDatabases::kAskAgain);
    auto attached = TryAttach(ctx);
    if (!attachment_ && member_) member_->Leave();
    // Removed while it was being opened.
    if (!attached.ok() && IsGone()) attached = false;
    if (!attached.ok()) return NoteFailure(attached.error());
    if (!attached.value()) {
      SetState(DatabaseState::kWaiting);
      auto offered = OfferLeftovers();
      if (!offered.ok()) return NoteFailure(offered.error());
      ArmWatches();
      return NextRun::At(Now() + (directory_watch_ ? kSlowTick : kWaitForFile));
    }
    NoteSync();
    NoteSuccess();
    just_attached = true;
  }
  auto next = StepAttached(ctx, just_attached);
  if (!next.ok()) return NoteFailure(next.error());
  NoteSuccess();
  return next.value();
}

// Where there is nothing to open, no room is needed.
bool Database::HasRoom() {
  return !member_ || !env_.Stat(options_.path).ok() || member_->Enter(Now());
}

Result<NextRun> Database::StepAttached(const Context& ctx, bool just_attached) {
  const bool event = event_.exchange(false);
  // Who has just attached has looked at all that already.
  if (!just_attached && !LS_TRY(CheckHold(ctx))) return NextRun::At(Now());
  if (LS_TRY(HandleRequests(ctx))) return NextRun::At(Now());
  const WalView view = LS_TRY(attachment_->Peek());
  // Also when a leapfrog was captured and could not land: until it does, no checkpoint runs.
  const bool fresh = !capture_->IsCaptured(view) || !capture_->IsCaptured(attachment_->held());
  if (fresh) {
    const MonoTime now = Now();
    if (const auto later = Postponed(view, now)) return NextRun::At(*later);
    last_capture_ = now;
    if (!has_instance_) KeepInstance();
    for (const auto& uploader : uploaders_) uploader->Expect();
    LS_TRY(CaptureNew(ctx));
    NoteSync();
    StayOpen(options_.stay_open);
    pace_.Settle();
  } else if (event && LS_TRY(CommitUnderWay(view))) {
    const MonoTime now = Now();
    const auto next = pace_.Next(now, /*event=*/true);
    if (!next.armed) return WaitForCommit(now, next.wait);
  }
  if (capture_->OwesNote()) LS_TRY(capture_->NoteFiles(*attachment_));
  // Before a checkpoint leaves its seal open: this would close it.
  LS_TRY(PruneLocal(ctx));
  LS_TRY(CheckpointIfDue(ctx));
  LS_TRY(ScrubIfDue(ctx));
  OfferWhatWasOpen(fresh);
  if (const bool rest = rest_.exchange(false); rest || Now() >= next_save_) {
    next_save_ = SlowTickAfter(Now());
    SaveHoldings(ctx, rest);
    LS_TRY(NoteAtRest());
  }
  ArmWatches();
  // Armed first, tested after: what came in between is seen now.
  const WalView armed = LS_TRY(attachment_->Peek());
  if (!capture_->IsCaptured(armed)) return NextRun::At(Now());
  if (LS_TRY(CommitUnderWay(armed))) {
    const MonoTime now = Now();
    return WaitForCommit(now, pace_.Next(now, /*event=*/false).wait);
  }
  pace_.Settle();
  if (LS_TRY(ParkIfWanted(ctx))) return NextRun::At(Now());
  return Sleep();
}

// It was in use, or opened: so long it is not asked to make room.
void Database::StayOpen(std::chrono::nanoseconds duration) {
  if (member_) member_->SetParkable(Now() + duration);
}

// There is something to capture: at once after quiet, then at most once an interval, unless much
// waits. Unset: now.
std::optional<MonoTime> Database::Postponed(const WalView& view, MonoTime now) const {
  const MonoTime earliest = last_capture_ + options_.monitor_interval;
  if (last_capture_ == MonoTime{} || now >= earliest) return std::nullopt;
  const std::uint64_t from =
      view.salts == capture_->position().salts ? capture_->position().end.offset_bytes : 0;
  const std::uint64_t waiting =
      std::max<std::uint64_t>(1, view.end_offset() - std::min(view.end_offset(), from));
  if (waiting >= kUrgentWalBytes) return std::nullopt;
  // At the pace since the last capture, when will it be much? Half of that, because it may rise.
  const auto passed = std::chrono::duration<double>(now - last_capture_);
  const auto until_much = std::chrono::duration_cast<std::chrono::nanoseconds>(std::min(
      passed * (static_cast<double>(kUrgentWalBytes - waiting) / static_cast<double>(waiting) / 2),
      std::chrono::duration<double>(kLongestBacklogTest)));
  return std::min(earliest, now + std::max<std::chrono::nanoseconds>(until_much, kBacklogTest));
}

// A frame of the current generation lies behind the end, or the header is of a generation that is
// not published yet: a commit is on its way, or died on it.
Result<bool> Database::CommitUnderWay(const WalView& view) {
  const auto header = LS_TRY(attachment_->ReadWalHeader());
  if (!header) return false;
  if (header->salts != view.salts) return true;
  std::array<std::byte, kWalFrameHeaderSize> bytes = {};
  const std::size_t got = LS_TRY(attachment_->ReadWal(bytes, view.end_offset()));
  return got == bytes.size() && ParseWalFrameHeader(bytes).salts == view.salts;
}

// Somebody is at work: it does not make room now.
NextRun Database::WaitForCommit(MonoTime now, std::chrono::nanoseconds wait) {
  const auto park = member_ ? member_->ParkAt() : std::nullopt;
  if (park && *park <= now) member_->SetParkable(now + OpenDatabases::kBusyRetry);
  return NextRun::At(std::min(now + wait, *Sleep().at));
}

NextRun Database::Sleep() {
  const MonoTime now = Now();
  if (now >= slow_tick_) slow_tick_ = SlowTickAfter(now);
  MonoTime at = slow_tick_;
  if (!wal_watch_ && options_.monitor_interval.count() > 0) {
    at = std::min(at, now + options_.monitor_interval);
  }
  if (capture_->newest_is_open()) at = std::min(at, last_capture_ + options_.monitor_interval);
  if (const auto park = member_ ? member_->ParkAt() : std::nullopt) at = std::min(at, *park);
  if (const auto due = checkpointer_.NextDue(attachment_->held())) at = std::min(at, *due);
  if (capture_->sums_valid()) at = std::min(at, scrubber_.NextDue(now));
  return NextRun::At(at);
}

// Events are only hints: if watching does not work here, the monitor interval does.
void Database::ArmWatches() {
  const auto wake = [this](FileEvent, const std::string&) {
    event_ = true;
    Wake();
  };
  if (!directory_watch_) {
    const std::string name = options_.path.filename().string();
    auto watch = env_.WatchEntries(options_.path.parent_path(),
                                   {name, name + "-wal", name + "-shm", name + "-journal"},
                                   [this](FileEvent, const std::string&) { Wake(); });
    if (watch.ok()) directory_watch_ = std::move(watch).value();
  }
  if (!attachment_) return;
  file_watch_.reset();
  if (wal_watch_ && wal_watch_->Rearm().ok()) return;
  auto watch = env_.WatchFile(attachment_->wal_path(), wake);
  wal_watch_ = watch.ok() ? std::move(watch).value() : nullptr;
}

// False: the files or the hold were lost, and the database was let go of.
Result<bool> Database::CheckHold(const Context&) {
  auto kept = KeepMeta();
  if (!kept.ok() || !kept.value()) {
    LoseMeta();
    Detach();
    return kept;
  }
  const bool same = LS_TRY(attachment_->SameFiles());
  if (same && attachment_->Holding()) return true;
  if (!same && IsGone()) {
    log_.Info("the database is gone, waiting for it");
    Detach();
    return false;
  }
  log_.Warn(same ? "lost the read transaction, comparing the database with what was captured"
                 : "the database or its WAL was replaced or removed, opening it again");
  Detach();
  return false;
}

Result<void> Database::CaptureNew(const Context& ctx) {
  const bool restart_allowed = attachment_->restart_allowed();
  const WalView view = LS_TRY(attachment_->Leap());
  for (;;) {
    auto batch = ctx.Check().ok() ? capture_->Continue(ctx, *attachment_, view, restart_allowed,
                                                       options_.max_sync_wal_bytes)
                                  : Result<Batch>(ctx.Check().error());
    if (!batch.ok()) {
      LS_TRY(attachment_->Abandon());
      if (!batch.error().Is(ErrorCode::kCorruption)) return std::move(batch).error();
      // Nothing that was read is used. Opening again decides what it takes to go on.
      log_.Error("capture does not fit, opening the database again",
                 {{"error", batch.error().message()}});
      Detach();
      return Error(ErrorCode::kUnavailable, batch.error().message());
    }
    OnBatch(batch.value());
    if (!batch.value().more) break;
  }
  return attachment_->Land();
}

// What uploaders asked for, kept until it is done. True: something was done.
Result<bool> Database::HandleRequests(const Context& ctx) {
  const Txid above{rebase_above_.exchange(0)};
  const bool full = full_wanted_.exchange(false);
  const bool rebase = above > rebased_above_;
  if (!rebase && !full) return false;
  auto made = rebase ? Rebase(ctx, above) : MakeFull(ctx);
  if (made.ok()) {
    // More may follow than what was asked for.
    LS_TRY(capture_->FlushSums());
    LS_TRY(capture_->NoteFiles(*attachment_));
    if (std::exchange(open_for_request_, false)) StayOpen(options_.stay_open);
    return true;
  }
  // Without a wake: it is tried again when the step is.
  if (rebase) WantRebase(above);
  if (full) full_wanted_ = true;
  return std::move(made).error();
}

Result<void> Database::Rebase(const Context& ctx, Txid above) {
  const Txid base = std::max(above, capture_->position().txid);
  old_states_.BeforeAnyChange();
  LS_TRY(capture_->Rebase(base));
  LS_TRY(CaptureFull(ctx));
  rebased_above_ = base;
  return {};
}

Result<void> Database::MakeFull(const Context& ctx) {
  // Perhaps because somebody removed local files under us: see what is really there.
  LS_TRY(local_->Open());
  if (local_->range() && local_->range()->max != capture_->position().txid) {
    LS_TRY(local_->Clear());
  }
  return StreamsSnapshots() && capture_->sums_valid() ? MakeMark(ctx) : CaptureFull(ctx);
}

Result<void> Database::CaptureFull(const Context& ctx) {
  const WalView view = LS_TRY(attachment_->Leap());
  const bool streams = SizeNow() > options_.stream_above_bytes && !local_->range();
  auto batch = streams ? capture_->Baseline(ctx, *attachment_, view)
                       : capture_->Full(ctx, *attachment_, view);
  if (!batch.ok()) {
    LS_TRY(attachment_->Abandon());
    return std::move(batch).error();
  }
  OnBatch(batch.value());
  return attachment_->Land();
}

Result<void> Database::CheckpointIfDue(const Context& ctx) {
  if (!capture_->IsCaptured(attachment_->held())) return {};
  if (!checkpointer_.Due(attachment_->held(), Now())) return {};
  const MonoTime began = Now();
  auto outcome = checkpointer_.Run(ctx, *attachment_, *capture_,
                                   [this](const Batch& batch) { OnBatch(batch); });
  NoteCheckpoint(outcome, Now() - began);
  if (!outcome.ok()) {
    if (!attachment_->Holding() || outcome.error().Is(ErrorCode::kCorruption)) {
      log_.Error("checkpoint lost the read transaction, opening the database again",
                 {{"error", outcome.error().message()}});
      Detach();
      return Error(ErrorCode::kUnavailable, outcome.error().message());
    }
    return std::move(outcome).error().Wrap("checkpoint");
  }
  return {};
}

void Database::NoteCheckpoint(const Result<CheckpointOutcome>& outcome,
                              std::chrono::nanoseconds time) {
  if (outcome.ok() && outcome.value().lock_busy) return;
  const auto mode = outcome.ok() ? outcome.value().mode : CheckpointMode::kPassive;
  MutexLock lock(mu_);
  DatabaseStatus::Checkpoints& made = status_.checkpoints_by_mode[static_cast<std::size_t>(mode)];
  ++(outcome.ok() ? made.count : made.errors);
  made.time += time;
  if (!outcome.ok()) return;
  ++status_.checkpoints;
  status_.checkpoint_blocked = checkpointer_.blocked_since().has_value();
}

Result<void> Database::ScrubIfDue(const Context& ctx) {
  if (scrub_wanted_.exchange(false)) scrubber_.StartPass();
  // Asked once: two readings of the clock may come in either order, and it would never be due.
  const MonoTime now = Now();
  if (scrubber_.NextDue(now) > now || !capture_->sums_valid()) return {};
  if (!capture_->IsCaptured(attachment_->held())) return {};
  const auto different = LS_TRY(scrubber_.Slice(ctx, *attachment_, *capture_));
  {
    MutexLock lock(mu_);
    status_.scrub = scrubber_.status();
  }
  if (different.empty()) return {};
  log_.Error("the database holds pages that were never captured; capturing the difference",
             {{"first_page", std::uint64_t{different.front().value}},
              {"pages", static_cast<std::uint64_t>(different.size())},
              {"txid", FormatTxid(capture_->position().txid)}});
  const WalView view = LS_TRY(attachment_->Leap());
  auto batch = capture_->Difference(ctx, *attachment_, view);
  if (!batch.ok()) {
    LS_TRY(attachment_->Abandon());
    return std::move(batch).error();
  }
  OnBatch(batch.value());
  LS_TRY(attachment_->Land());
  return capture_->NoteFiles(*attachment_);
}

// Local files go when every replica has them, the page sums no longer need them, and they are old.
Result<void> Database::PruneLocal(const Context& ctx) {
  if (Now() < next_prune_ || !local_->range()) return {};
  next_prune_ = Now() + kSlowTick;
  // The table's header follows, so that a start has little to replay.
  LS_TRY(capture_->MendSums(ctx));
  LS_TRY(capture_->FlushSums());
  Txid uploaded = local_->range()->max;
  for (const auto& uploader : uploaders_) uploaded = std::min(uploaded, uploader->Status().txid);
  if (!options_.upkeep.levels.empty()) {
    // A merge reads them here, not there.
    for (const auto& keeper : keepers_) uploaded = std::min(uploaded, keeper->Status().merged);
  }
  const NanoTime old = NanoTime(env_.clock().Now()) - options_.local_retention;
  Txid keep = local_->range()->min;
  while (keep <= uploaded && keep < local_->range()->max) {
    if (LS_TRY(local_->Stat(keep)).modified_at > old) break;
    keep = keep.Next();
  }
  const Txid most = capture_->sums_durable_txid().Next();
  keep = std::min(LS_TRY(DropForTheDead(keep, most)), most);
  if (keep <= local_->range()->min) return {};
  LS_TRY(local_->RemoveBefore(keep));
  OfferFiles();
  return {};
}

// Local files may not fill the disk because a replica is away. When there are more than a snapshot
// would cost, it gets one instead, once it is there. Those that are well do not lose any. `limit`:
// none from there on.
Result<Txid> Database::DropForTheDead(Txid keep, Txid limit) {
  const std::uint64_t most =
      options_.local_retention_bytes != 0
          ? options_.local_retention_bytes
          : std::max<std::uint64_t>(kLeastLocalBytes, database_bytes_.load());
  Txid taken = local_->range()->max;
  std::string dead;
  for (const auto& uploader : uploaders_) {
    const ReplicaStatus status = uploader->Status();
    const bool lags = status.behind_since && Now() - *status.behind_since >= kTooLongBehind;
    if (status.state == ReplicaState::kFailing || lags) {
      if (status.txid < keep || dead.empty()) dead = status.name;
      continue;
    }
    taken = std::min(taken, status.txid);
  }
  const Txid dropped = std::min(taken.Next(), local_->range()->max);
  if (dead.empty() || taken < keep || LS_TRY(local_->TotalBytes()) <= most) return keep;
  if (std::min(dropped, limit) <= local_->range()->min) return keep;
  log_.Warn(
      "local files that a replica does not take are more than they may be, removing them; it "
      "will get a new snapshot",
      {{"replica", dead},
       {"local_bytes", LS_TRY(local_->TotalBytes())},
       {"local-retention-bytes", most}});
  return dropped;
}

void Database::OnBatch(const Batch& batch) {
  {
    MutexLock lock(mu_);
    status_.txid = capture_->position().txid;
    status_.wal_bytes = capture_->position().end.offset_bytes;
    status_.last_capture = env_.clock().Now();
    status_.captured_wal_bytes += batch.wal_bytes;
    if (batch.txid != Txid{}) ++status_.captures;
  }
  database_bytes_ =
      std::uint64_t{capture_->position().commit_pages} * capture_->position().page_size;
  if (batch.txid == Txid{}) return;
  const std::uint32_t commit = capture_->position().commit_pages;
  const bool lock_page_counts = commit >= LockPage(capture_->position().page_size).value;
  if (batch.page_count == commit - (lock_page_counts ? 1 : 0)) last_full_ = batch.txid;
  log_.Debug("captured", {{"txid", FormatTxid(batch.txid)},
                          {"pages", std::uint64_t{batch.page_count}},
                          {"wal_bytes", batch.wal_bytes},
                          {"size", batch.file_bytes}});
  OfferFiles();
}

void Database::OfferFiles() {
  LocalFiles files{.range = local_->range(), .last_full = last_full_, .chain = attach_count_};
  if (files.range && capture_ && capture_->newest_is_open()) {
    files.range->max = Txid{files.range->max.value - 1};
    if (files.range->max < files.range->min) files.range.reset();
  }
  offered_ = files.range ? files.range->max : Txid{};
  for (auto& uploader : uploaders_) uploader->Offer(files);
}

// The seal of a checkpoint waits for the next capture to take it in, and goes by itself if there
// was none when it was due.
void Database::OfferWhatWasOpen(bool fresh) {
  if (!fresh && Now() >= last_capture_ + options_.monitor_interval) capture_->CloseNewest();
  if (capture_->newest_is_open() || !local_->range()) return;
  if (offered_ < local_->range()->max) OfferFiles();
}

bool Database::IsGone() const {
  const auto stat = env_.Stat(options_.path);
  return !stat.ok() && stat.error().Is(ErrorCode::kNotFound);
}

NextRun Database::NoteFailure(const Error& error) {
  ++failures_;
  const auto first =
      std::max<std::chrono::nanoseconds>(options_.monitor_interval, std::chrono::milliseconds(100));
  const bool disk_full = error.Is(ErrorCode::kNoSpace);
  const std::chrono::nanoseconds most =
      disk_full || error.Is(ErrorCode::kUnavailable) ? kMaxProbeBackoff : kMaxBackoff;
  backoff_ = failures_ == 1 ? first : std::min(backoff_ * 2, std::max(first, most));
  {
    MutexLock lock(mu_);
    status_.state = DatabaseState::kFailing;
    status_.error = error.message();
    status_.disk_full = disk_full;
    ++status_.errors;
  }
  NoteSync();
  if (attachment_ && attachment_->leaping()) (void)attachment_->Abandon().ok();
  if (disk_full && failures_ >= kSweepAfterDiskFull && local_) (void)local_->Open().ok();
  const MonoTime now = Now();
  if (failures_ == 1) failing_since_ = now;
  // Whoever replaces or renames the files, or opens them for itself for a moment, is done soon.
  const bool may_pass = error.Is(ErrorCode::kUnavailable) || error.Is(ErrorCode::kNotFound) ||
                        (error.Is(ErrorCode::kIo) && !attachment_);
  const bool due = !failure_logged_ || now - last_logged_failure_ >= kLogInterval;
  if (may_pass && now - failing_since_ < kMayPass) {
    log_.Debug("sync failed, trying again", {{"error", error.message()}});
  } else if (!error.Is(ErrorCode::kCancelled) && due) {
    failure_logged_ = true;
    last_logged_failure_ = now;
    log_.Error(
        disk_full ? "disk full while staging ltx file, replication paused until space is freed"
                  : "sync error",
        {{"error", error.message()}, {"consecutive_errors", failures_}, {"backoff", backoff_}});
  }
  return NextRun::At(now + backoff_);
}

// The step has tried to capture.
void Database::NoteSync() {
  const MonoTime now = Now();
  const auto time = now - std::exchange(step_began_, now);
  MutexLock lock(mu_);
  ++status_.syncs;
  status_.sync_time += time;
}

void Database::NoteSuccess() {
  if (failure_logged_) log_.Info("sync recovered", {{"previous_errors", failures_}});
  failures_ = 0;
  failure_logged_ = false;
  MutexLock lock(mu_);
  if (attachment_) status_.state = DatabaseState::kReplicating;
  status_.error.clear();
  status_.disk_full = false;
  if (attachment_) status_.last_capture = env_.clock().Now();
}

// --- Requests from outside the step. ---

std::filesystem::path Database::LocalPath(Txid txid) const {
  return options_.meta_path / "ltx" / "0" / FormatLtxFilename({txid, txid});
}

// Two replicas may ask, and be ahead by different numbers.
void Database::WantRebase(Txid above) {
  std::uint64_t wanted = rebase_above_.load();
  while (wanted < above.value && !rebase_above_.compare_exchange_weak(wanted, above.value))
    continue;
}

void Database::RequestRebase(Txid txid) {
  WantRebase(txid);
  Wake();
}

void Database::RequestFull() {
  full_wanted_ = true;
  Wake();
}

}  // namespace litestream
