#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/env.h"
#include "cloud/temporary_keys.h"
#include "http/client.h"
#include "http/sigv4.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream::s3 {

using Credentials = cloud::TemporaryKeys;
using CredentialCache = cloud::CredentialCache<http::SigningKeys>;

// Where credentials come from, besides the configuration.
struct CredentialSources {
  // Value of an environment variable; "" if unset.
  std::function<std::string(std::string_view name)> environment;
  Env* env = &Env::Real();             // For files.
  std::shared_ptr<http::Client> http;  // Shared with all who make requests.
  std::string region;                  // For STS, where the environment says none.
  const Clock* clock = &Clock::Real();
};

// One look for credentials, in this order; the first place that has something is taken, and an
// error there is an error:
//   1. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (also AWS_ACCESS_KEY, AWS_SECRET_KEY;
//      LITESTREAM_ACCESS_KEY_ID, LITESTREAM_SECRET_ACCESS_KEY), AWS_SESSION_TOKEN
//   2. AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN
//   3. the profile ($AWS_PROFILE, "default") in ~/.aws/credentials and ~/.aws/config
//   4. AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI
//   5. the metadata service of EC2, version 2 and where there is none 1
// kDenied if there are none.
Result<Credentials> FindCredentials(const Context& ctx, const CredentialSources& sources);

// ---- Parts, for tests.

// Names and values of one section of an INI file; "" if it is not there. Lower-case names.
std::map<std::string, std::string> IniSection(std::string_view text, std::string_view section);
// The answer of STS.
Result<Credentials> ParseStsCredentials(std::string_view text);

}  // namespace litestream::s3
