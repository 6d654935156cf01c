#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace litestream {

// The head of a request, as far as it matters here.
struct HttpRequest {
  int status = 200;  // What to answer because of the request alone: 200, 400, 405, 431 or 505.
  std::string path;  // As sent, without what follows a "?".
  bool is_head = false;
  bool is_http_1_0 = false;
};

// Reads as much as has come. Unset: the head does not end yet. A head of more than `limit_bytes`
// (without its empty line) is answered as soon as there are so many.
std::optional<HttpRequest> ParseHttpRequest(std::string_view received, std::size_t limit_bytes);

// The head of an answer that ends with the connection, with a short text as body unless the status
// is 200.
std::string FormatHttpHead(int status, std::string_view content_type, bool chunked);

}  // namespace litestream
