#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "litestream/result.h"

namespace litestream::sftp {

inline constexpr std::uint16_t kDefaultPort = 22;

struct HostAndPort {
  std::string host;  // An IPv6 address without brackets.
  std::uint16_t port = kDefaultPort;
};

// "host", "host:2222", "[::1]:2222", "::1". kInvalidArgument: the port is none, or no host is left.
Result<HostAndPort> ParseHostAndPort(std::string_view text);

}  // namespace litestream::sftp
