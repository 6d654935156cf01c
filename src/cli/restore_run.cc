#include "cli/restore_run.h"

#include <optional>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "cli/common.h"
#include "format/names.h"
#include "sqlite/integrity.h"

namespace litestream::cli {
namespace {

constexpr int kPlanAttempts = 3;  // A planned file may be merged away before it is read.
constexpr const char* kSidecars[] = {"-wal", "-shm", "-journal", "-txid"};

// A plan that ends before a hole: what lies behind it cannot be restored, and what is before it
// only if asked for, because it is older than the files say.
Error HoleError(const RestorePlan& plan) {
  return Error(
      ErrorCode::kCorruption,
      fmt::format("cannot calc restore plan: non-contiguous ltx files: have up to {} but next file "
                  "starts at {}; to restore what is before the hole, use -txid {}",
                  FormatTxid(plan.max_txid()), FormatTxid(*plan.next_behind_hole),
                  FormatTxid(plan.max_txid())));
}

Result<ChosenPlan> PlanFrom(const Context& ctx, Env& env, const RestoreRequest& request,
                            const config::ReplicaConfig& replica) {
  ChosenPlan chosen{.replica = &replica};
  chosen.client = LS_TRY(MakeReplicaClient(env, replica, {}));
  const bool timed = request.target.before.has_value();
  const ReplicaListing listing = LS_TRY(ListReplica(ctx, *chosen.client, timed));
  if (timed && request.check_time_bounds) {
    if (listing.empty()) return Error(ErrorCode::kNotFound, "no backups found");
    const WallTime before = *request.target.before;
    if (before < *listing.oldest_time() || before > *listing.newest_time()) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("timestamp does not exist (the backup covers {} to {})",
                               FormatTimestampMillis(*listing.oldest_time()),
                               FormatTimestampMillis(*listing.newest_time())));
    }
  }
  // Everything is what is older than the end of time: a hole is then in the plan, not an error.
  RestoreTarget target = request.target;
  if (!target.txid && !timed) target.before = WallTime::max();
  auto plan = PlanRestore(listing, target);
  if (!plan.ok()) {
    if (!plan.error().Is(ErrorCode::kNotFound)) {
      return std::move(plan).error().Wrap("cannot calc restore plan");
    }
    return std::move(plan).error().Wrap(
        fmt::format("no matching backup files available in {}", chosen.client->Describe()));
  }
  if (plan.value().next_behind_hole) return HoleError(plan.value());
  chosen.plan = std::move(plan).value();
  return chosen;
}

// Whether the output may be replaced: asked for, or it is an empty file.
Result<bool> ReplacesOutput(Env& env, const std::filesystem::path& output, bool force) {
  if (force) return true;
  const auto stat = env.Stat(output);
  return stat.ok() && stat.value().size_bytes == 0;
}

}  // namespace

Result<ChosenPlan> ChoosePlan(const Context& ctx, Env& env, const RestoreRequest& request) {
  std::optional<ChosenPlan> best;
  std::optional<Error> failure;  // The first that is not "nothing there".
  std::optional<Error> nothing;
  for (const config::ReplicaConfig& replica : request.replicas) {
    auto chosen = PlanFrom(ctx, env, request, replica);
    if (!chosen.ok()) {
      auto& kept = chosen.error().Is(ErrorCode::kNotFound) ? nothing : failure;
      if (!kept) kept = chosen.error();
      if (request.replicas.size() > 1 && !chosen.error().Is(ErrorCode::kNotFound)) {
        request.log.Warn("replica cannot be used for the restore",
                         {{"replica", replica.name}, {"error", chosen.error().message()}});
      }
      continue;
    }
    if (!best || chosen.value().plan.max_txid() > best->plan.max_txid()) {
      best = std::move(chosen).value();
    }
  }
  if (best) return std::move(*best);
  return failure ? std::move(*failure) : std::move(*nothing);
}

Result<void> CheckOutput(Env& env, const std::filesystem::path& output, bool force) {
  if (!output.has_filename()) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("cannot restore, output path is a directory: {}", output.string()));
  }
  const auto stat = env.Stat(output);
  if (!stat.ok() && !stat.error().Is(ErrorCode::kNotFound)) {
    return Error(stat.error()).Wrap("cannot access output path");
  }
  if (stat.ok() && stat.value().type == FileType::kDirectory) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("cannot restore, output path is a directory: {}", output.string()));
  }
  if (force) return {};
  if (stat.ok() && stat.value().size_bytes > 0) {
    return Error(ErrorCode::kAlreadyExists,
                 fmt::format("cannot restore, output path already exists and is not empty: {}. Use "
                             "-force to overwrite",
                             output.string()));
  }
  // SQLite would play a left-over log into the restored database, so this holds without a database
  // too.
  for (const char* const suffix : kSidecars) {
    const std::string path = output.string() + suffix;
    if (!LS_TRY(Exists(env, path), "cannot access SQLite sidecar path")) continue;
    return Error(
        ErrorCode::kAlreadyExists,
        fmt::format("cannot restore, SQLite sidecar path already exists: {}. Use -force to "
                    "overwrite",
                    path));
  }
  return {};
}

Result<RestoreOutcome> RestoreFromReplicas(const Context& ctx, Env& env,
                                           const RestoreRequest& request) {
  // The database is what a link leads to; the link stays.
  const std::filesystem::path output = LS_TRY(env.ResolveLink(request.output));
  LS_TRY(CheckOutput(env, output, request.force));
  const bool replace = LS_TRY(ReplacesOutput(env, output, request.force));
  for (int attempt = 1;; ++attempt) {
    const ChosenPlan chosen = LS_TRY(ChoosePlan(ctx, env, request));
    const Logger log = request.log.With({{"replica", chosen.replica->type}});
    log.Debug("restore plan", {{"n", static_cast<std::int64_t>(chosen.plan.files.size())},
                               {"txid", FormatTxid(chosen.plan.max_txid())}});
    RestoreOptions options;
    options.output = output;
    options.parallelism = request.parallelism;
    options.replace = replace;
    options.progress = request.progress;
    options.log = log;
    if (request.integrity != IntegrityMode::kNone) {
      const bool full = request.integrity == IntegrityMode::kFull;
      options.check = [full](const std::filesystem::path& path) -> Result<void> {
        LS_TRY(CheckIntegrity(path, full), "post-restore integrity check");
        return {};
      };
    }
    auto report = Restore(ctx, env, *chosen.client, chosen.plan, options);
    if (report.ok()) {
      if (request.integrity != IntegrityMode::kNone) {
        log.Info("post-restore integrity check passed");
      }
      return RestoreOutcome{.report = std::move(report).value(),
                            .replica_type = chosen.replica->type};
    }
    const bool vanished = report.error().Is(ErrorCode::kNotFound);
    if (!vanished || attempt == kPlanAttempts) return std::move(report).error();
    log.Info("a file of the restore plan is gone, planning again",
             {{"error", report.error().message()}});
  }
}

}  // namespace litestream::cli
