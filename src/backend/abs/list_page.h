#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "litestream/result.h"
#include "litestream/types.h"

namespace litestream::abs {

// The metadata that keeps created_at. (Names of metadata have no hyphens.)
inline constexpr std::string_view kTimestampName = "litestreamtimestamp";

struct ListedBlob {
  std::string name;
  std::uint64_t size_bytes = 0;
  WallTime created_at;        // From our metadata; else when the server created it.
  WallTime modified_at;       // The server's.
  bool is_directory = false;  // Of an account with a hierarchical namespace.
};

struct ListPage {
  std::vector<ListedBlob> blobs;
  std::string next_marker;  // "": this was the last page.
};

// The answer of List Blobs. kUnavailable if it is none: cut off, or of somebody else.
Result<ListPage> ParseListPage(std::string_view xml);

}  // namespace litestream::abs
