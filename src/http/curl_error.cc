#include "http/curl_error.h"

#include <algorithm>

#include <curl/curl.h>

namespace litestream::http {

ErrorCode CodeOfCurl(int code) {
  switch (static_cast<CURLcode>(code)) {
    case CURLE_OPERATION_TIMEDOUT:
      return ErrorCode::kTimeout;
    case CURLE_URL_MALFORMAT:
    case CURLE_SSL_CERTPROBLEM:  // Our own: not there, or not readable.
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_CIPHER:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_UNKNOWN_OPTION:
      return ErrorCode::kInvalidArgument;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
    case CURLE_LOGIN_DENIED:
    case CURLE_REMOTE_ACCESS_DENIED:
      return ErrorCode::kDenied;
    case CURLE_NOT_BUILT_IN:
      return ErrorCode::kUnsupported;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
      return ErrorCode::kInternal;
    default:
      // Names, connections, TLS that breaks, answers that are none (CURLE_UNSUPPORTED_PROTOCOL: of
      // another protocol) or end early: the other side, or the way to it.
      return ErrorCode::kUnavailable;
  }
}

ErrorCode CodeOfStatus(int status) {
  switch (status) {
    case 401:
    case 403:
    case 407:
      return ErrorCode::kDenied;
    case 404:
    case 410:
      return ErrorCode::kNotFound;
    case 409:
    case 412:
      return ErrorCode::kAlreadyExists;
    case 408:
      return ErrorCode::kTimeout;
    case 425:
    case 429:
      return ErrorCode::kThrottled;
    case 405:
    case 501:
    case 505:
      return ErrorCode::kUnsupported;
    case 507:
      return ErrorCode::kNoSpace;
    default:
      return status >= 500 ? ErrorCode::kUnavailable : ErrorCode::kInvalidArgument;
  }
}

std::string PublicUrl(std::string_view url) {
  const auto ends = [](char c) { return c == '?' || c == '#' || c <= ' ' || c == 0x7f; };
  url = url.substr(0, static_cast<std::size_t>(std::ranges::find_if(url, ends) - url.begin()));
  const std::size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return "(no URL)";
  const std::size_t begin = scheme + 3;
  const std::size_t end = url.find('/', begin);
  const std::string_view host = url.substr(begin, end == url.npos ? url.npos : end - begin);
  const std::size_t at = host.rfind('@');
  std::string out(url.substr(0, begin));
  out += at == std::string_view::npos ? host : host.substr(at + 1);
  if (end != std::string_view::npos) out += url.substr(end);
  return out;
}

std::string Shown(std::string_view text) {
  const bool cut = text.size() > kMaxShownBytes;
  if (cut) {
    text = text.substr(0, kMaxShownBytes - 3);
    // Not in the middle of a character of UTF-8.
    while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0) == 0x80) {
      text.remove_suffix(1);
    }
    if (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xC0) text.remove_suffix(1);
  }
  std::string shown(text);
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return cut ? shown + "..." : shown;
}

}  // namespace litestream::http
