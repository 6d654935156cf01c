#pragma once

#include <optional>
#include <string>

#include "backend/oss/session.h"
#include "litestream/byte_stream.h"

namespace litestream::oss {

struct UploadTarget {
  std::string key;
  http::Headers headers;  // Metadata.
  // Not over one that is there. OSS ignores this in a bucket with versions.
  bool if_absent = false;
  std::optional<std::uint64_t> size_bytes;  // The body must have exactly so many.
};

// Stores `body`: cloud::Multipart, and every sum compared that the server tells: of each part, and
// of the object. An object that is there with another sum is removed. Returns the number of bytes.
//
// Errors: kAlreadyExists (if_absent), kCorruption (another size than announced), kUnavailable (the
// object had another sum), kUnsupported (more parts than the server takes); of the body; of
// Session::Do.
Result<std::uint64_t> StoreObject(const Context& ctx, Session& session, const UploadTarget& target,
                                  ByteSource& body);

}  // namespace litestream::oss
