#pragma once

#include <filesystem>
#include <functional>

#include "base/env.h"
#include "db/upload_group.h"
#include "litestream/context.h"
#include "litestream/replica_client.h"
#include "litestream/result.h"
#include "storage/guarded_source.h"

namespace litestream {

// More files than this are not merged at once: each takes some 10 KiB of memory.
inline constexpr std::size_t kMaxSnapshotInputs = 4096;

// Writes the snapshot 1..txid to a replica that holds everything up to `local.range->max` = txid,
// and replaces the one that may be there: it may be a bad one, so it is not made use of. Merged
// from local files if they begin with a full one, else from the replica's own (those that are here,
// too, are read here). Streamed: nothing is kept locally.
//
// What is there is replaced only by a snapshot that is whole and proven (replica/merge.h).
//
// Errors: kNotFound (the other files do not lead to txid), kCorruption (one of them is damaged),
// kUnsupported (more than kMaxSnapshotInputs); a new full file helps against all three. Those of
// the client.
Result<FileInfo> ForceSnapshot(const Context& ctx, Env& env, ReplicaClient& client,
                               const LocalFiles& local,
                               const std::function<std::filesystem::path(Txid)>& path_of,
                               const UploadGuard& guard);

}  // namespace litestream
