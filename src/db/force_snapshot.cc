#include "db/force_snapshot.h"

#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/try.h"
#include "format/names.h"
#include "replica/merge.h"
#include "replica/plan.h"

namespace litestream {
namespace {

using PathOf = std::function<std::filesystem::path(Txid)>;

// Whether the local file of this transaction is there, and the replica's is a copy of it.
bool IsHere(Env& env, const FileInfo& info, const TxidRange& local, const PathOf& path_of) {
  const TxidRange& txids = info.id.txids;
  if (info.id.level != kLevel0 || txids.min != txids.max) return false;
  if (txids.min < local.min || txids.max > local.max) return false;
  const auto stat = env.Stat(path_of(txids.min));
  return stat.ok() && stat.value().size_bytes == info.size_bytes;
}

Result<std::vector<MergeInput>> LocalInputs(Env& env, const TxidRange& txids,
                                            const PathOf& path_of) {
  std::vector<MergeInput> inputs;
  for (Txid txid = txids.min; txid <= txids.max; txid = txid.Next()) {
    inputs.push_back(LS_TRY(MergeInputFrom(env, path_of(txid), {txid, txid})));
  }
  return inputs;
}

Result<std::vector<MergeInput>> PlannedInputs(const Context& ctx, Env& env, ReplicaClient& client,
                                              const TxidRange& local, const PathOf& path_of) {
  ReplicaListing listing = LS_TRY(ListReplica(ctx, client, /*exact_times=*/false));
  std::erase_if(listing.levels[kSnapshotLevel.value], [&](const FileInfo& info) {
    return info.id.txids == TxidRange{Txid{1}, local.max};
  });
  const RestorePlan plan = LS_TRY(PlanRestore(listing, {.txid = local.max, .before = {}}));
  if (plan.files.size() > kMaxSnapshotInputs) {
    return Error(ErrorCode::kUnsupported,
                 fmt::format("{} files are too many to merge at once", plan.files.size()));
  }
  std::vector<MergeInput> inputs;
  for (const FileInfo& info : plan.files) {
    const TxidRange& txids = info.id.txids;
    if (IsHere(env, info, local, path_of)) {
      inputs.push_back(LS_TRY(MergeInputFrom(env, path_of(txids.min), txids)));
    } else {
      inputs.push_back(MergeInputFrom(client, info));
    }
  }
  return inputs;
}

}  // namespace

Result<FileInfo> ForceSnapshot(const Context& ctx, Env& env, ReplicaClient& client,
                               const LocalFiles& local, const PathOf& path_of,
                               const UploadGuard& guard) {
  if (!local.range) return Error(ErrorCode::kNotFound, "nothing was captured yet");
  const Txid txid = local.range->max;
  // The first transaction's file holds every page, too.
  const Txid full = std::max(local.last_full, local.range->min == Txid{1} ? Txid{1} : Txid{});
  const bool local_only = full >= local.range->min && txid.value - full.value < kMaxSnapshotInputs;
  auto inputs = LS_TRY(local_only ? LocalInputs(env, {full, txid}, path_of)
                                  : PlannedInputs(ctx, env, client, *local.range, path_of));
  const auto merge = LS_TRY(LtxMerge::Open(ctx, std::move(inputs), {.as_snapshot = true}));
  GuardedSource body(*merge, guard);
  return client.Write(ctx, {kSnapshotLevel, {Txid{1}, txid}}, body,
                      {.created_at = merge->header().Timestamp()});
}

}  // namespace litestream
