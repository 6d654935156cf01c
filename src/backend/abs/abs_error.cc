#include "backend/abs/abs_error.h"

#include <fmt/core.h>

#include "backend/abs/address.h"
#include "format/names.h"
#include "http/curl_error.h"
#include "http/date.h"
#include "http/xml.h"

namespace litestream::abs {
namespace {

struct CodeRule {
  std::string_view code;
  ErrorCode meaning;
  std::string_view advice;
};

constexpr std::string_view kPermissions =
    "the SAS token has to be for the container, with the permissions read, create, write, delete "
    "and list (sr=c, sp=rcwdl)";
constexpr std::string_view kNotOurs =
    "another program protects this blob; replicas need a container whose blobs they may replace "
    "and delete";

constexpr CodeRule kCodes[] = {
    {"BlobNotFound", ErrorCode::kNotFound, ""},
    {"BlobAlreadyExists", ErrorCode::kAlreadyExists, ""},
    {"ConditionNotMet", ErrorCode::kAlreadyExists, ""},
    {"TargetConditionNotMet", ErrorCode::kAlreadyExists, ""},
    {"ContainerNotFound", ErrorCode::kInvalidArgument,
     "create the container, or correct its name or the account"},
    {"ContainerBeingDeleted", ErrorCode::kInvalidArgument,
     "the container is being deleted; create it again when that is over, or name another"},
    {"ContainerDisabled", ErrorCode::kInvalidArgument, ""},
    {"ResourceNotFound", ErrorCode::kInvalidArgument,
     "correct the account-name, the endpoint or the container"},
    {"InvalidResourceName", ErrorCode::kInvalidArgument,
     "names of containers have 3 to 63 lower-case letters, digits and hyphens"},
    {"OutOfRangeInput", ErrorCode::kInvalidArgument, "correct the names of container and path"},
    {"InvalidUri", ErrorCode::kInvalidArgument, "correct the names of container and path"},
    {"AuthenticationFailed", ErrorCode::kDenied, ""},
    {"InvalidAuthenticationInfo", ErrorCode::kDenied, ""},
    {"NoAuthenticationInformation", ErrorCode::kDenied, ""},
    {"AuthorizationFailure", ErrorCode::kDenied, ""},
    {"AuthorizationPermissionMismatch", ErrorCode::kDenied, ""},
    {"InsufficientAccountPermissions", ErrorCode::kDenied, ""},
    {"UnauthorizedBlobOverwrite", ErrorCode::kDenied, kPermissions},
    {"AuthorizationResourceTypeMismatch", ErrorCode::kDenied, kPermissions},
    {"AuthorizationServiceMismatch", ErrorCode::kDenied,
     "the SAS token is for another service; make one for blobs"},
    {"AuthorizationProtocolMismatch", ErrorCode::kDenied,
     "the SAS token is for https only; use an endpoint with https"},
    {"AuthorizationSourceIPMismatch", ErrorCode::kDenied,
     "the SAS token, or the firewall of the account, does not take this machine's address"},
    {"KeyBasedAuthenticationNotPermitted", ErrorCode::kDenied,
     "the account takes no keys; leave account-key and sas-token away, and give the machine or "
     "service principal the role Storage Blob Data Contributor"},
    {"PublicAccessNotPermitted", ErrorCode::kDenied, "set account-key or sas-token"},
    {"AccountIsDisabled", ErrorCode::kDenied, "enable the account in the portal"},
    {"AccountRequiresHttps", ErrorCode::kDenied, "use an endpoint with https"},
    {"TlsVersionNotPermitted", ErrorCode::kDenied, ""},
    {"LeaseIdMissing", ErrorCode::kDenied, kNotOurs},
    {"LeaseLost", ErrorCode::kDenied, kNotOurs},
    {"LeaseAlreadyPresent", ErrorCode::kDenied, kNotOurs},
    {"BlobImmutableDueToPolicy", ErrorCode::kDenied, kNotOurs},
    {"BlobImmutableDueToLegalHold", ErrorCode::kDenied, kNotOurs},
    {"SnapshotsPresent", ErrorCode::kDenied,
     "somebody made snapshots of this blob, and it cannot go before them; delete them"},
    {"BlobArchived", ErrorCode::kDenied,
     "the blob is in the archive tier; rehydrate it, and keep replicas out of that tier"},
    {"BlobBeingRehydrated", ErrorCode::kUnavailable, "the blob comes out of the archive tier"},
    {"InvalidBlobType", ErrorCode::kInvalidArgument,
     "something lies there that is no block blob; use another path"},
    {"ResourceTypeMismatch", ErrorCode::kInvalidArgument,
     "a directory lies there; use another path"},
    {"PathConflict", ErrorCode::kInvalidArgument, "a directory lies there; use another path"},
    {"PathAlreadyExists", ErrorCode::kInvalidArgument, "a directory lies there; use another path"},
    {"InvalidBlockList", ErrorCode::kIo,
     "its blocks are gone: the same file was uploaded from somewhere else"},
    {"InvalidBlobOrBlock", ErrorCode::kIo,
     "blocks of an unfinished upload by another program lie there; they go within a week"},
    {"BlockCountExceedsLimit", ErrorCode::kIo,
     "too many blocks of unfinished uploads lie there; they go within a week"},
    {"BlockListTooLong", ErrorCode::kUnsupported, "set a larger part-size"},
    {"RequestBodyTooLarge", ErrorCode::kInvalidArgument, "set a smaller part-size"},
    {"Md5Mismatch", ErrorCode::kUnavailable, ""},  // Damaged on the way.
    {"Crc64Mismatch", ErrorCode::kUnavailable, ""},
    {"InvalidOperation", ErrorCode::kUnavailable, ""},  // What Azurite says instead.
    {"InvalidInput", ErrorCode::kInvalidArgument, ""},
    {"ServerBusy", ErrorCode::kThrottled, ""},
    {"OperationTimedOut", ErrorCode::kUnavailable, ""},
    {"InternalError", ErrorCode::kUnavailable, ""},
    {"UnsupportedHeader", ErrorCode::kUnsupported, ""},
    {"FeatureNotSupported", ErrorCode::kUnsupported, ""},
    {"FeatureVersionMismatch", ErrorCode::kUnsupported, ""},
};

const CodeRule* RuleOf(std::string_view code) {
  for (const CodeRule& rule : kCodes) {
    if (rule.code == code) return &rule;
  }
  return nullptr;
}

std::string SasAdvice(const ServerError& error, const Asked& asked) {
  const SasTimes times = TimesOfSas(asked.sas_token);
  const bool known = error.server_time != WallTime();
  if (known && times.expires_at && *times.expires_at <= error.server_time) {
    return fmt::format("the SAS token has expired at {}; make a new one",
                       FormatTimestampSeconds(*times.expires_at));
  }
  if (known && times.starts_at && *times.starts_at > error.server_time) {
    return fmt::format("the SAS token is good from {} on only",
                       FormatTimestampSeconds(*times.starts_at));
  }
  if (error.code == "AuthenticationFailed") {
    return "the SAS token is wrong, or was revoked; make a new one";
  }
  return std::string(kPermissions);
}

std::string AccessAdvice(const ServerError& error, const Asked& asked) {
  if (asked.access == Access::kSas) return SasAdvice(error, asked);
  if (asked.access == Access::kToken) {
    if (error.status == 401 || error.code == "AuthenticationFailed") {
      return "the token was not taken; check the tenant";
    }
    return "give the identity the role Storage Blob Data Contributor for the container; it may "
           "take minutes until that counts. Else the firewall of the account keeps this machine "
           "out";
  }
  if (error.code == "AuthenticationFailed" || error.status == 401) {
    return fmt::format("the account-key is not that of account {}", asked.account);
  }
  return fmt::format(
      "check that the account-key is that of account {}, and that its firewall lets "
      "this machine in",
      asked.account);
}

std::string AdviceOf(const ServerError& error, const Asked& asked) {
  if (error.code.empty() && error.status < 500) {
    return "this is not what a blob service answers; check the endpoint";
  }
  const CodeRule* const rule = RuleOf(error.code);
  if (rule != nullptr && !rule->advice.empty()) return std::string(rule->advice);
  return error.meaning == ErrorCode::kDenied ? AccessAdvice(error, asked) : std::string();
}

}  // namespace

ErrorCode MeaningOf(int status, std::string_view code) {
  if (const CodeRule* const rule = RuleOf(code)) return rule->meaning;
  // Nothing is taken for a missing blob, or a condition that does not hold, that does not say so: a
  // proxy answers 404 too.
  if (status == 404) return ErrorCode::kInvalidArgument;
  if (status == 409 || status == 412) return ErrorCode::kIo;
  return status < 300 ? ErrorCode::kUnavailable : http::CodeOfStatus(status);
}

ServerError ParseServerError(const http::Response& response) {
  ServerError error{.status = response.status,
                    .code = http::HeaderValue(response.headers, "x-ms-error-code")};
  if (const auto body = http::ParseXml(response.body); body.ok() && body.value().name == "Error") {
    if (error.code.empty()) error.code = body.value().TextOf("Code");
    // Ids and the time of the request follow in lines of their own. (AuthenticationErrorDetail is
    // not for logs: it quotes the signature.)
    error.message = body.value().TextOf("Message");
    error.message.resize(std::min(error.message.find('\n'), error.message.size()));
  }
  error.server_time = http::ParseDate(http::HeaderValue(response.headers, "date"));
  error.meaning = MeaningOf(error.status, error.code);
  return error;
}

Error Describe(const ServerError& error, const Asked& asked) {
  std::string text = fmt::format("{}: the server says {}", asked.doing, error.status);
  if (!error.code.empty()) text += " " + http::Shown(error.code);
  if (!error.message.empty()) text += fmt::format(" ({})", http::Shown(error.message));
  if (const std::string advice = AdviceOf(error, asked); !advice.empty()) text += "; " + advice;
  return {error.meaning, text};
}

}  // namespace litestream::abs
