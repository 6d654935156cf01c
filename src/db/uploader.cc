#include "db/uploader.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/endian.h"
#include "base/file_stream.h"
#include "base/try.h"
#include "db/force_snapshot.h"
#include "db/stored_file.h"
#include "format/ltx.h"
#include "format/ltx_decoder.h"
#include "format/names.h"
#include "replica/merge.h"
#include "replica/plan.h"

namespace litestream {
namespace {

constexpr std::chrono::minutes kMaxBackoff{5};
constexpr std::chrono::seconds kLogInterval{30};
// For a step of the database to end. When only others of this kind are left, that is soon.
constexpr std::chrono::nanoseconds kPatience = std::chrono::milliseconds(50);
constexpr std::chrono::nanoseconds kPatienceAtTheEnd = std::chrono::minutes(1);
constexpr std::size_t kCompareReadBytes = std::size_t{256} << 10;

// A local file that is gone or damaged.
bool IsUnusable(const Error& error) {
  return error.Is(ErrorCode::kNotFound) || error.Is(ErrorCode::kCorruption);
}

}  // namespace

Uploader::Uploader(Env& env, Scheduler& scheduler, ReplicaHost& host, Fence& fence,
                   Holdings& holdings, const ReplicaOptions& options, Logger log)
    : env_(env),
      scheduler_(scheduler),
      host_(host),
      fence_(fence),
      holdings_(holdings),
      options_(options),
      log_(std::move(log)),
      seat_(options_.limiter.get()) {
  status_.type = options_.client->type();
  status_.name = options_.name.empty() ? status_.type : options_.name;
  status_.where = options_.client->Describe();
}

// Nobody wakes the task any more when it goes.
Uploader::~Uploader() {
  seat_.SetTask(nullptr);
}

void Uploader::Start() {
  task_ = scheduler_.Start(Pool::kIo, "upload", [this](const Context& ctx) { return Run(ctx); });
  seat_.SetTask(task_.get());
}

void Uploader::Expect() {
  if (!task_ || !fence_.HasRunOut(scheduler_.clock().Monotonic())) return;
  expected_ = true;
  task_->Wake();
}

void Uploader::Offer(const LocalFiles& files) {
  bool other_chain = false;
  {
    MutexLock lock(mu_);
    other_chain = files.chain != wanted_.chain;
    wanted_ = files;
    const bool behind = files.range && files.range->max > status_.txid;
    if (behind && !status_.behind_since) {
      status_.behind_since = scheduler_.clock().Monotonic();
    }
  }
  // At once: what is known is known of the files of the other chain, and they may have the same
  // names.
  if (other_chain) holdings_.Forget();
  if (task_) task_->Wake();
}

void Uploader::Wake() {
  if (task_) task_->Wake();
}

void Uploader::Stop() {
  if (task_) task_->Stop();
}

LocalFiles Uploader::Files() const {
  MutexLock lock(mu_);
  return wanted_;
}

void Uploader::Relist() {
  holdings_.Forget();
  Validate();
}

void Uploader::Validate() {
  list_wanted_ = true;
  if (task_) task_->Wake();
}

void Uploader::WantSnapshot(Txid from) {
  snapshot_wanted_ = from.value;
  if (task_) task_->Wake();
}

LocalFiles Uploader::TakeWanted() {
  const LocalFiles files = Files();
  if (files.chain != chain_) {
    chain_ = files.chain;
    Forget();
    rebase_requested_.reset();
    has_written_ = false;
    may_recall_ = true;
    MutexLock lock(mu_);
    status_.state = ReplicaState::kUnknown;
    status_.error.clear();
  }
  return files;
}

ReplicaStatus Uploader::Status() const {
  MutexLock lock(mu_);
  return status_;
}

NextRun Uploader::Run(const Context& ctx) {
  const MonoTime now = scheduler_.clock().Monotonic();
  const LocalFiles files = TakeWanted();
  const bool expected = expected_.exchange(false);
  if (const auto later = NotNow(files, now)) {
    if (expected && position_ && failures_ == 0) Prepare(ctx);
    seat_.Done(scheduler_.clock().Monotonic());
    return *later;
  }
  if (const auto turn = seat_.Ask(now, NextTurn(files)); !turn.granted) {
    return turn.at ? NextRun::At(*turn.at) : NextRun::WhenWoken();
  }
  last_pass_ = now;
  full_wanted_above_.reset();
  more_ = false;
  has_uploaded_ = false;
  auto passed = Pass(ctx);
  // One alone lets it run out.
  if (has_uploaded_ && now - std::exchange(last_upload_, now) < Fence::kRenewAfter) {
    fence_.KeepUp(ctx);
  }
  seat_.Done(scheduler_.clock().Monotonic());
  if (passed.ok()) {
    if (failure_logged_) {
      log_.Info("replica sync recovered", {{"previous_errors", failures_}});
    }
    failures_ = 0;
    failure_logged_ = false;
    // Without a position: until capture has moved.
    more_ = !passed.value() && position_;
    // To have looked makes nobody wait.
    if (passed.value() && !has_uploaded_) last_pass_ = {};
    if (!more_) return NextRun::WhenWoken();
    return NextRun::At(last_pass_);
  }
  if (ctx.stop().stop_requested()) return NextRun::WhenWoken();
  NoteFailure(passed.error());
  return NextRun::At(last_pass_ + backoff_);
}

// The lease is what the next upload will wait for first. If it cannot be had, that upload says so.
void Uploader::Prepare(const Context& ctx) {
  if (!seat_.Ask(scheduler_.clock().Monotonic(), TurnSize::kSmall).granted) return;
  if (fence_.HasRunOut(scheduler_.clock().Monotonic())) (void)TakeLease(ctx).ok();
}

std::optional<NextRun> Uploader::NotNow(const LocalFiles& files, MonoTime now) const {
  if (!files.range) return NextRun::WhenWoken();
  const bool level = position_ && *position_ >= files.range->max;
  if (level && !list_wanted_ && snapshot_wanted_ == kNoSnapshot) return NextRun::WhenWoken();
  // The first file after a quiet time goes at once; then one pass an interval.
  const bool waits =
      failures_ > 0 && !(full_wanted_above_ && files.last_full > *full_wanted_above_);
  const MonoTime earliest = last_pass_ + (waits ? backoff_ : options_.sync_interval);
  if (last_pass_ != MonoTime{} && now < earliest && !more_) return NextRun::At(earliest);
  return std::nullopt;
}

// Whether what goes up next may take long. It is some of what is here; where the replica ends may
// not be known yet.
TurnSize Uploader::NextTurn(const LocalFiles& files) const {
  if (!seat_.limited()) return TurnSize::kSmall;
  if (snapshot_wanted_ != kNoSnapshot) return TurnSize::kLarge;
  const Txid first = std::max(position_.value_or(Txid{}).Next(), files.range->min);
  std::uint64_t bytes = 0;
  for (Txid txid = first; txid <= files.range->max; txid = txid.Next()) {
    const auto stat = env_.Stat(host_.LocalPath(txid));
    if (!stat.ok()) return TurnSize::kLarge;
    bytes += stat.value().size_bytes;
    if (bytes > kLargeTurnBytes) return TurnSize::kLarge;
  }
  return TurnSize::kSmall;
}

void Uploader::Forget() {
  position_.reset();
  holdings_.Forget();
}

void Uploader::NoteFailure(const Error& error) {
  const MonoTime now = scheduler_.clock().Monotonic();
  // Said once, by the fence.
  const auto blocked_until = fence_.blocked_until(now);
  Forget();
  ++failures_;
  const std::chrono::nanoseconds first =
      std::max<std::chrono::nanoseconds>(options_.sync_interval, std::chrono::milliseconds(100));
  backoff_ = failures_ == 1 ? first : std::min<std::chrono::nanoseconds>(backoff_ * 2, kMaxBackoff);
  if (blocked_until) {
    backoff_ = *blocked_until - last_pass_;
    failures_ = 1;
  }
  {
    MutexLock lock(mu_);
    status_.state = ReplicaState::kFailing;
    status_.error = error.message();
  }
  if (blocked_until) return;
  // A local file is missing. Either it goes with the database and its whole directory, or a full
  // one is made in its place by the next attempt.
  if (error.Is(ErrorCode::kNotFound) && (failures_ == 1 || host_.IsGone())) {
    log_.Debug("upload failed, trying again", {{"error", error.message()}});
  } else if (!failure_logged_ || now - last_logged_failure_ >= kLogInterval) {
    failure_logged_ = true;
    last_logged_failure_ = now;
    log_.Error(
        "monitor error",
        {{"error", error.message()}, {"consecutive_errors", failures_}, {"backoff", backoff_}});
  }
}

Result<bool> Uploader::Pass(const Context& ctx) {
  image_awaited_ = false;
  const LocalFiles files = TakeWanted();
  if (!files.range) return true;
  // Capture has not moved yet. It will, and then it offers other files.
  if (rebase_requested_ && files.range->min <= *rebase_requested_) return false;
  const MonoTime now = scheduler_.clock().Monotonic();
  if (!LS_TRY(KnowPosition(ctx, files))) return false;
  if (base_damaged_ && files.last_full <= *position_) {
    image_awaited_ = !LS_TRY(SendImage(ctx, position_->Next()));
    if (image_awaited_) return true;
  } else if (base_damaged_) {
    LS_TRY(UploadSnapshot(ctx, files.last_full));
  }
  base_damaged_ = false;
  if (const std::uint64_t from = snapshot_wanted_.exchange(kNoSnapshot); from != kNoSnapshot) {
    // After an error the keeper asks again, if it is still wanted then.
    if (!LS_TRY(StreamSnapshot(ctx, Txid{from}))) snapshot_wanted_ = from;
  }
  if (*position_ < files.range->max) {
    log_.Debug("replica sync", {{"txid.replica", FormatTxid(*position_)},
                                {"txid.db", FormatTxid(files.range->max)}});
    MutexLock lock(mu_);
    status_.state = ReplicaState::kSyncing;
  }
  const int most = seat_.limited() ? 1 : options_.max_files_per_pass;
  for (int count = 0; *position_ < files.range->max; ++count) {
    LS_TRY(ctx.Check());
    if (most > 0 && count == most) return false;
    if (Files().chain != chain_) return false;
    if (position_->Next() >= files.range->min) {
      LS_TRY(UploadNext(ctx, files));
    } else if (files.last_full >= files.range->min) {
      LS_TRY(UploadSnapshot(ctx, files.last_full));
    } else {
      if (*position_ != Txid{}) {
        log_.Warn("replica lacks transactions that are not kept locally, sending a new snapshot",
                  {{"txid.replica", FormatTxid(*position_)},
                   {"txid.local_min", FormatTxid(files.range->min)}});
      }
      image_awaited_ = !LS_TRY(SendImage(ctx, *position_));
      if (image_awaited_) return true;
    }
  }
  MutexLock lock(mu_);
  status_.state = ReplicaState::kInSync;
  status_.error.clear();
  status_.last_success = env_.clock().Now();
  if (checksum_) status_.proven = *position_;
  status_.behind_since.reset();
  // It came while this pass ran.
  if (wanted_.range && wanted_.range->max > *position_) status_.behind_since = now;
  return true;
}

// When it is there, no time is lost.
void Uploader::RequestFull() {
  full_wanted_above_ = Files().last_full;
  host_.RequestFull();
}

// What goes up next, when local files up to `last` wait.
Result<UploadGroup> Uploader::NextGroup(Txid last) {
  std::erase_if(behind_gap_, [this](const TxidRange& r) { return r.max <= *position_; });
  const Txid next = position_->Next();
  const bool gap_ends = !behind_gap_.empty() && behind_gap_.front().min == next;
  if (!behind_gap_.empty()) last = std::min(last, behind_gap_.front().min);
  auto group = NextUploadGroup(
      env_, [this](Txid txid) { return host_.LocalPath(txid); }, next, last);
  // It is there, and is compared with what we would make.
  if (group.ok() && gap_ends && group.value().txids != behind_gap_.front()) {
    group.value().txids = behind_gap_.front();
    group.value().proof.reset();
  }
  return group;
}

// If somebody removed it under us, only a full file helps, whatever it was wanted for.
Result<std::unique_ptr<File>> Uploader::OpenLocal(Txid txid) {
  auto opened = env_.Open(host_.LocalPath(txid), {});
  if (!opened.ok() && opened.error().Is(ErrorCode::kNotFound)) RequestFull();
  return opened;
}

Result<void> Uploader::UploadNext(const Context& ctx, const LocalFiles& files) {
  const Txid next = position_->Next();
  auto group = NextGroup(files.range->max);
  auto uploaded =
      group.ok() ? UploadLocal(ctx, group.value()) : Result<void>(std::move(group).error());
  if (uploaded.ok() || !IsUnusable(uploaded.error())) return uploaded;
  // Somebody removed or damaged a local file (R19). A full one behind it makes it unnecessary.
  if (files.last_full > next) {
    auto snapshot = UploadSnapshot(ctx, files.last_full);
    if (snapshot.ok() || !IsUnusable(snapshot.error())) return snapshot;
  }
  auto sent = SendImage(ctx, next);
  return sent.ok() && sent.value() ? Result<void>() : uploaded;
}

// A snapshot of the database, or a full file that becomes one. False: it comes later.
Result<bool> Uploader::SendImage(const Context& ctx, Txid from) {
  if (host_.StreamsSnapshots()) return StreamSnapshot(ctx, from);
  RequestFull();
  return false;
}

Result<bool> Uploader::StreamSnapshot(const Context& ctx, Txid from) {
  LS_TRY(HoldLease(ctx));
  const auto stream = LS_TRY(host_.OpenSnapshot(ctx, from, position_.value_or(Txid{}),
                                                draining_ ? kPatienceAtTheEnd : kPatience));
  if (!stream) {
    full_wanted_above_ = Files().last_full;
    return false;
  }
  const LtxHeader& header = stream->header();
  const FileId id{kSnapshotLevel, header.txids};
  const std::string name = FormatLtxFilename(id.txids);
  log_.Info("sending a snapshot of the database", {{"txid", FormatTxid(header.txids.max)},
                                                   {"pages", std::uint64_t{header.commit_pages}}});
  const auto change = LS_TRY(holdings_.Begin(ctx));
  const WriteOptions options{
      .created_at = header.Timestamp(), .size_bytes = std::nullopt, .if_absent = true};
  GuardedSource guarded(*stream, fence_.GuardFor(ctx, term_));
  auto written = options_.client->Write(ctx, id, guarded, options);
  if (written.ok()) {
    NoteStreamed(written.value(), header);
    return true;
  }
  holdings_.Doubt(id);
  if (!written.error().Is(ErrorCode::kAlreadyExists)) {
    return std::move(written).error().Wrap("upload " + name);
  }
  LS_TRY(CheckIsThere(ctx, id, header));
  return Error(ErrorCode::kUnavailable,
               fmt::format("snapshot {} is there already, looking what else is", name));
}

// An earlier attempt, whose answer was lost, may have sent it: then it is of this very state.
Result<void> Uploader::CheckIsThere(const Context& ctx, const FileId& id, const LtxHeader& header) {
  const LtxHeader remote = LS_TRY(RemoteHeader(ctx, *options_.client, id));
  if (remote.Proof() && remote.Proof()->after == header.Proof()->after) return {};
  return Error(ErrorCode::kAlreadyExists, SomebodyElse(id.txids.max));
}

void Uploader::NoteStreamed(const FileInfo& info, const LtxHeader& header) {
  if (position_ && *position_ > info.id.txids.max) {
    NoteUploaded(info);
    return;
  }
  NoteProgress(info);
  page_size_ = header.page_size;
  checksum_ = header.Proof()->after;
  NoteProven();
}

Result<void> Uploader::UploadLocal(const Context& ctx, const UploadGroup& group) {
  if (checksum_ && group.proof && !BuildsOnNothing(*group.proof) &&
      group.proof->before != *checksum_) {
    return Error(ErrorCode::kCorruption,
                 fmt::format("{}: is of another history than what the replica holds before it",
                             host_.LocalPath(group.txids.min).string()));
  }
  // Files of two page sizes cannot be laid over each other. The first of the new size holds every
  // page; it goes up as a snapshot.
  const bool new_page_size = page_size_ != 0 && group.page_size != page_size_;
  page_size_ = group.page_size;
  if (new_page_size) return UploadSnapshot(ctx, group.txids.min);
  LS_TRY(Store(ctx, {kLevel0, group.txids}, group.txids));
  if (group.proof) checksum_ = group.proof->after;
  NoteProven();
  return {};
}

Result<void> Uploader::UploadSnapshot(const Context& ctx, Txid txid) {
  LS_TRY(Store(ctx, {kSnapshotLevel, {Txid{1}, txid}}, {txid, txid}));
  if (const auto proof = LocalProof(txid)) checksum_ = proof->after;
  NoteProven();
  return {};
}

void Uploader::NoteProven() {
  if (!checksum_) return;
  MutexLock lock(mu_);
  status_.proven = *position_;
}

// What an object is made of: one local file as it is, or the merge of some.
struct Uploader::Body {
  std::unique_ptr<ByteSource> source;
  LtxMerge* merge = nullptr;                // The source, if it is one.
  std::optional<std::uint64_t> size_bytes;  // Unless it is a merge.
  WallTime created_at;
};

Result<Uploader::Body> Uploader::OpenBody(const Context& ctx, const FileId& id,
                                          const TxidRange& local) {
  Body body;
  if (id.txids == local && local.min == local.max) {
    const auto path = host_.LocalPath(local.min);
    auto file = LS_TRY(env_.Open(path, {}));
    const LtxHeader header = LS_TRY(ReadLocalHeader(*file, path));
    if (header.txids != local) {
      return Error(ErrorCode::kCorruption,
                   fmt::format("{}: the header names other transactions than the file's name",
                               path.string()));
    }
    body.created_at = header.Timestamp();
    body.size_bytes = LS_TRY(file->Stat()).size_bytes;
    // As a merge proves its inputs, but for what would be read twice at some cost.
    if (*body.size_bytes <= kMaxMergedBytes) {
      const auto reading = BorrowFileSource(*file);
      LS_TRY(VerifyLtx(ctx, *reading), "{}", path.string());
    }
    body.source = MakeFileSource(std::move(file));
    return body;
  }
  std::vector<MergeInput> inputs;
  for (Txid txid = local.min; txid <= local.max; txid = txid.Next()) {
    inputs.push_back(LS_TRY(MergeInputFrom(env_, host_.LocalPath(txid), {txid, txid})));
  }
  auto merge =
      LS_TRY(LtxMerge::Open(ctx, std::move(inputs), {.as_snapshot = id.level == kSnapshotLevel}));
  body.created_at = merge->header().Timestamp();
  body.merge = merge.get();
  body.source = std::move(merge);
  return body;
}

// Makes object `id` of the local files.
Result<void> Uploader::Store(const Context& ctx, const FileId& id, const TxidRange& local) {
  const std::string name = FormatLtxFilename(id.txids);
  const Body body = LS_TRY(OpenBody(ctx, id, local), "upload {}", name);
  const WriteOptions options{
      .created_at = body.created_at, .size_bytes = body.size_bytes, .if_absent = true};
  LS_TRY(HoldLease(ctx));
  const auto change = LS_TRY(holdings_.Begin(ctx));
  GuardedSource guarded(*body.source, fence_.GuardFor(ctx, term_));
  auto written = options_.client->Write(ctx, id, guarded, options);
  if (written.ok()) {
    NoteProgress(written.value());
    return {};
  }
  if (!written.error().Is(ErrorCode::kAlreadyExists)) {
    holdings_.Doubt(id);
    return std::move(written).error().Wrap("upload " + name);
  }
  // There is one already: ours, if an earlier answer was lost.
  const auto ours = LS_TRY(SizeIfOurs(ctx, id, local));
  if (!ours) {
    return Error(ErrorCode::kAlreadyExists, SomebodyElse(id.txids.max));
  }
  NoteProgress({.id = id, .size_bytes = *ours, .created_at = body.created_at});
  return {};
}

std::string Uploader::SomebodyElse(Txid txid) const {
  return fmt::format(
      "{}: TXID {} is there with other content: another process or database replicates to this "
      "place; stop one of the two, or give this one a replica of its own",
      options_.client->Describe(), FormatTxid(txid));
}

// The object's size if it is, by size and file checksum, what we would make.
Result<std::optional<std::uint64_t>> Uploader::SizeIfOurs(const Context& ctx, const FileId& id,
                                                          const TxidRange& local) {
  const Body body = LS_TRY(OpenBody(ctx, id, local));
  std::vector<std::byte> piece(kCompareReadBytes);
  std::uint64_t size = 0;
  std::uint64_t ours = 0;
  if (body.merge != nullptr) {
    while (LS_TRY(body.source->Read(ctx, piece)) > 0) continue;
    size = body.merge->size_bytes();
    ours = body.merge->trailer().file_checksum;
  } else {
    size = *body.size_bytes;
    const auto tail =
        MakeFileSource(LS_TRY(env_.Open(host_.LocalPath(local.min), {})), size - kLtxTrailerSize);
    ours = LS_TRY(TrailingChecksum(ctx, *tail));
  }
  const auto remote =
      LS_TRY(options_.client->Open(ctx, id, {.offset_bytes = size - kLtxTrailerSize}));
  const auto theirs = TrailingChecksum(ctx, *remote);
  const bool same = theirs.ok() && theirs.value() == ours;
  return same ? std::optional(size) : std::nullopt;
}

void Uploader::NoteProgress(const FileInfo& info) {
  position_ = info.id.txids.max;
  checksum_.reset();
  has_written_ = true;
  {
    MutexLock lock(mu_);
    status_.txid = *position_;
  }
  NoteUploaded(info);
}

void Uploader::NoteUploaded(const FileInfo& info) {
  has_uploaded_ = true;
  holdings_.Add(info);
  // Somebody removed or damaged the file that they lay in.
  if (!holdings_.known()) Validate();
  on_change_();
  {
    MutexLock lock(mu_);
    ++status_.uploaded_files;
    status_.uploaded_bytes += info.size_bytes;
  }
  log_.Info("ltx file uploaded", {{"level", static_cast<int>(info.id.level.value)},
                                  {"minTXID", FormatTxid(info.id.txids.min)},
                                  {"maxTXID", FormatTxid(info.id.txids.max)},
                                  {"size", info.size_bytes}});
}

Result<void> Uploader::ForceSnapshot(const Context& ctx) {
  const LocalFiles files = Files();
  if (files.range && (!position_ || *position_ < files.range->max)) {
    return Error(ErrorCode::kUnavailable, "the replica is not level with the database");
  }
  LS_TRY(seat_.Wait(ctx, TurnSize::kLarge));
  LS_TRY(HoldLease(ctx));
  const auto change = LS_TRY(holdings_.Begin(ctx));
  auto written = litestream::ForceSnapshot(
      ctx, env_, *options_.client, files, [this](Txid txid) { return host_.LocalPath(txid); },
      fence_.GuardFor(ctx, term_));
  seat_.Done(ctx.clock().Monotonic());
  NoteUploaded(LS_TRY(std::move(written)));
  return {};
}

// As Pass, in a thread that may wait for its turn. What is level waits for nothing.
Result<bool> Uploader::PassInTurn(const Context& ctx) {
  const LocalFiles files = TakeWanted();
  const bool level = !files.range || (position_ && *position_ >= files.range->max);
  if (level && !list_wanted_) return Pass(ctx);
  LS_TRY(seat_.Wait(ctx, NextTurn(files)));
  auto passed = Pass(ctx);
  seat_.Done(ctx.clock().Monotonic());
  return passed;
}

Result<void> Uploader::Drain(const Context& ctx, int attempt) {
  Stop();
  draining_ = true;
  seat_.Done(scheduler_.clock().Monotonic());  // Which the task may have left.
  if (attempt > 1) {
    log_.Warn("shutdown sync failed, retrying (press Ctrl+C again to skip)",
              {{"attempts", attempt - 1}, {"error", Status().error}});
  }
  for (;;) {
    auto passed = PassInTurn(ctx);
    if (passed.ok() && passed.value()) {
      if (!image_awaited_ || host_.IsGone()) return {};
      return Error(ErrorCode::kUnavailable,
                   "the replica needs a snapshot of the database, which cannot be read now");
    }
    if (passed.ok() && position_) continue;
    if (passed.ok()) return Error(ErrorCode::kAlreadyExists, "the replica is ahead of capture");
    // Cut off: nothing has failed.
    if (passed.error().Is(ErrorCode::kCancelled)) return passed.error();
    NoteFailure(passed.error());
    return passed.error();
  }
}

}  // namespace litestream
