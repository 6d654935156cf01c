#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "backend/abs/session.h"
#include "litestream/byte_stream.h"

namespace litestream::abs {

struct UploadTarget {
  std::string blob;
  http::Headers headers;  // Metadata and type: those of the blob.
  bool if_absent = false;
  std::optional<std::uint64_t> size_bytes;  // The body must have exactly so many.
};

// Stores `body`: in one request if it is not larger than a block, else in blocks, several at a
// time, that become the blob with one last request. Keeps at most kMaxUploadBytes in memory, two
// blocks at least. Returns the number of bytes.
//
// An upload that fails leaves blocks that nobody sees, and that Azure removes after a week, or when
// the blob is written.
//
// Errors: kAlreadyExists (if_absent), kCorruption (another size than announced), kUnsupported (more
// blocks than Azure takes); of the body; of Session::Do.
Result<std::uint64_t> Upload(const Context& ctx, Session& session, const UploadTarget& target,
                             ByteSource& body);
inline constexpr std::uint64_t kMaxUploadBytes = 64 << 20;

// Size of the nth block (from 1). With a known size all are as large as 50,000 blocks need; else
// they grow.
std::uint64_t BlockBytes(std::optional<std::uint64_t> configured, std::optional<std::uint64_t> size,
                         std::uint64_t number);
// The nth id of an attempt that is told from others by these 16 bytes, in base64.
std::string BlockId(std::string_view attempt, std::uint64_t number);

}  // namespace litestream::abs
