#include "storage/layout.h"

#include <string>

#include <fmt/core.h>

#include "format/names.h"

namespace litestream {

std::string LevelPrefix(ReplicaLayout layout, Level level) {
  if (layout == ReplicaLayout::kHexLevel) return fmt::format("{:04x}", level.value);
  return fmt::format("ltx/{}", level.value);
}

std::string RelativePath(ReplicaLayout layout, const FileId& id) {
  return LevelPrefix(layout, id.level) + "/" + FormatLtxFilename(id.txids);
}

std::optional<FileId> ParseRelativePath(ReplicaLayout layout, std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto txids = ParseLtxFilename(path.substr(slash + 1));
  if (!txids) return std::nullopt;
  for (std::uint8_t level = 0; level < kLevelCount; ++level) {
    if (path.substr(0, slash) == LevelPrefix(layout, Level{level})) {
      return FileId{.level = Level{level}, .txids = *txids};
    }
  }
  return std::nullopt;
}

}  // namespace litestream
