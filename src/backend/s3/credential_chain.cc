#include <array>
#include <utility>

#include <fmt/core.h>

#include "backend/s3/credentials.h"
#include "backend/s3/s3_error.h"
#include "base/try.h"
#include "http/digest.h"
#include "http/uri.h"

namespace litestream::s3 {
namespace {

constexpr int kMaxProfiles = 5;  // That one names as the source of another.
constexpr std::string_view kEcsOrigin = "http://169.254.170.2";
constexpr std::string_view kEc2Origin = "http://169.254.169.254";

using Profile = std::map<std::string, std::string>;

std::string ValueOf(const Profile& profile, std::string_view name) {
  const auto found = profile.find(std::string(name));
  return found == profile.end() ? "" : found->second;
}

bool IsTrue(const std::string& text) {
  return http::LowerCase(text) == "true";
}

struct Role {
  std::string arn;
  std::string session_name;
  std::string external_id;
  std::string duration_seconds;
  std::string token_file;
};

class Chain {
 public:
  Chain(const Context& ctx, const CredentialSources& sources) : ctx_(ctx), sources_(sources) {}

  Result<Credentials> Find();

 private:
  std::string Variable(std::string_view name) const { return sources_.environment(name); }
  std::string FirstOf(std::initializer_list<std::string_view> names) const;
  Result<std::string> ReadText(const std::string& path) const;
  std::string AwsFile(std::string_view variable, std::string_view name) const;
  std::string Region(const Profile& profile) const;

  std::optional<Credentials> FromEnvironment() const;
  Result<Profile> LoadProfile(const std::string& name) const;
  Result<std::optional<Credentials>> FromProfile(const std::string& name, int depth) const;
  Result<std::optional<Credentials>> BaseOfProfile(const std::string& name, const Profile& profile,
                                                   int depth) const;
  Result<Credentials> AssumeRole(const Role& role, const http::SigningKeys* keys,
                                 const std::string& region) const;
  Result<Credentials> FromContainer() const;
  Result<Credentials> FromEc2() const;

  const Context& ctx_;
  const CredentialSources& sources_;
};

std::string Chain::FirstOf(std::initializer_list<std::string_view> names) const {
  for (const std::string_view name : names) {
    if (std::string value = Variable(name); !value.empty()) return value;
  }
  return {};
}

Result<std::string> Chain::ReadText(const std::string& path) const {
  return cloud::ReadToken(*sources_.env, path);
}

std::string Chain::AwsFile(std::string_view variable, std::string_view name) const {
  std::string path = Variable(variable);
  const std::string home = Variable("HOME");
  if (path.empty()) return home.empty() ? "" : fmt::format("{}/.aws/{}", home, name);
  if (path.starts_with("~/")) path = home + path.substr(1);
  return path;
}

std::string Chain::Region(const Profile& profile) const {
  std::string region = FirstOf({"AWS_REGION", "AWS_DEFAULT_REGION"});
  if (region.empty()) region = ValueOf(profile, "region");
  if (region.empty()) region = sources_.region;
  return region.empty() ? "us-east-1" : region;
}

std::optional<Credentials> Chain::FromEnvironment() const {
  const std::string id = FirstOf({"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"});
  const std::string secret = FirstOf({"AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"});
  if (!id.empty() && !secret.empty()) {
    return Credentials{.secret = {id, secret, Variable("AWS_SESSION_TOKEN")}};
  }
  const std::string our_id = Variable("LITESTREAM_ACCESS_KEY_ID");
  const std::string our_secret = Variable("LITESTREAM_SECRET_ACCESS_KEY");
  if (our_id.empty() || our_secret.empty()) return std::nullopt;
  return Credentials{.secret = {our_id, our_secret, ""}};
}

Result<Profile> Chain::LoadProfile(const std::string& name) const {
  Profile profile;
  const std::string config = AwsFile("AWS_CONFIG_FILE", "config");
  const std::string credentials = AwsFile("AWS_SHARED_CREDENTIALS_FILE", "credentials");
  const std::string config_section = name == "default" ? name : "profile " + name;
  const std::pair<const std::string&, const std::string&> places[] = {{config, config_section},
                                                                      {credentials, name}};
  for (const auto& [path, section] : places) {
    if (path.empty() || !LS_TRY(Exists(*sources_.env, path))) continue;
    for (auto& [key, value] : IniSection(LS_TRY(ReadText(path)), section)) profile[key] = value;
  }
  return profile;
}

Result<std::optional<Credentials>> Chain::BaseOfProfile(const std::string& name,
                                                        const Profile& profile, int depth) const {
  const std::string source = ValueOf(profile, "source_profile");
  if (!source.empty() && source != name) return FromProfile(source, depth + 1);
  const std::string id = ValueOf(profile, "aws_access_key_id");
  const std::string secret = ValueOf(profile, "aws_secret_access_key");
  if (!id.empty() && !secret.empty()) {
    return std::optional(
        Credentials{.secret = {id, secret, ValueOf(profile, "aws_session_token")}});
  }
  const std::string from = ValueOf(profile, "credential_source");
  if (from == "Environment") return FromEnvironment();
  if (from == "Ec2InstanceMetadata") return std::optional(LS_TRY(FromEc2()));
  if (from == "EcsContainer") return std::optional(LS_TRY(FromContainer()));
  for (const std::string_view key : {"credential_process", "sso_start_url", "sso_session"}) {
    if (ValueOf(profile, key).empty()) continue;
    return Error(ErrorCode::kUnsupported,
                 fmt::format("AWS profile {}: {} is not supported; use keys, a role with a "
                             "source_profile, or a web identity token",
                             name, key));
  }
  return std::optional<Credentials>();
}

Result<std::optional<Credentials>> Chain::FromProfile(const std::string& name, int depth) const {
  if (depth > kMaxProfiles) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("AWS profile {}: source_profile leads around in a circle", name));
  }
  const Profile profile = LS_TRY(LoadProfile(name), "AWS profile {}", name);
  const Role role{.arn = ValueOf(profile, "role_arn"),
                  .session_name = ValueOf(profile, "role_session_name"),
                  .external_id = ValueOf(profile, "external_id"),
                  .duration_seconds = ValueOf(profile, "duration_seconds"),
                  .token_file = ValueOf(profile, "web_identity_token_file")};
  if (!role.arn.empty() && !role.token_file.empty()) {
    return std::optional(
        LS_TRY(AssumeRole(role, nullptr, Region(profile)), "AWS profile {}", name));
  }
  auto base = LS_TRY(BaseOfProfile(name, profile, depth));
  if (role.arn.empty()) return base;
  if (!base) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("AWS profile {}: role_arn needs a source_profile with keys, a "
                             "credential_source or a web_identity_token_file",
                             name));
  }
  return std::optional(
      LS_TRY(AssumeRole(role, &base->secret, Region(profile)), "AWS profile {}", name));
}

Result<Credentials> Chain::AssumeRole(const Role& role, const http::SigningKeys* keys,
                                      const std::string& region) const {
  std::string url = Variable("AWS_ENDPOINT_URL_STS");
  if (url.empty()) {
    url = fmt::format("https://sts.{}.amazonaws.com{}/", region,
                      region.starts_with("cn-") ? ".cn" : "");
  }
  http::SplitUrl parts;
  if (!http::ParseUrl(url, parts)) {
    return Error(ErrorCode::kInvalidArgument, "AWS_ENDPOINT_URL_STS is not a URL of http or https");
  }
  if (parts.path.empty()) url += "/";
  http::QueryParameters form = {
      {"Action", keys == nullptr ? "AssumeRoleWithWebIdentity" : "AssumeRole"},
      {"Version", "2011-06-15"},
      {"RoleArn", role.arn},
      {"RoleSessionName", role.session_name.empty() ? "litestream" : role.session_name}};
  if (!role.external_id.empty()) form.emplace_back("ExternalId", role.external_id);
  if (!role.duration_seconds.empty()) form.emplace_back("DurationSeconds", role.duration_seconds);
  if (keys == nullptr) {
    // Read each time: whoever gives it out replaces it.
    form.emplace_back("WebIdentityToken", LS_TRY(ReadText(role.token_file)));
  }
  const auto body = std::make_shared<const std::string>(http::CanonicalQuery(form));
  http::Request request{.method = "POST",
                        .url = url,
                        .headers = {{"Content-Type", "application/x-www-form-urlencoded"}},
                        .body = body};
  if (keys != nullptr) {
    const http::SigV4Input input{.method = "POST",
                                 .host = http::HostHeader(parts),
                                 .escaped_path = parts.path,
                                 .headers = request.headers,
                                 .payload_hash = http::Hex(http::Sha256(*body)),
                                 .time = sources_.clock->Now(),
                                 .region = region,
                                 .service = "sts"};
    for (http::Header& header : http::SignV4(input, *keys)) request.headers.push_back(header);
  }
  const auto answer = LS_TRY(sources_.http->Do(ctx_, request, cloud::kMaxKeysBytes));
  if (answer.status != 200) {
    return Describe(ParseServerError(answer), fmt::format("assume role {}", role.arn), "");
  }
  return ParseStsCredentials(answer.body);
}

Result<Credentials> Chain::FromContainer() const {
  std::string url = Variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  if (const std::string path = Variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); !path.empty()) {
    url = std::string(kEcsOrigin) + path;
  }
  http::SplitUrl parts;
  if (!http::ParseUrl(url.substr(0, url.find('?')), parts)) {
    return Error(ErrorCode::kInvalidArgument,
                 "AWS_CONTAINER_CREDENTIALS_FULL_URI is not a URL of http or https");
  }
  const bool near = http::IsThisMachine(parts.host) || parts.host == "169.254.170.2" ||
                    parts.host == "169.254.170.23" || parts.host == "fd00:ec2::23";
  if (parts.scheme == "http" && !near) {
    return Error(ErrorCode::kDenied,
                 fmt::format("AWS_CONTAINER_CREDENTIALS_FULL_URI: http only goes to this machine, "
                             "not to {}",
                             parts.host));
  }
  std::string token = Variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
  if (const std::string file = Variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); !file.empty()) {
    token = LS_TRY(ReadText(file));
  }
  http::Headers headers = {{"Accept", "application/json"}};
  if (!token.empty()) headers.push_back({"Authorization", token});
  const http::Request request{
      .url = url, .headers = headers, .timeouts = cloud::kLocalTimeouts, .use_proxy = false};
  const auto answer =
      LS_TRY(sources_.http->Do(ctx_, request, cloud::kMaxKeysBytes), "container credentials");
  if (answer.status != 200) {
    return Error(ErrorCode::kDenied,
                 fmt::format("container credentials: the service says {}", answer.status));
  }
  return cloud::ParseJsonKeys(answer.body, cloud::kAwsNames);
}

Result<Credentials> Chain::FromEc2() const {
  std::string origin = Variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
  if (origin.empty()) origin = std::string(kEc2Origin);
  while (origin.ends_with('/')) origin.pop_back();
  const cloud::MetadataService service{
      .name = "EC2 metadata",
      .origin = origin,
      .token_header = "X-aws-ec2-metadata-token",
      .roles_path = "/latest/meta-data/iam/security-credentials/",
      .role = {},
      .needs_token = IsTrue(Variable("AWS_EC2_METADATA_V1_DISABLED"))};
  return cloud::ParseJsonKeys(LS_TRY(cloud::AskForRoleKeys(ctx_, *sources_.http, service)),
                              cloud::kAwsNames);
}

Result<Credentials> Chain::Find() {
  if (auto found = FromEnvironment()) return *found;
  const Role role{.arn = Variable("AWS_ROLE_ARN"),
                  .session_name = Variable("AWS_ROLE_SESSION_NAME"),
                  .external_id = {},
                  .duration_seconds = {},
                  .token_file = Variable("AWS_WEB_IDENTITY_TOKEN_FILE")};
  if (!role.arn.empty() && !role.token_file.empty()) return AssumeRole(role, nullptr, Region({}));
  std::string profile = FirstOf({"AWS_PROFILE", "AWS_DEFAULT_PROFILE"});
  const bool named = !profile.empty();
  if (!named) profile = "default";
  if (auto found = LS_TRY(FromProfile(profile, 0))) return *found;
  if (named) {
    return Error(ErrorCode::kDenied, fmt::format("AWS profile {} has no credentials", profile));
  }
  if (!FirstOf({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"})
           .empty()) {
    return FromContainer();
  }
  return cloud::KeysOfMachine(
      IsTrue(Variable("AWS_EC2_METADATA_DISABLED")),
      "set access-key-id and secret-access-key, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
      "there is no profile, no role of a container or machine either",
      [this] { return FromEc2(); });
}

}  // namespace

Result<Credentials> FindCredentials(const Context& ctx, const CredentialSources& sources) {
  return Chain(ctx, sources).Find();
}

}  // namespace litestream::s3
