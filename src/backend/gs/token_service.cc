#include "backend/gs/token_service.h"

#include <algorithm>
#include <charconv>

#include <fmt/core.h>

#include "backend/gs/gs_error.h"
#include "base/try.h"
#include "format/names.h"
#include "http/curl_error.h"

namespace litestream::gs {
namespace {

constexpr std::int64_t kMaxLifeSeconds = 24 * 60 * 60;

Error NoToken() {
  return {ErrorCode::kUnavailable, "the answer has no access token"};
}

}  // namespace

Result<void> CheckSecretUrl(std::string_view url) {
  http::SplitUrl parts;
  if (!http::ParseUrl(url.substr(0, url.find('?')), parts)) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("\"{}\" is no URL of http or https", url));
  }
  if (parts.scheme == "https" || http::IsThisMachine(parts.host)) return {};
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("{}: secrets go over https only", http::PublicUrl(url)));
}

Result<std::string> TokenService::ReadText(const std::string& path) const {
  std::string text =
      LS_TRY(ReadSmallFile(*sources_.env, path, kMaxCredentialBytes), "read {}", path);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return std::string();
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

Result<http::Response> TokenService::Send(const http::Request& request) const {
  return sources_.http->Do(ctx_, request, kMaxCredentialBytes);
}

Result<http::Response> TokenService::Ask(const http::Request& request) const {
  auto answer = LS_TRY(Send(request));
  if (answer.status < 300) return answer;
  return Describe(ParseServerError(answer),
                  fmt::format("{} {}", request.method, http::PublicUrl(request.url)));
}

Result<http::Request> TokenService::SecretForm(const std::string& url,
                                               const http::QueryParameters& form) const {
  LS_TRY(CheckSecretUrl(url));
  return http::Request{.method = "POST",
                       .url = url,
                       .headers = {{"Content-Type", "application/x-www-form-urlencoded"}},
                       .body = std::make_shared<const std::string>(http::CanonicalQuery(form)),
                       .tls = {},
                       .timeouts = {}};
}

Result<ExpiringToken> TokenService::Impersonate(const std::string& url, const Token& token,
                                                const http::JsonValue& spec) const {
  LS_TRY(CheckSecretUrl(url), "service_account_impersonation_url");
  std::string delegates;
  if (const http::JsonValue* const given = spec.Find("delegates")) {
    for (const http::JsonValue& each : given->children) {
      delegates += (delegates.empty() ? "" : ",") + http::JsonString(each.text);
    }
  }
  std::string life = "3600";
  if (const http::JsonValue* const given = spec.Find("service_account_impersonation")) {
    const std::string seconds = given->TextOf("token_lifetime_seconds");
    if (!seconds.empty()) life = seconds;
  }
  const std::string body =
      fmt::format(R"({{"delegates":[{}],"scope":[{}],"lifetime":{}}})", delegates,
                  http::JsonString(kCloudScope), http::JsonString(life + "s"));
  const auto answer = LS_TRY(Ask({.method = "POST",
                                  .url = url,
                                  .headers = {{"Content-Type", "application/json"},
                                              {"Authorization", "Bearer " + token.access_token}},
                                  .body = std::make_shared<const std::string>(body),
                                  .tls = {},
                                  .timeouts = {}}),
                             "speak for another account");
  return ParseImpersonatedToken(answer.body);
}

Result<ExpiringToken> ParseToken(std::string_view text, WallTime now) {
  const auto parsed = http::ParseJson(text);
  if (!parsed.ok()) return NoToken();
  ExpiringToken token{
      .secret = {.access_token = parsed.value().TextOf("access_token"), .user_project = {}},
      .expires_at = {}};
  if (token.secret.access_token.empty()) return NoToken();
  const std::string life = parsed.value().TextOf("expires_in");
  std::int64_t seconds = 0;
  const char* const end = life.data() + life.size();
  if (!life.empty() && std::from_chars(life.data(), end, seconds).ec == std::errc()) {
    token.expires_at =
        now + std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, kMaxLifeSeconds));
  }
  return token;
}

Result<ExpiringToken> ParseImpersonatedToken(std::string_view text) {
  const auto parsed = http::ParseJson(text);
  if (!parsed.ok()) return NoToken();
  ExpiringToken token{
      .secret = {.access_token = parsed.value().TextOf("accessToken"), .user_project = {}},
      .expires_at = {}};
  if (token.secret.access_token.empty()) return NoToken();
  const auto expires_at = ParseTimestamp(parsed.value().TextOf("expireTime"));
  if (expires_at.ok()) token.expires_at = expires_at.value();
  return token;
}

}  // namespace litestream::gs
