#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "tests/support/http_server.h"

namespace litestream {

// The services of Google that give out tokens, all at one address, as their documentation says:
//   POST /token developers.google.com/identity/protocols/oauth2/service-account
//                                      (claims signed with RS256), and refresh tokens of users
//   POST /sts cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token POST
//   /speaker:generateAccessToken  cloud.google.com/iam/docs/reference/credentials/rest GET
//   /computeMetadata/v1/...       cloud.google.com/compute/docs/access/authenticate-workloads
// Each keeps to what it checks: signature, audience, scope and times of claims, secrets, headers.
// Safe for concurrent calls.
class FakeGoogleTokens {
 public:
  static constexpr std::string_view kEmail = "backup@project.iam.gserviceaccount.com";
  static constexpr std::string_view kClientId = "client.apps.example.com";
  static constexpr std::string_view kClientSecret = "secret/of+client";
  static constexpr std::string_view kRefreshToken = "1//refresh+token";
  static constexpr std::string_view kSubjectToken = "token.of.another-provider";
  static constexpr std::string_view kAudience =
      "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q";

  enum class Key : unsigned char {
    kOfAll,  // It takes a while to make one.
    kOwn,
  };
  explicit FakeGoogleTokens(Key key = Key::kOfAll);
  ~FakeGoogleTokens();
  FakeGoogleTokens(const FakeGoogleTokens&) = delete;
  FakeGoogleTokens& operator=(const FakeGoogleTokens&) = delete;

  // False if the request is about something else.
  bool Handle(const ServedRequest& request, const std::string& body, ServedPeer& peer);
  // Whether a request shows a token that storage takes.
  bool Accepts(const ServedRequest& request) const;

  // Of the service account, PEM.
  const std::string& private_key() const { return private_key_; }
  // Files of credentials for a server at that URL.
  std::string ServiceAccountFile(std::string_view url) const;
  static std::string UserFile(std::string_view url);
  // `source` is the JSON of credential_source.
  static std::string ExternalAccountFile(std::string_view url, std::string_view source,
                                         bool impersonates);

  // Tokens that were given out are good no longer.
  void ExpireTokens();
  void set_life(std::chrono::seconds life) { life_ = life; }  // Of tokens.
  // Its clock minus ours.
  void set_clock_offset(std::chrono::seconds offset) { offset_ = offset; }
  int given_out() const;
  // The last one, as it stands in no log; "" if there is none.
  std::string last_token() const;

 private:
  struct Answer {
    int status = 200;
    std::string body;
  };
  Answer ForToken(const std::string& body, const std::string& audience);
  Answer ForAssertion(const std::string& assertion, const std::string& audience);
  Answer Exchange(const std::string& body);
  Answer Speak(const ServedRequest& request, const std::string& body);
  bool IsSigned(std::string_view text, const std::string& signature) const;
  std::string MakeToken(std::string_view kind);
  Answer TokenAnswer();

  std::string private_key_;
  void* key_ = nullptr;  // EVP_PKEY
  std::chrono::seconds life_{3600};
  std::chrono::seconds offset_{0};
  mutable std::mutex mu_;
  std::map<std::string, std::string> tokens_;  // To what they are good for.
  std::string last_token_;
  int given_out_ = 0;
};

// Of "a=1&b=%20", unescaped.
std::map<std::string, std::string> ParseForm(std::string_view text);
// The way back from percent-encoding.
std::string Unescaped(std::string_view text);

}  // namespace litestream
