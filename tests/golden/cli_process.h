#pragma once

// Runs the program as a process.

#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/golden.h"
#include "tests/support/sqlite_app.h"
#include "tests/support/temp_dir.h"

namespace litestream {

inline constexpr std::chrono::seconds kPatience{60};  // For what takes a moment on an idle machine.

// A running litestream. Its stdin and stdout are pipes; stderr goes where stdout goes.
class Process {
 public:
  explicit Process(const std::vector<std::string>& arguments) {
    int in[2];
    int out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) ADD_FAILURE() << "pipe";
    std::vector<std::string> words = {LITESTREAM_BINARY};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      ::dup2(out[1], 2);
      ::execv(LITESTREAM_BINARY, argv.data());
      ::_exit(126);
    }
    ::close(in[0]);
    ::close(out[1]);
    in_ = in[1];
    out_ = out[0];
  }
  ~Process() {
    CloseInput();
    CloseOutput();
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Reads its output until the text appears.
  bool WaitFor(const std::string& text) {
    while (output_.find(text, seen_) == std::string::npos) {
      if (!ReadMore()) {
        ADD_FAILURE() << "no \"" << text << "\" in:\n" << output_;
        return false;
      }
    }
    seen_ = output_.find(text, seen_) + text.size();
    return true;
  }
  void Write(const std::string& text) {
    EXPECT_EQ(::write(in_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void CloseInput() {
    if (in_ >= 0) ::close(in_);
    in_ = -1;
  }
  void CloseOutput() {
    if (out_ >= 0) ::close(out_);
    out_ = -1;
  }
  void Signal(int signal) const { EXPECT_EQ(::kill(pid_, signal), 0); }
  // Reads the rest of its output and waits for its end: the exit code, or 1000 + signal.
  int Wait() {
    while (out_ >= 0 && ReadMore()) {
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  const std::string& output() const { return output_; }

 private:
  bool ReadMore() {
    pollfd ready = {.fd = out_, .events = POLLIN};
    constexpr int kTimeout = static_cast<int>(std::chrono::milliseconds(kPatience).count());
    if (::poll(&ready, 1, kTimeout) <= 0) return false;
    char buffer[4096];
    const ssize_t got = ::read(out_, buffer, sizeof buffer);
    if (got <= 0) return false;
    output_.append(buffer, static_cast<std::size_t>(got));
    return true;
  }

  pid_t pid_ = -1;
  int in_ = -1;
  int out_ = -1;
  std::string output_;
  std::size_t seen_ = 0;
};

class CliProcessTest : public ::testing::Test {
 protected:
  CliProcessTest() : app_(Path("db")) { app_.Exec("CREATE TABLE t (x)"); }

  std::string Path(const std::string& name) const { return (dir_.path() / name).string(); }
  std::string Url(const std::string& name) const { return "file://" + Path(name); }
  static int Run(const std::vector<std::string>& arguments, std::string* output = nullptr) {
    Process process(arguments);
    process.CloseInput();
    const int code = process.Wait();
    if (output != nullptr) *output = process.output();
    return code;
  }
  // Rows of t in the newest state of a replica.
  std::int64_t Restored(const std::string& replica) {
    const std::string out = Path("restored-" + std::to_string(++restores_));
    EXPECT_EQ(Run({"restore", "-o", out, Url(replica)}), 0);
    SqliteApp copy(out);
    return copy.Int("SELECT count(*) FROM t");
  }
  void WriteFile(const std::string& name, const std::string& text) const {
    WriteWholeFile(dir_.path() / name, std::as_bytes(std::span(text.data(), text.size())));
  }

  TempDir dir_;
  SqliteApp app_;
  int restores_ = 0;
};

}  // namespace litestream
