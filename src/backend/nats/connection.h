#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/nats/options.h"
#include "base/sync.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream::nats {

// A message that asks for an answer.
struct Message {
  std::string subject;
  std::vector<std::pair<std::string, std::string>> headers;
  // Shared: it may still be on its way when whoever asked has left.
  std::shared_ptr<const std::string> body;
};

struct Answer {
  int status = 0;  // Of its header: 404, 503 (nobody listens); 0: it has none.
  std::string description;
  std::string subject;         // Header "Nats-Subject" of a message that was stored.
  std::uint64_t sequence = 0;  // "Nats-Sequence"
  std::string body;
};

struct Slot;             // A message that waits, is on its way or has been answered.
struct ConnectionState;  // In connection.cc.

// A message under way. Whoever drops it wants the answer no more.
class Pending {
 public:
  Pending() = default;
  explicit Pending(std::shared_ptr<Slot> slot) : slot_(std::move(slot)) {}
  bool empty() const { return slot_ == nullptr; }

 private:
  friend class Connection;
  std::shared_ptr<Slot> slot_;  // Shared with the connection.
};

// A connection to a server, opened when something is first sent, and again when something is sent
// after it was lost; kept open between. Messages go out in the order of Send. Everything that is
// under way when it is lost fails with kUnavailable: whether the server got it is then not known.
//
// libnats blocks without regard to anybody's wish to stop: while it connects, in the handshake of
// TLS (without any limit), and while a message does not fit into the socket. So one thread, of the
// connection alone, calls it; callers wait beside. One that does not come back is left behind, at
// most kMaxThreads of them, and another takes its place.
//
// Safe for concurrent calls. Does no I/O when constructed.
class Connection {
 public:
  static constexpr int kMaxThreads = 4;
  // An answer that is larger is not kept: listings of subjects are the largest.
  static constexpr std::size_t kMaxAnswerBytes = std::size_t{64} << 20;

  explicit Connection(ServerOptions options);
  // Waits for its thread, half a second at most.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const ServerOptions& options() const;
  // Never waits. What must not overtake what was sent before it names the same `pin`, 0 at first:
  // once what has it was lost with its connection, all that has it is.
  Pending Send(Message message, std::uint64_t* pin = nullptr);
  // Errors: kUnavailable (no connection, it was lost, no answer), kDenied (the server refuses the
  // credentials, or them this subject), kInvalidArgument (TLS, addresses), kCancelled, kTimeout.
  Result<Answer> Wait(const Context& ctx, const Pending& pending);
  Result<Answer> Ask(const Context& ctx, Message message) {
    return Wait(ctx, Send(std::move(message)));
  }
  // What the server takes as a message, with its headers; 0: not known, there was no connection.
  std::size_t max_payload_bytes() const;
  // The host and port, for messages.
  std::string server() const;

 private:
  const std::shared_ptr<ConnectionState> state_;  // Shared with the thread that is left behind.
};

// The connections of a process: one for all replicas with the same options. Safe for concurrent
// calls.
class Connections {
 public:
  std::shared_ptr<Connection> Get(const ServerOptions& options);

 private:
  Mutex mu_{LockRank::kStorage};
  // Gone when nobody uses them.
  std::vector<std::weak_ptr<Connection>> known_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream::nats
