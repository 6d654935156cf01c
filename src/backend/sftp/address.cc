#include "backend/sftp/address.h"

#include <algorithm>
#include <charconv>

#include <fmt/core.h>

namespace litestream::sftp {

Result<HostAndPort> ParseHostAndPort(std::string_view text) {
  const Error wrong(ErrorCode::kInvalidArgument,
                    fmt::format("sftp: \"{}\" is no host, HOST:PORT or [ADDRESS]:PORT", text));
  std::string_view host = text;
  std::string_view port;
  bool has_port = false;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return wrong;
    host = text.substr(1, end - 1);
    const std::string_view rest = text.substr(end + 1);
    has_port = !rest.empty();
    if (has_port && rest.front() != ':') return wrong;
    port = has_port ? rest.substr(1) : rest;
  } else if (std::ranges::count(text, ':') == 1) {
    const std::size_t colon = text.find(':');
    has_port = true;
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  if (host.empty()) return wrong;
  HostAndPort parsed{.host = std::string(host)};
  if (!has_port) return parsed;
  const char* const end = port.data() + port.size();
  const auto [ptr, error] = std::from_chars(port.data(), end, parsed.port);
  if (port.empty() || error != std::errc() || ptr != end || parsed.port == 0) return wrong;
  return parsed;
}

}  // namespace litestream::sftp
