#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/env.h"
#include "base/sync.h"
#include "http/client.h"
#include "http/sigv4.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream::s3 {

struct Credentials {
  http::SigningKeys keys;
  std::optional<WallTime> expires_at;  // Unset: never.
};

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

// Keeps what a look found, and looks again before it expires. Who waits for somebody's look gets
// what that one gets, an error too. Safe for concurrent calls.
class CredentialCache {
 public:
  using Find = std::function<Result<Credentials>(const Context&)>;
  CredentialCache(Find find, const Clock& clock) : find_(std::move(find)), clock_(clock) {}

  Result<http::SigningKeys> Get(const Context& ctx);
  // A server refused these: the next Get looks again, unless that has happened since.
  void Refused(const http::SigningKeys& keys);
  int waiting() const;  // For somebody's look.

 private:
  const Find find_;
  const Clock& clock_;
  mutable Mutex mu_{LockRank::kStorage};
  CondVar changed_;
  std::optional<Credentials> known_ LS_GUARDED_BY(mu_);
  bool looking_ LS_GUARDED_BY(mu_) = false;
  std::uint64_t looks_ LS_GUARDED_BY(mu_) = 0;       // That have ended.
  std::optional<Error> failure_ LS_GUARDED_BY(mu_);  // Of the last one.
  int waiting_ LS_GUARDED_BY(mu_) = 0;
  WallTime not_before_ LS_GUARDED_BY(mu_);  // The next look ahead of time.
};

// ---- Parts, for tests.

// Names and values of one section of an INI file; "" if it is not there. Lower-case names.
std::map<std::string, std::string> IniSection(std::string_view text, std::string_view section);
// The answers of services.
Result<Credentials> ParseJsonCredentials(std::string_view text);
Result<Credentials> ParseStsCredentials(std::string_view text);

}  // namespace litestream::s3
