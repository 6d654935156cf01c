#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/sync.h"
#include "http/client.h"

namespace litestream::http {

// Whose turn it is to talk to a host: so many at a time, the others in the order of asking.
class HostTurns {
 public:
  explicit HostTurns(int limit) : limit_(limit) {}
  // Waits for a turn; kThrottled if none comes within `timeout`.
  Result<void> Take(const Context& ctx, const std::string& host, std::chrono::nanoseconds timeout);
  void Give(const std::string& host);

 private:
  struct Host {
    int active = 0;
    std::list<const void*> waiting;
  };
  const int limit_;
  Mutex mu_{LockRank::kLeaf};
  CondVar changed_;
  std::map<std::string, Host> hosts_ LS_GUARDED_BY(mu_);
};

// One thread, with its connections.
class IoThread {
 public:
  IoThread(const Clock& clock, HostTurns& turns);
  ~IoThread();
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  // Takes a turn of `host` over, and gives it back when the transfer has ended.
  void Start(std::shared_ptr<Transfer> transfer, std::string host);
  // Something changed that the thread has to look at.
  void Touch(const std::shared_ptr<Transfer>& transfer);
  int load() const;

 private:
  struct Active {
    std::shared_ptr<Transfer> transfer;
    std::string host;
  };
  void Run(const std::stop_token& stop);
  void TakeNew();
  void LookAtTouched();
  void TakeFinished();
  void EndSlow();
  void End(const Transfer& transfer);

  const Clock& clock_;
  HostTurns& turns_;
  void* const multi_;                     // CURLM*
  std::map<const void*, Active> active_;  // The thread's own; by Transfer*.
  MonoTime next_look_;

  mutable Mutex mu_{LockRank::kLeaf};
  std::vector<Active> new_ LS_GUARDED_BY(mu_);
  std::vector<std::shared_ptr<Transfer>> touched_ LS_GUARDED_BY(mu_);
  int load_ LS_GUARDED_BY(mu_) = 0;
  std::jthread thread_;
};

// The threads of a client.
class Engine {
 public:
  explicit Engine(const ClientOptions& options);

  Result<std::unique_ptr<Exchange>> Start(const Context& ctx, const Request& request,
                                          const std::shared_ptr<Engine>& self);

 private:
  const ClientOptions options_;
  HostTurns turns_;
  std::vector<std::unique_ptr<IoThread>> threads_;
};

}  // namespace litestream::http
