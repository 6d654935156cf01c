#pragma once

#include <string>
#include <string_view>

#include "backend/gs/credentials.h"
#include "http/uri.h"

namespace litestream::gs {

// What a token is for.
inline constexpr std::string_view kCloudScope = "https://www.googleapis.com/auth/cloud-platform";
inline constexpr std::string_view kStorageScopes =
    "https://www.googleapis.com/auth/devstorage.full_control "
    "https://www.googleapis.com/auth/cloud-platform";
inline constexpr std::size_t kMaxCredentialBytes = 1 << 20;  // Of a file, or an answer.
// Services of the same machine: where there is none, nothing answers.
inline constexpr http::Timeouts kLocalTimeouts{.connect = std::chrono::milliseconds(1'000),
                                               .first_byte = std::chrono::milliseconds(5'000),
                                               .stall = std::chrono::milliseconds(5'000),
                                               .total = std::chrono::milliseconds(10'000)};

// Asks services that give out tokens. Borrows all that it is given.
class TokenService {
 public:
  TokenService(const Context& ctx, const CredentialSources& sources)
      : ctx_(ctx), sources_(sources) {}

  const CredentialSources& sources() const { return sources_; }
  std::string Variable(std::string_view name) const { return sources_.environment(name); }
  WallTime Now() const { return sources_.clock->Now(); }
  Result<std::string> ReadText(const std::string& path) const;

  // Any status is a success.
  Result<http::Response> Send(const http::Request& request) const;
  // The answer, which has to be a success.
  Result<http::Response> Ask(const http::Request& request) const;
  // A form that holds secrets: over https, or to this machine.
  Result<http::Request> SecretForm(const std::string& url, const http::QueryParameters& form) const;
  // A token of another account, for which the one of `token` may speak. `spec` may have
  // "delegates".
  Result<ExpiringToken> Impersonate(const std::string& url, const Token& token,
                                    const http::JsonValue& spec) const;

 private:
  const Context& ctx_;
  const CredentialSources& sources_;
};

// kInvalidArgument unless secrets may go there.
Result<void> CheckSecretUrl(std::string_view url);

// The token that `spec`, a file of type external_account, is exchanged for:
// google.aip.dev/auth/4117.
Result<ExpiringToken> FromExternalAccount(const TokenService& service, const http::JsonValue& spec);
// The signed request by which AWS tells who we are, as `audience` has to be told.
Result<std::string> AwsSubjectToken(const TokenService& service, const http::JsonValue& source,
                                    const std::string& audience);

}  // namespace litestream::gs
