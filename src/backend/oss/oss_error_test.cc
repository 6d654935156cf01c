#include "backend/oss/oss_error.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/digest.h"

namespace litestream::oss {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Body(std::string_view code, std::string_view more = "") {
  return fmt::format(
      "<?xml version=\"1.0\"?><Error><Code>{}</Code><Message>why</Message>{}</Error>", code, more);
}

TEST(OssError, Meanings) {
  const struct {
    int status;
    const char* code;
    ErrorCode want;
  } cases[] = {
      {404, "NoSuchKey", ErrorCode::kNotFound},
      {404, "", ErrorCode::kNotFound},
      {404, "NoSuchBucket", ErrorCode::kInvalidArgument},
      {404, "NoSuchSomething", ErrorCode::kInvalidArgument},
      {404, "NoSuchUpload", ErrorCode::kIo},
      {400, "InvalidObjectName", ErrorCode::kInvalidArgument},
      {400, "InvalidArgument", ErrorCode::kInvalidArgument},
      {400, "InvalidDigest", ErrorCode::kUnavailable},
      {400, "RequestTimeout", ErrorCode::kUnavailable},
      {400, "NotImplemented", ErrorCode::kUnsupported},
      {400, "EntityTooSmall", ErrorCode::kInvalidArgument},
      {400, "InvalidPart", ErrorCode::kIo},
      {401, "", ErrorCode::kDenied},
      {403, "", ErrorCode::kDenied},
      {403, "AccessDenied", ErrorCode::kDenied},
      {403, "InvalidAccessKeyId", ErrorCode::kDenied},
      {403, "SignatureDoesNotMatch", ErrorCode::kDenied},
      {403, "RequestTimeTooSkewed", ErrorCode::kDenied},
      {403, "SecurityTokenExpired", ErrorCode::kDenied},
      {403, "InDebt", ErrorCode::kDenied},
      {403, "InvalidObjectState", ErrorCode::kDenied},
      {409, "FileAlreadyExists", ErrorCode::kAlreadyExists},
      {409, "FileImmutable", ErrorCode::kDenied},
      {412, "PreconditionFailed", ErrorCode::kAlreadyExists},
      {429, "", ErrorCode::kThrottled},
      {500, "InternalError", ErrorCode::kUnavailable},
      {502, "", ErrorCode::kUnavailable},
      {503, "QpsLimitExceeded", ErrorCode::kThrottled},
      {503, "UploadTrafficRateLimitExceeded", ErrorCode::kThrottled},
      {503, "ServiceUnavailable", ErrorCode::kUnavailable},
      {504, "", ErrorCode::kUnavailable},
  };
  for (const auto& c : cases) {
    const http::Response answer{.status = c.status,
                                .body = std::string_view(c.code).empty() ? "" : Body(c.code)};
    EXPECT_EQ(ParseServerError(answer).meaning, c.want) << c.status << ' ' << c.code;
  }
}

TEST(OssError, SaysWhatToChange) {
  const struct {
    http::Response answer;
    ErrorCode code;
    const char* said;
  } cases[] = {
      {{404, {}, Body("NoSuchBucket")}, ErrorCode::kInvalidArgument, "create the bucket"},
      {{403, {}, Body("InvalidAccessKeyId")},
       ErrorCode::kDenied,
       "the server does not know this access-key-id"},
      {{403, {}, Body("SignatureDoesNotMatch")},
       ErrorCode::kDenied,
       "the secret-access-key is wrong"},
      {{403, {}, Body("InvalidSecurityToken")}, ErrorCode::kDenied, "get new credentials"},
      {{403, {}, Body("RequestTimeTooSkewed")}, ErrorCode::kDenied, "set the clock"},
      {{403, {}, Body("AccessDenied")}, ErrorCode::kDenied, "they may list, read"},
      {{403, {}, Body("AccessDenied", "<Endpoint>oss-us-west-1.aliyuncs.com</Endpoint>")},
       ErrorCode::kInvalidArgument,
       "bucket bkt is at oss-us-west-1.aliyuncs.com: set `region: us-west-1`"},
      {{403, {}, Body("AccessDenied", "<Endpoint>oss.example.com</Endpoint>")},
       ErrorCode::kInvalidArgument,
       "bucket bkt is at oss.example.com: set `endpoint`"},
      {{400, {}, Body("InvalidArgument", "<EC>0002-00000228</EC>")},
       ErrorCode::kInvalidArgument,
       "set `region` to that of bucket bkt"},
      {{403, {}, Body("InDebt")}, ErrorCode::kDenied, "the account is overdue"},
      {{409, {}, Body("FileImmutable")}, ErrorCode::kDenied, "retention policy"},
      {{403, {}, ""}, ErrorCode::kDenied, "check the keys"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.said);
    const Error error = Describe(ParseServerError(c.answer), "oss: GET bkt/key", "bkt");
    EXPECT_EQ(error.code(), c.code);
    EXPECT_THAT(error.message(), HasSubstr(c.said));
    EXPECT_THAT(error.message(), HasSubstr("oss: GET bkt/key: the server says"));
  }
}

TEST(OssError, OfAnAnswerWithoutABodyItIsInAHeader) {
  const http::Response answer{.status = 404,
                              .headers = {{"x-oss-err", http::Base64(Body("NoSuchBucket"))}}};
  EXPECT_EQ(ParseServerError(answer).code, "NoSuchBucket");
  EXPECT_EQ(ParseServerError(answer).meaning, ErrorCode::kInvalidArgument)
      << "a missing bucket is no missing object";
  EXPECT_EQ(ParseServerError({.status = 404, .headers = {{"x-oss-err", "?"}}}).meaning,
            ErrorCode::kNotFound);
}

TEST(OssError, WhatAnotherAttemptCanChange) {
  const auto said = [](std::string_view code, std::string_view more = "") {
    return ParseServerError({.status = 403, .body = Body(code, more)});
  };
  EXPECT_TRUE(said("RequestTimeTooSkewed").IsClockSkew());
  EXPECT_FALSE(said("AccessDenied").IsClockSkew());
  EXPECT_TRUE(said("SecurityTokenExpired").IsCredentials());
  EXPECT_TRUE(said("AccessDenied", "<EC>0002-00000007</EC>").IsCredentials());
  EXPECT_FALSE(said("SignatureDoesNotMatch").IsCredentials());
}

TEST(OssError, NothingThatAServerSaysBreaksALine) {
  const Error error =
      Describe(ParseServerError({.status = 400, .body = Body("a\nb", "<Endpoint>x\ny</Endpoint>")}),
               "x", "bkt");
  EXPECT_THAT(error.message(), Not(HasSubstr("\n")));
}

}  // namespace
}  // namespace litestream::oss
