#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/log.h"
#include "storage/retry.h"

namespace litestream::sftp {

// How one reaches a server. Clients with the same settings share their connections.
struct ConnectOptions {
  std::string host;  // Without the port; an IPv6 address without brackets.
  std::uint16_t port = 22;
  std::string user;
  std::string password;          // "": none. Also opens an encrypted key.
  std::string key_path;          // "": none.
  std::string host_key;          // A line of authorized_keys; "": what known_hosts says.
  std::string known_hosts_path;  // "": there is none.
  std::string agent_socket;      // "": there is none.
  std::chrono::milliseconds connect_timeout{30'000};
  // How long not a byte may move while an answer is awaited.
  std::chrono::milliseconds stall_timeout{60'000};
  // A connection that nobody used for so long is closed.
  std::chrono::milliseconds idle_timeout{90'000};

  friend bool operator==(const ConnectOptions&, const ConnectOptions&) = default;
  friend auto operator<=>(const ConnectOptions&, const ConnectOptions&) = default;
};

struct Options {
  ConnectOptions connect;
  // The replica's root: absolute, or relative to where the server puts the user; "": that place.
  std::string path;
  bool concurrent_writes = true;  // Many pieces of a file under way, not one after the other.
  Logger log;
  RetryPolicy retry{.attempts = 4,
                    .first_delay = std::chrono::milliseconds(250),
                    .max_delay = std::chrono::milliseconds(5'000)};
};

}  // namespace litestream::sftp
