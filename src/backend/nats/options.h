#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "storage/retry.h"

namespace litestream::nats {

// How to reach a server. Replicas with equal ones share a connection.
struct ServerOptions {
  std::string host;  // "host[:port]"; empty: 127.0.0.1:4222.
  // One way to log in, the first that is complete: jwt and seed; a file of credentials; an nkey
  // (its seed, in `seed` or in `nkey` itself); user and password; token.
  std::string jwt;
  std::string seed;
  std::string credentials_file;
  std::string nkey;
  std::string user;
  std::string password;
  std::string token;

  bool tls = false;  // Implied by what follows. A server that demands it gets it in any case.
  bool skip_verify = false;
  std::vector<std::string> root_certificates;  // PEM files, besides the system's.
  std::string client_certificate;              // PEM files; both or none.
  std::string client_key;

  std::chrono::milliseconds timeout{10'000};  // To connect.
  // Between two attempts to connect.
  std::chrono::milliseconds reconnect_wait{2'000};
  // How long nothing at all may come from the server while something is asked of it.
  std::chrono::milliseconds answer_timeout{10'000};

  friend bool operator==(const ServerOptions&, const ServerOptions&) = default;
};

struct Options {
  ServerOptions server;
  std::string bucket;
  // Objects are "<path>/ltx/<level>/<name>"; without a path they are where stock Litestream, which
  // has none, puts them.
  std::string path;
  std::string domain;  // Of JetStream; empty: the server's own.
  RetryPolicy retry{.attempts = 5,
                    .first_delay = std::chrono::milliseconds(250),
                    .max_delay = std::chrono::milliseconds(8'000)};
};

}  // namespace litestream::nats
