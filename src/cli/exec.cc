#include "cli/exec.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/try.h"
#include "cli/core_dump.h"
#include "cli/file_limit.h"
#include "cli/inherited_files.h"
#include "cli/signals.h"

namespace litestream::cli {
namespace {

Error Malformed() {
  return Error(ErrorCode::kInvalidArgument,
               "invalid command line string (a quote is not closed, or "
               "a parenthesis or backslash is not quoted)");
}

bool IsBlank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

std::string Reason(int error) {
  return std::generic_category().message(error);
}

// The file that a program's name means. Go's words for what is not found.
Result<std::string> FindProgram(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* const variable = std::getenv("PATH");
  std::string_view rest = variable == nullptr ? "" : variable;
  while (!rest.empty()) {
    const std::size_t colon = rest.find(':');
    const std::string_view dir = rest.substr(0, colon);
    rest.remove_prefix(colon == std::string_view::npos ? rest.size() : colon + 1);
    const std::string path = dir.empty() ? "./" + name : fmt::format("{}/{}", dir, name);
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return Error(ErrorCode::kNotFound,
               fmt::format("exec: \"{}\": executable file not found in $PATH", name));
}

// Runs in the child between fork and exec: only calls that are safe there.
[[noreturn]] void BecomeProgram(const char* path, char* const* arguments, pid_t parent,
                                int report) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  RestoreFileLimit();
  RestoreCoreDumps();
  KeepInheritedFilesOnly();
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(1);  // It died before the line above.
  ::execv(path, arguments);
  const int error = errno;
  [[maybe_unused]] const auto written = ::write(report, &error, sizeof error);
  ::_exit(127);
}

}  // namespace

Result<std::vector<std::string>> SplitCommand(std::string_view command) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = 0;
  for (std::size_t i = 0; i < command.size(); ++i) {
    const char c = command[i];
    if (c == '\\' && quote != '\'') {
      if (++i == command.size()) return Malformed();
      word += command[i];
      in_word = true;
    } else if (quote != 0) {
      if (c == quote) {
        quote = 0;
      } else {
        word += c;
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
      in_word = true;
    } else if (IsBlank(c)) {
      if (in_word) words.push_back(std::move(word));
      word.clear();
      in_word = false;
    } else if (c == '(' || c == ')') {
      return Malformed();
    } else if (std::string_view(";&|<>").find(c) != std::string_view::npos) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("no shell runs the command, so '{}' outside quotes means nothing; "
                               "quote it, or run sh -c '...'",
                               c));
    } else {
      word += c;
      in_word = true;
    }
  }
  if (quote != 0) return Malformed();
  if (in_word) words.push_back(std::move(word));
  if (words.empty()) return Error(ErrorCode::kInvalidArgument, "the command is empty");
  return words;
}

std::string ChildEnd::Describe() const {
  return signal == 0 ? fmt::format("exit status {}", exit_code)
                     : fmt::format("signal: {}", SignalName(signal));
}

Result<ChildProcess> ChildProcess::Start(const std::vector<std::string>& command) {
  const std::string program = LS_TRY(FindProgram(command.front()));
  std::vector<std::string> words = command;
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return Error(ErrorCode::kIo, fmt::format("fork/exec {}: {}", program, Reason(errno)));
  }
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) BecomeProgram(program.c_str(), arguments.data(), parent, write_end.get());
  if (pid < 0) {
    return Error(ErrorCode::kIo, fmt::format("fork/exec {}: {}", program, Reason(errno)));
  }
  write_end = Fd();
  int error = 0;
  ssize_t got = 0;
  do {
    got = ::read(read_end.get(), &error, sizeof error);
  } while (got < 0 && errno == EINTR);
  if (got == sizeof error) {  // Otherwise the pipe was closed by a successful exec.
    ::waitpid(pid, nullptr, 0);
    const ErrorCode code = error == ENOENT   ? ErrorCode::kNotFound
                           : error == EACCES ? ErrorCode::kDenied
                                             : ErrorCode::kIo;
    std::string reason = Reason(error);
    // The system's words begin with a capital; in the middle of a line they should not.
    if (!reason.empty() && reason[0] >= 'A' && reason[0] <= 'Z')
      reason[0] = static_cast<char>(reason[0] + 32);
    return Error(code, fmt::format("fork/exec {}: {}", program, reason));
  }
  return ChildProcess(pid);
}

void ChildProcess::WaitForEnd() const {
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
  }
}

ChildEnd ChildProcess::Reap() const {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0) {
    if (errno != EINTR) return {.exit_code = 1};
  }
  if (WIFSIGNALED(status)) {
    return {.exit_code = 128 + WTERMSIG(status), .signal = WTERMSIG(status)};
  }
  return {.exit_code = WEXITSTATUS(status)};
}

Result<void> ChildProcess::Signal(int signal) const {
  if (::kill(pid_, signal) == 0) return {};
  return Error(errno == ESRCH ? ErrorCode::kNotFound : ErrorCode::kIo,
               fmt::format("cannot signal exec process: {}", Reason(errno)));
}

bool ChildProcess::SharesProcessGroup() const {
  return ::getpgid(pid_) == ::getpgrp();
}

}  // namespace litestream::cli
