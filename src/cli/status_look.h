#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/env.h"
#include "config/config.h"
#include "litestream/result.h"
#include "litestream/types.h"
#include "replica/restore_points.h"

namespace litestream::cli {

// Whether somebody replicates a database, as far as its state directory says.
enum class ReplicatorState : unsigned char {
  kRunning,  // A process holds the state directory.
  kAtRest,   // Everything is captured. Parked, or stopped cleanly: the one looks like the other.
  kNone,
  kUnknown,  // It cannot be looked at.
};

// What the local files say about a database.
struct LocalStatus {
  std::string status = "not initialized";  // The words of Litestream v0.5.
  Txid txid;                               // Of the newest local file; 0: none.
  std::optional<WallTime> time;            // When that was captured, if its header can be read.
  std::optional<std::uint64_t> wal_bytes;
  ReplicatorState replicator = ReplicatorState::kNone;
  std::string error;  // What could not be read, and why.
};
LocalStatus LookLocally(Env& env, const config::DatabaseConfig& database);

// What the newest state on a replica says about itself.
enum class StateProof : unsigned char {
  kCarried,     // Its checksum stands there; a restore compares.
  kNone,        // None stands there (stock Litestream wrote it).
  kUnreadable,  // Its last file is damaged or gone.
  kProven,      // Everything was read, and the checksum is right.
  kUnproven,    // Everything was read and is whole; there is no checksum for the newest state.
  kBroken,      // Everything was read, and something is damaged or missing.
};

// What can be restored from one replica now.
struct ReplicaOutlook {
  std::string name;
  std::string type;
  std::string location;
  std::string error;    // It could not be asked; nothing below is known then.
  RestorePoints found;  // Without `points`, which may be many.
  std::size_t point_count = 0;
  std::optional<RestorePoint> oldest;  // Unset: nothing can be restored.
  std::optional<RestorePoint> newest;
  // A restore of everything fails: useless files lie behind the newest point.
  bool stops_at_hole = false;
  std::optional<StateProof> proof;
  std::vector<std::string> problems;  // What was found by reading everything.
  bool newest_is_damaged = false;

  bool usable() const { return newest && !newest_is_damaged; }
};

struct DatabaseOutlook {
  config::DatabaseConfig database;
  LocalStatus local;
  std::vector<ReplicaOutlook> replicas;  // Empty if they were not asked.

  // The one to restore from: which reaches furthest. Null: there is none.
  const ReplicaOutlook* best() const;
};

struct OutlookOptions {
  bool verify = false;  // Read the replicas whole, however long that takes.
};

// Asks all replicas, several at a time. What goes wrong with one is said in its outlook.
void LookAtReplicas(Env& env, const OutlookOptions& options,
                    std::vector<DatabaseOutlook>& databases);

}  // namespace litestream::cli
