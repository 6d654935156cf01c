#pragma once

#include <functional>
#include <string>
#include <thread>

#include "base/fd.h"

namespace litestream::cli {

// Takes SIGINT and SIGTERM for the life of the object and reports each on a thread of its own. Must
// exist before other threads are started, so that none of them is interrupted.
class SignalWatcher {
 public:
  // `from_terminal`: the kernel sent it to the whole foreground process group (Ctrl-C).
  using Handler = std::function<void(int signal, bool from_terminal)>;
  explicit SignalWatcher(Handler handler);
  // Ends the thread; the signals have their default effect again.
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  void Run(const Handler& handler) const;

  Fd signals_;
  Fd wake_;
  std::jthread thread_;
};

// As Go prints a signal: "interrupt", "terminated", "signal 10".
std::string SignalName(int signal);

}  // namespace litestream::cli
