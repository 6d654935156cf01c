#pragma once

#include <string>
#include <string_view>

#include "litestream/result.h"

namespace litestream::config {

// Go's filepath.Clean: no "." and "..", no doubled or trailing slash; "" becomes ".".
std::string CleanPath(std::string_view path);
// Clean, and below the working directory if it is relative.
Result<std::string> AbsolutePath(std::string_view path);
// A leading "~" or "~/" becomes the user's home directory (passwd); anything else becomes absolute.
Result<std::string> ExpandPath(std::string_view path);
// The same for a database: one leading "sqlite://" or "sqlite3://" is dropped first.
Result<std::string> ExpandDatabasePath(std::string_view path);

// <dir>/.<file>-litestream, where the state of a database lives unless told otherwise.
std::string DefaultMetaPath(std::string_view database_path);

}  // namespace litestream::config
