#pragma once

#include <string>
#include <string_view>

#include "http/client.h"
#include "litestream/error.h"

namespace litestream::oss {

// What OSS says went wrong. alibabacloud.com/help/en/oss/support/error-codes-reference
struct ServerError {
  int status = 0;
  std::string code;  // "NoSuchKey"
  std::string message;
  std::string detail;    // "0026-00000001": finer than the code (<EC>).
  std::string endpoint;  // Where the bucket is, if the answer tells.
  // What it means to us. One table for every request; see oss_error_test.cc.
  ErrorCode meaning = ErrorCode::kInternal;

  // Other keys, or the same ones renewed, may help.
  bool IsCredentials() const;
  bool IsClockSkew() const;
};
// Of an answer with a status from 300, or with <Error> in a body of status 200. An answer without a
// body (to HEAD) has it in a header.
ServerError ParseServerError(const http::Response& response);

ErrorCode MeaningOf(int status, std::string_view code);

// For people: what was done, what the server says, what to change.
Error Describe(const ServerError& error, std::string_view doing, std::string_view bucket);

}  // namespace litestream::oss
