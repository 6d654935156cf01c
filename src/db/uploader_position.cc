// Where a replica ends, and whether what it holds is ours.

#include <algorithm>
#include <array>
#include <span>
#include <utility>
#include <vector>

#include "base/file_stream.h"
#include "base/try.h"
#include "db/stored_file.h"
#include "db/uploader.h"
#include "format/ltx.h"
#include "format/names.h"
#include "replica/plan.h"

namespace litestream {
namespace {

// Before something is uploaded the replica is listed, once after a start and then this often:
// somebody may have removed files that ours build on.
constexpr std::chrono::hours kListingInterval{12};
// Of a comparison, in the log. Where a whole history was copied in, each of its files is one.
constexpr std::size_t kMaxReported = 10;

}  // namespace

// Where the replica ends, for what may have to go up. False: as of FindPosition.
Result<bool> Uploader::KnowPosition(const Context& ctx, const LocalFiles& files) {
  const MonoTime now = scheduler_.clock().Monotonic();
  bool only_compare = false;
  if (list_wanted_.exchange(false)) {
    // Nothing goes up, and what is known by then is compared with the lease before anything does.
    only_compare = position_ && *position_ >= files.range->max && !fence_.MustBeTaken();
    position_.reset();
    may_recall_ = false;
  }
  if (!position_ && std::exchange(may_recall_, false)) LS_TRY(RecallPosition(ctx, files));
  // What was recalled at a start is good enough as long as nothing builds on it.
  const bool listed = last_listing_ && now - *last_listing_ < kListingInterval;
  if (position_ && !listed && *position_ < files.range->max) position_.reset();
  const bool level = position_ && *position_ >= files.range->max;
  if (level && !base_damaged_ && snapshot_wanted_ == kNoSnapshot) return true;
  if (!only_compare) LS_TRY(TakeLease(ctx));
  if (position_) return true;
  if (!LS_TRY(FindPosition(ctx, files))) return false;
  last_listing_ = now;
  return true;
}

// What was learnt in another term counts no more.
Result<void> Uploader::TakeLease(const Context& ctx) {
  const Fence::Term term = LS_TRY(fence_.Hold(ctx));
  if (std::exchange(term_, term) != term) position_.reset();
  return {};
}

// Goes on with what is known, or not at all.
Result<void> Uploader::HoldLease(const Context& ctx) {
  if (LS_TRY(fence_.Hold(ctx)) == term_) return {};
  return Error(ErrorCode::kUnavailable,
               "another process may have written to the replica, looking at it again");
}

// Lists the replica. False: what is there is not ours, and capture has to move first; or it was
// changed meanwhile.
Result<bool> Uploader::FindPosition(const Context& ctx, const LocalFiles& files) {
  const std::uint64_t changes = holdings_.changes();
  const ReplicaListing listing = LS_TRY(ListReplica(ctx, *options_.client, false));
  const Txid newest = listing.newest();
  base_damaged_ = false;
  Result<bool> ours = true;
  if (newest != Txid{}) ours = IsOurs(ctx, files, listing);
  // Others are offered since: a parked database was opened, say, and goes on where somebody else
  // took it.
  if (Files().chain != chain_) return false;
  if (!ours.ok() && ours.error().Is(ErrorCode::kCorruption)) {
    NoteDamage(ours.error());
    ours = true;
  }
  if (!LS_TRY(std::move(ours))) {
    // Going on above it would only make the other one do the same, in turns and for ever.
    if (has_written_) return Error(ErrorCode::kAlreadyExists, SomebodyElse(newest));
    log_.Info("detected database behind replica",
              {{"db_txid", FormatTxid(files.range->max)}, {"replica_txid", FormatTxid(newest)}});
    if (rebase_requested_ != newest && !LS_TRY(IsNewestState(ctx, files, listing))) {
      log_.Warn(
          "the replica holds another history than this database, going on above it",
          {{"path", options_.client->Describe()},
           {"replica_txid", FormatTxid(newest)},
           {"hint",
            "expected after a restore of an earlier state, or changes while nobody replicated; if "
            "the replica belongs to another database, stop and use another place (what it held "
            "stays restorable with -txid)"}});
    }
    rebase_requested_ = newest;
    host_.RequestRebase(newest);
    return false;
  }
  Catalogue listed = Catalogue::FromListing(listing);
  const Txid end = listed.ContiguousEnd();
  if (end < newest) {
    log_.Warn("replica has a gap, filling it",
              {{"after", FormatTxid(end)}, {"newest", FormatTxid(newest)}});
  }
  behind_gap_.clear();
  for (const FileInfo& file : listing.levels[kLevel0.value]) {
    if (file.id.txids.min > end) behind_gap_.push_back(file.id.txids);
  }
  auto learnt = LearnState(ctx, listing, end);
  if (!learnt.ok() && learnt.error().Is(ErrorCode::kCorruption)) {
    NoteDamage(learnt.error());
  } else {
    LS_TRY(std::move(learnt));
  }
  const auto known = LS_TRY(holdings_.Look(ctx));
  if (!holdings_.Learn(std::move(listed), changes)) {
    // Somebody knows better than this listing, which was under way: another one.
    Validate();
    return false;
  }
  if (known) Report(known->Compare(listing));
  NotePosition(end);
  return true;
}

void Uploader::NotePosition(Txid end) {
  position_ = end;
  rebase_requested_.reset();
  {
    MutexLock lock(mu_);
    status_.txid = end;
  }
  on_change_();
}

// What was saved when everything was quiet, if the newest local file leads to the state that the
// replica ended with then; or (of a database that was parked, and is woken) an older one does, and
// the lease will tell whether somebody came meanwhile.
Result<void> Uploader::RecallPosition(const Context& ctx, const LocalFiles& files) {
  if (!holdings_.may_recall()) return {};
  if (LS_TRY(RecallAt(ctx, files.range->max)) || !fence_.Proves()) return {};
  const Txid end = Status().txid;
  if (end >= files.range->min && end < files.range->max) LS_TRY(RecallAt(ctx, end));
  return {};
}

Result<bool> Uploader::RecallAt(const Context& ctx, Txid end) {
  const auto header = ReadLocalHeader(env_, host_.LocalPath(end));
  if (!header.ok() || !header.value().Proof()) return false;
  const std::uint64_t checksum = header.value().Proof()->after;
  const auto saved = LS_TRY(holdings_.Recall(ctx, end, checksum));
  if (!saved) return false;
  fence_.Remember(saved->lease);
  page_size_ = header.value().page_size;
  checksum_ = checksum;
  base_damaged_ = false;
  behind_gap_.clear();
  NotePosition(end);
  return true;
}

// What is known of the replica is what its listing says; where it is not, the listing is right, and
// whatever is missing gets healed.
void Uploader::Report(std::vector<CatalogueDifference> differences) {
  // What we did not know comes first.
  std::stable_sort(differences.begin(), differences.end(),
                   [](const auto& a, const auto& b) { return a.kind < b.kind; });
  for (const CatalogueDifference& difference :
       std::span(differences).first(std::min(differences.size(), kMaxReported))) {
    const FileId& id = difference.file.id;
    log_.Warn("validation error detected", {{"level", int{id.level.value}},
                                            {"type", std::string(ToString(difference.kind))},
                                            {"file", FormatLtxFilename(id.txids)}});
  }
  if (differences.size() > kMaxReported) {
    log_.Warn("more validation errors, not shown",
              {{"count", std::uint64_t{differences.size() - kMaxReported}}});
  }
}

// What the database is at `txid`, by the replica's file that ends there.
Result<void> Uploader::LearnState(const Context& ctx, const ReplicaListing& listing, Txid txid) {
  page_size_ = 0;
  checksum_.reset();
  if (txid == Txid{} || base_damaged_) return {};
  for (const auto& level : listing.levels) {
    for (auto it = level.rbegin(); it != level.rend(); ++it) {
      if (it->id.txids.max != txid) continue;
      const LtxHeader header = LS_TRY(RemoteHeader(ctx, *options_.client, it->id));
      page_size_ = header.page_size;
      if (const auto proof = header.Proof()) checksum_ = proof->after;
      return {};
    }
  }
  return {};
}

// Unset if the local file is not there, damaged, or has none.
std::optional<LtxProof> Uploader::LocalProof(Txid txid) {
  const auto header = ReadLocalHeader(env_, host_.LocalPath(txid));
  return header.ok() ? header.value().Proof() : std::nullopt;
}

// Is the database now what the replica's newest file leads to? So it is after a restore.
Result<bool> Uploader::IsNewestState(const Context& ctx, const LocalFiles& files,
                                     const ReplicaListing& listing) {
  const auto local = LocalProof(files.range->max);
  if (!local) return false;
  for (const auto& level : listing.levels) {
    if (level.empty() || level.back().id.txids.max != listing.newest()) continue;
    auto remote = RemoteHeader(ctx, *options_.client, level.back().id);
    if (!remote.ok() && remote.error().Is(ErrorCode::kCorruption)) return false;
    const auto proof = LS_TRY(std::move(remote)).Proof();
    if (proof) return proof->after == local->after;
  }
  return false;
}

// A restore must not need the damaged file: what follows begins with a snapshot.
void Uploader::NoteDamage(const Error& error) {
  base_damaged_ = true;
  log_.Error("the newest file of the replica is damaged, sending a snapshot behind it",
             {{"error", error.message()},
              {"hint",
               "litestream verify lists what is damaged; such files can be deleted once the "
               "snapshot is there"}});
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

}  // namespace litestream
