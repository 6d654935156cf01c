#include "backend/oss/credentials.h"

#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "format/names.h"
#include "http/curl_error.h"
#include "http/uri.h"

namespace litestream::oss {
namespace {

bool IsTrue(const std::string& text) {
  return http::LowerCase(text) == "true" || text == "1";
}

class Chain {
 public:
  Chain(const Context& ctx, const CredentialSources& sources) : ctx_(ctx), sources_(sources) {}
  Result<Credentials> Find();

 private:
  std::string Variable(std::string_view name) const { return sources_.environment(name); }
  std::optional<Credentials> FromVariables(std::string_view id, std::string_view secret,
                                           std::string_view token) const;
  std::string StsOrigin() const;
  Result<Credentials> FromOidc(const std::string& token_file) const;
  Result<Credentials> FromMachine() const;

  const Context& ctx_;
  const CredentialSources& sources_;
};

std::optional<Credentials> Chain::FromVariables(std::string_view id, std::string_view secret,
                                                std::string_view token) const {
  Credentials found{.secret = {Variable(id), Variable(secret), Variable(token)}};
  if (found.secret.access_key_id.empty() || found.secret.secret_access_key.empty()) {
    return std::nullopt;
  }
  return found;
}

std::string Chain::StsOrigin() const {
  if (!sources_.sts_origin.empty()) return sources_.sts_origin;
  const std::string region = Variable("ALIBABA_CLOUD_STS_REGION");
  if (region.empty()) return "https://sts.aliyuncs.com";
  return fmt::format("https://sts{}.{}.aliyuncs.com",
                     IsTrue(Variable("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED")) ? "-vpc" : "", region);
}

// alibabacloud.com/help/en/ram/developer-reference/api-sts-2015-04-01-assumerolewithoidc: the token
// is all that proves who asks, the request is not signed.
Result<Credentials> Chain::FromOidc(const std::string& token_file) const {
  const std::string role = Variable("ALIBABA_CLOUD_ROLE_ARN");
  const std::string provider = Variable("ALIBABA_CLOUD_OIDC_PROVIDER_ARN");
  if (role.empty() || provider.empty()) {
    return Error(ErrorCode::kInvalidArgument,
                 "ALIBABA_CLOUD_OIDC_TOKEN_FILE is set; ALIBABA_CLOUD_ROLE_ARN and "
                 "ALIBABA_CLOUD_OIDC_PROVIDER_ARN belong to it");
  }
  // Read each time: whoever gives it out replaces it.
  const std::string token = LS_TRY(cloud::ReadToken(*sources_.env, token_file));
  const std::string session = Variable("ALIBABA_CLOUD_ROLE_SESSION_NAME");
  const http::QueryParameters form = {
      {"Action", "AssumeRoleWithOIDC"},
      {"Version", "2015-04-01"},
      {"Format", "JSON"},
      {"Timestamp", FormatTimestampSeconds(sources_.clock->Now())},
      {"RoleArn", role},
      {"OIDCProviderArn", provider},
      {"OIDCToken", token},
      {"RoleSessionName", session.empty() ? "litestream" : session}};
  const http::Request request{
      .method = "POST",
      .url = StsOrigin() + "/",
      .headers = {{"Content-Type", "application/x-www-form-urlencoded"},
                  {"Accept", "application/json"}},
      .body = std::make_shared<const std::string>(http::CanonicalQuery(form))};
  const auto answer = LS_TRY(sources_.http->Do(ctx_, request, cloud::kMaxKeysBytes));
  const std::string doing = fmt::format("assume role {}", role);
  auto keys = cloud::ParseJsonKeys(answer.body, cloud::kAlibabaNames);
  if (answer.status == 200) return LS_TRY(std::move(keys), "{}", doing);
  // What STS says is in the same place; what it means, the status tells.
  return Error(http::CodeOfStatus(answer.status),
               keys.ok() ? fmt::format("STS says {}", answer.status) : keys.error().message())
      .Wrap(doing);
}

Result<Credentials> Chain::FromMachine() const {
  const cloud::MetadataService service{
      .name = "ECS metadata",
      .origin = sources_.metadata_origin,
      .token_header = "X-aliyun-ecs-metadata-token",
      .roles_path = "/latest/meta-data/ram/security-credentials/",
      .role = Variable("ALIBABA_CLOUD_ECS_METADATA"),
      .needs_token = IsTrue(Variable("ALIBABA_CLOUD_IMDSV1_DISABLED"))};
  return cloud::ParseJsonKeys(LS_TRY(cloud::AskForRoleKeys(ctx_, *sources_.http, service)),
                              cloud::kAlibabaNames);
}

Result<Credentials> Chain::Find() {
  if (auto found =
          FromVariables("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN")) {
    return *std::move(found);
  }
  if (auto found = FromVariables("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
                                 "ALIBABA_CLOUD_SECURITY_TOKEN")) {
    return *std::move(found);
  }
  const std::string token_file = Variable("ALIBABA_CLOUD_OIDC_TOKEN_FILE");
  if (!token_file.empty()) return FromOidc(token_file);
  return cloud::KeysOfMachine(
      IsTrue(Variable("ALIBABA_CLOUD_ECS_METADATA_DISABLED")),
      "set access-key-id and secret-access-key, or OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET; "
      "there is no token of a service account, no RAM role of the machine either",
      [this] { return FromMachine(); });
}

}  // namespace

Result<Credentials> FindCredentials(const Context& ctx, const CredentialSources& sources) {
  return Chain(ctx, sources).Find();
}

}  // namespace litestream::oss
