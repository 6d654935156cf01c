#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/env.h"
#include "cloud/temporary_keys.h"

namespace litestream::oss {

using Credentials = cloud::TemporaryKeys;
using CredentialCache = cloud::CredentialCache<http::SigningKeys>;

// Where credentials come from, besides the configuration.
struct CredentialSources {
  // Value of an environment variable; "" if unset.
  std::function<std::string(std::string_view name)> environment;
  Env* env = &Env::Real();             // For files.
  std::shared_ptr<http::Client> http;  // Shared with all who make requests.
  std::string metadata_origin = "http://100.100.100.200";
  std::string sts_origin;  // Empty: Alibaba Cloud's.
  const Clock* clock = &Clock::Real();
};

// One look for credentials, in this order; the first place that has something is taken, and an
// error there is an error:
//   1. OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, OSS_SESSION_TOKEN
//   2. ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET,
//      ALIBABA_CLOUD_SECURITY_TOKEN
//   3. ALIBABA_CLOUD_OIDC_TOKEN_FILE, ALIBABA_CLOUD_OIDC_PROVIDER_ARN and ALIBABA_CLOUD_ROLE_ARN:
//      the role of a Kubernetes service account (RRSA), from STS
//   4. the RAM role of the machine, from the metadata service of ECS, version 2 and where there is
//      none 1; ALIBABA_CLOUD_ECS_METADATA names it, ALIBABA_CLOUD_ECS_METADATA_DISABLED=true
//      switches it off
// kDenied if there are none.
Result<Credentials> FindCredentials(const Context& ctx, const CredentialSources& sources);

}  // namespace litestream::oss
