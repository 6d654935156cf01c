#include <utility>

#include <fmt/core.h>

#include "backend/gs/token_service.h"
#include "base/try.h"
#include "http/digest.h"
#include "http/sigv4.h"

namespace litestream::gs {
namespace {

Error Invalid(std::string message) {
  return {ErrorCode::kInvalidArgument, std::move(message)};
}

// The metadata service of EC2, as a file of type external_account says where it is.
class Ec2 {
 public:
  Ec2(const TokenService& service, const http::JsonValue& source)
      : service_(service), source_(source) {}

  Result<std::string> Region();
  Result<http::SigningKeys> Keys();

 private:
  Result<std::string> Get(const std::string& url);

  const TokenService& service_;
  const http::JsonValue& source_;
  std::string session_;  // IMDSv2
};

Result<std::string> Ec2::Get(const std::string& url) {
  const std::string session_url = source_.TextOf("imdsv2_session_token_url");
  if (session_.empty() && !session_url.empty()) {
    session_ = LS_TRY(service_.Ask({.method = "PUT",
                                    .url = session_url,
                                    .headers = {{"X-aws-ec2-metadata-token-ttl-seconds", "300"}},
                                    .body = std::make_shared<const std::string>(),
                                    .tls = {},
                                    .timeouts = kLocalTimeouts,
                                    .use_proxy = false}))
                   .body;
  }
  http::Request request{
      .url = url, .headers = {}, .tls = {}, .timeouts = kLocalTimeouts, .use_proxy = false};
  if (!session_.empty()) request.headers.push_back({"X-aws-ec2-metadata-token", session_});
  return LS_TRY(service_.Ask(request)).body;
}

Result<std::string> Ec2::Region() {
  for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
    std::string region = service_.Variable(name);
    if (!region.empty()) return region;
  }
  const std::string url = source_.TextOf("region_url");
  if (url.empty()) return Invalid("set AWS_REGION, or region_url");
  std::string zone = LS_TRY(Get(url));  // "us-east-1b"
  if (!zone.empty()) zone.pop_back();
  return zone;
}

Result<http::SigningKeys> Ec2::Keys() {
  http::SigningKeys keys{service_.Variable("AWS_ACCESS_KEY_ID"),
                         service_.Variable("AWS_SECRET_ACCESS_KEY"),
                         service_.Variable("AWS_SESSION_TOKEN")};
  if (!keys.access_key_id.empty() && !keys.secret_access_key.empty()) return keys;
  const std::string url = source_.TextOf("url");
  if (url.empty()) return Invalid("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or url");
  std::string role = LS_TRY(Get(url));
  role.resize(std::min(role.find_first_of("\r\n"), role.size()));
  const auto parsed = http::ParseJson(LS_TRY(Get(url + "/" + http::EscapeComponent(role))));
  if (parsed.ok()) {
    keys = {parsed.value().TextOf("AccessKeyId"), parsed.value().TextOf("SecretAccessKey"),
            parsed.value().TextOf("Token")};
  }
  if (keys.access_key_id.empty() || keys.secret_access_key.empty()) {
    return Error(ErrorCode::kUnavailable, "the metadata service of AWS gives no keys");
  }
  return keys;
}

}  // namespace

Result<std::string> AwsSubjectToken(const TokenService& service, const http::JsonValue& source,
                                    const std::string& audience) {
  if (source.TextOf("environment_id") != "aws1")
    return Invalid("only environment_id aws1 is known");
  Ec2 ec2(service, source);
  const std::string region = LS_TRY(ec2.Region());
  const http::SigningKeys keys = LS_TRY(ec2.Keys());
  std::string url = source.TextOf("regional_cred_verification_url");
  if (url.empty()) {
    url = "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15";
  }
  constexpr std::string_view kRegion = "{region}";
  const std::size_t at = url.find(kRegion);
  if (at != std::string::npos) url.replace(at, kRegion.size(), region);
  const std::size_t mark = std::min(url.find('?'), url.size());
  http::SplitUrl parts;
  if (!http::ParseUrl(url.substr(0, mark), parts)) {
    return Invalid("regional_cred_verification_url is no URL of http or https");
  }
  http::QueryParameters query;
  for (std::size_t begin = mark + 1; begin < url.size();) {
    const std::size_t end = std::min(url.find('&', begin), url.size());
    const std::string part = url.substr(begin, end - begin);
    const std::size_t equals = std::min(part.find('='), part.size());
    query.emplace_back(part.substr(0, equals), equals < part.size() ? part.substr(equals + 1) : "");
    begin = end + 1;
  }
  const http::Headers target = {{"x-goog-cloud-target-resource", audience}};
  const http::SigV4Input input{.method = "POST",
                               .host = http::HostHeader(parts),
                               .escaped_path = parts.path.empty() ? "/" : parts.path,
                               .query = query,
                               .headers = target,
                               .payload_hash = http::Hex(http::Sha256("")),
                               .time = service.Now(),
                               .region = region,
                               .service = "sts"};
  http::Headers headers = http::SignV4(input, keys);
  headers.push_back({"host", input.host});
  headers.push_back(target.front());
  std::string list;
  for (const http::Header& header : headers) {
    list += fmt::format(R"({}{{"key":{},"value":{}}})", list.empty() ? "" : ",",
                        http::JsonString(header.name), http::JsonString(header.value));
  }
  return http::EscapeComponent(
      fmt::format(R"({{"url":{},"method":"POST","headers":[{}]}})", http::JsonString(url), list));
}

}  // namespace litestream::gs
