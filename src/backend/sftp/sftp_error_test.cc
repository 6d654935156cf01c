#include "backend/sftp/sftp_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace litestream::sftp {
namespace {

using ::testing::HasSubstr;

TEST(SftpErrorTest, EveryCodeHasAMeaning) {
  const struct {
    std::uint32_t status;
    const char* message;
    ErrorCode want;
    const char* says;
  } cases[] = {
      {0, "", ErrorCode::kInternal, "all is well"},
      {1, "", ErrorCode::kUnavailable, "no more"},
      {2, "No such file", ErrorCode::kNotFound, "no such file (No such file)"},
      {3, "Permission denied", ErrorCode::kDenied, "give the user"},
      {4, "Failure", ErrorCode::kIo, "does not say why (Failure)"},
      {4, "write /x: No space left on device", ErrorCode::kNoSpace, "no space is left"},
      {4, "Disk quota exceeded", ErrorCode::kNoSpace, "no space is left"},
      {5, "Bad message", ErrorCode::kInvalidArgument, "too long"},
      {6, "", ErrorCode::kUnavailable, "no connection"},
      {7, "", ErrorCode::kUnavailable, "lost a connection"},
      {8, "", ErrorCode::kUnsupported, "does not know how"},
      {9, "Invalid handle", ErrorCode::kIo, "the server says 9 (Invalid handle)"},
      {0xffffffff, "", ErrorCode::kIo, "the server says 4294967295"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.status);
    const Error error =
        StatusError({.code = static_cast<StatusCode>(c.status), .message = c.message}, "open /a/b");
    EXPECT_EQ(error.code(), c.want);
    EXPECT_THAT(error.message(), HasSubstr("sftp: open /a/b: "));
    EXPECT_THAT(error.message(), HasSubstr(c.says));
  }
}

TEST(SftpErrorTest, WhatAServerSaysStaysOneShortLine) {
  const Error error = StatusError(
      {.code = StatusCode::kFailure, .message = "a\nb\r\x1b[31m" + std::string(10'000, 'x')},
      "remove /a\nb");
  EXPECT_EQ(error.message().find_first_of("\n\r\x1b"), std::string::npos);
  EXPECT_LT(error.message().size(), 500U);
}

}  // namespace
}  // namespace litestream::sftp
