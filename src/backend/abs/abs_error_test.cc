#include "backend/abs/abs_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace litestream::abs {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(AbsError, Meanings) {
  const struct {
    int status;
    const char* code;
    ErrorCode meaning;
  } cases[] = {
      {404, "BlobNotFound", ErrorCode::kNotFound},
      {404, "ContainerNotFound", ErrorCode::kInvalidArgument},
      {404, "ResourceNotFound", ErrorCode::kInvalidArgument},
      {404, "", ErrorCode::kInvalidArgument},  // A proxy, not a missing blob.
      {404, "SomethingNew", ErrorCode::kInvalidArgument},
      {409, "BlobAlreadyExists", ErrorCode::kAlreadyExists},
      {412, "ConditionNotMet", ErrorCode::kAlreadyExists},
      {412, "LeaseIdMissing", ErrorCode::kDenied},  // No condition of ours.
      {409, "SnapshotsPresent", ErrorCode::kDenied},
      {409, "BlobImmutableDueToPolicy", ErrorCode::kDenied},
      {409, "BlobArchived", ErrorCode::kDenied},
      {409, "ContainerBeingDeleted", ErrorCode::kInvalidArgument},
      {409, "SomethingNew", ErrorCode::kIo},
      {412, "", ErrorCode::kIo},
      {400, "InvalidBlockList", ErrorCode::kIo},
      {400, "Md5Mismatch", ErrorCode::kUnavailable},
      {400, "InvalidHeaderValue", ErrorCode::kInvalidArgument},
      {401, "InvalidAuthenticationInfo", ErrorCode::kDenied},
      {403, "AuthenticationFailed", ErrorCode::kDenied},
      {403, "AuthorizationPermissionMismatch", ErrorCode::kDenied},
      {403, "SomethingNew", ErrorCode::kDenied},
      {408, "", ErrorCode::kTimeout},
      {429, "", ErrorCode::kThrottled},
      {500, "OperationTimedOut", ErrorCode::kUnavailable},
      {500, "InternalError", ErrorCode::kUnavailable},
      {502, "", ErrorCode::kUnavailable},
      {503, "ServerBusy", ErrorCode::kThrottled},
      {503, "", ErrorCode::kUnavailable},
      {507, "", ErrorCode::kNoSpace},
      {200, "", ErrorCode::kUnavailable},  // Where Azure would say 201.
  };
  for (const auto& c : cases) {
    EXPECT_EQ(MeaningOf(c.status, c.code), c.meaning) << c.status << " " << c.code;
  }
}

http::Response Answer(int status, std::string_view code, std::string_view body = "") {
  return {.status = status,
          .headers = {{"x-ms-error-code", std::string(code)},
                      {"Date", "Fri, 02 Jan 2026 03:04:05 GMT"}},
          .body = std::string(body)};
}

TEST(AbsError, Parsed) {
  const std::string xml =
      "\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>BlobNotFound</Code>"
      "<Message>The specified blob does not exist.\nRequestId:1\nTime:2</Message>"
      "<AuthenticationErrorDetail>The MAC signature hush</AuthenticationErrorDetail></Error>";
  const ServerError error = ParseServerError({.status = 404, .headers = {}, .body = xml});
  EXPECT_EQ(error.code, "BlobNotFound");
  EXPECT_EQ(error.message, "The specified blob does not exist.");
  EXPECT_EQ(error.meaning, ErrorCode::kNotFound);
  EXPECT_EQ(ParseServerError(Answer(404, "ContainerNotFound")).meaning, ErrorCode::kInvalidArgument)
      << "HEAD has no body";
  EXPECT_EQ(ParseServerError(Answer(403, "X")).server_time.time_since_epoch().count(),
            1'767'323'045'000);
  EXPECT_EQ(Describe(error, {.doing = "abs: GET c/b", .account = "acc"}).message(),
            "abs: GET c/b: the server says 404 BlobNotFound (The specified blob does not exist.)");
}

TEST(AbsError, SaysWhatToChange) {
  const struct {
    int status;
    const char* code;
    Access access;
    const char* sas;
    const char* advice;
  } cases[] = {
      {404, "ContainerNotFound", Access::kKey, "", "create the container"},
      {403, "AuthenticationFailed", Access::kKey, "", "account-key is not that of account acc"},
      {403, "AuthorizationFailure", Access::kKey, "", "firewall"},
      {403, "KeyBasedAuthenticationNotPermitted", Access::kKey, "", "Storage Blob Data"},
      {403, "AuthenticationFailed", Access::kSas, "se=2026-01-02T03:04:05Z&sig=hush",
       "the SAS token has expired at 2026-01-02T03:04:05Z"},
      {403, "AuthenticationFailed", Access::kSas, "st=2026-02-01&sig=hush",
       "is good from 2026-02-01T00:00:00Z on"},
      {403, "AuthenticationFailed", Access::kSas, "se=2030-01-01&sig=hush",
       "the SAS token is wrong, or was revoked"},
      {403, "AuthorizationPermissionMismatch", Access::kSas, "se=2030-01-01&sig=hush", "sp=rcwdl"},
      {403, "AuthorizationProtocolMismatch", Access::kSas, "sig=hush", "https only"},
      {403, "AuthorizationPermissionMismatch", Access::kToken, "", "Storage Blob Data Contributor"},
      {401, "InvalidAuthenticationInfo", Access::kToken, "", "the token was not taken"},
      {404, "", Access::kKey, "", "check the endpoint"},
      {412, "LeaseIdMissing", Access::kKey, "", "another program protects this blob"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.code) + " " + c.sas);
    const Error error = Describe(
        ParseServerError(Answer(c.status, c.code)),
        {.doing = "abs: PUT c/b", .account = "acc", .access = c.access, .sas_token = c.sas});
    EXPECT_THAT(error.message(), HasSubstr(c.advice));
    EXPECT_THAT(error.message(), Not(HasSubstr("hush")));
  }
}

TEST(AbsError, ShowsNoLineOfTheServer) {
  const auto error = Describe(
      ParseServerError(Answer(400, "X\nY", "<Error><Message>a&#13;b</Message></Error>")), {});
  EXPECT_THAT(error.message(), Not(HasSubstr("\n")));
  EXPECT_THAT(error.message(), Not(HasSubstr("\r")));
}

}  // namespace
}  // namespace litestream::abs
