#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "base/sync.h"
#include "cli/exec.h"
#include "cli/signals.h"

namespace litestream::cli {

// What `replicate` waits for: signals and the end of the program beside it.
//
// The first SIGINT or SIGTERM stops the work (stop()), the second the waiting for the last uploads
// (hurry()), the third ends the process at once. A child gets every signal that the terminal has
// not sent it already.
class Supervisor {
 public:
  Supervisor();
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  std::stop_token stop() const { return stop_.get_token(); }
  std::stop_token hurry() const { return hurry_.get_token(); }
  // The first signal; 0: none yet.
  int signal() const;

  // Call from the main thread, once.
  Result<void> StartChild(const std::vector<std::string>& command);
  // Returns after the first signal or the end of the child.
  void Wait();
  // The work ends without a signal. The first one from now on counts as a second.
  void EndByItself();
  // After a signal: logs it and waits, as long as it takes, for the child.
  void EndBySignal(const Logger& log);

  std::optional<ChildEnd> child_end() const;
  // 0 without a child, and for one that a signal from us ended.
  int ChildExitCode() const;

 private:
  void OnSignal(int signal, bool from_terminal);

  std::stop_source stop_;
  std::stop_source hurry_;
  mutable Mutex mu_{LockRank::kLeaf};
  CondVar changed_;
  int signal_ LS_GUARDED_BY(mu_) = 0;
  int signal_count_ LS_GUARDED_BY(mu_) = 0;    // And the end by itself.
  bool forwarded_ LS_GUARDED_BY(mu_) = false;  // The child has the signal, from us or the terminal.
  bool sent_ LS_GUARDED_BY(mu_) = false;       // From us.
  std::optional<ChildProcess> child_ LS_GUARDED_BY(mu_);
  std::optional<ChildEnd> child_end_ LS_GUARDED_BY(mu_);

  std::jthread child_waiter_;
  SignalWatcher watcher_;  // Last: its handler uses the rest.
};

}  // namespace litestream::cli
