#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <sqlite3.h>

namespace litestream::writer {

// Prints the message and ends the program: a test program has nothing better to do.
[[noreturn]] void Fail(const std::string& message);

// A prepared statement, for one connection.
class Statement {
 public:
  Statement(sqlite3* db, const char* sql);
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(Statement&& other) noexcept : statement_(std::exchange(other.statement_, nullptr)) {}
  Statement& operator=(Statement&&) = delete;

  Statement& Bind(int index, std::int64_t value);
  // Borrowed until Reset.
  Statement& Bind(int index, std::span<const std::byte> value);
  // True if there is a row. A failure ends the program.
  bool Step();
  void Reset();
  // One step, without a row, and a reset. The code of SQLite.
  int Run();
  std::int64_t Integer(int column) { return sqlite3_column_int64(statement_, column); }
  std::span<const std::byte> Blob(int column);

 private:
  sqlite3* db() { return sqlite3_db_handle(statement_); }
  sqlite3_stmt* statement_ = nullptr;
};

class Database {
 public:
  explicit Database(const std::string& path);
  ~Database() { sqlite3_close(db_); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  sqlite3* get() { return db_; }
  void Execute(const std::string& sql);
  // The code of SQLite; no message.
  int TryExecute(const std::string& sql);
  std::int64_t QueryInteger(const std::string& sql);
  // First column of all rows.
  std::vector<std::string> QueryTexts(const std::string& sql);

 private:
  sqlite3* db_ = nullptr;
};

// The state of the database after `counter` transactions. `checksum` runs over all operations
// that ever were, so two histories that differ anywhere differ in it.
struct State {
  std::int64_t counter = 0;
  std::uint64_t checksum = 0;
  std::int64_t row_count = 0;
  std::uint64_t row_sum = 0;  // Sum of RowHash over all rows.
  std::int64_t next_id = 1;
  std::int64_t data_bytes = 0;
};

std::uint64_t Mix(std::uint64_t value);
std::uint64_t RowHash(std::int64_t id, std::int64_t value, std::span<const std::byte> data);

// Creates the tables of an empty database.
void CreateTables(Database& db, bool with_index);
State ReadState(Database& db);
// What the rows say: row_count, row_sum and data_bytes.
State ScanRows(Database& db);

}  // namespace litestream::writer
