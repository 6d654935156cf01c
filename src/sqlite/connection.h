#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "format/wal.h"
#include "litestream/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace litestream {

struct ConnectionOptions {
  bool read_only = false;
  bool create = false;
  std::string vfs;  // Empty: the default.
  // The path is absolute, and what it names is no link: SQLite need not look for links in it.
  bool path_is_resolved = false;
};

// What a read transaction sees of the WAL: what SQLite has published in the wal-index. Source:
// WalIndexHdr in SQLite's wal.c, which sqlite3_snapshot_get copies.
struct WalView {
  std::uint32_t frames = 0;  // Committed frames of the current generation. 0: nothing in the WAL.
  std::uint32_t pages = 0;   // Database size, if frames > 0.
  std::uint32_t page_size = 0;  // 0 if the WAL was never written.
  WalSalts salts = {};
  WalChecksum checksum = {};  // Of the last frame, if frames > 0.
  friend bool operator==(const WalView&, const WalView&) = default;

  std::uint64_t end_offset() const {
    return frames == 0 ? kWalHeaderSize : WalSizeOf(frames, page_size);
  }
};

enum class CheckpointMode : unsigned char { kPassive, kRestart, kTruncate };
std::string_view ToString(CheckpointMode mode);

struct CheckpointResult {
  bool busy = false;                    // Could not do all that the mode promises.
  std::uint32_t wal_frames = 0;         // In the WAL.
  std::uint32_t backfilled_frames = 0;  // Of these, in the database file.
  bool complete() const { return !busy && wal_frames == backfilled_frames; }
};

// One SQLite connection, set up so that it never writes on its own: no automatic checkpoint, none
// at close, the WAL stays. Not safe for concurrent calls. Busy is answered at once, with
// kUnavailable: callers poll.
//
// Errors: kUnavailable (busy, locked), kNoSpace, kDenied (read-only, no rights), kCorruption (not a
// database, malformed), kNotFound (cannot open), kIo, kInternal.
class Connection {
 public:
  static Result<Connection> Open(const std::filesystem::path& path,
                                 const ConnectionOptions& options);
  Connection(Connection&& other) noexcept;
  Connection& operator=(Connection&& other) noexcept;
  ~Connection();

  Result<void> Exec(const std::string& sql);
  // First column of the first row; empty text or 0 if there is none.
  Result<std::string> QueryText(const std::string& sql);
  Result<std::int64_t> QueryInt(const std::string& sql);

  bool InReadTransaction() const;
  bool InAnyTransaction() const;

  // Begins a read transaction that looks at the WAL first. It takes read mark 0 only if the WAL is
  // empty, so it keeps the WAL from being restarted.
  Result<WalView> BeginRead();
  // Begins a read transaction like any reader: on mark 0 if everything is backfilled, so that the
  // next writer may restart the WAL (and nobody can backfill).
  Result<WalView> BeginReadAnyMark();
  // Takes the write lock; kUnavailable if somebody has it. Ends with EndTransaction.
  Result<void> BeginWrite();
  // Rolls back. Nothing open is fine.
  Result<void> EndTransaction();

  // Needs a connection without a transaction that has read before. Waits for others at most
  // `busy_limit` (passive never waits).
  Result<CheckpointResult> Checkpoint(CheckpointMode mode, std::chrono::milliseconds busy_limit);

 private:
  explicit Connection(sqlite3* db) : db_(db) {}
  Result<void> Setup();
  Error LastError(int code, std::string_view doing) const;
  Result<void> Step(sqlite3_stmt*& statement, const char* sql);
  Result<WalView> CurrentView();

  sqlite3* db_ = nullptr;
  sqlite3_stmt* begin_ = nullptr;
  sqlite3_stmt* begin_immediate_ = nullptr;
  sqlite3_stmt* rollback_ = nullptr;
  sqlite3_stmt* data_version_ = nullptr;
};

}  // namespace litestream
