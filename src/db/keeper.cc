#include "db/keeper.h"

#include <algorithm>
#include <utility>

#include "base/try.h"
#include "format/names.h"

namespace litestream {
namespace {

using Outcome = CompactionStep::Outcome;
using std::chrono::milliseconds;

constexpr std::chrono::seconds kFirstBackoff{1};
constexpr std::chrono::minutes kMaxBackoff{5};
constexpr std::chrono::seconds kLogInterval{30};
// A full file that was asked for and did not come is asked for again.
constexpr std::chrono::minutes kFullPatience{15};
// So long after something was written nobody asks when retention has something to do next.
constexpr std::chrono::minutes kSettle{2};
// A small merge and what it lets go take so long on a slow store.
constexpr std::chrono::seconds kMergeTime{3};
// After so long a next commit is not likely to come soon.
constexpr std::chrono::seconds kQuiet{15};

}  // namespace

Keeper::Keeper(Env& env, Scheduler& scheduler, ReplicaHost& host, Uploader& uploader,
               ReplicaClient& client, Fence& fence, Holdings& holdings, Limiter* limiter,
               const UpkeepOptions& options, Logger log)
    : env_(env),
      scheduler_(scheduler),
      host_(host),
      uploader_(uploader),
      client_(client),
      fence_(fence),
      holdings_(holdings),
      options_(options),
      log_(std::move(log)),
      compactor_({.client = client,
                  .catalogue = work_,
                  .local = [this](Txid txid) { return Local(txid); },
                  .before_write = [this](const Context& ctx) { return BeforeWrite(ctx); },
                  .guard = [this](const Context& ctx) { return guard_(ctx); },
                  .bounds = options.bounds,
                  .damaged = &damaged_}),
      snapshots_{.level = kSnapshotLevel,
                 .turns = {kSnapshotLevel, std::max(options.snapshot_interval, milliseconds(1)),
                           client.Describe()}},
      backoff_(kFirstBackoff, kMaxBackoff),
      seat_(limiter) {
  for (std::size_t i = 0; i < options.levels.size(); ++i) {
    const Level level{static_cast<std::uint8_t>(i + 1)};
    levels_.push_back(
        {.level = level, .turns = LevelTurns(level, options.levels[i], client.Describe())});
  }
}

// Nobody wakes the task any more when it goes.
Keeper::~Keeper() {
  seat_.SetTask(nullptr);
}

void Keeper::Start() {
  if (levels_.empty()) return;
  task_ =
      scheduler_.Start(Pool::kUpkeep, "upkeep", [this](const Context& ctx) { return Run(ctx); });
  seat_.SetTask(task_.get());
}

void Keeper::Stop() {
  if (task_) task_->Stop();
  seat_.Done(scheduler_.clock().Monotonic());
}

void Keeper::OnChange() {
  if (task_ && idle_.exchange(false)) task_->Wake();
}

UpkeepStatus Keeper::Status() const {
  MutexLock lock(mu_);
  return status_;
}

NextRun Keeper::Run(const Context& ctx) {
  turn_.reset();
  const NextRun next = RunStep(ctx);
  if (turn_) return *turn_;
  seat_.Done(scheduler_.clock().Monotonic());
  return next;
}

Result<void> Keeper::HoldLease(const Context& ctx) {
  if (LS_TRY(fence_.Hold(ctx)) == term_) return {};
  return Error(ErrorCode::kUnavailable,
               "another process may have written to the replica, looking at it again");
}

// A step that finds nothing to write needs no lease, and leaves what is saved.
Result<void> Keeper::BeforeWrite(const Context& ctx) {
  LS_TRY(HoldLease(ctx));
  guard_ = fence_.GuardFor(ctx, term_);
  change_.emplace(LS_TRY(holdings_.Begin(ctx)));
  return {};
}

// False: the step ends here, and is taken again when it is its turn.
bool Keeper::HasTurn(const Moment& now, TurnSize size) {
  const auto turn = seat_.Ask(now.mono, size);
  if (!turn.granted) turn_ = turn.at ? NextRun::At(*turn.at) : NextRun::WhenWoken();
  return turn.granted;
}

NextRun Keeper::RunStep(const Context& ctx) {
  const MonoTime now = scheduler_.clock().Monotonic();
  if (now < not_before_) return NextRun::At(not_before_);
  const std::uint64_t changes = holdings_.changes();
  // Before the holdings: those of another chain are forgotten when its files are offered.
  chain_ = uploader_.Files().chain;
  term_ = fence_.term();
  const bool were_known = holdings_.known();
  auto holdings = holdings_.Look(ctx);
  if (!holdings.ok()) return NextRun::WhenWoken();  // It is stopped.
  if (!holdings.value()) {
    // Somebody removed or damaged the file that they lie in.
    if (were_known) uploader_.Validate();
    idle_ = true;
    // Set first, looked at after: what came in between is seen.
    return holdings_.known() ? NextRun::At(now) : NextRun::WhenWoken();
  }
  work_ = std::move(*holdings.value());
  std::erase_if(bad_, [this](const auto& bad) { return !work_.Find(bad.first); });
  damaged_.clear();
  for (const auto& [id, file] : bad_) {
    work_.Remove(id);
    if (id.level == Level{1}) damaged_.push_back(id.txids);
  }
  auto next = Step(ctx);
  if (!next.ok()) {
    if (ctx.stop().stop_requested()) return NextRun::WhenWoken();
    NoteFailure(next.error());
    // What it knew is void; the uploader waits for the lease, lists, and wakes it.
    if (fence_.term() != term_ || fence_.MustBeTaken()) uploader_.Validate();
    return NextRun::At(not_before_);
  }
  if (turn_) return *turn_;
  if (failures_ > 0) log_.Info("upkeep recovered", {{"previous_errors", failures_}});
  failures_ = 0;
  backoff_.Reset();
  {
    MutexLock lock(mu_);
    status_.error.clear();
    status_.merged = work_.newest(Level{1});
    const std::size_t count = work_.count(kSnapshotLevel);
    if (count > 0) status_.newest_snapshot = work_.at(kSnapshotLevel, count - 1).created_at;
  }
  // It may lie for long until the next step, and there may be many databases.
  work_ = Catalogue();
  if (!levels_.front().pending) {
    idle_ = true;
    if (holdings_.changes() != changes) return NextRun::At(now);
    if (!rested_ && holdings_.unsaved()) {
      rested_ = true;
      host_.OnRest();
    }
  }
  return next.value() ? NextRun::At(*next.value()) : NextRun::WhenWoken();
}

// One object at most. What it returns says when to go on.
Result<Keeper::Next> Keeper::Step(const Context& ctx) {
  const Moment now{.wall = env_.clock().Now(), .mono = scheduler_.clock().Monotonic()};
  const Next again = now.mono;
  if (LS_TRY(PromoteIfReady(ctx, now))) return again;
  Next next;
  const auto not_later = [&next](MonoTime at) { next = next ? std::min(*next, at) : at; };
  for (Turns& level : levels_) {
    level.pending = level.pending && HasWork(level);
    if (!HasWork(level)) continue;
    if (!level.pending && LacksNothing(level)) {
      level.idle_at = NewestBelow(level);
      continue;
    }
    const milliseconds until = WithinLease(level, UntilTurn(level, now), now);
    if (until > milliseconds(0)) {
      not_later(now.mono + until);
      continue;
    }
    if (!HasTurn(now, TurnSize::kLarge)) return again;
    LS_TRY(Compact(ctx, level, now));
    return again;
  }
  if (LS_TRY(StepSnapshot(ctx, now, next))) return again;
  if (full_above_) not_later(full_wanted_at_ + kFullPatience);
  if (options_.validation_interval.count() > 0) {
    if (next_validation_ && now.mono >= *next_validation_) uploader_.Validate();
    if (!next_validation_ || now.mono >= *next_validation_) {
      next_validation_ = now.mono + options_.validation_interval;
    }
    not_later(*next_validation_);
  }
  if (!retention_due_) {
    // While level 1 has something coming, retention follows that. So it does in a database that is
    // in use: to look ahead costs as much as many retentions.
    const bool settled = now.mono >= settled_at_;
    Next retention;
    if (!levels_.front().pending) retention = settled ? NextRetention(now) : settled_at_;
    if (retention && *retention > now.mono) not_later(*retention);
    retention_due_ = retention && *retention <= now.mono;
  }
  if (!retention_due_) return next;
  if (!HasTurn(now, TurnSize::kSmall)) return again;
  retention_due_ = false;
  LS_TRY(Retain(ctx, now.wall));
  return again;
}

Txid Keeper::NewestBelow(const Turns& level) const {
  return work_.newest(Level{static_cast<std::uint8_t>(level.level.value - 1)});
}

bool Keeper::HasWork(const Turns& level) const {
  const Txid below = NewestBelow(level);
  return below > work_.newest(level.level) && below > level.idle_at;
}

// As after a start: a snapshot stands for what the level has not. No turn is needed to see that.
bool Keeper::LacksNothing(const Turns& level) const {
  return ChooseSources(work_, level.level, options_.bounds, {}, damaged_).action ==
         CompactionChoice::Action::kNothing;
}

// What comes after a quiet time waits for the next turn, so that it does not go up alone.
milliseconds Keeper::UntilTurn(Turns& level, const Moment& now) {
  if (!std::exchange(level.pending, true) && level.turns.UntilDue(level.done, now).count() <= 0) {
    level.done = now;
  }
  return level.turns.UntilDue(level.done, now);
}

// A commit after a quiet time has paid for a lease. What it leaves for level 1 is merged before
// that runs out, if its turn came later and would cost another.
milliseconds Keeper::WithinLease(const Turns& level, milliseconds until, const Moment& now) const {
  if (level.level != Level{1}) return until;
  const auto good_until = fence_.good_until(now.mono);
  if (!good_until) return until;
  auto left = std::chrono::ceil<milliseconds>(*good_until - now.mono - kMergeTime);
  left = std::max(left, milliseconds(0));
  // Of one that is written to again and again the next upload renews it.
  const FileInfo newest = work_.at(kLevel0, work_.count(kLevel0) - 1);
  return now.wall + left - newest.created_at >= kQuiet ? std::min(until, left) : until;
}

Result<void> Keeper::Compact(const Context& ctx, Turns& level, const Moment& now) {
  const Txid below = NewestBelow(level);
  const CompactionStep step =
      LS_TRY(Take(compactor_.CompactLevel(ctx, level.level)), "level {}", int{level.level.value});
  return Finish(step, level, below, now);
}

// True: something was done.
Result<bool> Keeper::StepSnapshot(const Context& ctx, const Moment& now, Next& next) {
  const std::size_t count = work_.count(kSnapshotLevel);
  const Txid end = work_.ContiguousEnd();
  if (options_.snapshot_interval <= milliseconds(0) || end <= work_.newest(kSnapshotLevel) ||
      end <= snapshots_.idle_at || full_above_) {
    return false;
  }
  if (count == 0) {
    // The first one is what the first file becomes when level 1 has its turn.
    if (levels_.front().pending) return false;
  } else if (!snapshots_.done) {
    snapshots_.done =
        Moment{.wall = work_.at(kSnapshotLevel, count - 1).created_at, .mono = now.mono};
  }
  if (snapshots_.done) {
    const milliseconds until = snapshots_.turns.UntilDue(snapshots_.done, now);
    if (until > milliseconds(0)) {
      next = next ? std::min(*next, now.mono + until) : now.mono + until;
      return false;
    }
  }
  if (!HasTurn(now, TurnSize::kLarge)) return true;
  const CompactionStep step =
      LS_TRY(Take(compactor_.CompactSnapshot(ctx, host_.DatabaseBytes())), "snapshot");
  if (step.outcome == Outcome::kReadDatabase && host_.StreamsSnapshots()) {
    WantFull(end);
    return true;
  }
  if (step.outcome == Outcome::kReadDatabase) {
    // A full file that another replica wanted will do, if little has happened since. (A new one
    // each time would give the other one something to do, and so on, for ever.)
    const Txid full = uploader_.Files().last_full;
    const auto file = FileWith(full);
    const bool fresh =
        file && (full == end || file->created_at > now.wall - std::chrono::minutes(1));
    WantFull(fresh && full > work_.newest(kSnapshotLevel) ? Txid{full.value - 1} : work_.newest());
    return true;
  }
  LS_TRY(Finish(step, snapshots_, end, now));
  return true;
}

// A full file came that was waited for: it becomes a snapshot at once, so that the levels can go on
// behind it.
Result<bool> Keeper::PromoteIfReady(const Context& ctx, const Moment& now) {
  if (!full_above_) return false;
  if (host_.StreamsSnapshots()) return IsStreamed(now);
  const Txid full = uploader_.Files().last_full;
  if (const auto there = SnapshotFrom(full); full > *full_above_ && there) {
    full_above_.reset();
    OnWritten(*there, now);
    return true;
  }
  const auto file = full > *full_above_ ? FileWith(full) : std::nullopt;
  if (!file) {
    const bool lost = full > *full_above_ && full <= work_.newest();
    if (lost) WantFull(full);
    if (now.mono >= full_wanted_at_ + kFullPatience) WantFull(*full_above_);
    return false;
  }
  if (!HasTurn(now, TurnSize::kLarge)) return true;
  const CompactionStep step = LS_TRY(Take(compactor_.Promote(ctx, *file)), "snapshot");
  if (step.outcome == Outcome::kWritten) {
    full_above_.reset();
  } else {
    WantFull(full);
  }
  LS_TRY(Finish(step, snapshots_, full, now));
  return true;
}

bool Keeper::IsStreamed(const Moment& now) {
  const auto there = SnapshotFrom(*full_above_);
  if (there) {
    full_above_.reset();
    OnWritten(*there, now);
  } else if (now.mono >= full_wanted_at_ + kFullPatience) {
    WantFull(*full_above_);
  }
  return there.has_value();
}

// The first snapshot that ends with `txid` or behind it.
std::optional<FileInfo> Keeper::SnapshotFrom(Txid txid) const {
  for (std::size_t i = 0; i < work_.count(kSnapshotLevel); ++i) {
    const FileInfo file = work_.at(kSnapshotLevel, i);
    if (file.id.txids.max >= txid) return file;
  }
  return std::nullopt;
}

// The file that holds this transaction, of the lowest level that has one.
std::optional<FileInfo> Keeper::FileWith(Txid txid) const {
  for (Level level = kLevel0; level <= kMaxMergeLevel; ++level.value) {
    for (std::size_t i = work_.count(level); i > 0; --i) {
      const FileInfo file = work_.at(level, i - 1);
      if (file.id.txids.min <= txid && txid <= file.id.txids.max) return file;
    }
  }
  return std::nullopt;
}

// Tells the holdings what a step has done, also if it failed.
Result<CompactionStep> Keeper::Take(Result<CompactionStep> step) {
  for (const FileId& id : work_.doubtful()) holdings_.Doubt(id);
  if (step.ok() && step.value().written) holdings_.Add(*step.value().written);
  change_.reset();
  if (!step.ok() && step.error().Is(ErrorCode::kAlreadyExists)) uploader_.Relist();
  return step;
}

Result<void> Keeper::Finish(const CompactionStep& step, Turns& level, Txid work_end,
                            const Moment& now) {
  // Its name is taken by a damaged file, which has the right end.
  const bool in_vain = step.written && bad_.contains(step.written->id);
  switch (in_vain ? Outcome::kNothing : step.outcome) {
    case Outcome::kWritten:
      OnWritten(*step.written, now);
      if (step.more) return {};
      break;
    case Outcome::kNothing:
    case Outcome::kReadDatabase:
      level.idle_at = work_end;
      break;
    case Outcome::kGap:
      log_.Error("transactions are missing on the replica, sending a snapshot behind them",
                 {{"level", int{level.level.value}},
                  {"minTXID", FormatTxid(step.hole->min)},
                  {"maxTXID", FormatTxid(step.hole->max)}});
      level.idle_at = work_end;
      WantFull(step.hole->max);
      break;
    case Outcome::kBadSource:
      return OnBadSource(*step.bad, level);
  }
  level.done = now;
  return {};
}

void Keeper::OnWritten(const FileInfo& file, const Moment& now) {
  const bool snapshot = file.id.level == kSnapshotLevel;
  settled_at_ = now.mono + kSettle;
  suspects_.clear();
  if (snapshot) {
    log_.Info("snapshot complete",
              {{"txid", FormatTxid(file.id.txids.max)}, {"size", file.size_bytes}});
    snapshots_.done = now;
    // Where a level was stuck it may go on.
    for (Turns& level : levels_) level.idle_at = {};
  } else {
    log_.Info("compaction complete", {{"level", int{file.id.level.value}},
                                      {"txid.min", FormatTxid(file.id.txids.min)},
                                      {"txid.max", FormatTxid(file.id.txids.max)},
                                      {"size", file.size_bytes}});
  }
  if (snapshot || file.id.level == Level{1}) retention_due_ = true;
  MutexLock lock(mu_);
  ++status_.written_files;
}

// An error: it is tried again first, the way there may be to blame.
Result<void> Keeper::OnBadSource(const BadSource& bad, const Turns& level) {
  {
    MutexLock lock(mu_);
    ++status_.bad_sources;
  }
  if (bad.local && bad.file) {
    // The replica's may be right.
    log_.Warn("a local file is damaged, reading the replica's",
              {{"file", FormatLtxFilename(bad.file->id.txids)}, {"error", bad.error.message()}});
    bad_local_.insert(bad.file->id);
    return {};
  }
  if (bad.file) {
    if (suspects_.insert(bad.file->id).second) {
      // Somebody may have removed it, with others.
      if (bad.fault == SourceFault::kMissing) uploader_.Relist();
      return bad.error;
    }
    GoAround(*bad.file, bad.error);
    return {};
  }
  // Each is right in itself, and together they are not: none of them is trusted.
  const auto choice = level.level == kSnapshotLevel
                          ? ChooseForSnapshot(work_)
                          : ChooseSources(work_, level.level, options_.bounds, {}, damaged_);
  for (const FileInfo& file : choice.sources) GoAround(file, bad.error);
  return {};
}

void Keeper::GoAround(const FileInfo& file, const Error& error) {
  bad_.emplace(file.id, file);
  log_.Error("a file of the replica is of no use, going around it",
             {{"level", int{file.id.level.value}},
              {"file", FormatLtxFilename(file.id.txids)},
              {"error", error.message()},
              {"hint",
               "what it held can be restored from other levels, if at all; litestream "
               "verify lists what is damaged"}});
}

void Keeper::WantFull(Txid above) {
  full_above_ = std::max(above, full_above_.value_or(Txid{}));
  full_wanted_at_ = scheduler_.clock().Monotonic();
  if (host_.StreamsSnapshots()) {
    uploader_.WantSnapshot(*full_above_);
  } else if (uploader_.Files().last_full <= *full_above_) {
    host_.RequestFull();
  }
}

// Only what is proven to be of the replica's history: the holdings were known when the step began,
// and the files are of that chain. (What takes their place later does not pass the merge's checks.)
std::optional<MergeInput> Keeper::Local(Txid txid) {
  if (uploader_.Files().chain != chain_) return std::nullopt;
  const TxidRange range{txid, txid};
  for (const FileId& bad : bad_local_) {
    if (bad.txids.min <= txid && txid <= bad.txids.max) return std::nullopt;
  }
  auto input = MergeInputFrom(env_, host_.LocalPath(txid), range);
  if (!input.ok()) return std::nullopt;
  return std::move(input).value();
}

void Keeper::NoteFailure(const Error& error) {
  const MonoTime now = scheduler_.clock().Monotonic();
  // Said by the fence.
  if (const auto until = fence_.blocked_until(now)) {
    not_before_ = *until;
    MutexLock lock(mu_);
    status_.error = error.message();
    return;
  }
  ++failures_;
  const std::chrono::nanoseconds pause = backoff_.Next();
  not_before_ = now + pause;
  {
    MutexLock lock(mu_);
    status_.error = error.message();
  }
  // The way there may be to blame, or the lease was another's for a moment: it is tried again soon.
  if (failures_ == 1 && error.Is(ErrorCode::kUnavailable)) {
    log_.Debug("compaction failed, trying again", {{"error", error.message()}});
    return;
  }
  if (failures_ > 2 && now - last_logged_failure_ < kLogInterval) return;
  last_logged_failure_ = now;
  log_.Error("compaction failed",
             {{"error", error.message()}, {"consecutive_errors", failures_}, {"backoff", pause}});
}

}  // namespace litestream
