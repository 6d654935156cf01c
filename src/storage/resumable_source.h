#pragma once

#include <cstdint>
#include <memory>

#include "litestream/replica_client.h"

namespace litestream {

// Reads a range of a replica's file to its end whatever the connection does: opens lazily, and
// reopens at the byte reached after an error or an early end. Every failure costs one attempt, and
// kResumeProgressBytes that arrive without one give all of them back: a connection that drops after
// each few bytes must not go on for ever. Gives up after kResumeAttempts failures, and at once
// after one that another attempt cannot mend (a missing file, cancellation, no rights); that error
// stays. `expected_bytes` is the length that must arrive (kCorruption if the object is shorter and
// stays so). Borrows the client.
inline constexpr int kResumeAttempts = 5;
inline constexpr std::uint64_t kResumeProgressBytes = 1 << 20;
std::unique_ptr<ByteSource> MakeResumableSource(ReplicaClient& client, const FileId& id,
                                                std::uint64_t offset_bytes,
                                                std::uint64_t expected_bytes);

}  // namespace litestream
