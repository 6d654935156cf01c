#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "litestream/replica_client.h"
#include "replica/plan.h"

namespace litestream {

struct VerifyProblem {
  FileId file;
  std::string what;
};

struct VerifyReport {
  Txid newest;          // Newest transaction that the replica offers.
  bool proven = false;  // The newest state's checksum equals the one in its last file.
  int file_count = 0;
  int unproven_files = 0;  // Without a proof (by stock Litestream).
  std::uint64_t read_bytes = 0;
  std::vector<VerifyProblem> problems;  // Damaged files, broken chains, holes.
};

struct VerifyOptions {
  int parallelism = 8;
  std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> progress;
};

// Proves a replica without writing a database: reads every file whole (its own checksum, name
// against header), follows the proof chain (after of one is before of the next, computed from the
// page sums of the files themselves), and checks that the newest transaction can be restored.
// Memory: 8 bytes a page of the database. A damaged file is a problem in the report, not an error;
// errors are those of the client.
Result<VerifyReport> VerifyReplica(const Context& ctx, ReplicaClient& client,
                                   const VerifyOptions& options);

}  // namespace litestream
