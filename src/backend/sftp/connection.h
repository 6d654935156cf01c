#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "backend/sftp/packet.h"
#include "backend/sftp/ssh.h"
#include "base/fd.h"
#include "base/sync.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream::sftp {

class Engine;

// An answer that has yet to come. May be dropped without waiting for it.
class Pending {
 public:
  Pending() = default;

 private:
  friend class Connection;
  struct State {
    std::optional<Reply> reply;  // Guarded by the connection's mutex.
  };
  explicit Pending(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

// One SFTP session over one SSH connection. Any number of requests may be under way; the thread of
// the engine sends them and takes the answers. Safe for concurrent calls.
class Connection {
 public:
  Connection(Channel channel, std::chrono::milliseconds stall_timeout,
             std::chrono::milliseconds idle_timeout);

  // Never blocks. If the connection is gone, Wait says so.
  Pending Send(PacketType type, const Body& body);
  // The answer, whatever it says. kUnavailable: the connection is gone, or stands still.
  Result<Reply> Wait(const Context& ctx, const Pending& pending);
  // Both.
  Result<Reply> Ask(const Context& ctx, PacketType type, const Body& body) {
    return Wait(ctx, Send(type, body));
  }
  // Ask for what is answered by a status.
  Result<Status> AskStatus(const Context& ctx, PacketType type, const Body& body);

  bool Offers(std::string_view extension, std::string_view version) const;
  const std::string& server() const { return channel_.server; }  // "SSH-2.0-OpenSSH_9.2p1 ..."

  // Counts those who use it; false if it is gone. While somebody does it is not closed.
  bool BeginUse();
  void EndUse();
  int users() const;  // -1: gone.

 private:
  friend class Engine;
  // --- The thread of the engine.
  // Sends and takes what can be at this moment. False: it is over, and closed.
  bool Pump(MonoTime now);
  bool WriteSome();
  bool ReadSome();
  bool Dispatch();
  void CloseUnwanted(const Reply& reply) LS_REQUIRES(mu_);
  void Fail(Error error);
  bool HasToSend() const;
  // When it has to be looked at although nothing came.
  MonoTime NextLook(MonoTime now) const;
  std::optional<Error> Overdue(MonoTime now);

  Channel channel_;  // The engine's, once it runs.
  const std::chrono::milliseconds stall_timeout_;
  const std::chrono::milliseconds idle_timeout_;
  // The engine's own.
  PacketCutter incoming_;
  std::string sending_;
  std::size_t sent_ = 0;
  MonoTime last_answer_;
  bool more_to_read_ = false;

  mutable Mutex mu_{LockRank::kLeaf};
  CondVar changed_;
  std::string outgoing_ LS_GUARDED_BY(mu_);
  std::uint32_t next_number_ LS_GUARDED_BY(mu_) = 1;
  std::map<std::uint32_t, std::shared_ptr<Pending::State>> waiting_ LS_GUARDED_BY(mu_);
  MonoTime waiting_since_ LS_GUARDED_BY(mu_);  // There was always one.
  std::optional<Error> error_ LS_GUARDED_BY(mu_);
  int users_ LS_GUARDED_BY(mu_) = 0;
  MonoTime last_use_ LS_GUARDED_BY(mu_);
  std::shared_ptr<const Fd> wake_ LS_GUARDED_BY(mu_);  // Of the engine.
};

// The thread that does the I/O of all connections, started with the first.
class Engine {
 public:
  Engine();
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  Result<void> Add(std::shared_ptr<Connection> connection);

 private:
  void Run(const std::stop_token& stop);

  Mutex mu_{LockRank::kStorage};
  std::vector<std::shared_ptr<Connection>> fresh_ LS_GUARDED_BY(mu_);
  std::shared_ptr<const Fd> wake_ LS_GUARDED_BY(mu_);
  std::jthread thread_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream::sftp
