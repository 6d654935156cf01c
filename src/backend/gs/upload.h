#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "backend/gs/object.h"
#include "backend/gs/session.h"
#include "cloud/part_upload.h"
#include "litestream/byte_stream.h"

namespace litestream::gs {

struct UploadTarget {
  std::string key;
  std::optional<WallTime> created_at;  // Kept in its metadata.
  std::string content_type = "application/octet-stream";
  std::string cache_control;  // "" is the server's.
  // Only if the object has this generation; "0": if there is none.
  std::string generation;
  std::optional<std::uint64_t> size_bytes;
};

// One request with content, metadata and the sum of the content. Returns what is stored.
Result<Object> UploadWhole(const Context& ctx, Session& session, const UploadTarget& target,
                           cloud::Piece content);
// A body of any size: in one request if it fits into a chunk, else in a resumable upload. Returns
// the number of bytes. kAlreadyExists if the condition does not hold.
Result<std::uint64_t> Upload(const Context& ctx, Session& session, const UploadTarget& target,
                             ByteSource& body);

// ---- For resumable_upload.cc, and tests.

http::QueryParameters UploadQuery(const UploadTarget& target, std::string_view kind);
// The JSON that goes before the content. `crc32c` "": not known yet.
std::string ObjectJson(const UploadTarget& target, std::string_view crc32c);
// What is stored has to be what was sent; else it is removed, and the error is kUnavailable.
Result<void> CheckStored(const Context& ctx, Session& session, const UploadTarget& target,
                         const Object& stored, std::uint64_t size_bytes, std::uint32_t crc);
// A line that ends no part of `content`.
std::string Boundary(std::string_view content);

}  // namespace litestream::gs
