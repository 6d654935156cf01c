#pragma once

#include <cstdint>
#include <memory>

#include "litestream/replica_client.h"

namespace litestream {

// Reads a range of a replica's file to its end whatever the connection does: opens lazily, and
// reopens at the byte reached after an error or an early end. Gives up after kResumeAttempts
// attempts without progress, and after a missing file or cancellation at once. `expected_bytes` is
// the length that must arrive (kCorruption if the object is shorter and stays so). Borrows the
// client.
inline constexpr int kResumeAttempts = 5;
std::unique_ptr<ByteSource> MakeResumableSource(ReplicaClient& client, const FileId& id,
                                                std::uint64_t offset_bytes,
                                                std::uint64_t expected_bytes);

}  // namespace litestream
