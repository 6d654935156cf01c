#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/env.h"
#include "cloud/credential_cache.h"
#include "http/client.h"
#include "http/sigv4.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream::cloud {

// Keys for signatures that a service gives out for some time.
using TemporaryKeys = Expiring<http::SigningKeys>;

// What a cloud calls them in its JSON.
struct KeyNames {
  const char* secret;
  const char* token;
};
inline constexpr KeyNames kAwsNames{.secret = "SecretAccessKey", .token = "Token"};
inline constexpr KeyNames kAlibabaNames{.secret = "AccessKeySecret", .token = "SecurityToken"};

// The answer of a service: an object with AccessKeyId, Expiration and those, or with such an object
// in "Credentials". kDenied if it says that there are none.
Result<TemporaryKeys> ParseJsonKeys(std::string_view text, const KeyNames& names);

// A small file without the end of its last line: a token.
Result<std::string> ReadToken(Env& env, const std::string& path);

// Services of the same machine: where there is none, nothing answers.
inline constexpr http::Timeouts kLocalTimeouts{.connect = std::chrono::milliseconds(1'000),
                                               .first_byte = std::chrono::milliseconds(5'000),
                                               .stall = std::chrono::milliseconds(5'000),
                                               .total = std::chrono::milliseconds(10'000)};
inline constexpr std::size_t kMaxKeysBytes = 1 << 20;  // Of an answer, or a file.

// The metadata service of a virtual machine: EC2's, and ECS's, which is like it.
struct MetadataService {
  std::string name;          // For messages: "EC2 metadata".
  std::string origin;        // "http://169.254.169.254"
  std::string token_header;  // Version 2; with "-ttl-seconds" in the request for the token.
  std::string roles_path;    // "/latest/meta-data/iam/security-credentials/"
  std::string role;          // Empty: asked for.
  bool needs_token = false;  // No version 1, where there is no version 2.
};
// What it says about the keys of the machine's role: JSON. kDenied if the machine has none.
Result<std::string> AskForRoleKeys(const Context& ctx, http::Client& http,
                                   const MetadataService& service);

// The last place where keys may be: `ask` for those of the machine, unless that is switched off.
// kDenied if there are none; `advice` says what could be done about it.
Result<TemporaryKeys> KeysOfMachine(bool switched_off, std::string_view advice,
                                    const std::function<Result<TemporaryKeys>()>& ask);

// What all replicas of one kind in a process share: connections, and keys that are looked for once
// for all. `Sources` says where keys come from, with a client and a clock in it. Safe for
// concurrent calls.
template <typename Sources>
class SharedKeys {
 public:
  using Find = Result<TemporaryKeys> (*)(const Context& ctx, const Sources& sources);
  SharedKeys(std::shared_ptr<http::Client> http, Sources sources, Find find)
      : http_(std::move(http)),
        sources_(WithHttp(std::move(sources))),
        credentials_([this, find](const Context& ctx) { return find(ctx, sources_); },
                     *sources_.clock) {}

  http::Client& http() const { return *http_; }
  const Sources& sources() const { return sources_; }
  CredentialCache<http::SigningKeys>& credentials() { return credentials_; }

 private:
  Sources WithHttp(Sources sources) const {
    sources.http = http_;
    return sources;
  }

  const std::shared_ptr<http::Client> http_;  // Shared with other backends.
  const Sources sources_;
  CredentialCache<http::SigningKeys> credentials_;
};

}  // namespace litestream::cloud
