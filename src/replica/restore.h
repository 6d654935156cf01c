#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "base/env.h"
#include "base/log.h"
#include "litestream/replica_client.h"
#include "replica/plan.h"

namespace litestream {

struct RestoreProgress {
  std::uint64_t done_bytes = 0;  // Of the database.
  std::uint64_t total_bytes = 0;
};

struct RestoreOptions {
  std::filesystem::path output;  // Its parent directories are created as needed.
  int parallelism = 8;           // Ranges in flight, 1 to 64.
  // Replace an existing output (and remove its -wal, -shm, -journal and -txid) once the new
  // database is complete and proven. Otherwise anything in the way is kAlreadyExists.
  bool replace = false;
  // Checks the complete temporary file before it gets its name (an SQLite integrity check, say).
  // An error discards it.
  std::function<Result<void>(const std::filesystem::path&)> check;
  // Called now and then from one thread.
  std::function<void(const RestoreProgress&)> progress;
  Logger log;
};

enum class ProofState : unsigned char {
  kProven,    // The database checksum equals the one in the last file.
  kUnproven,  // The last file carries none (stock Litestream wrote it). All file checksums were
              // right.
};

struct RestoreReport {
  TxidRange txids;
  WallTime reached;  // Timestamp of the last file.
  ProofState proof = ProofState::kUnproven;
  std::uint64_t database_checksum = 0;  // format/page_sum.h
  std::uint32_t page_size = 0;
  std::uint32_t page_count = 0;
  std::uint64_t read_bytes = 0;  // From the replica.
  int file_count = 0;
};

// Rebuilds the database from the plan's files. The output gets its name only when it is complete,
// verified and synced; a crash or an error leaves what was there before.
//
// Every page comes from the newest file of the plan that has it. If the last file carries a proof,
// only those pages are read, and the checksum of the result must equal it. Otherwise every file is
// read whole and its own checksum verified.
//
// Errors: kCorruption (names the first file that breaks), kNotFound (a planned file is gone: plan
// again), kAlreadyExists (output or a sidecar), kNoSpace, kCancelled, those of the client.
// Threads: safe to call concurrently with different outputs.
Result<RestoreReport> Restore(const Context& ctx, Env& env, ReplicaClient& client,
                              const RestorePlan& plan, const RestoreOptions& options);

}  // namespace litestream
