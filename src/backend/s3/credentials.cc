#include "backend/s3/credentials.h"

#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "format/names.h"
#include "http/headers.h"
#include "http/xml.h"

namespace litestream::s3 {
namespace {

std::string_view Trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

Result<WallTime> Expiration(const std::string& text) {
  return LS_TRY(ParseTimestamp(text), "credentials: when they expire");
}

Result<Credentials> Complete(Credentials found, std::string_view where) {
  if (!found.secret.access_key_id.empty() && !found.secret.secret_access_key.empty()) return found;
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

Result<Credentials> ParseStsCredentials(std::string_view text) {
  const auto root = LS_TRY(http::ParseXml(text), "credentials: answer of STS");
  for (const http::XmlElement& result : root.children) {
    const http::XmlElement* const node = result.Find("Credentials");
    if (node == nullptr) continue;
    Credentials found{.secret = {.access_key_id = node->TextOf("AccessKeyId"),
                                 .secret_access_key = node->TextOf("SecretAccessKey"),
                                 .session_token = node->TextOf("SessionToken")}};
    const std::string expires = node->TextOf("Expiration");
    if (!expires.empty()) found.expires_at = LS_TRY(Expiration(expires));
    return Complete(std::move(found), "STS");
  }
  return Error(ErrorCode::kDenied, "STS: the answer has no credentials");
}

}  // namespace litestream::s3
