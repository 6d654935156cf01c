#include "db/uploader.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/endian.h"
#include "base/file_stream.h"
#include "base/try.h"
#include "db/snapshot_source.h"
#include "format/ltx.h"
#include "format/names.h"
#include "replica/plan.h"

namespace litestream {
namespace {

constexpr std::chrono::minutes kMaxBackoff{5};
constexpr std::chrono::seconds kLogInterval{30};
// While there is something to upload, the replica is listed anew this often: somebody may have
// removed files that ours build on.
constexpr std::chrono::hours kListingInterval{6};

// End of the run 1..n that the files of all levels cover without a hole.
Txid ContiguousEnd(const ReplicaListing& listing) {
  std::vector<TxidRange> ranges;
  for (const auto& level : listing.levels) {
    for (const FileInfo& file : level) ranges.push_back(file.id.txids);
  }
  std::ranges::sort(ranges);
  Txid end;
  for (const TxidRange& range : ranges) {
    if (range.min > end.Next()) break;
    end = std::max(end, range.max);
  }
  return end;
}

Result<std::uint64_t> TrailingChecksum(const Context& ctx, ByteSource& source) {
  std::array<std::byte, kLtxTrailerSize> trailer = {};
  const std::size_t got = LS_TRY(ReadFull(ctx, source, trailer));
  if (got < trailer.size()) return Error(ErrorCode::kCorruption, "LTX file too short");
  return LoadBe64(&trailer[8]);
}

Result<LtxHeader> RemoteHeader(const Context& ctx, ReplicaClient& client, const FileId& id) {
  const auto source = LS_TRY(client.Open(ctx, id, {.length_bytes = kLtxHeaderSize}));
  std::array<std::byte, kLtxHeaderSize> bytes = {};
  const std::size_t got = LS_TRY(ReadFull(ctx, *source, bytes));
  return ParseLtxHeader(std::span(bytes).first(got));
}

}  // namespace

Uploader::Uploader(Env& env, Scheduler& scheduler, UploaderHost& host,
                   const ReplicaOptions& options, Logger log)
    : env_(env), scheduler_(scheduler), host_(host), options_(options), log_(std::move(log)) {
  status_.type = options_.client->type();
  status_.name = options_.name.empty() ? status_.type : options_.name;
  status_.where = options_.client->Describe();
}

Uploader::~Uploader() = default;

void Uploader::Start() {
  task_ = scheduler_.Start(Pool::kIo, "upload", [this](const Context& ctx) { return Run(ctx); });
}

void Uploader::Offer(const LocalFiles& files) {
  {
    MutexLock lock(mu_);
    wanted_ = files;
  }
  if (task_) task_->Wake();
}

LocalFiles Uploader::Wanted() const {
  MutexLock lock(mu_);
  return wanted_;
}

ReplicaStatus Uploader::Status() const {
  MutexLock lock(mu_);
  return status_;
}

NextRun Uploader::Run(const Context& ctx) {
  const MonoTime now = scheduler_.clock().Monotonic();
  const LocalFiles files = Wanted();
  if (!files.range || (position_ && *position_ >= files.range->max)) return NextRun::WhenWoken();
  // The first file after a quiet time goes at once; then one pass an interval.
  const MonoTime earliest = last_pass_ + (failures_ > 0 ? backoff_ : options_.sync_interval);
  if (last_pass_ != MonoTime{} && now < earliest && !more_) return NextRun::At(earliest);
  last_pass_ = now;
  more_ = false;
  auto passed = Pass(ctx);
  if (passed.ok()) {
    if (failures_ > 0) {
      log_.Info("replica sync recovered", {{"previous_errors", failures_}});
    }
    failures_ = 0;
    if (passed.value()) return NextRun::WhenWoken();
    return NextRun::At(last_pass_ +
                       (position_ ? std::chrono::nanoseconds(0) : options_.sync_interval));
  }
  if (ctx.stop().stop_requested()) return NextRun::WhenWoken();
  NoteFailure(passed.error());
  return NextRun::At(last_pass_ + backoff_);
}

void Uploader::NoteFailure(const Error& error) {
  position_.reset();
  ++failures_;
  const std::chrono::nanoseconds first =
      std::max<std::chrono::nanoseconds>(options_.sync_interval, std::chrono::milliseconds(100));
  backoff_ = failures_ == 1 ? first : std::min<std::chrono::nanoseconds>(backoff_ * 2, kMaxBackoff);
  {
    MutexLock lock(mu_);
    status_.state = ReplicaState::kFailing;
    status_.error = error.message();
  }
  const MonoTime now = scheduler_.clock().Monotonic();
  if (failures_ == 1 || now - last_logged_failure_ >= kLogInterval) {
    last_logged_failure_ = now;
    log_.Error(
        "monitor error",
        {{"error", error.message()}, {"consecutive_errors", failures_}, {"backoff", backoff_}});
  }
}

Result<bool> Uploader::Pass(const Context& ctx) {
  const LocalFiles files = Wanted();
  if (!files.range) return true;
  const MonoTime now = scheduler_.clock().Monotonic();
  if (position_ && now - last_listing_ >= kListingInterval) position_.reset();
  if (!position_) {
    if (!LS_TRY(FindPosition(ctx, files))) return false;
    last_listing_ = now;
  }
  if (*position_ < files.range->max) {
    log_.Debug("replica sync", {{"txid.replica", FormatTxid(*position_)},
                                {"txid.db", FormatTxid(files.range->max)}});
    MutexLock lock(mu_);
    status_.state = ReplicaState::kSyncing;
  }
  int count = 0;
  while (*position_ < files.range->max) {
    LS_TRY(ctx.Check());
    if (options_.max_files_per_pass > 0 && count++ == options_.max_files_per_pass) return false;
    const Txid next = position_->Next();
    if (next >= files.range->min) {
      LS_TRY(UploadFile(ctx, next));
    } else if (files.last_full >= files.range->min) {
      LS_TRY(UploadSnapshot(ctx, files.last_full));
    } else {
      log_.Warn("replica lacks transactions that are not kept locally, sending a new snapshot",
                {{"txid.replica", FormatTxid(*position_)},
                 {"txid.local_min", FormatTxid(files.range->min)}});
      host_.RequestFull();
      return true;
    }
  }
  MutexLock lock(mu_);
  status_.state = ReplicaState::kInSync;
  status_.error.clear();
  status_.last_success = env_.clock().Now();
  return true;
}

// Lists the replica. False: what is there is not ours, capture has to move first.
Result<bool> Uploader::FindPosition(const Context& ctx, const LocalFiles& files) {
  const ReplicaListing listing = LS_TRY(ListReplica(ctx, *options_.client, false));
  const Txid newest = listing.newest();
  if (newest != Txid{} && !LS_TRY(IsOurs(ctx, files, listing))) {
    log_.Info("detected database behind replica",
              {{"db_txid", FormatTxid(files.range->max)}, {"replica_txid", FormatTxid(newest)}});
    // Once; until capture has moved, asking again would make it do so twice.
    if (rebase_requested_ != newest) host_.RequestRebase(newest);
    rebase_requested_ = newest;
    return false;
  }
  const Txid end = ContiguousEnd(listing);
  if (end < newest) {
    log_.Warn("replica has a gap, filling it",
              {{"after", FormatTxid(end)}, {"newest", FormatTxid(newest)}});
  }
  page_size_ = 0;
  if (end != Txid{}) page_size_ = LS_TRY(PageSizeAt(ctx, listing, end));
  position_ = end;
  {
    MutexLock lock(mu_);
    status_.txid = end;
  }
  host_.OnUploaded(end);
  return true;
}

Result<std::uint32_t> Uploader::PageSizeAt(const Context& ctx, const ReplicaListing& listing,
                                           Txid txid) {
  for (const auto& level : listing.levels) {
    for (auto it = level.rbegin(); it != level.rend(); ++it) {
      if (it->id.txids.max != txid) continue;
      const LtxHeader header = LS_TRY(RemoteHeader(ctx, *options_.client, it->id), "read {}",
                                      FormatLtxFilename(it->id.txids));
      return header.page_size;
    }
  }
  return std::uint32_t{0};
}

// Does the replica's newest file belong to our chain?
Result<bool> Uploader::IsOurs(const Context& ctx, const LocalFiles& files,
                              const ReplicaListing& listing) {
  const Txid newest = listing.newest();
  if (newest > files.range->max) return false;
  // A full file follows anything.
  if (files.last_full == newest.Next()) return true;
  if (newest < files.range->min) {
    // The local file of that transaction is gone. The next one, if it is here, tells the checksum
    // before it; beyond a gap only a new snapshot helps anyhow.
    if (newest.Next() < files.range->min) return true;
    const auto file = LS_TRY(OpenLocal(files.range->min));
    std::array<std::byte, kLtxHeaderSize> bytes = {};
    const std::size_t got = LS_TRY(file->ReadAt(bytes, 0));
    const LtxHeader local = LS_TRY(ParseLtxHeader(std::span(bytes).first(got)));
    // It builds on nothing: a full file, made to go on above what the replica holds.
    if (local.Proof() && BuildsOnNothing(*local.Proof())) return true;
    for (const auto& level : listing.levels) {
      if (level.empty() || level.back().id.txids.max != newest) continue;
      const LtxHeader remote = LS_TRY(RemoteHeader(ctx, *options_.client, level.back().id));
      if (remote.Proof() && local.Proof()) return remote.Proof()->after == local.Proof()->before;
    }
    return false;
  }
  // The same transaction is here: its file must be the same, or lead to the same database.
  auto local = LS_TRY(OpenLocal(newest));
  const std::uint64_t size = LS_TRY(local->Stat()).size_bytes;
  std::array<std::byte, kLtxHeaderSize> bytes = {};
  const std::size_t got = LS_TRY(local->ReadAt(bytes, 0));
  const auto parsed = ParseLtxHeader(std::span(bytes).first(got));
  if (!parsed.ok()) return false;  // Damaged: nothing proves that it is.
  const LtxHeader& header = parsed.value();
  const auto local_tail = MakeFileSource(std::move(local), size - kLtxTrailerSize);
  const std::uint64_t local_checksum = LS_TRY(TrailingChecksum(ctx, *local_tail));
  for (const auto& level : listing.levels) {
    for (auto it = level.rbegin(); it != level.rend(); ++it) {
      if (it->id.txids.max != newest) continue;
      if (it->id.txids.min == newest && it->size_bytes == size) {
        const auto source =
            LS_TRY(options_.client->Open(ctx, it->id, {.offset_bytes = size - kLtxTrailerSize}));
        return LS_TRY(TrailingChecksum(ctx, *source)) == local_checksum;
      }
      const LtxHeader remote = LS_TRY(RemoteHeader(ctx, *options_.client, it->id));
      if (remote.Proof() && header.Proof()) return remote.Proof()->after == header.Proof()->after;
    }
  }
  return false;
}

Result<void> Uploader::UploadFile(const Context& ctx, Txid txid) {
  const LtxHeader header = LS_TRY(LocalHeader(txid));
  // Files of two page sizes cannot be laid over each other. The first of the new size holds every
  // page; it goes up as a snapshot.
  const bool new_page_size = page_size_ != 0 && header.page_size != page_size_;
  page_size_ = header.page_size;
  if (new_page_size) return UploadSnapshot(ctx, txid);
  return Store(ctx, {kLevel0, {txid, txid}}, txid, /*as_snapshot=*/false);
}

// If somebody removed it under us, only a full file helps, whatever it was wanted for.
Result<std::unique_ptr<File>> Uploader::OpenLocal(Txid txid) {
  auto opened = env_.Open(host_.LocalPath(txid), {});
  if (!opened.ok() && opened.error().Is(ErrorCode::kNotFound)) host_.RequestFull();
  return opened;
}

Result<LtxHeader> Uploader::LocalHeader(Txid txid) {
  const auto path = host_.LocalPath(txid);
  const auto file = LS_TRY(OpenLocal(txid));
  std::array<std::byte, kLtxHeaderSize> bytes = {};
  const std::size_t got = LS_TRY(file->ReadAt(bytes, 0));
  return LS_TRY(ParseLtxHeader(std::span(bytes).first(got)), "{}", path.string());
}

Result<void> Uploader::UploadSnapshot(const Context& ctx, Txid txid) {
  return Store(ctx, {kSnapshotLevel, {Txid{1}, txid}}, txid, /*as_snapshot=*/true);
}

Result<void> Uploader::Store(const Context& ctx, const FileId& id, Txid local, bool as_snapshot) {
  auto file = LS_TRY(OpenLocal(local));
  const std::uint64_t size = LS_TRY(file->Stat()).size_bytes;
  std::array<std::byte, kLtxHeaderSize> bytes = {};
  const std::size_t got = LS_TRY(file->ReadAt(bytes, 0));
  const LtxHeader header =
      LS_TRY(ParseLtxHeader(std::span(bytes).first(got)), "{}", host_.LocalPath(local).string());
  WriteOptions options{.created_at = header.Timestamp(), .if_absent = true};
  auto body = MakeFileSource(std::move(file));
  if (as_snapshot) {
    body = MakeSnapshotSource(std::move(body));
  } else {
    options.size_bytes = size;
  }
  auto written = options_.client->Write(ctx, id, *body, options);
  if (written.ok()) return NoteProgress(id.txids.max, written.value());
  if (!written.error().Is(ErrorCode::kAlreadyExists) || as_snapshot) {
    return std::move(written).error().Wrap(fmt::format("upload {}", FormatLtxFilename(id.txids)));
  }
  // There is one already: ours, if an earlier answer was lost.
  const auto local_tail = MakeFileSource(LS_TRY(OpenLocal(local)), size - kLtxTrailerSize);
  const auto remote_tail =
      LS_TRY(options_.client->Open(ctx, id, {.offset_bytes = size - kLtxTrailerSize}));
  const std::uint64_t ours = LS_TRY(TrailingChecksum(ctx, *local_tail));
  auto theirs = TrailingChecksum(ctx, *remote_tail);
  if (!theirs.ok() || theirs.value() != ours) {
    return Error(ErrorCode::kAlreadyExists,
                 fmt::format("{}: {} is there with other content: somebody else writes to this "
                             "replica, or it belongs to another database",
                             options_.client->Describe(), FormatLtxFilename(id.txids)));
  }
  return NoteProgress(id.txids.max,
                      {.id = id, .size_bytes = size, .created_at = header.Timestamp()});
}

Result<void> Uploader::NoteProgress(Txid txid, const FileInfo& info) {
  position_ = txid;
  {
    MutexLock lock(mu_);
    status_.txid = txid;
    ++status_.uploaded_files;
    status_.uploaded_bytes += info.size_bytes;
  }
  log_.Info("ltx file uploaded", {{"level", static_cast<int>(info.id.level.value)},
                                  {"minTXID", FormatTxid(info.id.txids.min)},
                                  {"maxTXID", FormatTxid(info.id.txids.max)},
                                  {"size", info.size_bytes}});
  host_.OnUploaded(txid);
  return {};
}

Result<void> Uploader::Drain(const Context& ctx, std::chrono::nanoseconds retry_interval) {
  if (task_) task_->Stop();
  int attempts = 0;
  for (;;) {
    auto passed = Pass(ctx);
    if (passed.ok() && passed.value()) return {};
    if (passed.ok() && position_) continue;
    if (passed.ok()) return Error(ErrorCode::kUnavailable, "the replica is ahead of capture");
    ++attempts;
    const Error error = passed.error();
    NoteFailure(error);
    if (retry_interval.count() <= 0) return error;
    const auto waited = ctx.Wait(retry_interval);
    if (!waited.ok()) {
      return Error(waited.error().code(),
                   fmt::format("{} after {} attempts: {}",
                               waited.error().Is(ErrorCode::kTimeout) ? "shutdown sync timeout"
                                                                      : "shutdown sync interrupted",
                               attempts, error.message()));
    }
    log_.Warn("shutdown sync failed, retrying (press Ctrl+C again to skip)",
              {{"attempts", attempts}, {"error", error.message()}});
  }
}

}  // namespace litestream
