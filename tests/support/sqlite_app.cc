#include "tests/support/sqlite_app.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "tests/support/golden.h"
#include "tests/support/temp_dir.h"

namespace litestream {

SqliteApp::SqliteApp(const std::filesystem::path& path, const std::string& first_pragma) {
  EXPECT_EQ(sqlite3_open(path.c_str(), &db_), SQLITE_OK) << path;
  sqlite3_busy_timeout(db_, 5000);
  if (!first_pragma.empty()) Exec(first_pragma);
  Exec("PRAGMA journal_mode = wal");
}

SqliteApp::~SqliteApp() {
  Close();
}

void SqliteApp::Close() {
  if (db_ == nullptr) return;
  EXPECT_EQ(sqlite3_close(db_), SQLITE_OK);
  db_ = nullptr;
}

void SqliteApp::Exec(const std::string& sql) {
  EXPECT_EQ(TryExec(sql), SQLITE_OK) << sql << ": " << sqlite3_errmsg(db_);
}

int SqliteApp::TryExec(const std::string& sql) {
  return sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
}

std::string SqliteApp::Text(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  EXPECT_EQ(sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr), SQLITE_OK)
      << sql << ": " << sqlite3_errmsg(db_);
  std::string text;
  if (sqlite3_step(statement) == SQLITE_ROW) {
    const auto* p = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
    if (p != nullptr) text = p;
  }
  sqlite3_finalize(statement);
  return text;
}

std::int64_t SqliteApp::Int(const std::string& sql) {
  const std::string text = Text(sql);
  return text.empty() ? 0 : std::stoll(text);
}

std::vector<std::byte> CheckpointedCopy(const std::filesystem::path& database) {
  const TempDir dir;
  const auto copy = dir.path() / "db";
  WriteWholeFile(copy, ReadWholeFile(database));
  const std::filesystem::path wal = database.string() + "-wal";
  if (std::filesystem::exists(wal)) {
    WriteWholeFile(copy.string() + "-wal", ReadWholeFile(wal));
  }
  {
    SqliteApp app(copy);
    app.Exec("PRAGMA wal_checkpoint(TRUNCATE)");
  }
  return ReadWholeFile(copy);
}

}  // namespace litestream
