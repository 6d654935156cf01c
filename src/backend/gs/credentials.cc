#include "backend/gs/credentials.h"

#include <utility>

#include <fmt/core.h>

#include "backend/gs/gs_error.h"
#include "backend/gs/jwt.h"
#include "backend/gs/token_service.h"
#include "base/try.h"
#include "http/curl_error.h"
#include "http/date.h"
#include "http/digest.h"

namespace litestream::gs {
namespace {

constexpr std::string_view kTokenUrl = "https://oauth2.googleapis.com/token";
constexpr std::string_view kMetadataHost = "169.254.169.254";
constexpr std::chrono::seconds kClaimLife{3600};
constexpr int kMaxDepth = 3;  // Of credentials that others are made from.

Error Invalid(std::string message) {
  return {ErrorCode::kInvalidArgument, std::move(message)};
}

class Chain {
 public:
  Chain(const Context& ctx, const CredentialSources& sources) : service_(ctx, sources) {}

  Result<ExpiringToken> Find() const;

 private:
  std::string WellKnownFile() const;
  Result<ExpiringToken> FromFile(const std::string& path) const;
  Result<ExpiringToken> FromSpec(const http::JsonValue& spec, int depth) const;
  Result<ExpiringToken> FromServiceAccount(const http::JsonValue& spec) const;
  Result<ExpiringToken> FromRefreshToken(const http::JsonValue& spec, const std::string& url,
                                         bool basic) const;
  Result<ExpiringToken> FromMetadata() const;
  bool IsGoogleMachine() const;

  const TokenService service_;
};

// kInvalidArgument if one of them is not there.
Result<void> Require(const http::JsonValue& spec, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    if (spec.TextOf(name).empty()) return Invalid(fmt::format("it has no \"{}\"", name));
  }
  return {};
}

std::string Or(std::string text, std::string_view otherwise) {
  return text.empty() ? std::string(otherwise) : text;
}

Result<ExpiringToken> Chain::FromServiceAccount(const http::JsonValue& spec) const {
  LS_TRY(Require(spec, {"client_email", "private_key"}));
  const std::string url = Or(spec.TextOf("token_uri"), kTokenUrl);
  const std::string header = fmt::format(R"({{"alg":"RS256","typ":"JWT","kid":{}}})",
                                         http::JsonString(spec.TextOf("private_key_id")));
  std::chrono::milliseconds offset{0};  // The server's clock minus ours.
  for (int attempt = 1;; ++attempt) {
    const auto now = std::chrono::floor<std::chrono::seconds>(service_.Now() + offset);
    const std::string claims =
        fmt::format(R"({{"iss":{},"scope":{},"aud":{},"iat":{},"exp":{}}})",
                    http::JsonString(spec.TextOf("client_email")), http::JsonString(kStorageScopes),
                    http::JsonString(url), now.time_since_epoch().count(),
                    (now + kClaimLife).time_since_epoch().count());
    const std::string assertion = LS_TRY(SignJwt(spec.TextOf("private_key"), header, claims));
    const http::Request request = LS_TRY(service_.SecretForm(
        url,
        {{"grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"}, {"assertion", assertion}}));
    const auto answer = LS_TRY(service_.Send(request));
    if (answer.status < 300) return ParseToken(answer.body, service_.Now());
    const ServerError error = ParseServerError(answer);
    const WallTime server = http::ParseDate(http::HeaderValue(answer.headers, "date"));
    if (attempt == 1 && error.IsClockSkew() && server != WallTime()) {
      offset = server - service_.Now();
      continue;
    }
    return Describe(error, fmt::format("{}: POST {}", http::Shown(spec.TextOf("client_email")),
                                       http::PublicUrl(url)));
  }
}

Result<ExpiringToken> Chain::FromRefreshToken(const http::JsonValue& spec, const std::string& url,
                                              bool basic) const {
  LS_TRY(Require(spec, {"client_id", "client_secret", "refresh_token"}));
  http::QueryParameters form = {{"grant_type", "refresh_token"},
                                {"refresh_token", spec.TextOf("refresh_token")}};
  const std::string id = spec.TextOf("client_id");
  const std::string secret = spec.TextOf("client_secret");
  if (!basic) {
    form.emplace_back("client_id", id);
    form.emplace_back("client_secret", secret);
  }
  http::Request request = LS_TRY(service_.SecretForm(url, form));
  if (basic) {
    request.headers.push_back({"Authorization", "Basic " + http::Base64(id + ":" + secret)});
  }
  return ParseToken(LS_TRY(service_.Ask(request)).body, service_.Now());
}

Result<ExpiringToken> Chain::FromSpec(const http::JsonValue& spec, int depth) const {
  if (depth > kMaxDepth) return Invalid("source_credentials lead too deep");
  const std::string universe = spec.TextOf("universe_domain");
  if (!universe.empty() && universe != "googleapis.com") {
    return Error(ErrorCode::kUnsupported,
                 fmt::format("universe_domain {} is not supported", http::Shown(universe)));
  }
  const std::string type = spec.TextOf("type");
  if (type == "service_account") return FromServiceAccount(spec);
  if (type == "authorized_user") {
    return FromRefreshToken(spec, Or(spec.TextOf("token_uri"), kTokenUrl), /*basic=*/false);
  }
  if (type == "external_account_authorized_user") {
    return FromRefreshToken(
        spec, Or(spec.TextOf("token_url"), "https://sts.googleapis.com/v1/oauthtoken"),
        /*basic=*/true);
  }
  if (type == "external_account") return FromExternalAccount(service_, spec);
  if (type == "impersonated_service_account") {
    LS_TRY(Require(spec, {"service_account_impersonation_url"}));
    const http::JsonValue* const source = spec.Find("source_credentials");
    if (source == nullptr) return Invalid("it has no \"source_credentials\"");
    const ExpiringToken token = LS_TRY(FromSpec(*source, depth + 1), "source_credentials");
    return service_.Impersonate(spec.TextOf("service_account_impersonation_url"), token.secret,
                                spec);
  }
  return Error(
      ErrorCode::kUnsupported,
      fmt::format("type \"{}\" is not supported; use the key of a service account, "
                  "`gcloud auth application-default login`, or workload identity federation",
                  http::Shown(type)));
}

Result<ExpiringToken> Chain::FromFile(const std::string& path) const {
  const std::string text = LS_TRY(service_.ReadText(path), "credentials");
  const auto spec = http::ParseJson(text);
  if (!spec.ok() || spec.value().kind != http::JsonValue::Kind::kObject) {
    return Invalid(fmt::format("credentials {}: no JSON object", path));
  }
  ExpiringToken token = LS_TRY(FromSpec(spec.value(), 0), "credentials {}", path);
  token.secret.user_project =
      Or(service_.Variable("GOOGLE_CLOUD_QUOTA_PROJECT"), spec.value().TextOf("quota_project_id"));
  return token;
}

std::string Chain::WellKnownFile() const {
  std::string folder = service_.Variable("CLOUDSDK_CONFIG");
  if (folder.empty()) {
    const std::string home = service_.Variable("HOME");
    if (home.empty()) return {};
    folder = home + "/.config/gcloud";
  }
  return folder + "/application_default_credentials.json";
}

Result<ExpiringToken> Chain::FromMetadata() const {
  const std::string host = Or(service_.Variable("GCE_METADATA_HOST"), kMetadataHost);
  const http::Request request{
      .url =
          fmt::format("http://{}/computeMetadata/v1/instance/service-accounts/default/token", host),
      .headers = {{"Metadata-Flavor", "Google"}},
      .tls = {},
      .timeouts = kLocalTimeouts,
      .use_proxy = false};
  const auto answer = LS_TRY(service_.Send(request), "metadata server");
  if (http::HeaderValue(answer.headers, "metadata-flavor") != "Google") {
    return Error(ErrorCode::kDenied, fmt::format("{} is no metadata server of Google", host));
  }
  if (answer.status == 404) {
    return Error(ErrorCode::kDenied, "metadata server: this machine has no service account");
  }
  if (answer.status >= 300) {
    return Describe(ParseServerError(answer), "metadata server: service account of this machine");
  }
  ExpiringToken token = LS_TRY(ParseToken(answer.body, service_.Now()), "metadata server");
  token.secret.user_project = service_.Variable("GOOGLE_CLOUD_QUOTA_PROJECT");
  return token;
}

// One whose metadata server may just be slow to start.
bool Chain::IsGoogleMachine() const {
  const auto product = service_.ReadText("/sys/class/dmi/id/product_name");
  return product.ok() && product.value().starts_with("Google");
}

Result<ExpiringToken> Chain::Find() const {
  const std::string file = service_.Variable("GOOGLE_APPLICATION_CREDENTIALS");
  if (!file.empty()) return FromFile(file);
  const std::string well_known = WellKnownFile();
  if (!well_known.empty() && LS_TRY(Exists(*service_.sources().env, well_known))) {
    return FromFile(well_known);
  }
  std::string last = "NO_GCE_CHECK is set";
  if (http::LowerCase(service_.Variable("NO_GCE_CHECK")) != "true") {
    auto found = FromMetadata();
    if (found.ok() || found.error().Is(ErrorCode::kCancelled)) return found;
    const bool must_be_there = !service_.Variable("GCE_METADATA_HOST").empty() || IsGoogleMachine();
    if (must_be_there) return found;
    last = found.error().message();
  }
  return Error(ErrorCode::kDenied,
               fmt::format("no credentials: set GOOGLE_APPLICATION_CREDENTIALS to the file of a "
                           "service account, or run `gcloud auth application-default login`; this "
                           "is no machine of Google with a service account either ({})",
                           last));
}

}  // namespace

Result<ExpiringToken> FindToken(const Context& ctx, const CredentialSources& sources) {
  auto found = Chain(ctx, sources).Find();
  // A file or a service that is not there is no object that is not there.
  if (!found.ok() && found.error().Is(ErrorCode::kNotFound)) {
    return Error(ErrorCode::kDenied, found.error().message());
  }
  return found;
}

}  // namespace litestream::gs
