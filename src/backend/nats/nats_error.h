#pragma once

#include <string>
#include <string_view>

#include "litestream/error.h"

namespace litestream::nats {

// What JetStream says went wrong.
struct ApiError {
  int code = 0;      // As of HTTP: 404, 503.
  int err_code = 0;  // Which error exactly: 10059.
  std::string description;
};

// No such status: these are what a connection makes of what it sees.
inline constexpr int kNoResponders = 503;

// What it means to us. The one table for JetStream's errors; see nats_error_test.cc.
ErrorCode MeaningOf(const ApiError& error);
// The one for what libnats returns (a natsStatus).
ErrorCode MeaningOf(int status);

// For people: what was done, what the server says, what to change.
Error Describe(const ApiError& error, std::string_view doing, std::string_view bucket);
// `text`: what libnats has to say besides. `server`: "host:port".
Error DescribeConnect(int status, std::string_view text, std::string_view server);

}  // namespace litestream::nats
