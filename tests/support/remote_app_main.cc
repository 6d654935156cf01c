// What runs in the process of a RemoteApp: answers on standard output what is asked on standard
// input, until that ends. The argument is the database.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <utility>

#include <sqlite3.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/support/remote_app_message.h"

namespace {

std::atomic<bool> die_in_fsync{false};

}  // namespace

// Stands before the C library's, for the SQLite in this program.
extern "C" int fsync(int fd) {
  if (die_in_fsync) ::kill(::getpid(), SIGKILL);
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

namespace litestream::remote_app {
namespace {

class Application {
 public:
  explicit Application(std::string path) : path_(std::move(path)) {}

  // Without an orderly end: it may be in the middle of its loop.
  [[noreturn]] void Serve(int in, int out) {
    std::string message;
    while (Receive(in, message)) {
      if (!Send(out, Do(Question{message[0]}, message.substr(1)))) break;
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

  std::string Do(Question question, const std::string& text) {
    switch (question) {
      case Question::kExec:
        return std::to_string(sqlite3_exec(Db(), text.c_str(), nullptr, nullptr, nullptr));
      case Question::kQuery:
        return Query(text);
      case Question::kClose:
        sqlite3_close(db_);
        db_ = nullptr;
        return "";
      case Question::kDieInNextFsync:
        die_in_fsync = true;
        return "";
      case Question::kStartLoop:
        stop_ = false;
        commits_ = failures_ = longest_us_ = 0;
        Db();
        loop_ = std::thread([this, text] { Loop(text); });
        return "";
      case Question::kStopLoop:
        stop_ = true;
        loop_.join();
        return std::to_string(commits_) + " " + std::to_string(failures_) + " " +
               std::to_string(longest_us_);
    }
    ::_exit(4);
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
}  // namespace litestream::remote_app

int main(int count, char** arguments) {
  if (count != 2) return 2;
  litestream::remote_app::Application(arguments[1]).Serve(STDIN_FILENO, STDOUT_FILENO);
}
