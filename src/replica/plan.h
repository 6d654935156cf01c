#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "litestream/replica_client.h"

namespace litestream {

// What to restore. Both unset: everything that the replica holds.
struct RestoreTarget {
  std::optional<Txid> txid;        // Up to and including this transaction.
  std::optional<WallTime> before;  // Only files created strictly before this moment.
};

// All files of a replica, by level, each ascending by (min, max).
struct ReplicaListing {
  std::array<std::vector<FileInfo>, kLevelCount> levels;
  bool empty() const;
  Txid newest() const;  // Greatest max TXID over all levels; 0 if empty.
  // Oldest and newest created_at over all files; unset if empty.
  std::optional<WallTime> oldest_time() const;
  std::optional<WallTime> newest_time() const;
};
// Lists every level. exact_times as in ListOptions. Names that can be no range (first TXID 0,
// or behind the last) are left out.
Result<ReplicaListing> ListReplica(const Context& ctx, ReplicaClient& client, bool exact_times);

// Files to lay over each other, in order; the first holds a whole database.
struct RestorePlan {
  std::vector<FileInfo> files;
  // Usable files lie behind a hole, and this is where they begin. (For a moment in time: the plan
  // ends earlier than the target asks. For everything, and for a TXID, it is an error instead.)
  std::optional<Txid> next_behind_hole;
  Txid max_txid() const { return files.empty() ? Txid{} : files.back().id.txids.max; }
  Txid min_txid() const { return files.empty() ? Txid{} : files.front().id.txids.min; }
};

// Chooses files as stock Litestream does (docs/formats/replica.md). Pure: does no I/O.
//
// The newest snapshot that the target allows comes first; then, again and again, of the files that
// begin no later than one behind what is reached, the one that reaches furthest. Of equals the one
// that begins earlier, then that of the higher level, then the older one.
//
// Errors: kNotFound ("transaction not available": nothing restorable, or the target is not
// reached), kCorruption (everything is asked for, and there is a hole that files lie behind),
// kInvalidArgument (both targets set).
Result<RestorePlan> PlanRestore(const ReplicaListing& listing, const RestoreTarget& target);

}  // namespace litestream
