#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "litestream/result.h"

namespace litestream::cli {

// Splits a command as a shell would into words: blanks separate, single and double quotes and
// backslashes quote. There is no shell: $VAR stays as it is, and what only a shell could do (; & |
// < > outside quotes) is refused.
Result<std::vector<std::string>> SplitCommand(std::string_view command);

// How a child ended.
struct ChildEnd {
  int exit_code = 0;  // 128 + signal if a signal ended it.
  int signal = 0;     // 0: it exited.
  // "exit status 7", "signal: terminated".
  std::string Describe() const;
};

// A program beside us: same environment, standard streams, working directory and process group. It
// gets SIGTERM when this process dies.
class ChildProcess {
 public:
  // kNotFound, kDenied, kIo: "fork/exec <program>: ...". Call from the thread that lives longest.
  static Result<ChildProcess> Start(const std::vector<std::string>& command);

  pid_t pid() const { return pid_; }
  // Waits for its end. It keeps its pid until Reap, so it can still be signalled.
  void WaitForEnd() const;
  ChildEnd Reap() const;
  // Not after Reap.
  Result<void> Signal(int signal) const;
  // Whether Ctrl-C in our terminal reaches it without us.
  bool SharesProcessGroup() const;

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  pid_t pid_;
};

}  // namespace litestream::cli
