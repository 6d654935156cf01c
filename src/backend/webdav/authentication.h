#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/env.h"
#include "base/sync.h"
#include "http/headers.h"
#include "litestream/result.h"

namespace litestream::webdav {

// One way in which a server wants to know who asks (RFC 9110, 11).
struct Challenge {
  std::string scheme;                             // Lower case.
  std::map<std::string, std::string> parameters;  // Names in lower case.
  std::string Get(std::string_view name) const;
};
// Those of one WWW-Authenticate header; what cannot be read is left out.
std::vector<Challenge> ParseChallenges(std::string_view header);

// Whether we can answer it: MD5 or SHA-256, perhaps "-sess", with qop "auth" or none.
bool IsUsableDigest(const Challenge& challenge);

// What an answer to a Digest challenge is made of.
struct DigestInput {
  std::string username;
  std::string password;
  std::string method;
  std::string uri;          // Path and query, as they are sent.
  std::string cnonce;       // Ours.
  std::uint32_t count = 1;  // How often the server's nonce was used, with this time.
};
// The value of the Authorization header (RFC 7616, 3.4).
std::string AnswerDigest(const Challenge& challenge, const DigestInput& input);

// Says to one server who we are. Over TLS at once, with Basic; else when the server has asked: by
// Digest if it knows that, and with its nonce for as long as it takes it. Safe for concurrent
// calls.
class Authenticator {
 public:
  struct Options {
    std::string username;  // Empty: nobody.
    std::string password;
    bool secure = false;  // TLS: nobody else hears it.
    // Without it: a password in the clear is for this machine and private networks, unless the
    // user says so.
    bool allow_plain = false;
  };
  Authenticator(Options options, Env& env) : options_(std::move(options)), env_(env) {}

  // What a request was sent with.
  struct Used {
    std::uint64_t challenge = 0;  // Its number; 0: none was known.
    std::uint32_t count = 0;      // Of its nonce.
    bool basic = false;
  };
  std::optional<http::Header> MakeHeader(std::string_view method, std::string_view uri, Used* used);

  // After a 401. True: another attempt may work. kInvalidArgument if the server offers nothing that
  // can be used.
  Result<bool> Learn(const http::Headers& answer, const Used& used);

  bool has_user() const { return !options_.username.empty(); }
  // Whether the server will hear who we are with the next request.
  bool ready() const;

 private:
  // Null: Basic.
  using Chosen = std::shared_ptr<const Challenge>;
  Result<Chosen> Choose(const std::vector<Challenge>& challenges) const;

  const Options options_;
  Env& env_;
  mutable Mutex mu_{LockRank::kStorage};
  // Shared with requests that are being made.
  Chosen challenge_ LS_GUARDED_BY(mu_);
  std::uint64_t number_ LS_GUARDED_BY(mu_) = 0;  // Of the challenge; 0: there was none yet.
  std::uint32_t count_ LS_GUARDED_BY(mu_) = 0;
  std::string cnonce_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream::webdav
