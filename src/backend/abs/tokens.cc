#include "backend/abs/tokens.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "base/try.h"
#include "http/curl_error.h"
#include "http/uri.h"

namespace litestream::abs {
namespace {

constexpr std::size_t kMaxAnswerBytes = 1 << 20;
constexpr std::size_t kMaxTokenFileBytes = 64 * 1024;
constexpr std::string_view kResource = "https://storage.azure.com";
constexpr std::string_view kPublicAuthority = "https://login.microsoftonline.com";
constexpr std::string_view kMetadataOrigin = "http://169.254.169.254";
// Of the same machine: where there is none, nothing answers.
constexpr http::Timeouts kLocalTimeouts{.connect = std::chrono::milliseconds(1'000),
                                        .first_byte = std::chrono::milliseconds(10'000),
                                        .stall = std::chrono::milliseconds(5'000),
                                        .total = std::chrono::milliseconds(15'000)};
constexpr http::Timeouts kTokenTimeouts{.total = std::chrono::milliseconds(60'000)};
constexpr std::int64_t kLatestSeconds = 253'402'300'799;  // The end of the year 9999.

using Json = nlohmann::json;

std::string TextOf(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// A number, or one in quotes.
std::optional<std::int64_t> NumberOf(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end()) return std::nullopt;
  if (found->is_number_unsigned() || found->is_number_integer()) return found->get<std::int64_t>();
  const std::string text = TextOf(json, key);
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  if (text.empty() || std::from_chars(text.data(), end, number).ptr != end) return std::nullopt;
  return number;
}

// What a service says that gives no token: {"error": "invalid_client", "error_description": "..."}
std::string Reason(const http::Response& answer) {
  const Json json = Json::parse(answer.body, nullptr, /*allow_exceptions=*/false);
  std::string reason = fmt::format("the service says {}", answer.status);
  if (!json.is_object()) return reason;
  if (const std::string error = TextOf(json, "error"); !error.empty()) {
    reason += " " + http::Shown(error);
  }
  std::string description = TextOf(json, "error_description");
  // Ids of the request follow in lines of their own.
  description.resize(std::min(description.find_first_of("\r\n"), description.size()));
  if (!description.empty()) reason += fmt::format(" ({})", http::Shown(description));
  return reason;
}

// 410: the service is being replaced, for a minute.
bool IsTemporary(int status) {
  return status == 410 || status == 429 || status >= 500;
}

class Chain {
 public:
  Chain(const Context& ctx, const TokenSources& sources) : ctx_(ctx), sources_(sources) {}

  Result<Token> Find();

 private:
  std::string Variable(std::string_view name) const { return sources_.environment(name); }
  Result<Token> FromTenant(const http::QueryParameters& proof) const;
  Result<Token> FromTokenFile(const std::string& path) const;
  Result<Token> FromAppService(const std::string& endpoint) const;
  Result<Token> FromMachine() const;
  Result<Token> Ask(const http::Request& request, std::string_view what) const;
  Result<Token> TokenOf(const http::Response& answer, std::string_view what) const;
  http::QueryParameters IdentityQuery(std::string_view version) const;

  const Context& ctx_;
  const TokenSources& sources_;
};

Result<Token> Chain::Ask(const http::Request& request, std::string_view what) const {
  const auto answer = LS_TRY(sources_.http->Do(ctx_, request, kMaxAnswerBytes), "{}", what);
  return TokenOf(answer, what);
}

Result<Token> Chain::TokenOf(const http::Response& answer, std::string_view what) const {
  if (answer.status == 200) {
    return LS_TRY(ParseToken(answer.body, sources_.clock->Now()), "{}", what);
  }
  const bool later =
      answer.status == 404 || answer.status == 410 || answer.status == 429 || answer.status >= 500;
  return Error(later ? ErrorCode::kUnavailable : ErrorCode::kDenied,
               fmt::format("{}: {}", what, Reason(answer)));
}

Result<Token> Chain::FromTenant(const http::QueryParameters& proof) const {
  std::string authority = Variable("AZURE_AUTHORITY_HOST");
  if (authority.empty()) authority = std::string(kPublicAuthority);
  while (authority.ends_with('/')) authority.pop_back();
  http::SplitUrl url;
  if (!http::ParseUrl(authority, url) ||
      (url.scheme != "https" && !http::IsThisMachine(url.host))) {
    return Error(ErrorCode::kInvalidArgument, "AZURE_AUTHORITY_HOST is not a URL of https");
  }
  http::QueryParameters form = proof;
  form.emplace_back("grant_type", "client_credentials");
  form.emplace_back("client_id", Variable("AZURE_CLIENT_ID"));
  form.emplace_back("scope", std::string(kResource) + "/.default");
  return Ask({.method = "POST",
              .url = fmt::format("{}/{}/oauth2/v2.0/token", authority,
                                 http::EscapeComponent(Variable("AZURE_TENANT_ID"))),
              .headers = {{"Content-Type", "application/x-www-form-urlencoded"},
                          {"Accept", "application/json"}},
              .body = std::make_shared<const std::string>(http::CanonicalQuery(form)),
              .timeouts = kTokenTimeouts},
             "token of AZURE_CLIENT_ID");
}

Result<Token> Chain::FromTokenFile(const std::string& path) const {
  if (Variable("AZURE_TENANT_ID").empty() || Variable("AZURE_CLIENT_ID").empty()) {
    return Error(ErrorCode::kDenied,
                 "AZURE_FEDERATED_TOKEN_FILE needs AZURE_TENANT_ID and AZURE_CLIENT_ID");
  }
  // Read each time: whoever gives it out replaces it.
  std::string assertion =
      LS_TRY(ReadSmallFile(*sources_.env, path, kMaxTokenFileBytes), "read {}", path);
  while (!assertion.empty() && (assertion.back() == '\n' || assertion.back() == '\r')) {
    assertion.pop_back();
  }
  return FromTenant(
      {{"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
       {"client_assertion", assertion}});
}

http::QueryParameters Chain::IdentityQuery(std::string_view version) const {
  http::QueryParameters query = {{"api-version", std::string(version)},
                                 {"resource", std::string(kResource)}};
  if (std::string client = Variable("AZURE_CLIENT_ID"); !client.empty()) {
    query.emplace_back("client_id", std::move(client));
  }
  return query;
}

Result<Token> Chain::FromAppService(const std::string& endpoint) const {
  return Ask({.url = endpoint + "?" + http::CanonicalQuery(IdentityQuery("2019-08-01")),
              .headers = {{"X-IDENTITY-HEADER", Variable("IDENTITY_HEADER")}},
              .timeouts = kLocalTimeouts,
              .use_proxy = false},
             "token of IDENTITY_ENDPOINT");
}

Result<Token> Chain::FromMachine() const {
  std::string origin = Variable("AZURE_POD_IDENTITY_AUTHORITY_HOST");
  if (origin.empty()) origin = std::string(kMetadataOrigin);
  while (origin.ends_with('/')) origin.pop_back();
  const http::Request request{.url = fmt::format("{}/metadata/identity/oauth2/token?{}", origin,
                                                 http::CanonicalQuery(IdentityQuery("2018-02-01"))),
                              .headers = {{"Metadata", "true"}},
                              .timeouts = kLocalTimeouts,
                              .use_proxy = false};
  const auto answer = sources_.http->Do(ctx_, request, kMaxAnswerBytes);
  LS_TRY(ctx_.Check());
  // 400: it has no such identity. Others: the service of another cloud, at the same address.
  if (answer.ok() && (answer.value().status == 200 || IsTemporary(answer.value().status))) {
    return TokenOf(answer.value(), "token of the machine");
  }
  return Error(ErrorCode::kDenied,
               fmt::format("no credentials: set account-key or sas-token, or AZURE_TENANT_ID, "
                           "AZURE_CLIENT_ID and AZURE_CLIENT_SECRET; this machine has no managed "
                           "identity either ({})",
                           answer.ok() ? Reason(answer.value()) : answer.error().message()));
}

Result<Token> Chain::Find() {
  const std::string secret = Variable("AZURE_CLIENT_SECRET");
  const bool has_client =
      !Variable("AZURE_TENANT_ID").empty() && !Variable("AZURE_CLIENT_ID").empty();
  if (has_client && !secret.empty()) return FromTenant({{"client_secret", secret}});
  if (const std::string file = Variable("AZURE_FEDERATED_TOKEN_FILE"); !file.empty()) {
    return FromTokenFile(file);
  }
  if (has_client && !Variable("AZURE_CLIENT_CERTIFICATE_PATH").empty()) {
    return Error(ErrorCode::kUnsupported,
                 "AZURE_CLIENT_CERTIFICATE_PATH is not supported; use AZURE_CLIENT_SECRET, "
                 "workload identity or a managed identity");
  }
  if (const std::string endpoint = Variable("IDENTITY_ENDPOINT"); !endpoint.empty()) {
    if (!Variable("IDENTITY_HEADER").empty()) return FromAppService(endpoint);
    return Error(ErrorCode::kUnsupported,
                 "IDENTITY_ENDPOINT without IDENTITY_HEADER (Azure Arc) is not supported; use "
                 "AZURE_CLIENT_SECRET, account-key or sas-token");
  }
  return FromMachine();
}

}  // namespace

Result<Token> FindToken(const Context& ctx, const TokenSources& sources) {
  return Chain(ctx, sources).Find();
}

Result<Token> ParseToken(std::string_view text, WallTime now) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Error(ErrorCode::kUnavailable, "the answer is not JSON");
  Token token{.secret = TextOf(json, "access_token"), .expires_at = std::nullopt};
  if (token.secret.empty() || token.secret.find_first_of(" \r\n\t") != std::string::npos) {
    return Error(ErrorCode::kUnavailable, "the answer has no access_token");
  }
  // expires_in is by any clock; expires_on is by theirs.
  if (const auto left = NumberOf(json, "expires_in"); left && *left > 0) {
    token.expires_at = now + std::chrono::seconds(std::min(*left, kLatestSeconds));
  } else if (const auto at = NumberOf(json, "expires_on"); at && *at > 0) {
    token.expires_at = WallTime(std::chrono::seconds(std::min(*at, kLatestSeconds)));
  } else {
    return Error(ErrorCode::kUnavailable, "the answer does not say when the token expires");
  }
  return token;
}

}  // namespace litestream::abs
