#include "backend/gs/gs_error.h"

#include <fmt/core.h>

#include "http/curl_error.h"
#include "http/json.h"

namespace litestream::gs {
namespace {

// cloud.google.com/storage/docs/json_api/v1/status-codes; RFC 6749, 5.2, for the services that give
// out tokens. `part` is one of the message, where the reason alone does not tell.
struct Rule {
  std::string_view reason;
  std::string_view part;
  ErrorCode meaning;
  std::string_view advice;
};

constexpr std::string_view kNoBucket = "create the bucket, or correct its name";
constexpr std::string_view kPermissions =
    "the account needs the role Storage Object User (roles/storage.objectUser) on the bucket, or "
    "storage.objects.create, .delete, .get and .list";
constexpr std::string_view kClock = "set the clock of this machine";

constexpr Rule kRules[] = {
    {"notFound", "bucket does not exist", ErrorCode::kInvalidArgument, kNoBucket},
    {"notFound", "", ErrorCode::kNotFound, ""},
    {"conditionNotMet", "", ErrorCode::kAlreadyExists, ""},
    {"conflict", "", ErrorCode::kUnavailable, ""},
    {"gone", "", ErrorCode::kNotFound, ""},
    // The sum that we sent along: damaged on the way.
    {"invalid", "CRC32C", ErrorCode::kUnavailable, ""},
    {"uploadBrokenConnection", "", ErrorCode::kUnavailable, ""},
    {"uploadTooLarge", "", ErrorCode::kInvalidArgument, ""},
    {"userProjectMissing", "", ErrorCode::kInvalidArgument,
     "the bucket bills who asks: name a project in GOOGLE_CLOUD_QUOTA_PROJECT"},
    {"userProjectAccessDenied", "", ErrorCode::kDenied,
     "the account may not use the project of GOOGLE_CLOUD_QUOTA_PROJECT, or of quota_project_id in "
     "its file"},
    {"insufficientPermissions", "", ErrorCode::kDenied,
     "the token is not for writing: give the machine the access scope storage-rw or "
     "cloud-platform"},
    {"retentionPolicyNotMet", "", ErrorCode::kDenied,
     "the bucket's retention policy keeps every object for a time: take a bucket without one, or "
     "keep LTX files longer than that"},
    {"objectUnderActiveHold", "", ErrorCode::kDenied, "release the hold of the object"},
    {"accountDisabled", "", ErrorCode::kDenied, "switch on billing of the bucket's project"},
    {"rateLimitExceeded", "", ErrorCode::kThrottled, ""},
    {"userRateLimitExceeded", "", ErrorCode::kThrottled, ""},
    {"quotaExceeded", "", ErrorCode::kThrottled, ""},
    {"usageLimits", "", ErrorCode::kThrottled, ""},
    {"backendError", "", ErrorCode::kUnavailable, ""},
    {"internalError", "", ErrorCode::kUnavailable, ""},
    {"authError", "", ErrorCode::kDenied, "the token was refused; check the credentials"},
    {"required", "Login", ErrorCode::kDenied, "no credentials were sent"},
    {"required", "Anonymous caller", ErrorCode::kDenied, "no credentials were sent"},
    {"forbidden", "", ErrorCode::kDenied, kPermissions},
    {"invalid_grant", "timeframe", ErrorCode::kDenied, kClock},
    {"invalid_grant", "iat and exp", ErrorCode::kDenied, kClock},
    {"invalid_grant", "", ErrorCode::kDenied,
     "the key or the login is no longer valid: make a new key, or run `gcloud auth "
     "application-default login`"},
    {"invalid_client", "", ErrorCode::kDenied,
     "the credentials file is not of a client that is known"},
    {"unauthorized_client", "", ErrorCode::kDenied, ""},
    {"invalid_rapt", "", ErrorCode::kDenied, "run `gcloud auth application-default login`"},
    {"access_denied", "", ErrorCode::kDenied, ""},
    {"invalid_target", "", ErrorCode::kDenied, "check `audience` in the credentials file"},
    {"temporarily_unavailable", "", ErrorCode::kUnavailable, ""},
};

const Rule* FindRule(int status, std::string_view reason, std::string_view message) {
  // The body of a download that fails is a text.
  if (reason.empty() && status == 404) reason = "notFound";
  for (const Rule& rule : kRules) {
    if (rule.reason == reason && message.find(rule.part) != std::string_view::npos) return &rule;
  }
  return nullptr;
}

std::string_view Advice(const ServerError& error) {
  const Rule* const rule = FindRule(error.status, error.reason, error.message);
  if (rule != nullptr) return rule->advice;
  if (error.status == 401) return "the token was refused; check the credentials";
  return error.status == 403 ? kPermissions : "";
}

}  // namespace

bool ServerError::IsClockSkew() const {
  const Rule* const rule = FindRule(status, reason, message);
  return rule != nullptr && rule->advice == kClock;
}

ErrorCode MeaningOf(int status, std::string_view reason, std::string_view message) {
  // Whatever the reason: a server that is in trouble.
  if (status >= 500 && status != 501) return ErrorCode::kUnavailable;
  if (status == 429) return ErrorCode::kThrottled;
  const Rule* const rule = FindRule(status, reason, message);
  return rule == nullptr ? http::CodeOfStatus(status) : rule->meaning;
}

ServerError ParseServerError(const http::Response& response) {
  ServerError error{.status = response.status, .reason = {}, .message = {}};
  const auto parsed = http::ParseJson(response.body);
  if (parsed.ok()) {
    const http::JsonValue& root = parsed.value();
    const http::JsonValue* const inner = root.Find("error");
    if (inner != nullptr && inner->kind == http::JsonValue::Kind::kObject) {
      error.message = inner->TextOf("message");
      const http::JsonValue* const all = inner->Find("errors");
      if (all != nullptr && !all->children.empty()) {
        error.reason = all->children.front().TextOf("reason");
      } else {
        error.reason = inner->TextOf("status");  // "PERMISSION_DENIED", of IAM.
      }
    } else {
      error.reason = root.TextOf("error");  // OAuth
      error.message = root.TextOf("error_description");
    }
  } else if (!response.body.starts_with("<")) {
    error.message = response.body;  // Of a download; a page of HTML says nothing.
  }
  error.meaning = MeaningOf(error.status, error.reason, error.message);
  return error;
}

Error Describe(const ServerError& error, std::string_view doing) {
  std::string text = fmt::format("{}: the server says {}", doing, error.status);
  if (!error.reason.empty()) text += " " + http::Shown(error.reason);
  if (!error.message.empty()) text += fmt::format(" ({})", http::Shown(error.message));
  if (const std::string_view advice = Advice(error); !advice.empty()) {
    text += fmt::format("; {}", advice);
  }
  return {error.meaning, text};
}

}  // namespace litestream::gs
