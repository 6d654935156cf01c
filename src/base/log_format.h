#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/log.h"

namespace litestream {

struct LogLine {
  std::chrono::sys_time<std::chrono::nanoseconds> time;
  LogLevel level = LogLevel::kInfo;
  std::string_view message;
  const LogFields& bound;
  const LogFields& fields;
};

// One line with its line feed, in the local time zone.
//
// text and json are what Go's slog.TextHandler and JSONHandler write, because operators' parsers
// expect that: in text a value is quoted if it is empty or has spaces, '=', '"' or unprintable
// characters; in json durations are nanoseconds, and the key "a.b" is the member b of the object a.
std::string FormatLogLine(LogFormat format, bool colour, const LogLine& line);

}  // namespace litestream
