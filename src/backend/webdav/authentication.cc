#include "backend/webdav/authentication.h"

#include <algorithm>
#include <array>

#include <fmt/core.h>

#include "base/try.h"
#include "http/curl_error.h"
#include "http/digest.h"

namespace litestream::webdav {
namespace {

constexpr std::string_view kBlank = " \t";
constexpr std::size_t kMaxChallenges = 16;

bool IsToken(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

void SkipBlank(std::string_view& text, std::string_view more = "") {
  while (!text.empty() && (kBlank.find(text.front()) != std::string_view::npos ||
                           more.find(text.front()) != std::string_view::npos)) {
    text.remove_prefix(1);
  }
}

std::string_view TakeToken(std::string_view& text) {
  const auto end = std::ranges::find_if_not(text, IsToken);
  const std::string_view token = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  text.remove_prefix(token.size());
  return token;
}

// A token, or a string in quotes.
std::string TakeValue(std::string_view& text) {
  if (!text.starts_with('"')) return std::string(TakeToken(text));
  std::string value;
  std::size_t i = 1;
  for (; i < text.size() && text[i] != '"'; ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    value += text[i];
  }
  text.remove_prefix(std::min(i + 1, text.size()));
  return value;
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

struct Algorithm {
  std::string_view name;  // Upper case.
  std::string (*hash)(std::string_view);
  bool session;
};
// The better ones first.
constexpr Algorithm kAlgorithms[] = {{"SHA-256", http::Sha256, false},
                                     {"SHA-256-SESS", http::Sha256, true},
                                     {"MD5", http::Md5, false},
                                     {"MD5-SESS", http::Md5, true}};

// Null if it is unknown.
const Algorithm* AlgorithmOf(const Challenge& challenge) {
  std::string name = http::LowerCase(challenge.Get("algorithm"));
  if (name.empty()) name = "md5";
  const auto* const found = std::ranges::find_if(
      kAlgorithms, [&](const Algorithm& known) { return http::LowerCase(known.name) == name; });
  return found == std::end(kAlgorithms) ? nullptr : found;
}

// Whether "auth" is in a list such as "auth,auth-int".
bool HasAuth(std::string_view list) {
  while (!list.empty()) {
    SkipBlank(list, ",");
    const std::string_view word = TakeToken(list);
    if (http::LowerCase(word) == "auth") return true;
    if (word.empty()) return false;
  }
  return false;
}

// A header that ends here, or can go into one, has no control characters.
bool IsPlain(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; });
}

}  // namespace

std::string Challenge::Get(std::string_view name) const {
  const auto found = parameters.find(std::string(name));
  return found == parameters.end() ? "" : found->second;
}

std::vector<Challenge> ParseChallenges(std::string_view text) {
  std::vector<Challenge> challenges;
  while (challenges.size() < kMaxChallenges) {
    SkipBlank(text, ",");
    const std::string_view name = TakeToken(text);
    if (name.empty()) break;
    const bool blank = !text.empty() && kBlank.find(text.front()) != std::string_view::npos;
    SkipBlank(text);
    // "name=value" belongs to the last scheme; anything else begins another one. (What follows a
    // scheme may be one lone value that ends in "=": of schemes that are not ours.)
    if (text.starts_with('=') && !challenges.empty()) {
      text.remove_prefix(1);
      SkipBlank(text);
      challenges.back().parameters.emplace(http::LowerCase(name), TakeValue(text));
      SkipBlank(text);
      if (!text.empty() && text.front() != ',') {
        text.remove_prefix(std::min(text.find(','), text.size()));
      }
      continue;
    }
    if (!blank && !text.empty() && text.front() != ',') {
      text.remove_prefix(std::min(text.find(','), text.size()));
      continue;
    }
    challenges.push_back({.scheme = http::LowerCase(name), .parameters = {}});
  }
  return challenges;
}

bool IsUsableDigest(const Challenge& challenge) {
  const std::string qop = challenge.Get("qop");
  return challenge.scheme == "digest" && !challenge.Get("nonce").empty() &&
         AlgorithmOf(challenge) != nullptr && (qop.empty() || HasAuth(qop)) &&
         std::ranges::all_of(challenge.parameters,
                             [](const auto& parameter) { return IsPlain(parameter.second); });
}

std::string AnswerDigest(const Challenge& challenge, const DigestInput& input) {
  const Algorithm* const algorithm = AlgorithmOf(challenge);
  if (algorithm == nullptr) return {};
  const auto hash = [&](const std::string& text) { return http::Hex(algorithm->hash(text)); };
  const std::string realm = challenge.Get("realm");
  const std::string nonce = challenge.Get("nonce");
  const bool has_qop = !challenge.Get("qop").empty();
  const std::string count = fmt::format("{:08x}", input.count);
  std::string secret = hash(fmt::format("{}:{}:{}", input.username, realm, input.password));
  if (algorithm->session) secret = hash(fmt::format("{}:{}:{}", secret, nonce, input.cnonce));
  const std::string request = hash(fmt::format("{}:{}", input.method, input.uri));
  const std::string response =
      has_qop
          ? hash(fmt::format("{}:{}:{}:{}:auth:{}", secret, nonce, count, input.cnonce, request))
          : hash(fmt::format("{}:{}:{}", secret, nonce, request));
  const bool hash_name = http::LowerCase(challenge.Get("userhash")) == "true";
  const std::string name =
      hash_name ? hash(fmt::format("{}:{}", input.username, realm)) : input.username;
  std::string header =
      fmt::format("Digest username={}, realm={}, nonce={}, uri={}, response=\"{}\"", Quoted(name),
                  Quoted(realm), Quoted(nonce), Quoted(input.uri), response);
  if (const std::string said = challenge.Get("algorithm"); !said.empty()) {
    header += ", algorithm=" + said;
  }
  if (challenge.parameters.contains("opaque")) {
    header += ", opaque=" + Quoted(challenge.Get("opaque"));
  }
  if (has_qop) header += fmt::format(", qop=auth, nc={}", count);
  if (has_qop || algorithm->session) header += ", cnonce=" + Quoted(input.cnonce);
  if (hash_name) header += ", userhash=true";
  return header;
}

bool Authenticator::ready() const {
  if (!has_user() || options_.secure) return true;
  MutexLock lock(mu_);
  return number_ != 0;
}

std::optional<http::Header> Authenticator::MakeHeader(std::string_view method, std::string_view uri,
                                                      Used* used) {
  *used = {};
  if (!has_user()) return std::nullopt;
  DigestInput input{.username = options_.username,
                    .password = options_.password,
                    .method = std::string(method),
                    .uri = std::string(uri),
                    .cnonce = {}};
  Chosen chosen;
  {
    MutexLock lock(mu_);
    used->challenge = number_;
    if (number_ == 0 && !options_.secure) return std::nullopt;
    chosen = challenge_;
    if (chosen != nullptr) used->count = input.count = ++count_;
    input.cnonce = cnonce_;
  }
  if (chosen != nullptr) return http::Header{"Authorization", AnswerDigest(*chosen, input)};
  used->basic = true;
  return http::Header{
      "Authorization",
      "Basic " + http::Base64(fmt::format("{}:{}", options_.username, options_.password))};
}

Result<Authenticator::Chosen> Authenticator::Choose(
    const std::vector<Challenge>& challenges) const {
  const auto has = [&](std::string_view scheme) {
    return std::ranges::find(challenges, scheme, &Challenge::scheme) != challenges.end();
  };
  const Challenge* best = nullptr;
  for (const Challenge& challenge : challenges) {
    if (!IsUsableDigest(challenge)) continue;
    if (best == nullptr || AlgorithmOf(challenge) < AlgorithmOf(*best)) best = &challenge;
  }
  const bool basic = has("basic");
  if (basic && options_.secure) return Chosen();
  // Shared: requests are made while another challenge comes.
  if (best != nullptr) return std::make_shared<const Challenge>(*best);
  if (basic && options_.allow_plain) return Chosen();
  if (basic) {
    return Error(
        ErrorCode::kInvalidArgument,
        "the server takes the password over plain http only in the clear, for everybody on "
        "the way to see; use https (webdavs://), or set `skip-verify: true` if you accept "
        "that");
  }
  std::string offered;
  for (const Challenge& challenge : challenges) {
    offered += (offered.empty() ? "" : ", ") + challenge.scheme;
  }
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("the server wants to know who asks by {}; only Basic and Digest (MD5, "
                           "SHA-256) are to be had",
                           offered.empty() ? "no way that it tells" : http::Shown(offered)));
}

Result<bool> Authenticator::Learn(const http::Headers& answer, const Used& used) {
  if (!has_user()) return false;
  std::vector<Challenge> challenges;
  for (const http::Header& header : answer) {
    if (http::LowerCase(header.name) != "www-authenticate") continue;
    for (Challenge& challenge : ParseChallenges(header.value)) {
      challenges.push_back(std::move(challenge));
    }
  }
  // Refused what was sent, and wants nothing else.
  const bool offers_basic =
      challenges.empty() ||
      std::ranges::find(challenges, "basic", &Challenge::scheme) != challenges.end();
  if (used.basic && offers_basic) return false;
  Chosen chosen = LS_TRY(Choose(challenges));
  const bool stale = chosen != nullptr && http::LowerCase(chosen->Get("stale")) == "true";
  // A nonce that has served well and does so no more is an old one, also where nobody says so.
  const bool refused = used.challenge != 0 && used.count == 1 && !stale;
  std::array<std::byte, 16> random;
  env_.Random(random);
  MutexLock lock(mu_);
  if (used.challenge != number_) return true;  // Somebody else has learned meanwhile.
  challenge_ = std::move(chosen);
  ++number_;
  count_ = 0;
  cnonce_ = http::Hex({reinterpret_cast<const char*>(random.data()), random.size()});
  return !refused;
}

}  // namespace litestream::webdav
