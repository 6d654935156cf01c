#pragma once

#include <filesystem>
#include <string>

#include <sys/types.h>

#include "tests/support/remote_app_message.h"

namespace litestream {

// An application in a process of its own, with its own locks: the program in remote_app_main.cc,
// which does what it is told.
class RemoteApp {
 public:
  explicit RemoteApp(const std::filesystem::path& database);
  ~RemoteApp();  // Kills it.
  RemoteApp(const RemoteApp&) = delete;
  RemoteApp& operator=(const RemoteApp&) = delete;

  // Runs SQL; SQLite's result code. Opens the database when first used.
  int Exec(const std::string& sql);
  // First column of the first row.
  std::string Query(const std::string& sql);
  // Closes its connection as an application that ends does.
  void Close();
  // The process kills itself when it next calls fsync: a commit whose frames are written, and that
  // SQLite never publishes. Exec then returns kDied.
  void DieInNextFsync();
  // Writes without pause until told otherwise; counts commits that failed or had to wait longer
  // than its busy timeout of 5 s.
  void StartLoop(const std::string& sql);
  struct LoopResult {
    long commits = 0;
    long failures = 0;
    long longest_us = 0;
  };
  LoopResult StopLoop();
  void Kill();

  static constexpr int kDied = -1;

 private:
  std::string Ask(remote_app::Question question, const std::string& text);

  pid_t pid_ = -1;
  int to_child_ = -1;
  int from_child_ = -1;
};

}  // namespace litestream
