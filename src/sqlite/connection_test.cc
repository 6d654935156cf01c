#include "sqlite/connection.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "tests/support/fault_vfs.h"
#include "tests/support/golden.h"
#include "tests/support/sqlite_app.h"
#include "tests/support/temp_dir.h"

namespace litestream {
namespace {

class ConnectionTest : public ::testing::Test {
 protected:
  std::filesystem::path Path() const { return dir_.path() / "db"; }
  std::filesystem::path Wal() const { return Path().string() + "-wal"; }
  Connection Open(const std::string& vfs = "") {
    ConnectionOptions options;
    options.vfs = vfs;
    auto opened = Connection::Open(Path(), options);
    EXPECT_TRUE(opened.ok()) << opened.error().message();
    return std::move(opened).value();
  }
  void Create(SqliteApp& app) {
    app.Exec("PRAGMA wal_autocheckpoint = 0; PRAGMA busy_timeout = 0");
    app.Exec("CREATE TABLE t (x); INSERT INTO t VALUES (1)");
  }
  TempDir dir_;
};

// R50: earlier ones may corrupt a database that is checkpointed while its WAL is restarted.
TEST_F(ConnectionTest, R50SqliteIsNewEnough) {
  EXPECT_GE(sqlite3_libversion_number(), 3'051'003);
}

// R16: on every connection, not only on the first.
TEST_F(ConnectionTest, R16NoConnectionCheckpointsOnItsOwn) {
  SqliteApp app(Path());
  Create(app);
  Connection connections[] = {Open(), Open()};
  for (Connection& connection : connections) {
    EXPECT_EQ(connection.QueryInt("PRAGMA wal_autocheckpoint").value(), 0);
    EXPECT_EQ(connection.QueryInt("PRAGMA busy_timeout").value(), 0);
  }
}

// Whichever connection closes last, the WAL and what is only in it stay.
TEST_F(ConnectionTest, ClosingLeavesTheWal) {
  SqliteApp app(Path());
  Create(app);
  const auto file = ReadWholeFile(Path());
  {
    Connection first = Open();
    Connection second = Open();
    EXPECT_EQ(first.QueryInt("SELECT count(*) FROM t").value(), 1);
    EXPECT_EQ(second.QueryInt("SELECT count(*) FROM t").value(), 1);
    int off = 0;
    sqlite3_file_control(app.db(), "main", SQLITE_FCNTL_PERSIST_WAL, &off);
    sqlite3_db_config(app.db(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    app.Close();
  }
  EXPECT_TRUE(std::filesystem::exists(Wal()));
  EXPECT_TRUE(ReadWholeFile(Path()) == file);
}

// These mean something in a URI; in a path they are letters.
TEST_F(ConnectionTest, AnyPath) {
  for (const char* name : {"a?b", "a#b", "a%41b", "a b", "file:x", "ä", "a'b\"c"}) {
    SCOPED_TRACE(name);
    const auto path = dir_.path() / name;
    {
      SqliteApp app(path);
      app.Exec("CREATE TABLE t (x); INSERT INTO t VALUES (7)");
    }
    auto connection = Connection::Open(path, {});
    ASSERT_TRUE(connection.ok()) << connection.error().message();
    EXPECT_EQ(connection.value().QueryInt("SELECT x FROM t").value(), 7);
  }
}

TEST_F(ConnectionTest, Codes) {
  testing::FaultVfs vfs("codes");
  const struct {
    int code;
    ErrorCode want;
  } cases[] = {
      {SQLITE_BUSY, ErrorCode::kUnavailable},    {SQLITE_BUSY_SNAPSHOT, ErrorCode::kUnavailable},
      {SQLITE_FULL, ErrorCode::kNoSpace},        {SQLITE_PERM, ErrorCode::kDenied},
      {SQLITE_READONLY, ErrorCode::kDenied},     {SQLITE_CORRUPT, ErrorCode::kCorruption},
      {SQLITE_IOERR_READ, ErrorCode::kIo},       {SQLITE_NOMEM, ErrorCode::kIo},
      {SQLITE_INTERRUPT, ErrorCode::kCancelled},
  };
  {
    SqliteApp app(Path());
    Create(app);
  }
  for (const auto& c : cases) {
    SCOPED_TRACE(c.code);
    Connection connection = Open("codes");
    vfs.SetHook([&c](const char* call, const char*) {
      return std::string_view(call) == "read" ? c.code : SQLITE_OK;
    });
    const auto answer = connection.QueryText("SELECT x FROM t");
    vfs.SetHook(nullptr);
    ASSERT_FALSE(answer.ok());
    EXPECT_EQ(answer.error().code(), c.want) << answer.error().message();
  }
  EXPECT_EQ(Connection::Open(dir_.path() / "missing", {}).error().code(), ErrorCode::kNotFound);
  WriteWholeFile(dir_.path() / "text", std::vector<std::byte>(5000, std::byte{'x'}));
  auto text = Connection::Open(dir_.path() / "text", {});
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(text.value().QueryText("PRAGMA journal_mode").error().code(), ErrorCode::kCorruption);
}

// What keeps every commit in the WAL: on a mark above 0 nobody restarts it, on mark 0 nobody moves
// it into the database.
TEST_F(ConnectionTest, WhatTheMarksForbid) {
  SqliteApp app(Path());
  Create(app);
  Connection holder = Open();
  ASSERT_TRUE(holder.BeginReadAnyMark().ok());
  ASSERT_TRUE(holder.EndTransaction().ok());

  const auto above = holder.BeginRead();
  ASSERT_TRUE(above.ok());
  EXPECT_GT(above.value().frames, 0U);
  app.Exec("INSERT INTO t VALUES (2)");
  EXPECT_EQ(app.Int("PRAGMA wal_checkpoint(RESTART)"), 1);
  app.Exec("INSERT INTO t VALUES (3)");
  Connection other = Open();
  const auto later = other.BeginRead();
  ASSERT_TRUE(later.ok());
  EXPECT_EQ(later.value().salts, above.value().salts);
  EXPECT_GT(later.value().frames, above.value().frames);
  ASSERT_TRUE(other.EndTransaction().ok());
  ASSERT_TRUE(holder.EndTransaction().ok());

  EXPECT_EQ(app.Int("PRAGMA wal_checkpoint(PASSIVE)"), 0);
  const auto zero = holder.BeginReadAnyMark();
  ASSERT_TRUE(zero.ok());
  const auto file = ReadWholeFile(Path());
  app.Exec("INSERT INTO t VALUES (4)");  // Restarts the WAL,
  const auto restarted = other.BeginRead();
  ASSERT_TRUE(restarted.ok());
  EXPECT_NE(restarted.value().salts, zero.value().salts);
  ASSERT_TRUE(other.EndTransaction().ok());
  EXPECT_EQ(app.Int("PRAGMA wal_checkpoint(TRUNCATE)"), 1);  // once.
  app.Exec("PRAGMA wal_checkpoint(PASSIVE)");
  EXPECT_TRUE(ReadWholeFile(Path()) == file);
}

}  // namespace
}  // namespace litestream
