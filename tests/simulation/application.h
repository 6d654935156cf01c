#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <sqlite3.h>

#include "tests/simulation/plan.h"
#include "tests/simulation/process.h"

namespace litestream::sim {

// An application's connection. Every result is judged: an error that nothing explains is a failure
// of the run, because without us it would not have been there.
class AppConnection {
 public:
  AppConnection(Process& process, const Plan& plan, std::string path)
      : process_(process), plan_(plan), path_(std::move(path)) {}
  ~AppConnection() { Close(); }
  AppConnection(const AppConnection&) = delete;
  AppConnection& operator=(const AppConnection&) = delete;

  // What may be answered besides success.
  enum class Tolerate : std::uint8_t { kNothing, kBusy };

  bool Open();
  void Close();
  // What is in the WAL stays there when it closes.
  bool KeepWal();
  // Why this is not what the application has left; empty: it is, or nobody can tell.
  std::string WhatIsWrong();
  bool is_open() const { return db_ != nullptr; }
  bool Exec(std::string_view sql, Tolerate tolerate = Tolerate::kNothing);
  // First column of the first row as a number; nothing on an error.
  std::optional<std::int64_t> Number(std::string_view sql, Tolerate tolerate = Tolerate::kNothing);
  // First column of the first row as text; empty on an error.
  std::string Text(std::string_view sql, Tolerate tolerate = Tolerate::kNothing);

 private:
  bool Judge(int code, std::string_view sql, Tolerate tolerate, std::int64_t began_ns,
             std::int64_t stalled_ns);

  Process& process_;
  const Plan& plan_;
  const std::string path_;
  sqlite3* db_ = nullptr;
};

// What an application does until it is asked to stop or dies: some threads that read, one that
// writes.
void RunApplication(Process& process, const Plan& plan, const std::string& path);

}  // namespace litestream::sim
