#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/env.h"
#include "format/wal.h"
#include "litestream/context.h"
#include "litestream/result.h"
#include "sqlite/connection.h"

namespace litestream {

// Marks a database file as attached by this process, whatever path leads to it: a second attachment
// would drop the first one's locks with its descriptor (invariant 3 below).
class AttachedFile {
 public:
  // kUnavailable: attached under this path. kAlreadyExists names the other path.
  static Result<std::unique_ptr<AttachedFile>> Claim(Env& env, const std::filesystem::path& path);
  ~AttachedFile();
  AttachedFile(const AttachedFile&) = delete;
  AttachedFile& operator=(const AttachedFile&) = delete;
  const FileIdentity& identity() const { return identity_; }

 private:
  AttachedFile(Env& env, const FileIdentity& identity) : env_(env), identity_(identity) {}
  Env& env_;
  const FileIdentity identity_;
};

// Says what is wrong with a file that nobody can attach: no rights, or no database. Leaves nothing
// open.
Result<void> CheckIsDatabase(Env& env, const std::filesystem::path& path);

// Our hold on one live database: two connections, the one descriptor of the database file, the WAL.
//
// Why a held read transaction keeps every commit (design 4.1, 4.2): on a mark above 0 it forbids
// everybody to restart the WAL; on mark 0 it forbids everybody to backfill, so a WAL that is
// restarted under it cannot be restarted again before its frames are captured.
//
// Invariants:
// 1. From Open to Close a read transaction is held (the holder), except inside a checkpoint step
//    while we hold the write lock.
// 2. The holder ends only when everything its successor sees is durable in level 0 (Land), or while
//    we hold the write lock. Two transactions may be open in between (Leap).
// 3. There is exactly one descriptor of the database in this process besides SQLite's own, opened
//    after the first connection and closed after the last: closing any other would drop SQLite's
//    locks (spec: POSIX locks).
// 4. Nothing is ever written into the database but journal_mode=wal.
class Attachment {
 public:
  // Errors as for Connection; kUnavailable when another process holds the database exclusively.
  static Result<std::unique_ptr<Attachment>> Open(Env& env, const std::filesystem::path& path,
                                                  const std::string& vfs);
  ~Attachment();
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

  std::uint32_t page_size() const { return page_size_; }
  const std::filesystem::path& wal_path() const { return wal_path_; }
  const FileIdentity& database_identity() const { return database_identity_; }
  const FileIdentity& wal_identity() const { return wal_identity_; }
  // True if opening switched the database to WAL mode.
  bool switched_to_wal() const { return switched_to_wal_; }

  // False when the database, -wal or -shm at their paths are not the files that we opened: they
  // were deleted or replaced, and what we would read belongs to nobody (D16).
  Result<bool> SameFiles() const;
  // The same as an error (kUnavailable): before anything that relies on our locks becomes
  // permanent. With another -shm nobody sees them, and a checkpoint of ours would write what an old
  // index says into the database.
  Result<void> CheckSameFiles() const;
  // The holder is really there (R4, D4).
  bool Holding() const;
  // What the holder saw when it began.
  const WalView& held() const { return held_; }
  // The holder began on mark 0, with everything it saw captured: a restart since is no loss.
  bool restart_allowed() const { return restart_allowed_; }

  // The exact change test: what a reader that begins now would see. Leaves nothing open.
  Result<WalView> Peek();

  // --- The leapfrog. ---
  // Begins the successor.
  Result<WalView> Leap();
  bool leaping() const { return leaping_; }
  // Everything the successor sees is durable: it becomes the holder.
  Result<void> Land();
  // Throws the successor away.
  Result<void> Abandon();

  // --- The checkpoint step (db/checkpointer.h says in which order). None while leaping. Each
  // checkpoint begins with CheckSameFiles. ---
  // PASSIVE without any lock, on the idle connection: backfills up to the holder's mark at most.
  Result<CheckpointResult> PassiveUnlocked();
  // Takes SQLite's write lock, polling; kUnavailable when it could not be had within `limit`.
  Result<void> LockWrites(const Context& ctx, std::chrono::microseconds limit);
  void UnlockWrites();
  // Ends the holder and begins it again; it now sees the end. Under the write lock.
  Result<WalView> RenewHolder();
  // Ends the holder, whose view is captured, runs PASSIVE until `limit` has passed or it is
  // complete, and begins the holder again: on mark 0 if everything was backfilled. Under the write
  // lock.
  Result<CheckpointResult> BackfillUnderLock(const Context& ctx, std::chrono::milliseconds limit);
  // On the idle connection, without the write lock, the holder being on mark 0.
  Result<CheckpointResult> WaitForReaders(CheckpointMode mode, std::chrono::milliseconds limit);

  // --- Raw reads. ---
  // Pages from `first` on; what lies beyond the file's end is zeros. `out` holds whole pages.
  Result<void> ReadPages(Pgno first, std::span<std::byte> out);
  Result<std::uint64_t> DatabaseFileSize();
  Result<FileStat> DatabaseStat() { return database_->Stat(); }
  Result<void> SyncDatabaseData();
  // Fewer bytes than asked for only at the WAL's end.
  Result<std::size_t> ReadWal(std::span<std::byte> out, std::uint64_t offset_bytes);
  Result<std::optional<WalHeader>> ReadWalHeader();
  Result<std::uint64_t> WalFileSize();

 private:
  explicit Attachment(Env& env) : env_(env) {}
  Connection& holder() { return *connections_[holder_index_]; }
  const Connection& holder() const { return *connections_[holder_index_]; }
  Connection& idle() { return *connections_[1 - holder_index_]; }
  Result<void> Begin(const std::filesystem::path& path, const std::string& vfs);
  Result<void> OpenWal();
  Error Replaced() const;
  Result<void> BeginHolder(const Context& ctx, bool any_mark);

  Env& env_;
  // As it was given, which may be a symbolic link; the others are beside the file itself.
  std::filesystem::path path_;
  std::filesystem::path wal_path_;
  std::filesystem::path shm_path_;
  std::unique_ptr<AttachedFile> claim_;
  // Destroyed after the connections: invariant 3.
  std::unique_ptr<File> database_;
  std::unique_ptr<File> wal_;
  FileIdentity database_identity_;
  FileIdentity wal_identity_;
  FileIdentity shm_identity_;
  std::uint32_t page_size_ = 0;
  bool switched_to_wal_ = false;
  bool leaping_ = false;
  bool restart_allowed_ = false;
  WalView held_;
  WalView successor_;
  int holder_index_ = 0;
  std::optional<Connection> connections_[2];
};

}  // namespace litestream
