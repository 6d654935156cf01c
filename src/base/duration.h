#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "litestream/result.h"

namespace litestream {

// As Go prints durations: "0s", "500ms", "1.5s", "1m30s", "1h0m0s".
std::string FormatGoDuration(std::chrono::nanoseconds duration);

// As Go reads them: an optional sign, then one or more of a decimal number and a unit (ns us µs ms
// s m h), without spaces; "0" needs no unit. kInvalidArgument with Go's words.
Result<std::chrono::nanoseconds> ParseGoDuration(std::string_view text);

}  // namespace litestream
