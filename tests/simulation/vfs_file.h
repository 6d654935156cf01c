#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <sqlite3.h>

#include "base/env.h"
#include "tests/simulation/posix_locks.h"
#include "tests/simulation/process.h"

namespace litestream::sim {

// What SQLite has open. Methods as in sqlite3_io_methods.
class VfsFile {
 public:
  virtual ~VfsFile() = default;
  virtual int Read(void* out, int bytes, sqlite3_int64 offset) = 0;
  virtual int Write(const void* from, int bytes, sqlite3_int64 offset) = 0;
  virtual int Truncate(sqlite3_int64 size) = 0;
  virtual int Sync() = 0;
  virtual int Size(sqlite3_int64* size) = 0;
  virtual int Lock(int /*level*/) { return SQLITE_OK; }
  virtual int Unlock(int /*level*/) { return SQLITE_OK; }
  virtual int CheckReserved(int* held) {
    *held = 0;
    return SQLITE_OK;
  }
  virtual int Control(int /*op*/, void* /*arg*/) { return SQLITE_NOTFOUND; }
  virtual int ShmMap(int /*region*/, int /*extend*/, void volatile** /*out*/) {
    return SQLITE_IOERR_SHMMAP;
  }
  virtual int ShmLock(int /*first*/, int /*count*/, int /*flags*/) { return SQLITE_IOERR_SHMLOCK; }
  virtual void ShmBarrier() {}
  virtual int ShmUnmap(bool /*remove*/) { return SQLITE_OK; }
};

// Files without a name: gone when closed, and nobody else's.
std::unique_ptr<VfsFile> MakeTempFile();

// A file of the disk that only one connection locks: journals, the WAL.
class DiskFile : public VfsFile {
 public:
  // `new_name`: the first sync makes its directory entry durable too.
  DiskFile(Process& process, std::unique_ptr<File> file, std::string path, bool new_name)
      : process_(process), file_(std::move(file)), path_(std::move(path)), new_name_(new_name) {}
  int Read(void* out, int bytes, sqlite3_int64 offset) override;
  int Write(const void* from, int bytes, sqlite3_int64 offset) override;
  int Truncate(sqlite3_int64 size) override;
  int Sync() override;
  int Size(sqlite3_int64* size) override;
  int Control(int op, void* arg) override;

 protected:
  Process& process_;
  std::unique_ptr<File> file_;
  const std::string path_;
  bool new_name_;
  bool persist_wal_ = false;
};

// The wal-index as one process has it open, for all its connections.
class ShmNode final : public Resource {
 public:
  static constexpr int kLocks = 8;

  ShmNode(Process& process, std::string database_path, std::uint64_t database_inode);
  ~ShmNode() override;
  // Opens the file and takes its "dead man switch"; whoever is the first empties it.
  int Open();
  int Map(int region, bool extend, void volatile** out);
  // Of the system: `first` counts from the first lock.
  bool SetLock(int first, int count, PosixLocks::Kind kind);
  void Unlink();
  void OwnerDied() override;

  std::array<int, kLocks> holders = {};  // As aLock in os_unix.c: -1 exclusive, else how many.

 private:
  int LockSwitch();

  Process& process_;
  const std::string database_path_;
  const std::uint64_t database_inode_;
  std::unique_ptr<File> file_;
  std::uint64_t inode_ = 0;
  std::vector<std::byte*> regions_;
};

// What the connections of one process share about one database file.
struct VfsInode {
  int shared = 0;  // Connections with a lock of any level.
  int level = SQLITE_LOCK_NONE;
  std::vector<std::unique_ptr<File>> pending;  // Closed, but a close would drop others' locks.
  std::weak_ptr<ShmNode> shm;
  bool opening_shm = false;
  bool locking = false;  // A connection takes or drops locks: the unix VFS has a mutex.
};

// The database itself.
class MainFile final : public DiskFile {
 public:
  MainFile(Process& process, std::unique_ptr<File> file, std::string path, bool new_name,
           std::uint64_t inode_number, std::shared_ptr<VfsInode> inode)
      : DiskFile(process, std::move(file), std::move(path), new_name),
        inode_number_(inode_number),
        inode_(std::move(inode)) {}
  ~MainFile() override;
  int Lock(int level) override;
  int Unlock(int level) override;
  int CheckReserved(int* held) override;
  int Control(int op, void* arg) override;
  int ShmMap(int region, int extend, void volatile** out) override;
  int ShmLock(int first, int count, int flags) override;
  void ShmBarrier() override;
  int ShmUnmap(bool remove) override;

 private:
  class Mutex;
  bool Set(std::uint64_t place, PosixLocks::Kind kind);
  int LockAlone(int level);
  int LockShared();
  int LockShm(int first, int count, int flags, unsigned mask);

  const std::uint64_t inode_number_;
  const std::shared_ptr<VfsInode> inode_;
  int level_ = SQLITE_LOCK_NONE;
  std::shared_ptr<ShmNode> shm_;
  unsigned shared_mask_ = 0;
  unsigned exclusive_mask_ = 0;
};

int SqliteCode(const Error& error, int otherwise);

}  // namespace litestream::sim
