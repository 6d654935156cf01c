#include "backend/webdav/dav_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace litestream::webdav {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(DavErrorTest, Meanings) {
  const struct {
    const char* method;
    int status;
    ErrorCode want;
  } cases[] = {
      {"GET", 301, ErrorCode::kInvalidArgument},
      {"PROPFIND", 302, ErrorCode::kInvalidArgument},
      {"PUT", 400, ErrorCode::kInvalidArgument},
      {"GET", 401, ErrorCode::kDenied},
      {"MKCOL", 403, ErrorCode::kDenied},
      {"GET", 404, ErrorCode::kNotFound},
      {"PROPFIND", 404, ErrorCode::kNotFound},
      {"DELETE", 404, ErrorCode::kNotFound},
      {"DELETE", 410, ErrorCode::kNotFound},
      {"PUT", 404, ErrorCode::kUnavailable},
      {"MOVE", 404, ErrorCode::kUnavailable},
      {"MKCOL", 404, ErrorCode::kInvalidArgument},
      {"PROPFIND", 405, ErrorCode::kInvalidArgument},
      {"MOVE", 501, ErrorCode::kInvalidArgument},
      {"GET", 407, ErrorCode::kDenied},
      {"GET", 408, ErrorCode::kTimeout},
      {"PUT", 409, ErrorCode::kUnavailable},
      {"MOVE", 409, ErrorCode::kUnavailable},
      {"MKCOL", 409, ErrorCode::kInvalidArgument},
      {"MOVE", 412, ErrorCode::kAlreadyExists},
      {"PUT", 412, ErrorCode::kUnavailable},
      {"PUT", 413, ErrorCode::kInvalidArgument},
      {"MOVE", 423, ErrorCode::kUnavailable},
      {"DELETE", 424, ErrorCode::kUnavailable},
      {"PUT", 429, ErrorCode::kThrottled},
      {"GET", 500, ErrorCode::kUnavailable},
      {"MOVE", 502, ErrorCode::kUnavailable},
      {"GET", 503, ErrorCode::kUnavailable},
      {"PUT", 507, ErrorCode::kNoSpace},
      {"MKCOL", 507, ErrorCode::kNoSpace},
      {"PROPFIND", 508, ErrorCode::kInvalidArgument},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(MeaningOf(c.method, c.status), c.want) << c.method << " " << c.status;
  }
}

std::string Said(std::string_view method, const http::Response& answer, bool has_user = true) {
  return Describe(method, "webdav: PUT h/x", answer, has_user).message();
}

TEST(DavErrorTest, Messages) {
  EXPECT_EQ(Said("PUT", {.status = 503}), "webdav: PUT h/x: the server says 503");
  EXPECT_THAT(Said("PUT", {.status = 401}), HasSubstr("webdav-password is wrong"));
  EXPECT_THAT(Said("PUT", {.status = 401}, false), HasSubstr("set webdav-username"));
  EXPECT_THAT(Said("PROPFIND", {.status = 405}), HasSubstr("correct webdav-url"));
  EXPECT_THAT(Said("MKCOL", {.status = 409}), HasSubstr("create it"));
  EXPECT_THAT(Said("PUT", {.status = 413}), HasSubstr("LimitRequestBody"));
  EXPECT_THAT(
      Said("PUT", {.status = 403,
                   .body = "<d:error xmlns:d=\"DAV:\" xmlns:s=\"s\"><s:exception>E</s:exception>"
                           "<s:message>not\nnow</s:message></d:error>"}),
      HasSubstr("403 (not now); check that this user may"));
}

TEST(DavErrorTest, WhereItHasMovedTo) {
  const http::Response answer{.status = 302,
                              .headers = {{"Location", "https://me:pw@other/x?token=secret"}}};
  EXPECT_THAT(Said("GET", answer), HasSubstr("moved to https://other/x: set webdav-url"));
  EXPECT_THAT(Said("GET", answer), Not(HasSubstr("secret")));
  const http::Response path{.status = 301, .headers = {{"Location", "/y?token=secret"}}};
  EXPECT_THAT(Said("GET", path), HasSubstr("moved to /y: set webdav-url"));
  EXPECT_THAT(Said("GET", {.status = 304}), Not(HasSubstr("moved")));
}

}  // namespace
}  // namespace litestream::webdav
