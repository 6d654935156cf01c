#pragma once

#include <string_view>

#include "litestream/result.h"

namespace litestream::config {

// Go's filepath.Match: * ? [a-z] [^a-z] and \ for the next character. A pattern matches the whole
// name; neither * nor ? match a slash. kInvalidArgument for a malformed pattern.
Result<bool> GlobMatch(std::string_view pattern, std::string_view name);
// Whether GlobMatch could ever say kInvalidArgument.
Result<void> CheckGlob(std::string_view pattern);

}  // namespace litestream::config
