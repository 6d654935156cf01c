#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/env.h"
#include "cloud/credential_cache.h"
#include "http/client.h"
#include "http/json.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream::gs {

// What goes with requests.
struct Token {
  std::string access_token;
  std::string user_project;  // That pays; empty: the bucket's.
  friend bool operator==(const Token&, const Token&) = default;
};
using TokenCache = cloud::CredentialCache<Token>;
using ExpiringToken = cloud::Expiring<Token>;

// Where tokens come from.
struct CredentialSources {
  // Value of an environment variable; "" if unset.
  std::function<std::string(std::string_view name)> environment;
  Env* env = &Env::Real();             // For files.
  std::shared_ptr<http::Client> http;  // Shared with all who make requests.
  const Clock* clock = &Clock::Real();
};

// One look for a token with the application default credentials, in this order; the first place
// that has something is taken, and an error there is an error:
//   1. the file GOOGLE_APPLICATION_CREDENTIALS
//   2. application_default_credentials.json in $CLOUDSDK_CONFIG, else ~/.config/gcloud
//   3. the metadata server of the machine (GCE_METADATA_HOST), unless NO_GCE_CHECK=true
// Files may be of type service_account, authorized_user, external_account (with a file, a URL or
// AWS as its source), external_account_authorized_user and impersonated_service_account.
// kDenied if there is none, or if the service that gives out tokens refuses.
Result<ExpiringToken> FindToken(const Context& ctx, const CredentialSources& sources);

// ---- Parts, for tests.

// The answer of a service that gives out tokens. kUnavailable if there is none in it.
Result<ExpiringToken> ParseToken(std::string_view text, WallTime now);
// The same of IAM: an account that another one speaks for.
Result<ExpiringToken> ParseImpersonatedToken(std::string_view text);

}  // namespace litestream::gs
