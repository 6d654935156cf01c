#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "backend/nats/bucket.h"
#include "litestream/byte_stream.h"

namespace litestream::nats {

// Chunks that wait for their acknowledgement at a time: what an upload keeps in memory.
inline constexpr std::size_t kChunksUnderWay = 16;

// Stores the chunks of `body` under a new nuid, acknowledged one and all, and returns what belongs
// into the object's description: nobody sees them before that is stored. After a failure nothing is
// left, unless the server cannot be reached.
//
// Errors: kCorruption (another size than announced); of the body; of Bucket::Finish.
Result<ObjectMeta> UploadChunks(const Context& ctx, Bucket& bucket, std::string_view name,
                                ByteSource& body, std::optional<std::uint64_t> size_bytes);

// Removes chunks that nobody needs, as far as the server can be reached.
void DropChunks(const Context& ctx, Bucket& bucket, const std::string& nuid);

// Makes the object be what was uploaded, in place of `before` (as GetMeta has it); the chunks of
// what was there go. Returns the sequence. kAlreadyExists if it is no longer what is there; the
// uploaded chunks then stay. After other errors they are gone, unless the server may have stored it
// all the same.
Result<std::uint64_t> Commit(const Context& ctx, Bucket& bucket, const ObjectMeta& meta,
                             const std::optional<StoredMeta>& before);

}  // namespace litestream::nats
