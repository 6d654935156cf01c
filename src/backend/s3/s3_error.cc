#include "backend/s3/s3_error.h"

#include <algorithm>
#include <array>
#include <charconv>

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

WallTime ParseHttpDate(std::string_view text) {
  // "Sat, 28 Nov 2026 00:36:59 GMT"
  constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  if (text.size() != 29) return {};
  const auto number = [&](std::size_t at, std::size_t size) {
    int value = -1;
    const char* const end = text.data() + at + size;
    return std::from_chars(text.data() + at, end, value).ptr == end ? value : -1;
  };
  const std::size_t month = kMonths.find(text.substr(8, 3));
  const int day = number(5, 2);
  const int year = number(12, 4);
  const int hour = number(17, 2);
  const int minute = number(20, 2);
  const int second = number(23, 2);
  if (month == std::string_view::npos || month % 3 != 0 || day < 1 || year < 1970 || hour < 0 ||
      minute < 0 || second < 0) {
    return {};
  }
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month / 3 + 1)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return {};
  return std::chrono::sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second);
}

std::chrono::nanoseconds RetryAfter(const http::Headers& headers, WallTime now) {
  constexpr std::chrono::hours kLongest{24};  // A year 9999 has too many nanoseconds.
  const std::string value = http::HeaderValue(headers, "retry-after");
  if (value.empty()) return std::chrono::nanoseconds::zero();
  int seconds = 0;
  const char* const end = value.data() + value.size();
  if (std::from_chars(value.data(), end, seconds).ptr == end && seconds >= 0) {
    return std::min<std::chrono::seconds>(std::chrono::seconds(seconds), kLongest);
  }
  const WallTime at = ParseHttpDate(value);
  if (at <= now) return std::chrono::nanoseconds::zero();
  return std::min<WallTime::duration>(at - now, kLongest);
}

}  // namespace litestream::s3
