#pragma once

#include <string>

#include "backend/s3/session.h"
#include "litestream/byte_stream.h"

namespace litestream::s3 {

struct UploadTarget {
  std::string key;
  http::Headers headers;  // Metadata, storage class, encryption: those of the object.
  bool if_absent = false;
  // Somebody has looked, and there was none: a server that does not hear of the condition may be
  // sent the object without it.
  bool looked = false;
  std::optional<std::uint64_t> size_bytes;  // The body must have exactly so many.
};

// Stores `body`: in one request if it is smaller than a part, else in parts, several at a time, and
// aborted if that fails. Keeps at most kMaxUploadBytes in memory, two parts at least.
// Returns the number of bytes.
//
// Errors: kAlreadyExists (if_absent), kCorruption (another size than announced), kUnsupported (more
// parts than a server takes); of the body; of Session::Do.
Result<std::uint64_t> Upload(const Context& ctx, Session& session, const UploadTarget& target,
                             ByteSource& body);
inline constexpr std::uint64_t kMaxUploadBytes = 64 << 20;

// Size of the nth part (from 1). With a known size all are as large as 10,000 parts need; else they
// grow, unless the server wants equal ones.
std::uint64_t PartBytes(std::uint64_t configured, std::optional<std::uint64_t> size,
                        std::uint64_t number, bool equal_parts);

}  // namespace litestream::s3
