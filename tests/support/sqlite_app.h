#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

struct sqlite3;

namespace litestream {

// An application's connection, as applications have it: default settings, in WAL mode. What fails
// is a test failure.
class SqliteApp {
 public:
  explicit SqliteApp(const std::filesystem::path& path, const std::string& first_pragma = "");
  ~SqliteApp();
  SqliteApp(const SqliteApp&) = delete;
  SqliteApp& operator=(const SqliteApp&) = delete;

  void Exec(const std::string& sql);
  // SQLite's result code, for statements that may fail.
  int TryExec(const std::string& sql);
  std::int64_t Int(const std::string& sql);
  std::string Text(const std::string& sql);
  void Close();
  sqlite3* db() { return db_; }

 private:
  sqlite3* db_ = nullptr;
};

// The database as SQLite would leave it if everything were checkpointed and closed now: made from
// copies of the file and its WAL, so the original is not touched. (Opens and closes the original's
// files: only where no other process relies on this one's locks.)
std::vector<std::byte> CheckpointedCopy(const std::filesystem::path& database);

}  // namespace litestream
