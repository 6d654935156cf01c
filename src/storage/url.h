#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "base/env.h"
#include "litestream/result.h"

namespace litestream {

// Go's path.Clean: no double slashes, "." and "..", nor a slash at the end; "" is ".".
std::string CleanPath(std::string_view path);

// True for "scheme://...". "host:8080" and "s3:bucket" are not URLs; nor is a path.
bool IsReplicaUrl(std::string_view text);

// A replica's URL in its parts: scheme://[user[:password]@]host[:port]/path?query. What the parts
// mean is up to the backend of the scheme; this knows only about "file".
struct ReplicaUrl {
  std::string scheme;  // Lower case.
  std::string user;    // Percent-decoded, as the password and the query.
  std::string password;
  std::string host;  // With the port. Case is kept.
  // Percent-decoded and cleaned ("a//b/../c" is "a/c"). Without the leading slash, which belongs to
  // the URL; "" if there is no path. For "file": the whole path, absolute, with the host as its
  // first part, or "." if the URL names nothing.
  std::string path;
  // "file" only: the path as other versions spell it, with its percent-escapes left in and added.
  std::string encoded_path;
  // First value of each key. A pair with a ';' in it is left out.
  std::map<std::string, std::string, std::less<>> query;
};

// kInvalidArgument says what is wrong. Never shows a password.
Result<ReplicaUrl> ParseReplicaUrl(std::string_view text);

// "%41" as "A". kInvalidArgument: a percent sign that begins no escape, or "%00".
Result<std::string> PercentDecode(std::string_view text, bool plus_is_space);

// The directory that a "file" URL means: `path`, unless there is nothing and `encoded_path` holds a
// replica that another version put there.
Result<std::filesystem::path> FileUrlRoot(Env& env, const ReplicaUrl& url);

}  // namespace litestream
