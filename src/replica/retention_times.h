#pragma once

#include <map>
#include <optional>
#include <vector>

#include "litestream/replica_client.h"
#include "litestream/types.h"
#include "replica/plan.h"
#include "replica/retention.h"

namespace litestream {

// What retention makes of the times of files. Only files that are ranges of transactions count.

bool IsRange(const FileInfo& file);
bool IsSnapshot(const FileInfo& file);  // Of the snapshot level, and from transaction 1 on.

// How old files are at least, whatever their own times say.
class Ages {
 public:
  Ages(const ReplicaListing& listing, WallTime now);

  // Whether the file's own time can be believed: it is there, and not in the future.
  bool IsKnown(const FileInfo& file) const;
  // The youngest known time of this file and all that end at earlier transactions; 1970 if there is
  // none.
  WallTime Youngest(const FileInfo& file) const;

 private:
  struct Step {
    Txid txid;
    WallTime youngest;
  };
  WallTime now_;
  std::vector<Step> steps_;  // Ascending by both.
};

// Which snapshots the tiers keep.
class Tiers {
 public:
  Tiers(const std::vector<FileInfo>& snapshots, const KeepTiers& keep, const Ages& ages);

  // The coarsest tier that keeps the snapshot that ends at `max`.
  std::optional<RetentionReason> Find(Txid max) const;

 private:
  std::map<Txid, RetentionReason> kept_;
};

}  // namespace litestream
