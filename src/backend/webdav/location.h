#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "backend/webdav/options.h"
#include "litestream/result.h"

namespace litestream::webdav {

// Where a replica lies. Paths of this backend are decoded and absolute; those of collections
// (folders) end with a slash.
struct Location {
  std::string scheme;  // http, https
  std::string host;    // Without port.
  std::string origin;  // "https://host:port"
  std::string base;    // Of the URL alone; has to be there. "/" if it has no path.
  std::string root;    // Of the replica.
  std::string username;
  std::string password;

  std::string Url(std::string_view path) const;       // Escaped.
  std::string Describe(std::string_view path) const;  // For people: webdavs://host/path
};

// kInvalidArgument says what is wrong with the URL; shows no password.
Result<Location> MakeLocation(const Options& options);

// The decoded path of what a server calls a resource: an absolute URL, or a path, escaped in any
// way. Hosts are not compared: what stands before a server may have another name. Unset if it is
// none, or climbs ("..").
std::optional<std::string> PathOfHref(std::string_view href);

}  // namespace litestream::webdav
