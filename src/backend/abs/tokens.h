#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/env.h"
#include "cloud/credential_cache.h"
#include "http/client.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream::abs {

// A bearer token of Microsoft Entra ID for Azure Storage, whatever the account.
using Token = cloud::Expiring<std::string>;
using TokenCache = cloud::CredentialCache<std::string>;

// Where tokens come from.
struct TokenSources {
  // Value of an environment variable; "" if unset.
  std::function<std::string(std::string_view name)> environment;
  Env* env = &Env::Real();             // For files.
  std::shared_ptr<http::Client> http;  // Shared with all who make requests.
  const Clock* clock = &Clock::Real();
};

// One look for a token, in this order; the first place that has something is taken, and an error
// there is an error:
//   1. AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET: a service principal
//   2. AZURE_FEDERATED_TOKEN_FILE with the tenant and the client: workload identity (Kubernetes)
//   3. IDENTITY_ENDPOINT and IDENTITY_HEADER: App Service, Functions, Container Apps
//   4. the metadata service of the virtual machine
// AZURE_CLIENT_ID picks one of several identities of 3 and 4. kDenied if there is none.
Result<Token> FindToken(const Context& ctx, const TokenSources& sources);

// The answer of such a service, at that time. For tests too.
Result<Token> ParseToken(std::string_view text, WallTime now);

}  // namespace litestream::abs
