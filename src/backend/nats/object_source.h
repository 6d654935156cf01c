#pragma once

#include <memory>

#include "backend/nats/bucket.h"
#include "litestream/byte_stream.h"
#include "litestream/replica_client.h"

namespace litestream::nats {

// Chunks that are asked for ahead of the reader: with the one that is being read, what a source
// keeps in memory. Nothing before the first Read.
inline constexpr std::size_t kChunksAhead = 8;

// Reads a part of an object. Begins at the chunk that has it where the object says where its chunks
// are, else at the first one. What is read from the first byte to the last is compared with the
// digest before the last bytes are given out (kCorruption). One attempt, but for single chunks that
// do not come; who reads goes on with another where this one breaks off. kUnavailable also if the
// object was replaced meanwhile, kNotFound if it was deleted.
std::unique_ptr<ByteSource> MakeObjectSource(std::shared_ptr<Bucket> bucket, const StoredMeta& meta,
                                             const ByteRange& range);

}  // namespace litestream::nats
