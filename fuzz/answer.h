#pragma once

#include <algorithm>
#include <string_view>

#include "fuzz/require.h"
#include "http/client.h"
#include "http/headers.h"

namespace litestream {

inline void RequireOneLine(std::string_view text) {
  Require(std::ranges::none_of(text, [](char c) { return c == '\n' || c == '\r' || c == '\0'; }));
}

inline std::string_view TakeLine(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

// The first byte says which status; then headers, an empty line, the body.
inline http::Response TakeResponse(std::string_view text) {
  constexpr int kStatuses[] = {200, 301, 307, 400, 401, 403, 404, 409, 412, 429, 500, 501, 503};
  http::Response response;
  response.status = kStatuses[text.empty() ? 0 : static_cast<unsigned char>(text[0]) % 13];
  while (!text.empty()) {
    http::Header header;
    const std::string_view line = TakeLine(text);
    if (line.empty()) break;
    if (http::ParseHeader(line, header)) response.headers.push_back(header);
  }
  response.body = text;
  return response;
}

}  // namespace litestream
