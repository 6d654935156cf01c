#include "tests/support/writer/database.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fmt/core.h>

namespace litestream::writer {

namespace {

constexpr int kBusyTimeoutMs = 20000;

}  // namespace

void Fail(const std::string& message) {
  fmt::print(stderr, "litestream-writer: {}\n", message);
  std::_Exit(1);
}

Statement::Statement(sqlite3* db, const char* sql) {
  if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr) !=
      SQLITE_OK) {
    Fail(fmt::format("prepare {}: {}", sql, sqlite3_errmsg(db)));
  }
}

Statement& Statement::Bind(int index, std::int64_t value) {
  if (sqlite3_bind_int64(statement_, index, value) != SQLITE_OK) Fail("bind");
  return *this;
}

Statement& Statement::Bind(int index, std::span<const std::byte> value) {
  if (sqlite3_bind_blob64(statement_, index, value.data(), value.size(), SQLITE_STATIC) !=
      SQLITE_OK) {
    Fail("bind");
  }
  return *this;
}

bool Statement::Step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  Fail(fmt::format("{}: {}", sqlite3_sql(statement_), sqlite3_errmsg(db())));
}

void Statement::Reset() {
  sqlite3_reset(statement_);
}

int Statement::Run() {
  const int code = sqlite3_step(statement_);
  sqlite3_reset(statement_);
  return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

std::span<const std::byte> Statement::Blob(int column) {
  const auto* data = static_cast<const std::byte*>(sqlite3_column_blob(statement_, column));
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

Database::Database(const std::string& path) {
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  if (sqlite3_open_v2(path.c_str(), &db_, kFlags, nullptr) != SQLITE_OK) {
    Fail(fmt::format("open {}: {}", path, sqlite3_errmsg(db_)));
  }
  sqlite3_busy_timeout(db_, kBusyTimeoutMs);
  sqlite3_extended_result_codes(db_, 1);
}

void Database::Execute(const std::string& sql) {
  if (TryExecute(sql) != SQLITE_OK) Fail(fmt::format("{}: {}", sql, sqlite3_errmsg(db_)));
}

int Database::TryExecute(const std::string& sql) {
  return sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
}

std::int64_t Database::QueryInteger(const std::string& sql) {
  Statement statement(db_, sql.c_str());
  return statement.Step() ? statement.Integer(0) : 0;
}

std::vector<std::string> Database::QueryTexts(const std::string& sql) {
  std::vector<std::string> texts;
  Statement statement(db_, sql.c_str());
  while (statement.Step()) {
    const auto text = statement.Blob(0);
    texts.emplace_back(reinterpret_cast<const char*>(text.data()), text.size());
  }
  return texts;
}

// The finaliser of SplitMix64.
std::uint64_t Mix(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31);
}

std::uint64_t RowHash(std::int64_t id, std::int64_t value, std::span<const std::byte> data) {
  std::uint64_t hash = Mix(static_cast<std::uint64_t>(id)) ^
                       Mix(static_cast<std::uint64_t>(value) + 0x9e3779b97f4a7c15U) ^ data.size();
  std::size_t at = 0;
  for (; at + sizeof hash <= data.size(); at += sizeof hash) {
    std::uint64_t word = 0;
    std::memcpy(&word, data.data() + at, sizeof word);
    hash = (hash ^ word) * 0x9fb21c651e98df25U;
    hash ^= hash >> 32;
  }
  for (; at < data.size(); ++at) {
    hash = (hash ^ std::to_integer<std::uint64_t>(data[at])) * 0x100000001b3U;
  }
  return Mix(hash);
}

void CreateTables(Database& db, bool with_index) {
  const char* index = "CREATE INDEX IF NOT EXISTS items_by_value ON items(value);";
  db.Execute(fmt::format(
      "BEGIN IMMEDIATE;"
      "CREATE TABLE IF NOT EXISTS state(id INTEGER PRIMARY KEY CHECK(id = 1),"
      " counter INTEGER NOT NULL, checksum INTEGER NOT NULL, row_count INTEGER NOT NULL,"
      " row_sum INTEGER NOT NULL, next_id INTEGER NOT NULL, data_bytes INTEGER NOT NULL);"
      "CREATE TABLE IF NOT EXISTS items(id INTEGER PRIMARY KEY, value INTEGER NOT NULL,"
      " data BLOB NOT NULL);"
      "{}"
      "INSERT OR IGNORE INTO state VALUES(1, 0, 0, 0, 0, 1, 0);"
      "COMMIT;",
      with_index ? index : ""));
}

State ReadState(Database& db) {
  Statement statement(db.get(),
                      "SELECT counter, checksum, row_count, row_sum, next_id, data_bytes"
                      " FROM state WHERE id = 1");
  if (!statement.Step()) Fail("the state row is missing");
  return {.counter = statement.Integer(0),
          .checksum = static_cast<std::uint64_t>(statement.Integer(1)),
          .row_count = statement.Integer(2),
          .row_sum = static_cast<std::uint64_t>(statement.Integer(3)),
          .next_id = statement.Integer(4),
          .data_bytes = statement.Integer(5)};
}

State ScanRows(Database& db) {
  State scanned;
  Statement statement(db.get(), "SELECT id, value, data FROM items");
  while (statement.Step()) {
    const auto data = statement.Blob(2);
    scanned.row_count += 1;
    scanned.row_sum += RowHash(statement.Integer(0), statement.Integer(1), data);
    scanned.data_bytes += static_cast<std::int64_t>(data.size());
  }
  return scanned;
}

}  // namespace litestream::writer
