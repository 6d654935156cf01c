#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "http/headers.h"
#include "litestream/byte_stream.h"
#include "litestream/clock.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream::http {

inline constexpr std::size_t kMaxUrlBytes = 16 * 1024;
// Of all headers together, either way.
inline constexpr std::size_t kMaxHeaderBytes = 64 * 1024;
// What of an answer waits for its reader, or of a body for the network; beyond that the other side
// waits. (A piece of the network may come on top.)
inline constexpr std::size_t kStreamBufferBytes = 256 * 1024;
inline constexpr std::size_t kMaxResponseBytes = 8 * 1024 * 1024;
// An answer that is read as a whole takes no longer, from its headers on.
inline constexpr std::chrono::seconds kMaxAnswerTime{300};

struct TlsOptions {
  bool verify = true;              // The server's certificate and name.
  std::string ca_file;             // PEM; empty: the system's.
  std::string client_certificate;  // PEM files; empty: none.
  std::string client_key;
  friend bool operator==(const TlsOptions&, const TlsOptions&) = default;
};

struct Timeouts {
  std::chrono::milliseconds connect{30'000};  // Name, connection and TLS.
  // From the start, or the last byte of the body, to the first of the answer.
  std::chrono::milliseconds first_byte{60'000};
  // Without a byte, either way, while it is the other side's turn.
  std::chrono::milliseconds stall{30'000};
  std::chrono::milliseconds total{0};  // 0: no limit.
};

struct Request {
  std::string method = "GET";
  // http or https, without user and password. Goes over exactly as it is: the caller has escaped
  // it.
  std::string url;
  Headers headers;
  // The body. Shared, because the network may still read it when a caller has given up.
  std::shared_ptr<const std::string> body;
  // Or a body that is read while it is sent. Its length must be the announced one; without one it
  // goes in chunks, which not every server takes. Borrowed until Begin returns.
  ByteSource* source = nullptr;
  std::optional<std::uint64_t> source_bytes;
  TlsOptions tls;
  Timeouts timeouts;
  bool use_proxy = true;  // That of the environment: http_proxy, https_proxy, no_proxy.
};

struct Response {
  int status = 0;
  Headers headers;
  std::string body;
};

class Engine;
class IoThread;
class Transfer;

// A request that is under way, and its answer. Not safe for concurrent calls. Its end ends the
// request.
class Exchange final : public ByteSource {
 public:
  Exchange(std::shared_ptr<Engine> engine, IoThread& thread, std::shared_ptr<Transfer> transfer);
  ~Exchange() override;

  // Until status and headers are there. Any status is a success.
  Result<void> Wait(const Context& ctx);
  // After that.
  int status() const { return status_; }
  const Headers& headers() const { return headers_; }
  // The body. An error (kUnavailable) if the answer ends before its announced length.
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override;
  // The whole answer; kUnavailable if its body is larger than that, kTimeout if it drips.
  Result<Response> Finish(const Context& ctx, std::size_t max_bytes = kMaxResponseBytes);

 private:
  friend class Client;
  Result<void> Send(const Context& ctx, ByteSource& source, std::optional<std::uint64_t> size);

  const std::shared_ptr<Engine> engine_;  // Shared with the client: an answer may outlive it.
  IoThread& thread_;
  const std::shared_ptr<Transfer> transfer_;  // Shared with the thread that does its I/O.
  bool waited_ = false;
  int status_ = 0;
  Headers headers_;
  std::string piece_;  // Taken from the transfer, and how much of it was read.
  std::size_t piece_done_ = 0;
};

struct ClientOptions {
  int threads = 2;
  // Requests at a time to one host, and so connections. Who wants another waits for its turn.
  int requests_per_host = 128;
  std::chrono::milliseconds turn_timeout{30'000};  // So long; then kThrottled.
  std::string user_agent = "litestream";
  const Clock* clock = &Clock::Real();
};

// Makes HTTP requests, for all databases of a process, on a few threads that sleep when there is
// nothing to do. Connections are used again; HTTP/2 where the server offers it. Redirects are not
// followed, and nothing is tried twice. Certificates are verified unless a request says otherwise.
//
// Errors: kUnavailable (cannot connect, broken connection), kTimeout (the server is too slow),
// kDenied (certificate), kThrottled (no turn), kInvalidArgument (the request cannot be sent),
// kCancelled. A status is no error. Messages name method and URL without its query, never a header.
// Threads: safe for concurrent calls.
class Client {
 public:
  explicit Client(const ClientOptions& options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Sends a request; with a source, all of its body. The answer is not waited for.
  Result<std::unique_ptr<Exchange>> Begin(const Context& ctx, const Request& request);
  // Sends it, and reads the answer.
  Result<Response> Do(const Context& ctx, const Request& request,
                      std::size_t max_response_bytes = kMaxResponseBytes);

 private:
  const ClientOptions options_;
  const std::shared_ptr<Engine> engine_;  // Shared with exchanges that outlive the client.
};

}  // namespace litestream::http
