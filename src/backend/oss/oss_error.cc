#include "backend/oss/oss_error.h"

#include <fmt/core.h>

#include "backend/oss/address.h"
#include "http/curl_error.h"
#include "http/digest.h"
#include "http/xml.h"

namespace litestream::oss {
namespace {

// `advice`: what to change; the code alone may not say it.
struct CodeRule {
  std::string_view code;
  ErrorCode meaning;
  std::string_view advice = {};
};

constexpr std::string_view kRights =
    "check the keys, and that they may list, read, write and delete here";
constexpr std::string_view kNewToken =
    "the session token is not, or no longer, valid; get new credentials";
constexpr std::string_view kPay = "the account is overdue or closed; settle it with Alibaba Cloud";
constexpr std::string_view kLocked =
    "a retention policy (WORM) of the bucket keeps objects from being replaced and deleted; "
    "use a bucket without one";
constexpr std::string_view kArchived =
    "the object is archived; restore it, and let no lifecycle rule archive the replica";

constexpr CodeRule kCodes[] = {
    {"NoSuchKey", ErrorCode::kNotFound},
    {"SymlinkTargetNotExist", ErrorCode::kNotFound},
    {"NoSuchBucket", ErrorCode::kInvalidArgument,
     "create the bucket, or correct its name, `region` or `endpoint`"},
    {"InvalidBucketName", ErrorCode::kInvalidArgument, "correct the name of the bucket"},
    {"InvalidObjectName", ErrorCode::kInvalidArgument,
     "correct `path`: keys are UTF-8 of at most 1023 bytes, and begin with no slash"},
    {"PermanentRedirect", ErrorCode::kInvalidArgument},
    {"NonStandardHostForbidden", ErrorCode::kInvalidArgument, "correct `endpoint`"},
    {"SecondLevelDomainForbidden", ErrorCode::kInvalidArgument, "correct `endpoint`"},
    {"NoSuchUpload", ErrorCode::kIo},
    {"InvalidPart", ErrorCode::kIo},
    {"InvalidPartOrder", ErrorCode::kIo},
    {"FilePartInterity", ErrorCode::kIo},
    {"FilePartNotExist", ErrorCode::kIo},
    {"FilePartStale", ErrorCode::kIo},
    {"EntityTooSmall", ErrorCode::kInvalidArgument, "set a larger `part-size`"},
    {"EntityTooLarge", ErrorCode::kInvalidArgument, "set a smaller `part-size`"},
    {"FileAlreadyExists", ErrorCode::kAlreadyExists},
    {"PreconditionFailed", ErrorCode::kAlreadyExists},
    {"FileImmutable", ErrorCode::kDenied, kLocked},
    {"ObjectAlreadyLocked", ErrorCode::kDenied, kLocked},
    {"InvalidObjectState", ErrorCode::kDenied, kArchived},
    {"AccessDenied", ErrorCode::kDenied, kRights},
    {"BucketNotBelongTo", ErrorCode::kDenied, kRights},
    {"InvalidAccessKeyId", ErrorCode::kDenied, "the server does not know this access-key-id"},
    {"SignatureDoesNotMatch", ErrorCode::kDenied, "the secret-access-key is wrong"},
    {"InvalidSecurityToken", ErrorCode::kDenied, kNewToken},
    {"SecurityTokenExpired", ErrorCode::kDenied, kNewToken},
    {"AccessKeyIdAndSecurityTokenNotMatch", ErrorCode::kDenied,
     "the session token is of another access-key-id"},
    {"RequestTimeTooSkewed", ErrorCode::kDenied, "set the clock of this machine"},
    {"InDebt", ErrorCode::kDenied, kPay},
    {"InDebtOverdue", ErrorCode::kDenied, kPay},
    {"UserDisable", ErrorCode::kDenied, kPay},
    {"BucketDisable", ErrorCode::kDenied, kPay},
    {"AbnormalBucketOwnerStatus", ErrorCode::kDenied, kPay},
    {"InvalidDigest", ErrorCode::kUnavailable},  // Damaged on the way.
    {"BadRequest", ErrorCode::kUnavailable},
    {"RequestTimeout", ErrorCode::kUnavailable},
    {"InternalError", ErrorCode::kUnavailable},
    {"ServiceUnavailable", ErrorCode::kUnavailable},
    {"ServerBusy", ErrorCode::kThrottled},
    {"SlowDown", ErrorCode::kThrottled},
    {"QpsLimitExceeded", ErrorCode::kThrottled},
    {"TotalQpsLimitExceeded", ErrorCode::kThrottled},
    {"MetaOperationQpsLimitExceeded", ErrorCode::kThrottled},
    {"PartitionQpsLimitted", ErrorCode::kThrottled},  // Their spelling.
    {"ActiveRequestLimitExceeded", ErrorCode::kThrottled},
    {"CpuLimitExceeded", ErrorCode::kThrottled},
    {"UploadTrafficRateLimitExceeded", ErrorCode::kThrottled},
    {"DownloadTrafficRateLimitExceeded", ErrorCode::kThrottled},
    {"BandwidthLimitExceeded", ErrorCode::kThrottled},
    {"QuotaExceeded", ErrorCode::kNoSpace},
    {"NotImplemented", ErrorCode::kUnsupported},
};

const CodeRule* RuleOf(std::string_view code) {
  for (const CodeRule& rule : kCodes) {
    if (rule.code == code) return &rule;
  }
  return nullptr;
}

// A region that does not exist, or is not the bucket's. alibabacloud.com/help/en/oss/support/
// 0002-00000226 to 0002-00000228.
bool IsWrongRegion(const ServerError& error) {
  return (error.detail >= "0002-00000226" && error.detail <= "0002-00000228") ||
         error.message.find("signing region") != std::string::npos;
}

std::string Advice(const ServerError& error, std::string_view bucket) {
  if (!error.endpoint.empty()) {
    const std::string endpoint = http::Shown(error.endpoint);
    const std::string region = RegionOfHost(endpoint);
    return region.empty() ? fmt::format("bucket {} is at {}: set `endpoint`", bucket, endpoint)
                          : fmt::format(
                                "bucket {} is at {}: set `region: {}`, and no endpoint of "
                                "another region",
                                bucket, endpoint, region);
  }
  if (IsWrongRegion(error)) return fmt::format("set `region` to that of bucket {}", bucket);
  const CodeRule* const rule = RuleOf(error.code);
  if (rule != nullptr) return std::string(rule->advice);
  return std::string(error.status == 401 || error.status == 403 ? kRights : "");
}

}  // namespace

bool ServerError::IsCredentials() const {
  return code == "SecurityTokenExpired" || code == "InvalidSecurityToken" ||
         code == "InvalidAccessKeyId" || code == "AccessKeyIdAndSecurityTokenNotMatch" ||
         status == 401;
}

bool ServerError::IsClockSkew() const {
  return code == "RequestTimeTooSkewed";
}

ErrorCode MeaningOf(int status, std::string_view code) {
  if (const CodeRule* const rule = RuleOf(code)) return rule->meaning;
  // 404 with a code that is not of a key is about something else.
  if (status == 404 && !code.empty()) return ErrorCode::kInvalidArgument;
  return http::CodeOfStatus(status);
}

ServerError ParseServerError(const http::Response& response) {
  ServerError error{.status = response.status};
  std::string body = response.body;
  if (body.empty()) {
    body = http::FromBase64(http::HeaderValue(response.headers, "x-oss-err")).value_or("");
  }
  if (const auto parsed = http::ParseXml(body); parsed.ok()) {
    const http::XmlElement& root = parsed.value();
    error.code = root.TextOf("Code");
    error.message = root.TextOf("Message");
    error.detail = root.TextOf("EC");
    error.endpoint = root.TextOf("Endpoint");
  }
  if (error.detail.empty()) error.detail = http::HeaderValue(response.headers, "x-oss-ec");
  // How the code of an expired token is spelt, its page does not say.
  if (error.detail == "0002-00000007") error.code = "SecurityTokenExpired";
  error.meaning = MeaningOf(error.status, error.code);
  // Of both the code is AccessDenied or InvalidArgument.
  if (!error.endpoint.empty() || IsWrongRegion(error)) error.meaning = ErrorCode::kInvalidArgument;
  return error;
}

Error Describe(const ServerError& error, std::string_view doing, std::string_view bucket) {
  std::string text = fmt::format("{}: the server says {}", doing, error.status);
  if (!error.code.empty()) text += " " + http::Shown(error.code);
  if (!error.message.empty()) text += fmt::format(" ({})", http::Shown(error.message));
  if (const std::string advice = Advice(error, bucket); !advice.empty()) {
    text += fmt::format("; {}", advice);
  }
  return {error.meaning, text};
}

}  // namespace litestream::oss
