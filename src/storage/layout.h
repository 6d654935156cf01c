#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "litestream/replica_client.h"
#include "litestream/types.h"

namespace litestream {

// Where backends put LTX files below a replica's root. docs/formats/replica.md.
enum class ReplicaLayout : unsigned char {
  kLtxDecimal,  // ltx/<level>/<name>: file, sftp, webdav, gs, abs, nats
  kHexLevel,    // <level as 4 hex digits>/<name>: s3, oss
};

std::string LevelPrefix(ReplicaLayout layout, Level level);  // "ltx/0", "0000"; no slash at the end
std::string RelativePath(ReplicaLayout layout, const FileId& id);
// The other way; empty if it is no path of that layout.
std::optional<FileId> ParseRelativePath(ReplicaLayout layout, std::string_view path);
inline std::optional<FileId> ParseHexLevelPath(std::string_view path) {
  return ParseRelativePath(ReplicaLayout::kHexLevel, path);
}

}  // namespace litestream
