#pragma once

#include <cstdint>

#include "format/ltx.h"
#include "litestream/byte_stream.h"
#include "litestream/context.h"
#include "litestream/replica_client.h"
#include "litestream/result.h"

namespace litestream {

// What tells whether a file of the replica is ours, without reading it all.

// The header of a file on the replica. kCorruption names the file.
Result<LtxHeader> RemoteHeader(const Context& ctx, ReplicaClient& client, const FileId& id);
// The file checksum, of a source that begins with the trailer.
Result<std::uint64_t> TrailingChecksum(const Context& ctx, ByteSource& source);

}  // namespace litestream
