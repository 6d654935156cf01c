#include "backend/sftp/sftp_error.h"

#include <algorithm>
#include <string>

#include <fmt/core.h>

#include "http/curl_error.h"

namespace litestream::sftp {
namespace {

// SFTP has one code for a full disk, a name that is taken, and all else; servers in Go say more.
bool SaysNoSpace(std::string_view message) {
  std::string lower(message);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  });
  for (const std::string_view word : {"no space", "quota", "disk full", "disk is full"}) {
    if (lower.find(word) != std::string::npos) return true;
  }
  return false;
}

struct Meaning {
  StatusCode status;
  ErrorCode code;
  std::string_view text;
};
constexpr Meaning kMeanings[] = {
    {StatusCode::kOk, ErrorCode::kInternal, "the server says that all is well"},
    {StatusCode::kEof, ErrorCode::kUnavailable, "the server says that there is no more"},
    {StatusCode::kNoSuchFile, ErrorCode::kNotFound, "no such file"},
    {StatusCode::kPermissionDenied, ErrorCode::kDenied,
     "permission denied; give the user of the connection the right, or correct the path"},
    {StatusCode::kFailure, ErrorCode::kIo, "the server cannot do it and does not say why"},
    {StatusCode::kBadMessage, ErrorCode::kInvalidArgument,
     "the server does not take this name, it may be too long"},
    {StatusCode::kNoConnection, ErrorCode::kUnavailable, "the server has no connection"},
    {StatusCode::kConnectionLost, ErrorCode::kUnavailable, "the server lost a connection"},
    {StatusCode::kOpUnsupported, ErrorCode::kUnsupported, "the server does not know how"},
};

}  // namespace

Error StatusError(const Status& status, std::string_view doing) {
  const auto found = std::ranges::find(kMeanings, status.code, &Meaning::status);
  ErrorCode code = ErrorCode::kIo;
  std::string text;
  if (status.code == StatusCode::kFailure && SaysNoSpace(status.message)) {
    code = ErrorCode::kNoSpace;
    text = "no space is left on the server";
  } else if (found != std::end(kMeanings)) {
    code = found->code;
    text = found->text;
  } else {
    text = fmt::format("the server says {}", static_cast<std::uint32_t>(status.code));
  }
  const std::string said = http::Shown(status.message);
  // Names of files may be the server's, too.
  std::string what(doing);
  std::ranges::replace_if(
      what, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  return {code, fmt::format("sftp: {}: {}{}", what, text,
                            said.empty() ? "" : fmt::format(" ({})", said))};
}

}  // namespace litestream::sftp
