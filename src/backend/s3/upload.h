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

// Stores `body`: cloud::Multipart. Returns the number of bytes.
//
// Errors: kAlreadyExists (if_absent), kCorruption (another size than announced), kUnsupported (more
// parts than a server takes); of the body; of Session::Do.
Result<std::uint64_t> StoreObject(const Context& ctx, Session& session, const UploadTarget& target,
                                  ByteSource& body);

}  // namespace litestream::s3
