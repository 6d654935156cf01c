#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "litestream/context.h"
#include "litestream/replica_client.h"
#include "litestream/types.h"
#include "replica/plan.h"

namespace litestream {

// A transaction that can be restored.
struct RestorePoint {
  Txid txid;
  // From when on a restore to a moment takes this transaction in: the time of the youngest file
  // that it takes to get here.
  WallTime time;
  // Whether the target {before = time + 1 ms} leads to exactly this point. Not so if a later point
  // has the same or an earlier time (a clock that was set back), or a usable file lies behind a
  // hole.
  bool by_time = false;
  // The finest level with a usable file that ends here: the grain of what is around.
  Level level;
  // With which a restore to `txid` ends; it says what the result must be.
  FileInfo last;
};

// Neighbouring points of one level. Below the snapshot level there is nothing between two of them
// but what one merged file hides; between two snapshots there may be any number of transactions.
struct RestoreStretch {
  RestorePoint oldest;
  RestorePoint newest;
  std::size_t point_count = 0;
  Level level() const { return oldest.level; }
};

// Transactions that no file but a snapshot holds, so that the files behind them are of no use.
struct RestoreHole {
  TxidRange missing;
  TxidRange behind;  // What the useless files hold.
  std::size_t file_count = 0;
  // The next point, a snapshot. Normal below what retention keeps. Unset: there is none, and a
  // restore of everything fails.
  std::optional<Txid> bridged_by;
};

// All by ascending TXID.
struct RestorePoints {
  std::vector<RestorePoint> points;
  std::vector<RestoreStretch> stretches;  // Every point is in one.
  std::vector<RestoreHole> holes;
};

// What can be restored from a replica now. Pure: does no I/O. The order of the listing does not
// matter.
//
// Promise: `points` are exactly the TXIDs that PlanRestore takes as target. `last` is the last file
// of its plan, `by_time` and `time` say what it does with a moment.
//
// Cost: n log n in the number of files.
RestorePoints FindRestorePoints(const ReplicaListing& listing);

// What the last file of a point says about the result of a restore.
enum class PointProof : unsigned char {
  kCarried,     // Its checksum stands there; a restore compares.
  kNone,        // None stands there (stock Litestream wrote it).
  kUnreadable,  // The header is damaged, or the file is gone.
};

// Reads the header of every point's last file, `threads` at a time. In the order of the points.
// Errors: those of the client, but for files that are gone.
Result<std::vector<PointProof>> ReadPointProofs(const Context& ctx, ReplicaClient& client,
                                                std::span<const RestorePoint> points, int threads);

}  // namespace litestream
