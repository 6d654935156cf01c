#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "litestream/replica_client.h"

namespace litestream {

// A backup of Litestream v0.3, which lies beside LTX files in the same place:
//
//   generations/<16 hex digits>/snapshots/<index, 8 hex digits>.snapshot.lz4
//   generations/<16 hex digits>/wal/<index, 8>_<offset, 8 to 16 hex digits>.wal.lz4
//
// Everything else there is skipped, and so is an index above 2^31 - 1, as v0.3 did.

struct OldSnapshot {
  std::uint32_t index = 0;
  ObjectInfo object;  // Name for ReplicaClient::OpenObject; compressed, an LZ4 frame.
};

struct OldWalSegment {
  std::uint32_t index = 0;
  std::uint64_t offset_bytes = 0;  // In the WAL of that index; beyond 4 GiB it has more digits.
  ObjectInfo object;
};

struct OldGeneration {
  std::string id;
  std::vector<OldSnapshot> snapshots;   // Ascending by index.
  std::vector<OldWalSegment> segments;  // Ascending by index and offset.
};

// Ascending by id; empty if there is no such backup. Errors: those of ListObjects.
Result<std::vector<OldGeneration>> ListOldBackup(const Context& ctx, ReplicaClient& client);
// Whether there is something of one, at the price of one request. False where none can be.
Result<bool> HasOldBackup(const Context& ctx, ReplicaClient& client);

}  // namespace litestream
