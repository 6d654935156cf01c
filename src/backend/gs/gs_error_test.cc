#include "backend/gs/gs_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/json.h"

namespace litestream::gs {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

http::Response Answer(int status, std::string body) {
  return {.status = status, .headers = {}, .body = std::move(body)};
}
std::string Json(std::string_view reason, std::string_view message) {
  return R"({"error":{"code":0,"message":)" + http::JsonString(message) +
         R"(,"errors":[{"domain":"global","reason":)" + http::JsonString(reason) +
         R"(,"message":"x"}]}})";
}

TEST(GsError, WhatAnswersMean) {
  const struct {
    int status;
    const char* reason;
    const char* message;
    ErrorCode want;
    const char* advice;
  } cases[] = {
      {404, "notFound", "No such object: b/o", ErrorCode::kNotFound, ""},
      {404, "notFound", "The specified bucket does not exist.", ErrorCode::kInvalidArgument,
       "create the bucket"},
      {412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.",
       ErrorCode::kAlreadyExists, ""},
      {409, "conflict", "Please try again", ErrorCode::kUnavailable, ""},
      {400, "invalid", "Provided CRC32C \"a\" doesn't match calculated CRC32C \"b\".",
       ErrorCode::kUnavailable, ""},
      {400, "invalid", "Invalid bucket name: 'A'", ErrorCode::kInvalidArgument, ""},
      {400, "userProjectMissing", "Bucket is requester pays bucket but no user project provided.",
       ErrorCode::kInvalidArgument, "GOOGLE_CLOUD_QUOTA_PROJECT"},
      {401, "authError", "Invalid Credentials", ErrorCode::kDenied, "check the credentials"},
      {401, "required", "Login Required", ErrorCode::kDenied, "no credentials were sent"},
      {403, "forbidden", "a@b does not have storage.objects.list access", ErrorCode::kDenied,
       "roles/storage.objectUser"},
      {403, "insufficientPermissions", "Insufficient Permission", ErrorCode::kDenied, "storage-rw"},
      {403, "retentionPolicyNotMet", "Object is subject to bucket's retention policy",
       ErrorCode::kDenied, "retention policy"},
      {403, "accountDisabled", "The billing account is disabled", ErrorCode::kDenied, "billing"},
      {403, "rateLimitExceeded", "slow", ErrorCode::kThrottled, ""},
      {408, "", "", ErrorCode::kTimeout, ""},
      {410, "gone", "", ErrorCode::kNotFound, ""},
      {413, "uploadTooLarge", "", ErrorCode::kInvalidArgument, ""},
      {429, "rateLimitExceeded", "slow", ErrorCode::kThrottled, ""},
      {429, "unheard-of", "slow", ErrorCode::kThrottled, ""},
      {500, "backendError", "Backend Error", ErrorCode::kUnavailable, ""},
      {501, "notImplemented", "", ErrorCode::kUnsupported, ""},
      {503, "notFound", "whatever", ErrorCode::kUnavailable, ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.reason) + " " + c.message);
    const ServerError error = ParseServerError(Answer(c.status, Json(c.reason, c.message)));
    EXPECT_EQ(error.meaning, c.want);
    const Error said = Describe(error, "gs: GET b/o");
    EXPECT_EQ(said.code(), c.want);
    EXPECT_THAT(said.message(),
                HasSubstr("gs: GET b/o: the server says " + std::to_string(c.status)));
    EXPECT_THAT(said.message(), HasSubstr(c.message));
    if (*c.advice == '\0') {
      EXPECT_THAT(said.message(), Not(HasSubstr(";")));
    } else {
      EXPECT_THAT(said.message(), HasSubstr(c.advice));
    }
  }
}

TEST(GsError, AnswersThatAreNoJson) {
  EXPECT_EQ(ParseServerError(Answer(404, "No such object: b/o")).meaning, ErrorCode::kNotFound);
  EXPECT_EQ(ParseServerError(Answer(404, "Not Found")).meaning, ErrorCode::kNotFound);
  EXPECT_EQ(ParseServerError(Answer(404, "The specified bucket does not exist.")).meaning,
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(ParseServerError(Answer(502, "<html>bad gateway</html>")).message, "");
  EXPECT_EQ(ParseServerError(Answer(403, "")).meaning, ErrorCode::kDenied);
}

TEST(GsError, ServicesThatGiveOutTokens) {
  ServerError error = ParseServerError(
      Answer(400, R"({"error":"invalid_grant","error_description":"Invalid JWT: Token must be a )"
                  R"(short-lived token (60 minutes) and in a reasonable timeframe. Check your iat )"
                  R"(and exp values in the JWT claim."})"));
  EXPECT_TRUE(error.IsClockSkew());
  EXPECT_EQ(error.meaning, ErrorCode::kDenied);
  EXPECT_THAT(Describe(error, "x").message(), HasSubstr("set the clock of this machine"));
  error = ParseServerError(
      Answer(400, R"({"error":"invalid_grant","error_description":"Invalid JWT Signature."})"));
  EXPECT_FALSE(error.IsClockSkew());
  EXPECT_THAT(Describe(error, "x").message(), HasSubstr("make a new key"));
  error = ParseServerError(
      Answer(403, R"({"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}})"));
  EXPECT_EQ(error.reason, "PERMISSION_DENIED");
  EXPECT_EQ(error.meaning, ErrorCode::kDenied);
}

}  // namespace
}  // namespace litestream::gs
