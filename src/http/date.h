#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "http/headers.h"
#include "litestream/clock.h"

namespace litestream::http {

// "Sat, 28 Nov 2026 00:36:59 GMT"; the epoch if it is none.
WallTime ParseDate(std::string_view text);
// The same the other way; the milliseconds are cut off.
std::string FormatDate(WallTime time);
// The Retry-After header: seconds or a date, a day at most. Zero if there is none.
std::chrono::nanoseconds RetryAfter(const Headers& headers, WallTime now);

}  // namespace litestream::http
