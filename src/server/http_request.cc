#include "server/http_request.h"

#include <algorithm>

#include <fmt/core.h>

namespace litestream {
namespace {

std::string_view StatusText(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 431:
      return "Request Header Fields Too Large";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Bad Request";
  }
}

bool IsText(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

HttpRequest Refuse(int status) {
  HttpRequest request;
  request.status = status;
  return request;
}

HttpRequest ParseRequestLine(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == 0 || last <= first + 1) return Refuse(400);
  const std::string_view method = line.substr(0, first);
  std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!IsText(method) || !IsText(target) || !target.starts_with('/')) return Refuse(400);
  if (!version.starts_with("HTTP/")) return Refuse(400);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return Refuse(505);
  HttpRequest request;
  request.is_head = method == "HEAD";
  request.is_http_1_0 = version == "HTTP/1.0";
  request.path = target.substr(0, target.find('?'));
  if (method != "GET" && method != "HEAD") request.status = 405;
  return request;
}

}  // namespace

std::optional<HttpRequest> ParseHttpRequest(std::string_view received, std::size_t limit_bytes) {
  constexpr std::string_view kEnd = "\r\n\r\n";
  const std::size_t end = received.find(kEnd);
  if (end == std::string_view::npos || end > limit_bytes) {
    // Its end may have begun within the limit, and be under way: the answer must not depend on the
    // pieces in which a request comes.
    if (end == std::string_view::npos && received.size() < limit_bytes + kEnd.size()) {
      return std::nullopt;
    }
    return Refuse(431);
  }
  return ParseRequestLine(received.substr(0, received.find("\r\n")));
}

std::string FormatHttpHead(int status, std::string_view content_type, bool chunked) {
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\nConnection: close\r\n", status, StatusText(status));
  if (status == 405) head += "Allow: GET, HEAD\r\n";
  if (status == 200) {
    head += fmt::format("Content-Type: {}\r\n", content_type);
    return head + (chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
  }
  const std::string body = fmt::format("{} {}\n", status, StatusText(status));
  return head +
         fmt::format("Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{}",
                     body.size(), body);
}

}  // namespace litestream
