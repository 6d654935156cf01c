#include "backend/s3/s3_error.h"

#include <algorithm>
#include <array>

#include <fmt/core.h>

#include "http/curl_error.h"
#include "http/xml.h"

namespace litestream::s3 {
namespace {

struct CodeRule {
  std::string_view code;
  ErrorCode meaning;
};

constexpr CodeRule kCodes[] = {
    {"NoSuchKey", ErrorCode::kNotFound},
    {"NoSuchVersion", ErrorCode::kNotFound},
    {"NoSuchBucket", ErrorCode::kInvalidArgument},
    {"InvalidBucketName", ErrorCode::kInvalidArgument},
    {"PermanentRedirect", ErrorCode::kInvalidArgument},
    {"TemporaryRedirect", ErrorCode::kUnavailable},
    {"AuthorizationHeaderMalformed", ErrorCode::kInvalidArgument},
    {"IllegalLocationConstraintException", ErrorCode::kInvalidArgument},
    {"NoSuchUpload", ErrorCode::kIo},
    {"PreconditionFailed", ErrorCode::kAlreadyExists},
    {"ConditionalRequestConflict", ErrorCode::kAlreadyExists},
    {"OperationAborted", ErrorCode::kUnavailable},
    {"AccessDenied", ErrorCode::kDenied},
    {"AllAccessDisabled", ErrorCode::kDenied},
    {"AccountProblem", ErrorCode::kDenied},
    {"InvalidAccessKeyId", ErrorCode::kDenied},
    {"SignatureDoesNotMatch", ErrorCode::kDenied},
    {"ExpiredToken", ErrorCode::kDenied},
    {"ExpiredTokenException", ErrorCode::kDenied},
    {"InvalidToken", ErrorCode::kDenied},
    {"InvalidClientTokenId", ErrorCode::kDenied},
    {"TokenRefreshRequired", ErrorCode::kDenied},
    {"RequestTimeTooSkewed", ErrorCode::kDenied},
    {"RequestExpired", ErrorCode::kDenied},
    {"RequestInTheFuture", ErrorCode::kDenied},
    {"BadDigest", ErrorCode::kUnavailable},  // Damaged on the way.
    {"XAmzContentSHA256Mismatch", ErrorCode::kUnavailable},
    {"IncompleteBody", ErrorCode::kUnavailable},
    {"RequestTimeout", ErrorCode::kUnavailable},
    {"RequestTimeoutException", ErrorCode::kUnavailable},
    {"RequestCanceled", ErrorCode::kUnavailable},  // Tigris sheds load.
    {"InternalError", ErrorCode::kUnavailable},
    {"ServiceUnavailable", ErrorCode::kUnavailable},
    {"PriorRequestNotComplete", ErrorCode::kUnavailable},
    {"TransactionInProgressException", ErrorCode::kUnavailable},
    {"SlowDown", ErrorCode::kThrottled},
    {"SlowDownRead", ErrorCode::kThrottled},
    {"SlowDownWrite", ErrorCode::kThrottled},
    {"Throttling", ErrorCode::kThrottled},
    {"ThrottlingException", ErrorCode::kThrottled},
    {"ThrottledException", ErrorCode::kThrottled},
    {"RequestThrottled", ErrorCode::kThrottled},
    {"RequestThrottledException", ErrorCode::kThrottled},
    {"TooManyRequests", ErrorCode::kThrottled},
    {"TooManyRequestsException", ErrorCode::kThrottled},
    {"RequestLimitExceeded", ErrorCode::kThrottled},
    {"BandwidthLimitExceeded", ErrorCode::kThrottled},
    {"LimitExceededException", ErrorCode::kThrottled},
    {"ProvisionedThroughputExceededException", ErrorCode::kThrottled},
    {"EC2ThrottledException", ErrorCode::kThrottled},
    {"QuotaExceeded", ErrorCode::kNoSpace},
    {"InsufficientCapacity", ErrorCode::kNoSpace},
    {"XMinioStorageFull", ErrorCode::kNoSpace},
    {"EntityTooLarge", ErrorCode::kInvalidArgument},
    {"NotImplemented", ErrorCode::kUnsupported},
};

std::string_view Advice(const ServerError& error) {
  const std::string& code = error.code;
  if (code == "NoSuchBucket") return "create the bucket, or correct its name or the endpoint";
  if (code == "InvalidAccessKeyId" || code == "InvalidClientTokenId") {
    return "the server does not know this access-key-id";
  }
  if (code == "SignatureDoesNotMatch") return "the secret-access-key is wrong";
  if (code == "ExpiredToken" || code == "ExpiredTokenException" || code == "InvalidToken") {
    return "the session token is no longer valid; get new credentials";
  }
  if (error.IsClockSkew()) return "set the clock of this machine";
  if (code == "AccessDenied" || error.status == 401 || error.status == 403) {
    return "check the keys, and that they may list, read, write and delete here";
  }
  return "";
}

}  // namespace

bool ServerError::IsCredentials() const {
  return code == "ExpiredToken" || code == "ExpiredTokenException" || code == "InvalidToken" ||
         code == "InvalidAccessKeyId" || code == "TokenRefreshRequired" || status == 401;
}

bool ServerError::IsClockSkew() const {
  return code == "RequestTimeTooSkewed" || code == "RequestExpired" || code == "RequestInTheFuture";
}

ErrorCode MeaningOf(int status, std::string_view code) {
  for (const CodeRule& rule : kCodes) {
    if (rule.code == code) return rule.meaning;
  }
  // 404 with a code that is not of a key is about something else.
  if (status == 404 && !code.empty() && code != "NotFound") return ErrorCode::kInvalidArgument;
  return http::CodeOfStatus(status);
}

ServerError ParseServerError(const http::Response& response) {
  ServerError error{.status = response.status};
  if (auto parsed = http::ParseXml(response.body); parsed.ok()) {
    const http::XmlElement& root = parsed.value();
    // <ErrorResponse><Error>: STS.
    const http::XmlElement* const inner = root.Find("Error");
    const http::XmlElement& body = inner != nullptr ? *inner : root;
    error.code = body.TextOf("Code");
    error.message = body.TextOf("Message");
    error.region = body.TextOf("Region");
  }
  if (const std::string* region = http::FindHeader(response.headers, "x-amz-bucket-region")) {
    error.region = *region;
  }
  error.meaning = MeaningOf(error.status, error.code);
  return error;
}

Error Describe(const ServerError& error, std::string_view doing, std::string_view bucket) {
  std::string text = fmt::format("{}: the server says {}", doing, error.status);
  if (!error.code.empty()) text += " " + http::Shown(error.code);
  if (!error.message.empty()) text += fmt::format(" ({})", http::Shown(error.message));
  const bool wrong_region = error.status == 301 || error.code == "AuthorizationHeaderMalformed" ||
                            error.code == "PermanentRedirect" ||
                            error.code == "IllegalLocationConstraintException";
  if (wrong_region && !error.region.empty()) {
    const std::string region = http::Shown(error.region);
    text += fmt::format("; bucket {} is in region {}: set `region: {}`", bucket, region, region);
  } else if (wrong_region) {
    text += fmt::format("; set `region` to that of bucket {}", bucket);
  } else if (const std::string_view advice = Advice(error); !advice.empty()) {
    text += fmt::format("; {}", advice);
  }
  return {error.meaning, text};
}

}  // namespace litestream::s3
