#include "backend/webdav/location.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/try.h"
#include "http/uri.h"
#include "storage/url.h"

namespace litestream::webdav {
namespace {

Error Invalid(std::string_view message) {
  return {ErrorCode::kInvalidArgument, fmt::format("webdav: {}", message)};
}

// "/a//b/./c" as "/a/b/c/": each part with a slash behind it. Unset if it climbs.
std::optional<std::string> CleanCollection(std::string_view path) {
  std::string clean = "/";
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part == "..") return std::nullopt;
    clean.append(part).append("/");
  }
  return clean;
}

}  // namespace

std::string Location::Url(std::string_view path) const {
  return origin + http::EscapePath(path);
}

std::string Location::Describe(std::string_view path) const {
  return fmt::format("{}{}{}", scheme == "https" ? "webdavs" : "webdav",
                     origin.substr(scheme.size()), path);
}

Result<Location> MakeLocation(const Options& options) {
  if (options.url.empty()) return Invalid("webdav-url required");
  const auto url = LS_TRY(ParseReplicaUrl(options.url), "webdav-url");
  if (url.scheme != "http" && url.scheme != "https") {
    return Invalid("webdav-url must begin with http:// or https://");
  }
  if (!url.query.empty() || options.url.find_first_of("?#") != std::string::npos) {
    return Invalid("webdav-url cannot have a query or fragment (write ? as %3F, # as %23)");
  }
  Location location{
      .scheme = url.scheme, .username = options.username, .password = options.password};
  if (location.username.empty()) {
    location.username = url.user;
    location.password = url.user.empty() ? options.password : url.password;
  }
  http::SplitUrl split;
  if (!http::ParseUrl(fmt::format("{}://{}", url.scheme, url.host), split)) {
    return Invalid("webdav-url has no host");
  }
  location.host = split.host;
  location.origin = fmt::format("{}://{}", url.scheme, split.authority);
  const auto base = CleanCollection(url.path);
  const auto below = CleanCollection(options.path);
  if (!base || !below) return Invalid("webdav-url and path cannot have \"..\"");
  location.base = *base;
  location.root = location.base + below->substr(1);
  return location;
}

std::optional<std::string> PathOfHref(std::string_view href) {
  const std::size_t scheme = href.find("://");
  if (scheme != std::string_view::npos && href.find('/') == scheme + 1) {
    href.remove_prefix(scheme + 3);
    href.remove_prefix(std::min(href.find('/'), href.size()));
    if (href.empty()) href = "/";
  }
  if (!href.starts_with('/')) return std::nullopt;
  const auto decoded = http::Unescape(href.substr(0, href.find_first_of("?#")));
  if (!decoded) return std::nullopt;
  auto path = CleanCollection(*decoded);
  if (path && !decoded->ends_with('/')) path->pop_back();
  return path;
}

}  // namespace litestream::webdav
