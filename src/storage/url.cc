#include "storage/url.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/try.h"

namespace litestream {
namespace {

bool IsAlpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

int HexValue(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Length of the leading [A-Za-z0-9_]+ if "://" follows it.
std::optional<std::size_t> SchemeLength(std::string_view text) {
  const auto end =
      std::ranges::find_if_not(text, [](char c) { return IsAlpha(c) || IsDigit(c) || c == '_'; });
  const auto length = static_cast<std::size_t>(end - text.begin());
  if (length == 0 || !text.substr(length).starts_with("://")) return std::nullopt;
  return length;
}

// The URL for a message, without what stands between "//" and "@".
std::string Shown(std::string_view text) {
  const std::size_t begin = text.find("//");
  if (begin == std::string_view::npos) return std::string(text);
  const std::size_t end = text.find_first_of("/?#", begin + 2);
  const std::size_t at = text.substr(0, end).rfind('@');
  if (at == std::string_view::npos || at < begin) return std::string(text);
  return fmt::format("{}***{}", text.substr(0, begin + 2), text.substr(at));
}

// What Go's net/url leaves as it is in a path.
bool NeedsNoEscape(char c) {
  return IsAlpha(c) || IsDigit(c) || std::string_view("-_.~$&+,/:;=@").find(c) != std::string::npos;
}

std::string PercentEncode(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    if (NeedsNoEscape(c)) {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

// As Go's net/url writes a path that it parsed: unchanged if every character may stand there,
// otherwise decoded and encoded anew.
Result<std::string> GoEscapedPath(std::string_view raw) {
  const bool valid = std::ranges::all_of(raw, [](char c) {
    return NeedsNoEscape(c) || std::string_view("!'()*[]%").find(c) != std::string::npos;
  });
  const std::string decoded = LS_TRY(PercentDecode(raw, /*plus_is_space=*/false));
  return valid ? std::string(raw) : PercentEncode(decoded);
}

Result<void> ParseQuery(std::string_view text, ReplicaUrl& url) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty() || pair.find(';') != std::string_view::npos) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    std::string key = LS_TRY(PercentDecode(pair.substr(0, equals), /*plus_is_space=*/true));
    const std::string_view raw = pair.substr(std::min(equals + 1, pair.size()));
    std::string value = LS_TRY(PercentDecode(raw, /*plus_is_space=*/true));
    url.query.emplace(std::move(key), std::move(value));
  }
  return {};
}

// `rest` is what follows "file://". The fragment belongs to the path.
Result<void> ParseFilePath(std::string_view rest, ReplicaUrl& url) {
  const std::size_t hash = std::min(rest.find('#'), rest.size());
  std::string_view fragment = rest.substr(hash);
  if (fragment == "#") fragment = {};
  const std::size_t end = std::min(rest.find('?'), hash);
  const std::string_view path = rest.substr(0, end);
  if (path.empty() && fragment.empty()) {
    url.path = url.encoded_path = ".";
    return {};
  }
  const std::string decoded = LS_TRY(PercentDecode(path, /*plus_is_space=*/false)) +
                              LS_TRY(PercentDecode(fragment, /*plus_is_space=*/false));
  url.path = CleanPath("/" + decoded);
  url.encoded_path = CleanPath(
      fmt::format("/{}{}", LS_TRY(GoEscapedPath(path)),
                  fragment.empty() ? "" : "#" + LS_TRY(GoEscapedPath(fragment.substr(1)))));
  return {};
}

Result<void> ParseAuthorityAndPath(std::string_view rest, ReplicaUrl& url) {
  rest = rest.substr(0, rest.find('#'));
  const std::size_t query = std::min(rest.find('?'), rest.size());
  LS_TRY(ParseQuery(rest.substr(std::min(query + 1, rest.size())), url));
  rest = rest.substr(0, query);

  const std::size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view authority = rest.substr(0, slash);
  if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
    const std::string_view info = authority.substr(0, at);
    const std::size_t colon = std::min(info.find(':'), info.size());
    url.user = LS_TRY(PercentDecode(info.substr(0, colon), /*plus_is_space=*/false));
    url.password = LS_TRY(PercentDecode(info.substr(std::min(colon + 1, info.size())),
                                        /*plus_is_space=*/false));
    authority.remove_prefix(at + 1);
  }
  url.host = LS_TRY(PercentDecode(authority, /*plus_is_space=*/false));
  if (slash == rest.size()) return {};
  url.path = CleanPath(LS_TRY(PercentDecode(rest.substr(slash), /*plus_is_space=*/false)));
  url.path.erase(0, 1);
  return {};
}

}  // namespace

std::string CleanPath(std::string_view path) {
  const bool rooted = path.starts_with('/');
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      parts.push_back(part);
    } else if (!parts.empty() && parts.back() != "..") {
      parts.pop_back();
    } else if (!rooted) {
      parts.push_back(part);
    }
  }
  std::string clean = rooted ? "/" : "";
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) clean += '/';
    clean += parts[i];
  }
  return clean.empty() ? "." : clean;
}

Result<std::string> PercentDecode(std::string_view text, bool plus_is_space) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += plus_is_space && text[i] == '+' ? ' ' : text[i];
      continue;
    }
    const int high = i + 1 < text.size() ? HexValue(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexValue(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("invalid URL escape \"{}\"; write a percent sign as \"%25\"",
                               text.substr(i, 3)));
    }
    const char c = static_cast<char>(high * 16 + low);
    if (c == '\0') return Error(ErrorCode::kInvalidArgument, "a URL cannot hold \"%00\"");
    decoded += c;
    i += 2;
  }
  return decoded;
}

bool IsReplicaUrl(std::string_view text) {
  return SchemeLength(text).has_value();
}

Result<ReplicaUrl> ParseReplicaUrl(std::string_view text) {
  const auto scheme_length = SchemeLength(text);
  const std::string shown = Shown(text);
  if (!scheme_length) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("replica url scheme required: {}; a URL begins with \"file://\", "
                             "\"s3://\" or the like",
                             shown));
  }
  ReplicaUrl url;
  for (const char c : text.substr(0, *scheme_length)) {
    url.scheme += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (!IsAlpha(url.scheme.front()) || url.scheme.find('_') != std::string::npos) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("invalid replica url scheme: {}", shown));
  }
  if (std::ranges::any_of(text, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; })) {
    return Error(
        ErrorCode::kInvalidArgument,
        fmt::format("invalid control character in replica url with scheme \"{}\"", url.scheme));
  }
  const std::string_view rest = text.substr(*scheme_length + 3);
  LS_TRY(url.scheme == "file" ? ParseFilePath(rest, url) : ParseAuthorityAndPath(rest, url),
         "parse replica url {}", shown);
  return url;
}

Result<std::filesystem::path> FileUrlRoot(Env& env, const ReplicaUrl& url) {
  if (url.path == url.encoded_path) return std::filesystem::path(url.path);
  if (LS_TRY(Exists(env, url.path))) return std::filesystem::path(url.path);
  if (LS_TRY(Exists(env, url.encoded_path))) return std::filesystem::path(url.encoded_path);
  return std::filesystem::path(url.path);
}

}  // namespace litestream
