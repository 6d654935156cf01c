#include "backend/webdav/dav_error.h"

#include <string>

#include <fmt/core.h>

#include "http/curl_error.h"
#include "http/xml.h"

namespace litestream::webdav {
namespace {

constexpr std::string_view kAny = "";

struct Rule {
  int status;
  std::string_view method;  // kAny: of all the others.
  ErrorCode meaning;
  std::string_view advice;
};

constexpr std::string_view kNoDav =
    "it does not speak WebDAV there; correct webdav-url or path, or turn WebDAV on";
constexpr std::string_view kNoFolder =
    "a folder above is not there and cannot be made; create it, or correct webdav-url or path";

constexpr Rule kRules[] = {
    {403, kAny, ErrorCode::kDenied,
     "check that this user may list, read, write, move and delete there"},
    {405, kAny, ErrorCode::kInvalidArgument, kNoDav},
    {501, kAny, ErrorCode::kInvalidArgument, kNoDav},
    // A folder that was there a moment ago.
    {404, "PUT", ErrorCode::kUnavailable, "the folder has gone"},
    {404, "MOVE", ErrorCode::kUnavailable, "the file has gone, or its folder"},
    {404, "MKCOL", ErrorCode::kInvalidArgument, kNoFolder},
    {409, "MKCOL", ErrorCode::kInvalidArgument, kNoFolder},
    {409, kAny, ErrorCode::kUnavailable, "the folder has gone"},
    {412, "MOVE", ErrorCode::kAlreadyExists, "it is there already"},
    {412, kAny, ErrorCode::kUnavailable, ""},
    {413, kAny, ErrorCode::kInvalidArgument,
     "raise the server's limit for the size of a file (Apache: LimitRequestBody, nginx: "
     "client_max_body_size)"},
    {415, "MKCOL", ErrorCode::kInvalidArgument, kNoDav},
    {423, kAny, ErrorCode::kUnavailable, "somebody has locked it"},
    {424, kAny, ErrorCode::kUnavailable, ""},
    {507, kAny, ErrorCode::kNoSpace, "there is no space left, or no more for this user"},
    {508, kAny, ErrorCode::kInvalidArgument, "the folders form a loop"},
};

const Rule* FindRule(std::string_view method, int status) {
  const Rule* found = nullptr;
  for (const Rule& rule : kRules) {
    if (rule.status != status) continue;
    if (rule.method == method) return &rule;
    if (rule.method == kAny) found = &rule;
  }
  return found;
}

// sabre/dav (Nextcloud, ownCloud): <d:error><s:exception/><s:message/></d:error>. Others send HTML.
std::string MessageOf(const http::Response& answer) {
  const auto root = http::ParseXml(answer.body);
  if (!root.ok() || root.value().name != "error") return {};
  return root.value().TextOf("message");
}

}  // namespace

ErrorCode MeaningOf(std::string_view method, int status) {
  if (const Rule* const rule = FindRule(method, status)) return rule->meaning;
  return http::CodeOfStatus(status);
}

Error Describe(std::string_view method, std::string_view doing, const http::Response& answer,
               bool has_user) {
  std::string text = fmt::format("{}: the server says {}", doing, answer.status);
  if (const std::string message = MessageOf(answer); !message.empty()) {
    text += fmt::format(" ({})", http::Shown(message));
  }
  const Rule* const rule = FindRule(method, answer.status);
  if (answer.status == 401) {
    text += has_user ? "; webdav-username or webdav-password is wrong"
                     : "; it wants to know who asks: set webdav-username and webdav-password";
  } else if (const std::string* to = http::FindHeader(answer.headers, "location");
             answer.status < 400 && to != nullptr) {
    // Credentials go to nobody but the host that was named.
    text += fmt::format(
        "; it has moved to {}: set webdav-url to where it is now",
        http::Shown(to->starts_with('/') ? to->substr(0, to->find('?')) : http::PublicUrl(*to)));
  } else if (rule != nullptr && !rule->advice.empty()) {
    text += fmt::format("; {}", rule->advice);
  }
  return {MeaningOf(method, answer.status), text};
}

}  // namespace litestream::webdav
