#include "backend/s3/credentials.h"

#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "base/try.h"
#include "format/names.h"
#include "http/curl_error.h"
#include "http/headers.h"
#include "http/xml.h"

namespace litestream::s3 {
namespace {

// New ones are asked for so long before the old ones end.
constexpr std::chrono::minutes kRefreshBefore{5};
// After a look ahead of time that failed.
constexpr std::chrono::seconds kLookPause{30};

std::string_view Trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

Result<WallTime> Expiration(const std::string& text) {
  return LS_TRY(ParseTimestamp(text), "credentials: when they expire");
}

Result<Credentials> Complete(Credentials found, std::string_view where) {
  if (!found.keys.access_key_id.empty() && !found.keys.secret_access_key.empty()) return found;
  return Error(ErrorCode::kDenied, fmt::format("{}: the answer has no keys", where));
}

}  // namespace

std::map<std::string, std::string> IniSection(std::string_view text, std::string_view section) {
  std::map<std::string, std::string> values;
  bool inside = false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view raw = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string_view line = Trim(raw);
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    if (line.front() == '[') {
      const std::size_t close = line.find(']');
      inside = close != std::string_view::npos && Trim(line.substr(1, close - 1)) == section;
      continue;
    }
    // Indented lines belong to a nested setting ("s3 =").
    if (!inside || raw.front() == ' ' || raw.front() == '\t') continue;
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    std::string_view value = Trim(line.substr(equals + 1));
    value = Trim(value.substr(0, std::min(value.find(" #"), value.find(" ;"))));
    values[http::LowerCase(Trim(line.substr(0, equals)))] = std::string(value);
  }
  return values;
}

Result<Credentials> ParseJsonCredentials(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Error(ErrorCode::kUnavailable, "credentials: not JSON");
  const auto text_of = [&json](const char* key) {
    const auto it = json.find(key);
    return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  if (const std::string code = text_of("Code"); !code.empty() && code != "Success") {
    return Error(ErrorCode::kDenied,
                 fmt::format("credentials: the service says {} ({})", http::Shown(code),
                             http::Shown(text_of("Message"))));
  }
  Credentials found{.keys = {.access_key_id = text_of("AccessKeyId"),
                             .secret_access_key = text_of("SecretAccessKey"),
                             .session_token = text_of("Token")}};
  const std::string expires = text_of("Expiration");
  if (!expires.empty()) found.expires_at = LS_TRY(Expiration(expires));
  return Complete(std::move(found), "credentials");
}

Result<Credentials> ParseStsCredentials(std::string_view text) {
  const auto root = LS_TRY(http::ParseXml(text), "credentials: answer of STS");
  for (const http::XmlElement& result : root.children) {
    const http::XmlElement* const node = result.Find("Credentials");
    if (node == nullptr) continue;
    Credentials found{.keys = {.access_key_id = node->TextOf("AccessKeyId"),
                               .secret_access_key = node->TextOf("SecretAccessKey"),
                               .session_token = node->TextOf("SessionToken")}};
    const std::string expires = node->TextOf("Expiration");
    if (!expires.empty()) found.expires_at = LS_TRY(Expiration(expires));
    return Complete(std::move(found), "STS");
  }
  return Error(ErrorCode::kDenied, "STS: the answer has no credentials");
}

Result<http::SigningKeys> CredentialCache::Get(const Context& ctx) {
  {
    MutexLock lock(mu_);
    for (;;) {
      const WallTime now = clock_.Now();
      const bool valid = known_ && (!known_->expires_at || *known_->expires_at > now);
      const bool fresh = valid && (!known_->expires_at ||
                                   *known_->expires_at - kRefreshBefore > now || now < not_before_);
      // While one looks, the others go on with what is there, or wait for him.
      if (fresh || (valid && looking_)) return known_->keys;
      if (!looking_) break;
      const std::uint64_t before = looks_;
      ++waiting_;
      changed_.WaitFor(mu_, ctx.stop(), std::chrono::seconds(1),
                       [&]() LS_REQUIRES(mu_) { return looks_ != before; });
      --waiting_;
      LS_TRY(ctx.Check());
      // Thousands of databases that look one after the other would wait for ever.
      if (looks_ != before && failure_) return *failure_;
    }
    looking_ = true;
  }
  auto found = find_(ctx);
  MutexLock lock(mu_);
  looking_ = false;
  ++looks_;
  failure_.reset();
  changed_.NotifyAll();
  const WallTime now = clock_.Now();
  if (found.ok()) {
    known_ = std::move(found).value();
    not_before_ = WallTime();
    return known_->keys;
  }
  not_before_ = now + kLookPause;
  if (known_ && known_->expires_at && *known_->expires_at > now) return known_->keys;
  // Unless it is ours alone: a stop, a deadline.
  if (ctx.Check().ok()) failure_ = found.error();
  return std::move(found).error();
}

int CredentialCache::waiting() const {
  MutexLock lock(mu_);
  return waiting_;
}

void CredentialCache::Refused(const http::SigningKeys& keys) {
  MutexLock lock(mu_);
  if (known_ && known_->keys.access_key_id == keys.access_key_id &&
      known_->keys.session_token == keys.session_token) {
    known_.reset();
  }
}

}  // namespace litestream::s3
