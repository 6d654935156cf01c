#include "tests/support/fake_google_tokens.h"

#include <algorithm>

#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "format/names.h"
#include "http/date.h"
#include "http/digest.h"
#include "litestream/clock.h"

namespace litestream {
namespace {

using nlohmann::json;

constexpr std::string_view kStorageScope = "https://www.googleapis.com/auth/devstorage.";
constexpr std::string_view kCloudScope = "https://www.googleapis.com/auth/cloud-platform";
constexpr std::int64_t kMostSeconds = 3600;
constexpr std::int64_t kSkewSeconds = 300;

std::string FromBase64Url(std::string text) {
  for (char& c : text) c = c == '-' ? '+' : c == '_' ? '/' : c;
  while (text.size() % 4 != 0) text += '=';
  return http::FromBase64(text).value_or("");
}

std::string OAuthError(std::string_view error, std::string_view description) {
  return json{{"error", error}, {"error_description", description}}.dump();
}

bool HasScope(std::string_view scopes) {
  return scopes.find(kStorageScope) != std::string_view::npos ||
         scopes.find(kCloudScope) != std::string_view::npos;
}

}  // namespace

std::string Unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::map<std::string, std::string> ParseForm(std::string_view text) {
  std::map<std::string, std::string> form;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('&'), text.size());
    std::string part(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    std::ranges::replace(part, '+', ' ');
    const std::size_t equals = std::min(part.find('='), part.size());
    form[Unescaped(part.substr(0, equals))] =
        equals < part.size() ? Unescaped(part.substr(equals + 1)) : "";
  }
  return form;
}

FakeGoogleTokens::FakeGoogleTokens(Key kind) {
  static EVP_PKEY* const shared = EVP_RSA_gen(2048);
  EVP_PKEY* const key = kind == Key::kOwn ? EVP_RSA_gen(2048) : shared;
  EVP_PKEY_up_ref(key);
  BIO* const pem = BIO_new(BIO_s_mem());
  PEM_write_bio_PKCS8PrivateKey(pem, key, nullptr, nullptr, 0, nullptr, nullptr);
  char* text = nullptr;
  const long size = BIO_get_mem_data(pem, &text);
  private_key_.assign(text, static_cast<std::size_t>(size));
  BIO_free(pem);
  key_ = key;
}

FakeGoogleTokens::~FakeGoogleTokens() {
  EVP_PKEY_free(static_cast<EVP_PKEY*>(key_));
}

std::string FakeGoogleTokens::ServiceAccountFile(std::string_view url) const {
  return json{{"type", "service_account"},
              {"project_id", "project"},
              {"private_key_id", "key-1"},
              {"private_key", private_key_},
              {"client_email", kEmail},
              {"client_id", "1"},
              {"token_uri", std::string(url) + "/token"},
              {"universe_domain", "googleapis.com"}}
      .dump(2);
}

std::string FakeGoogleTokens::UserFile(std::string_view url) {
  return json{{"type", "authorized_user"},      {"client_id", kClientId},
              {"client_secret", kClientSecret}, {"refresh_token", kRefreshToken},
              {"quota_project_id", "who-pays"}, {"token_uri", std::string(url) + "/token"}}
      .dump();
}

std::string FakeGoogleTokens::ExternalAccountFile(std::string_view url, std::string_view source,
                                                  bool impersonates) {
  json file{{"type", "external_account"},
            {"audience", kAudience},
            {"subject_token_type", "urn:ietf:params:oauth:token-type:jwt"},
            {"token_url", std::string(url) + "/sts"},
            {"credential_source", json::parse(source)}};
  if (impersonates) {
    file["service_account_impersonation_url"] = std::string(url) + "/speaker:generateAccessToken";
  }
  return file.dump();
}

void FakeGoogleTokens::ExpireTokens() {
  const std::lock_guard lock(mu_);
  tokens_.clear();
}

int FakeGoogleTokens::given_out() const {
  const std::lock_guard lock(mu_);
  return given_out_;
}

std::string FakeGoogleTokens::last_token() const {
  const std::lock_guard lock(mu_);
  return last_token_;
}

std::string FakeGoogleTokens::MakeToken(std::string_view kind) {
  const std::lock_guard lock(mu_);
  last_token_ = fmt::format("ya29.{}-{}-secret", kind, ++given_out_);
  tokens_[last_token_] = kind;
  return last_token_;
}

FakeGoogleTokens::Answer FakeGoogleTokens::TokenAnswer() {
  return {.body = json{{"access_token", MakeToken("storage")},
                       {"expires_in", life_.count()},
                       {"token_type", "Bearer"}}
                      .dump()};
}

bool FakeGoogleTokens::Accepts(const ServedRequest& request) const {
  const std::string given = request.header("authorization");
  const std::lock_guard lock(mu_);
  const auto found = given.starts_with("Bearer ") ? tokens_.find(given.substr(7)) : tokens_.end();
  return found != tokens_.end() && found->second == "storage";
}

bool FakeGoogleTokens::IsSigned(std::string_view text, const std::string& signature) const {
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  const bool good =
      EVP_DigestVerifyInit(context, nullptr, EVP_sha256(), nullptr, static_cast<EVP_PKEY*>(key_)) ==
          1 &&
      EVP_DigestVerify(context, reinterpret_cast<const unsigned char*>(signature.data()),
                       signature.size(), reinterpret_cast<const unsigned char*>(text.data()),
                       text.size()) == 1;
  EVP_MD_CTX_free(context);
  return good;
}

FakeGoogleTokens::Answer FakeGoogleTokens::ForAssertion(const std::string& assertion,
                                                        const std::string& audience) {
  const std::size_t first = assertion.find('.');
  const std::size_t second = assertion.rfind('.');
  const auto refuse = [](std::string_view why) {
    return Answer{.status = 400, .body = OAuthError("invalid_grant", why)};
  };
  if (first == std::string::npos || second == first) return refuse("Invalid JWT");
  const json header = json::parse(FromBase64Url(assertion.substr(0, first)), nullptr, false);
  const json claims =
      json::parse(FromBase64Url(assertion.substr(first + 1, second - first - 1)), nullptr, false);
  if (!header.is_object() || header.value("alg", "") != "RS256" ||
      header.value("typ", "") != "JWT" || header.value("kid", "") != "key-1") {
    return refuse("Invalid JWT: header");
  }
  if (!IsSigned(assertion.substr(0, second), FromBase64Url(assertion.substr(second + 1)))) {
    return refuse("Invalid JWT Signature.");
  }
  if (!claims.is_object() || claims.value("iss", "") != kEmail) {
    return refuse("Invalid grant: account not found");
  }
  if (claims.value("aud", "") != audience) return refuse("Invalid JWT: audience");
  if (!HasScope(claims.value("scope", ""))) {
    return {.status = 400, .body = OAuthError("invalid_scope", "Empty or missing scope")};
  }
  const std::int64_t iat = claims.value("iat", std::int64_t{0});
  const std::int64_t exp = claims.value("exp", std::int64_t{0});
  const std::int64_t now = std::chrono::floor<std::chrono::seconds>(Clock::Real().Now() + offset_)
                               .time_since_epoch()
                               .count();
  if (iat > now + kSkewSeconds || exp <= now || exp - iat > kMostSeconds || exp <= iat) {
    return refuse(
        "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable "
        "timeframe. Check your iat and exp values in the JWT claim.");
  }
  return TokenAnswer();
}

FakeGoogleTokens::Answer FakeGoogleTokens::ForToken(const std::string& body,
                                                    const std::string& audience) {
  auto form = ParseForm(body);
  if (form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer") {
    return ForAssertion(form["assertion"], audience);
  }
  if (form["grant_type"] != "refresh_token") {
    return {.status = 400, .body = OAuthError("unsupported_grant_type", "Invalid grant_type")};
  }
  if (form["client_id"] != kClientId || form["client_secret"] != kClientSecret) {
    return {.status = 401, .body = OAuthError("invalid_client", "The OAuth client was not found.")};
  }
  if (form["refresh_token"] != kRefreshToken) {
    return {.status = 400,
            .body = OAuthError("invalid_grant", "Token has been expired or revoked.")};
  }
  return TokenAnswer();
}

FakeGoogleTokens::Answer FakeGoogleTokens::Exchange(const std::string& body) {
  auto form = ParseForm(body);
  const auto refuse = [](std::string_view error, std::string_view why) {
    return Answer{.status = 400, .body = OAuthError(error, why)};
  };
  if (form["grant_type"] != "urn:ietf:params:oauth:grant-type:token-exchange" ||
      form["requested_token_type"] != "urn:ietf:params:oauth:token-type:access_token") {
    return refuse("invalid_request", "Invalid grant or token type");
  }
  if (form["audience"] != kAudience) return refuse("invalid_target", "The audience is unknown.");
  if (!HasScope(form["scope"])) return refuse("invalid_scope", "no scope");
  if (form["subject_token_type"] == "urn:ietf:params:aws:token-type:aws4_request") {
    // The real one sends this request on to AWS, which looks at the signature.
    const json signed_request = json::parse(Unescaped(form["subject_token"]), nullptr, false);
    std::map<std::string, std::string> headers;
    if (!signed_request.is_object()) return refuse("invalid_grant", "no request");
    for (const auto& each : signed_request.value("headers", json::array())) {
      headers[each.value("key", "")] = each.value("value", "");
    }
    if (signed_request.value("method", "") != "POST" ||
        headers["x-goog-cloud-target-resource"] != kAudience || headers["x-amz-date"].empty() ||
        headers["Authorization"].find("SignedHeaders=host;x-amz-date;") == std::string::npos ||
        "https://" + headers["host"] + "?Action=GetCallerIdentity&Version=2011-06-15" !=
            signed_request.value("url", "")) {
      return refuse("invalid_grant", "The request of AWS is not as it should be.");
    }
  } else if (form["subject_token"] != kSubjectToken) {
    return refuse("invalid_grant", "The subject token is not good.");
  }
  if (form["scope"] == kCloudScope) {
    return {.body = json{{"access_token", MakeToken("speak")},
                         {"issued_token_type", "urn:ietf:params:oauth:token-type:access_token"},
                         {"token_type", "Bearer"},
                         {"expires_in", life_.count()}}
                        .dump()};
  }
  return TokenAnswer();
}

FakeGoogleTokens::Answer FakeGoogleTokens::Speak(const ServedRequest& request,
                                                 const std::string& body) {
  const std::string given = request.header("authorization");
  {
    const std::lock_guard lock(mu_);
    const auto found = given.starts_with("Bearer ") ? tokens_.find(given.substr(7)) : tokens_.end();
    if (found == tokens_.end()) {
      return {.status = 401,
              .body = R"({"error":{"code":401,"message":"no","status":"UNAUTHENTICATED"}})"};
    }
  }
  const json asked = json::parse(body, nullptr, false);
  if (!asked.is_object() || asked.value("lifetime", "") != "3600s" ||
      !HasScope(asked.value("scope", json::array()).dump())) {
    return {.status = 400,
            .body = R"({"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}})"};
  }
  return {.body = json{{"accessToken", MakeToken("storage")},
                       {"expireTime", FormatTimestampSeconds(Clock::Real().Now() + life_)}}
                      .dump()};
}

bool FakeGoogleTokens::Handle(const ServedRequest& request, const std::string& body,
                              ServedPeer& peer) {
  const std::string path = request.path();
  std::vector<std::string> headers = {"Content-Type: application/json",
                                      "Date: " + http::FormatDate(Clock::Real().Now() + offset_)};
  Answer answer;
  if (path == "/token" && request.method == "POST") {
    answer = ForToken(body, "http://" + request.header("host") + "/token");
  } else if (path == "/sts" && request.method == "POST") {
    answer = Exchange(body);
  } else if (path == "/speaker:generateAccessToken" && request.method == "POST") {
    answer = Speak(request, body);
  } else if (path == "/computeMetadata/v1/instance/service-accounts/default/token") {
    headers.emplace_back("Metadata-Flavor: Google");
    answer = request.header("metadata-flavor") == "Google" ? TokenAnswer()
                                                           : Answer{.status = 403, .body = {}};
  } else {
    return false;
  }
  peer.Answer(answer.status, headers, answer.body);
  return true;
}

}  // namespace litestream
