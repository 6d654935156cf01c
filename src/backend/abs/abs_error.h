#pragma once

#include <string>
#include <string_view>

#include "http/client.h"
#include "litestream/clock.h"
#include "litestream/error.h"

namespace litestream::abs {

// How requests are authorised.
enum class Access : unsigned char { kSas, kKey, kToken };

// What a server says went wrong.
struct ServerError {
  int status = 0;
  std::string code;  // "BlobNotFound"; "" if it was no blob service that answered.
  std::string message;
  WallTime server_time;  // The epoch: not known.
  // What it means to us. One table for every request; see abs_error_test.cc.
  ErrorCode meaning = ErrorCode::kInternal;
};
// Of an answer that is no success.
ServerError ParseServerError(const http::Response& response);

ErrorCode MeaningOf(int status, std::string_view code);

// Who asked, and for what: for people.
struct Asked {
  std::string doing;    // "abs: PUT container/name"
  std::string account;  // "" if it is not known.
  Access access = Access::kKey;
  std::string_view sas_token;  // For its times only.
};
// What was done, what the server says, what to change. Says nothing that is secret.
Error Describe(const ServerError& error, const Asked& asked);

}  // namespace litestream::abs
