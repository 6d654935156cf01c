#pragma once

#include <memory>
#include <string>

#include "backend/sftp/endpoint.h"
#include "litestream/replica_client.h"

namespace litestream::sftp {

// The size of one piece of a file on its way, which every server takes, and how many may be under
// way for one file: 2 MiB, the window of OpenSSH.
inline constexpr std::size_t kPieceBytes = 32 * 1024;
inline constexpr std::size_t kMaxPieces = 64;

// Reads a part of a file that is open, many pieces ahead. Begins with few and doubles them as they
// are taken, so that a thousand open sources need little memory.
std::unique_ptr<ByteSource> MakeSource(Use use, std::string handle, std::string path,
                                       const ByteRange& range);

}  // namespace litestream::sftp
