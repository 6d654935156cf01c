#include "backend/s3/s3_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace litestream::s3 {
namespace {

using ::testing::HasSubstr;

http::Response Answer(int status, std::string_view code, http::Headers headers = {}) {
  return {.status = status,
          .headers = std::move(headers),
          .body = code.empty() ? std::string()
                               : "<?xml version=\"1.0\"?><Error xmlns=\"urn:x\"><Code>" +
                                     std::string(code) + "</Code><Message>why</Message></Error>"};
}

TEST(S3Error, Meanings) {
  const struct {
    int status;
    const char* code;
    ErrorCode want;
  } cases[] = {
      {404, "NoSuchKey", ErrorCode::kNotFound},
      {404, "", ErrorCode::kNotFound},
      {404, "NoSuchBucket", ErrorCode::kInvalidArgument},
      {404, "NoSuchSomething", ErrorCode::kInvalidArgument},
      {301, "PermanentRedirect", ErrorCode::kInvalidArgument},
      {400, "AuthorizationHeaderMalformed", ErrorCode::kInvalidArgument},
      {400, "SomethingElse", ErrorCode::kInvalidArgument},
      {400, "RequestTimeout", ErrorCode::kUnavailable},
      {400, "BadDigest", ErrorCode::kUnavailable},
      {400, "ExpiredToken", ErrorCode::kDenied},
      {401, "", ErrorCode::kDenied},
      {403, "", ErrorCode::kDenied},
      {403, "AccessDenied", ErrorCode::kDenied},
      {403, "InvalidAccessKeyId", ErrorCode::kDenied},
      {403, "SignatureDoesNotMatch", ErrorCode::kDenied},
      {403, "RequestTimeTooSkewed", ErrorCode::kDenied},
      {403, "QuotaExceeded", ErrorCode::kNoSpace},
      {408, "RequestCanceled", ErrorCode::kUnavailable},
      {408, "", ErrorCode::kTimeout},
      {409, "ConditionalRequestConflict", ErrorCode::kAlreadyExists},
      {409, "OperationAborted", ErrorCode::kUnavailable},
      {412, "PreconditionFailed", ErrorCode::kAlreadyExists},
      {412, "", ErrorCode::kAlreadyExists},
      {429, "", ErrorCode::kThrottled},
      {500, "InternalError", ErrorCode::kUnavailable},
      {501, "NotImplemented", ErrorCode::kUnsupported},
      {502, "", ErrorCode::kUnavailable},
      {503, "SlowDown", ErrorCode::kThrottled},
      {503, "ServiceUnavailable", ErrorCode::kUnavailable},
      {504, "", ErrorCode::kUnavailable},
      {507, "XMinioStorageFull", ErrorCode::kNoSpace},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(ParseServerError(Answer(c.status, c.code)).meaning, c.want)
        << c.status << ' ' << c.code;
  }
}

TEST(S3Error, SaysWhatToChange) {
  const struct {
    http::Response answer;
    const char* want;
  } cases[] = {
      {Answer(404, "NoSuchBucket"), "create the bucket"},
      {Answer(403, "InvalidAccessKeyId"), "does not know this access-key-id"},
      {Answer(403, "SignatureDoesNotMatch"), "the secret-access-key is wrong"},
      {Answer(400, "ExpiredToken"), "get new credentials"},
      {Answer(403, "RequestTimeTooSkewed"), "set the clock"},
      {Answer(403, "AccessDenied"), "check the keys"},
      {Answer(403, ""), "check the keys"},
      {Answer(301, "PermanentRedirect", {{"X-Amz-Bucket-Region", "eu-central-1"}}),
       "bucket bkt is in region eu-central-1: set `region: eu-central-1`"},
      {Answer(400, "AuthorizationHeaderMalformed"), "set `region` to that of bucket bkt"},
  };
  for (const auto& c : cases) {
    const Error error = Describe(ParseServerError(c.answer), "s3: GET bkt/key", "bkt");
    EXPECT_THAT(error.message(), HasSubstr("s3: GET bkt/key: the server says "));
    EXPECT_THAT(error.message(), HasSubstr(c.want));
  }
}

TEST(S3Error, AServerThatTalksTooMuch) {
  const std::string endless(1 << 20, 'x');
  const ServerError error{.status = 301,
                          .code = "PermanentRedirect\n" + endless,
                          .message = "a\nb" + endless,
                          .region = endless};
  const std::string text = Describe(error, "s3: GET bkt/key", "bkt").message();
  EXPECT_LT(text.size(), 2000U);
  EXPECT_EQ(text.find('\n'), std::string::npos);
}

}  // namespace
}  // namespace litestream::s3
