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

}  // namespace litestream
