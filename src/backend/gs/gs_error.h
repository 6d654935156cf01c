#pragma once

#include <string>
#include <string_view>

#include "http/client.h"
#include "litestream/error.h"

namespace litestream::gs {

// What Cloud Storage, or a service that gives out tokens, says went wrong.
struct ServerError {
  int status = 0;
  std::string reason;   // "notFound", "invalid_grant"; "" where the answer is no JSON.
  std::string message;  // What the answer says for people.
  // What it means to us. One table for every request; see gs_error_test.cc.
  ErrorCode meaning = ErrorCode::kInternal;

  // The times in a signed claim are not those of the server.
  bool IsClockSkew() const;
};
// Of an answer with a status from 300.
ServerError ParseServerError(const http::Response& response);

// `message` tells a bucket that is missing from an object that is.
ErrorCode MeaningOf(int status, std::string_view reason, std::string_view message);

// For people: what was done, what the server says, what to change.
Error Describe(const ServerError& error, std::string_view doing);

}  // namespace litestream::gs
