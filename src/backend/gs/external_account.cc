#include <fmt/core.h>

#include "backend/gs/gs_error.h"
#include "backend/gs/token_service.h"
#include "base/try.h"
#include "http/curl_error.h"
#include "http/digest.h"

namespace litestream::gs {
namespace {

constexpr std::string_view kStsUrl = "https://sts.googleapis.com/v1/token";

Error Invalid(std::string message) {
  return {ErrorCode::kInvalidArgument, std::move(message)};
}

http::Headers HeadersOf(const http::JsonValue& source) {
  http::Headers headers;
  const http::JsonValue* const given = source.Find("headers");
  if (given == nullptr || given->kind != http::JsonValue::Kind::kObject) return headers;
  for (std::size_t i = 0; i < given->names.size(); ++i) {
    headers.push_back({given->names[i], given->children[i].text});
  }
  return headers;
}

// Who gave it out replaces what a file holds: it is read each time.
Result<std::string> SubjectToken(const TokenService& service, const http::JsonValue& source,
                                 const std::string& audience) {
  if (source.TextOf("environment_id").starts_with("aws")) {
    return AwsSubjectToken(service, source, audience);
  }
  const std::string file = source.TextOf("file");
  const std::string url = source.TextOf("url");
  std::string text;
  if (!file.empty()) {
    text = LS_TRY(service.ReadText(file));
  } else if (!url.empty()) {
    text =
        LS_TRY(
            service.Ask(
                {.url = url, .headers = HeadersOf(source), .tls = {}, .timeouts = kLocalTimeouts}))
            .body;
  } else {
    return Error(ErrorCode::kUnsupported, "only `file`, `url` and AWS are supported");
  }
  const http::JsonValue* const format = source.Find("format");
  if (format != nullptr && format->TextOf("type") == "json") {
    const std::string field = format->TextOf("subject_token_field_name");
    const auto parsed = http::ParseJson(text);
    text = parsed.ok() ? parsed.value().TextOf(field) : "";
    if (text.empty()) {
      return Invalid(fmt::format("{} has no text \"{}\"",
                                 file.empty() ? http::PublicUrl(url) : file, http::Shown(field)));
    }
  }
  if (text.empty()) return Invalid("the token is empty");
  return text;
}

}  // namespace

Result<ExpiringToken> FromExternalAccount(const TokenService& service,
                                          const http::JsonValue& spec) {
  const http::JsonValue* const source = spec.Find("credential_source");
  const std::string audience = spec.TextOf("audience");
  const std::string kind = spec.TextOf("subject_token_type");
  if (source == nullptr || audience.empty() || kind.empty()) {
    return Invalid("it needs \"audience\", \"subject_token_type\" and \"credential_source\"");
  }
  const std::string impersonation = spec.TextOf("service_account_impersonation_url");
  const std::string id = spec.TextOf("client_id");
  http::QueryParameters form = {
      {"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"},
      {"audience", audience},
      {"scope", std::string(impersonation.empty() ? kStorageScopes : kCloudScope)},
      {"requested_token_type", "urn:ietf:params:oauth:token-type:access_token"},
      {"subject_token_type", kind},
      {"subject_token", LS_TRY(SubjectToken(service, *source, audience), "credential_source")}};
  const std::string project = spec.TextOf("workforce_pool_user_project");
  if (!project.empty() && id.empty()) {
    form.emplace_back("options", fmt::format(R"({{"userProject":{}}})", http::JsonString(project)));
  }
  std::string url = spec.TextOf("token_url");
  if (url.empty()) url = kStsUrl;
  http::Request request = LS_TRY(service.SecretForm(url, form), "token_url");
  if (!id.empty()) {
    request.headers.push_back(
        {"Authorization", "Basic " + http::Base64(id + ":" + spec.TextOf("client_secret"))});
  }
  const auto answer = LS_TRY(service.Ask(request));
  ExpiringToken token = LS_TRY(ParseToken(answer.body, service.Now()));
  if (impersonation.empty()) return token;
  return service.Impersonate(impersonation, token.secret, spec);
}

}  // namespace litestream::gs
