#include "tests/support/remote_app.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

std::atomic<bool> die_in_fsync{false};

}  // namespace

// Stands before the C library's, for the SQLite in this program.
extern "C" int fsync(int fd) {
  if (die_in_fsync) ::kill(::getpid(), SIGKILL);
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

namespace litestream {
namespace {

bool WriteAll(int fd, const void* data, std::size_t size) {
  const char* p = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::write(fd, p, size);
    if (n <= 0) return false;
    p += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

bool ReadAll(int fd, void* data, std::size_t size) {
  char* p = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t n = ::read(fd, p, size);
    if (n <= 0) return false;
    p += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

bool Send(int fd, const std::string& text) {
  const auto size = static_cast<std::uint32_t>(text.size());
  return WriteAll(fd, &size, sizeof size) && WriteAll(fd, text.data(), text.size());
}

bool Receive(int fd, std::string& text) {
  std::uint32_t size = 0;
  if (!ReadAll(fd, &size, sizeof size)) return false;
  text.resize(size);
  return ReadAll(fd, text.data(), size);
}

// What runs in the other process.
class Child {
 public:
  explicit Child(std::string path) : path_(std::move(path)) {}

  [[noreturn]] void Serve(int in, int out) {
    std::string message;
    while (Receive(in, message)) {
      if (!Send(out, Do(message[0], message.substr(1)))) break;
    }
    ::_exit(0);
  }

 private:
  sqlite3* Db() {
    if (db_ == nullptr) {
      if (sqlite3_open(path_.c_str(), &db_) != SQLITE_OK) ::_exit(3);
      sqlite3_busy_timeout(db_, 5000);
      sqlite3_exec(db_, "PRAGMA journal_mode = wal", nullptr, nullptr, nullptr);
    }
    return db_;
  }

  std::string Do(char command, const std::string& text) {
    switch (command) {
      case 'E':
        return std::to_string(sqlite3_exec(Db(), text.c_str(), nullptr, nullptr, nullptr));
      case 'Q':
        return Query(text);
      case 'C':
        sqlite3_close(db_);
        db_ = nullptr;
        return "";
      case 'D':
        die_in_fsync = true;
        return "";
      case 'L':
        stop_ = false;
        commits_ = failures_ = longest_us_ = 0;
        Db();
        loop_ = std::thread([this, text] { Loop(text); });
        return "";
      case 'S':
        stop_ = true;
        loop_.join();
        return std::to_string(commits_) + " " + std::to_string(failures_) + " " +
               std::to_string(longest_us_);
      default:
        ::_exit(4);
    }
  }

  std::string Query(const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    std::string text;
    if (sqlite3_prepare_v2(Db(), sql.c_str(), -1, &statement, nullptr) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
      const auto* p = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
      if (p != nullptr) text = p;
    }
    sqlite3_finalize(statement);
    return text;
  }

  void Loop(const std::string& sql) {
    using Clock = std::chrono::steady_clock;
    while (!stop_) {
      const auto start = Clock::now();
      if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) {
        ++commits_;
      } else {
        ++failures_;
      }
      const long took = static_cast<long>(
          std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count());
      longest_us_ = std::max(longest_us_, took);
    }
  }

  std::string path_;
  sqlite3* db_ = nullptr;
  std::thread loop_;
  std::atomic<bool> stop_{false};
  long commits_ = 0;
  long failures_ = 0;
  long longest_us_ = 0;
};

}  // namespace

RemoteApp::RemoteApp(const std::filesystem::path& database) {
  int down[2] = {};
  int up[2] = {};
  if (::pipe(down) != 0 || ::pipe(up) != 0) std::abort();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::close(down[1]);
    ::close(up[0]);
    Child(database.string()).Serve(down[0], up[1]);
  }
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

std::string RemoteApp::Ask(char command, const std::string& text) {
  std::string answer;
  if (!Send(to_child_, command + text) || !Receive(from_child_, answer)) {
    return std::to_string(kDied);
  }
  return answer;
}

int RemoteApp::Exec(const std::string& sql) {
  return std::stoi(Ask('E', sql));
}
std::string RemoteApp::Query(const std::string& sql) {
  return Ask('Q', sql);
}
void RemoteApp::Close() {
  Ask('C', "");
}
void RemoteApp::DieInNextFsync() {
  Ask('D', "");
}
void RemoteApp::StartLoop(const std::string& sql) {
  Ask('L', sql);
}

RemoteApp::LoopResult RemoteApp::StopLoop() {
  LoopResult result;
  const std::string answer = Ask('S', "");
  EXPECT_EQ(std::sscanf(answer.c_str(), "%ld %ld %ld", &result.commits, &result.failures,
                        &result.longest_us),
            3)
      << answer;
  return result;
}

}  // namespace litestream
