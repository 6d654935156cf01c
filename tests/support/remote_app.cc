#include "tests/support/remote_app.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/remote_app_message.h"

namespace litestream {

using remote_app::Question;

RemoteApp::RemoteApp(const std::filesystem::path& database) {
  int down[2] = {};
  int up[2] = {};
  // The next application does not inherit these, so that this one sees when they are closed.
  if (::pipe2(down, O_CLOEXEC) != 0 || ::pipe2(up, O_CLOEXEC) != 0) std::abort();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, down[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, up[1], STDOUT_FILENO);
  std::string program = LITESTREAM_REMOTE_APP;
  std::string path = database.string();
  char* const arguments[] = {program.data(), path.data(), nullptr};
  if (::posix_spawn(&pid_, program.c_str(), &actions, nullptr, arguments, ::environ) != 0) {
    std::abort();
  }
  posix_spawn_file_actions_destroy(&actions);
  ::close(down[0]);
  ::close(up[1]);
  to_child_ = down[1];
  from_child_ = up[0];
  ::signal(SIGPIPE, SIG_IGN);
}

RemoteApp::~RemoteApp() {
  Kill();
  ::close(to_child_);
  ::close(from_child_);
}

void RemoteApp::Kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::string RemoteApp::Ask(Question question, const std::string& text) {
  std::string answer;
  if (!remote_app::Send(to_child_, static_cast<char>(question) + text) ||
      !remote_app::Receive(from_child_, answer)) {
    return std::to_string(kDied);
  }
  return answer;
}

int RemoteApp::Exec(const std::string& sql) {
  return std::stoi(Ask(Question::kExec, sql));
}
std::string RemoteApp::Query(const std::string& sql) {
  return Ask(Question::kQuery, sql);
}
void RemoteApp::Close() {
  Ask(Question::kClose, "");
}
void RemoteApp::DieInNextFsync() {
  Ask(Question::kDieInNextFsync, "");
}
void RemoteApp::StartLoop(const std::string& sql) {
  Ask(Question::kStartLoop, sql);
}

RemoteApp::LoopResult RemoteApp::StopLoop() {
  LoopResult result;
  const std::string answer = Ask(Question::kStopLoop, "");
  EXPECT_EQ(std::sscanf(answer.c_str(), "%ld %ld %ld", &result.commits, &result.failures,
                        &result.longest_us),
            3)
      << answer;
  return result;
}

}  // namespace litestream
