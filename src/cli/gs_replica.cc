#include "cli/gs_replica.h"

#include <algorithm>

#include "backend/gs/gs_client.h"
#include "cli/http_client.h"
#include "config/env_expand.h"
#include "http/uri.h"

namespace litestream::cli {
namespace {

constexpr std::chrono::milliseconds kMinStallTimeout{100};

// Scheme and authority of what a variable holds, which may have a path behind it.
std::string OriginOf(std::string text, std::string_view scheme) {
  if (text.empty()) return text;
  if (text.find("://") == std::string::npos) text.insert(0, scheme);
  http::SplitUrl url;
  return http::ParseUrl(text, url) ? url.scheme + "://" + url.authority : text;
}

gs::Options OptionsOf(const config::ReplicaConfig& replica) {
  gs::Options options{.bucket = replica.bucket, .path = replica.path};
  options.endpoint = OriginOf(config::LookupEnvironment("STORAGE_EMULATOR_HOST"), "http://");
  options.anonymous = !options.endpoint.empty();
  if (!options.anonymous) {
    options.endpoint =
        OriginOf(config::LookupEnvironment("CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"), "https://");
  }
  if (replica.stall_timeout) {
    options.stall_timeout = std::max(
        kMinStallTimeout, std::chrono::ceil<std::chrono::milliseconds>(*replica.stall_timeout));
  }
  return options;
}

}  // namespace

Result<std::unique_ptr<ReplicaClient>> MakeGsReplica(const config::ReplicaConfig& replica) {
  // Shared with sources that clients have opened.
  static const auto shared = std::make_shared<gs::Shared>(
      SharedHttpClient(), gs::CredentialSources{.environment = config::LookupEnvironment});
  return MakeGsClient(OptionsOf(replica), shared);
}

}  // namespace litestream::cli
