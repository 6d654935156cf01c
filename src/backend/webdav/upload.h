#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "backend/webdav/resources.h"
#include "litestream/byte_stream.h"

namespace litestream::webdav {

// What was learned of a server. Safe for concurrent calls.
struct Traits {
  std::atomic<bool> keeps_properties = true;  // Until it refuses one.
  // MOVE takes the path of its destination instead of a URL: behind a proxy the server may be
  // called otherwise, and takes a URL for another server's.
  std::atomic<bool> destination_is_path = false;
};

struct UploadTarget {
  std::string path;
  WallTime created_at;
  std::optional<std::uint64_t> size_bytes;  // The body must have exactly so many.
  bool if_absent = false;
};

// Stores `body` under a temporary name, and gives it its own when it is whole. What fails leaves
// nothing, unless the server cannot be reached: see IsDeadTemp. Keeps kMaxBodyInMemory; a larger
// body of unknown size is staged in a file of this machine. Returns the number of bytes.
//
// Errors: kAlreadyExists (if_absent), kCorruption (another size than announced); of the body, of
// Session::Do.
Result<std::uint64_t> Upload(const Context& ctx, Session& session, Collections& collections,
                             Traits& traits, const UploadTarget& target, ByteSource& body);
inline constexpr std::size_t kMaxBodyInMemory = 1 << 20;

// "<name>.<begin in ms, 12 hex digits>-<16 hex digits>.tmp"
std::string TempName(std::string_view path, WallTime begin, std::uint64_t random);
// Whether a writer that died left it: it began, and last wrote, more than a day ago. (Files of a
// living writer may be so old as what they hold: some servers set their time to created_at.)
bool IsDeadTemp(const Listed& file, WallTime now);

}  // namespace litestream::webdav
