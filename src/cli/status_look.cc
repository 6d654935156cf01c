#include "cli/status_look.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "cli/common.h"
#include "db/position.h"
#include "db/upload_group.h"
#include "format/names.h"
#include "replica/parallel.h"
#include "replica/plan.h"
#include "replica/verify.h"
#include "storage/old_backup.h"

namespace litestream::cli {
namespace {

constexpr int kReplicasAtOnce = 8;
// For one replica, unless it is read whole.
constexpr std::chrono::seconds kPatience{30};
constexpr std::size_t kMaxProblems = 10;

// Nothing has happened to the database since everything of it was captured, its WAL was emptied and
// it was closed.
Result<bool> IsAtRest(Env& env, const config::DatabaseConfig& database) {
  const auto note = LS_TRY(ReadPositionNote(env, config::MetaPath(database) + "/position"));
  if (!note || !note->parked || note->boot == 0 || note->boot != HashOfBoot(env)) return false;
  const FileStat stat = LS_TRY(env.Stat(database.path));
  if (stat.identity != note->database || StampOf(stat) != *note->parked) return false;
  const auto wal = env.Stat(database.path + "-wal");
  if (wal.ok()) return wal.value().size_bytes == 0;
  return wal.error().Is(ErrorCode::kNotFound) ? Result<bool>(true) : Result<bool>(wal.error());
}

Result<ReplicatorState> FindReplicator(Env& env, const config::DatabaseConfig& database) {
  if (LS_TRY(env.IsLocked(config::MetaPath(database) + "/lock"))) return ReplicatorState::kRunning;
  return LS_TRY(IsAtRest(env, database)) ? ReplicatorState::kAtRest : ReplicatorState::kNone;
}

// The newest local file; 0: there is none.
Result<Txid> NewestLocal(Env& env, const std::string& directory) {
  const auto stat = env.Stat(directory);
  if (!stat.ok() && stat.error().Is(ErrorCode::kNotFound)) return Txid{};
  Txid newest;
  for (const DirectoryEntry& entry : LS_TRY(env.List(directory))) {
    const auto range = ParseLtxFilename(entry.name);
    if (range) newest = std::max(newest, range->max);
  }
  return newest;
}

}  // namespace

LocalStatus LookLocally(Env& env, const config::DatabaseConfig& database) {
  LocalStatus out;
  const auto fail = [&out](const Error& error) {
    if (out.error.empty()) out.error = error.message();
  };
  const auto file = env.Stat(database.path);
  if (!file.ok()) {
    const bool missing = file.error().Is(ErrorCode::kNotFound);
    out.status = missing ? "no database" : "error";
    if (!missing) fail(file.error());
    return out;
  }
  const auto wal = env.Stat(database.path + "-wal");
  if (wal.ok()) {
    out.wal_bytes = wal.value().size_bytes;
  } else if (wal.error().Is(ErrorCode::kNotFound)) {
    out.wal_bytes = 0;
  } else {
    fail(wal.error());
  }
  const auto replicator = FindReplicator(env, database);
  out.replicator = replicator.ok() ? replicator.value() : ReplicatorState::kUnknown;
  if (!replicator.ok()) fail(replicator.error());
  const std::string directory = config::MetaPath(database) + "/ltx/0";
  const auto newest = NewestLocal(env, directory);
  if (!newest.ok()) {
    out.status = "error";
    fail(newest.error());
    return out;
  }
  if (newest.value() == Txid{}) return out;
  out.status = "ok";
  out.txid = newest.value();
  // It may go while we look, or hold several transactions if stock Litestream made it.
  const TxidRange name{out.txid, out.txid};
  const auto header = ReadLocalHeader(env, directory + "/" + FormatLtxFilename(name));
  if (header.ok()) out.time = header.value().Timestamp();
  return out;
}

const ReplicaOutlook* DatabaseOutlook::best() const {
  const ReplicaOutlook* best = nullptr;
  for (const ReplicaOutlook& replica : replicas) {
    if (!replica.usable()) continue;
    if (best == nullptr || replica.newest->txid > best->newest->txid) best = &replica;
  }
  return best;
}

namespace {

StateProof FromHeader(PointProof proof) {
  switch (proof) {
    case PointProof::kCarried:
      return StateProof::kCarried;
    case PointProof::kNone:
      return StateProof::kNone;
    case PointProof::kUnreadable:
      break;
  }
  return StateProof::kUnreadable;
}

Result<void> Verify(const Context& ctx, ReplicaClient& client, ReplicaOutlook& out) {
  const VerifyReport report = LS_TRY(VerifyReplica(ctx, client, {.parallelism = 2}));
  for (const VerifyProblem& problem : report.problems) {
    if (out.problems.size() == kMaxProblems) {
      out.problems.push_back(
          fmt::format("and {} more, see litestream verify", report.problems.size() - kMaxProblems));
      break;
    }
    out.problems.push_back(fmt::format("level {} {}: {}", int{problem.file.level.value},
                                       FormatLtxFilename(problem.file.txids), problem.what));
  }
  out.proof = !report.problems.empty() ? StateProof::kBroken
              : report.proven          ? StateProof::kProven
                                       : StateProof::kUnproven;
  // What is damaged may be older than what the newest state is made of.
  out.newest_is_damaged = out.proof == StateProof::kBroken && !report.proven;
  return {};
}

Result<void> Ask(const Context& ctx, Env& env, const config::ReplicaConfig& replica,
                 const OutlookOptions& options, ReplicaOutlook& out) {
  const auto client = LS_TRY(MakeReplicaClient(env, replica, {}));
  out.location = client->Describe();
  const auto listing = LS_TRY(ListReplica(ctx, *client, /*exact_times=*/true));
  if (listing.empty() && LS_TRY(HasOldBackup(ctx, *client))) {
    return Error(ErrorCode::kUnsupported,
                 "a backup of Litestream v0.3, which this build cannot read");
  }
  RestorePoints found = FindRestorePoints(listing);
  std::optional<StateProof> proof;
  if (!found.points.empty()) {
    const auto last = std::span(found.points).last(1);
    proof = FromHeader(LS_TRY(ReadPointProofs(ctx, *client, last, 1)).front());
  }
  out.newest_is_damaged = proof == StateProof::kUnreadable;
  if (options.verify && !listing.empty()) {
    LS_TRY(Verify(ctx, *client, out));
    proof = out.proof;
  }
  // From here on nothing fails: all of it is known, or nothing.
  out.proof = proof;
  out.point_count = found.points.size();
  if (!found.points.empty()) {
    out.oldest = found.points.front();
    out.newest = found.points.back();
  }
  out.stops_at_hole = !found.holes.empty() && !found.holes.back().bridged_by;
  found.points = {};
  out.found = std::move(found);
  return {};
}

}  // namespace

void LookAtReplicas(Env& env, const OutlookOptions& options,
                    std::vector<DatabaseOutlook>& databases) {
  struct Question {
    const config::ReplicaConfig* replica;
    ReplicaOutlook* outlook;
  };
  std::vector<Question> questions;
  for (DatabaseOutlook& database : databases) {
    const auto& replicas = database.database.replicas;
    database.replicas.resize(replicas.size());
    for (std::size_t i = 0; i < replicas.size(); ++i) {
      questions.push_back({.replica = &replicas[i], .outlook = &database.replicas[i]});
    }
  }
  const auto step = [&](const Context& ctx, std::size_t i) -> Result<void> {
    ReplicaOutlook& out = *questions[i].outlook;
    out.name = questions[i].replica->name;
    out.type = questions[i].replica->type;
    out.location = questions[i].replica->path;
    const Context inner =
        options.verify ? ctx : ctx.WithDeadline(ctx.clock().Monotonic() + kPatience);
    const auto asked = Ask(inner, env, *questions[i].replica, options, out);
    if (!asked.ok()) out.error = asked.error().message();
    return {};
  };
  const auto done = ForEachParallel(Context::Background(), kReplicasAtOnce, questions.size(), step);
  (void)done.ok();  // No step fails, and nothing stops them.
}

}  // namespace litestream::cli
