#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include <sqlite3.h>

#include "tests/simulation/process.h"
#include "tests/simulation/vfs_file.h"

namespace litestream::sim {

// SQLite's view of a simulated process: its unix VFS once more, on the process's Env, with locks as
// the kernel has them (PosixLocks) and wal-index memory that processes share. What the unix VFS
// keeps per process in global tables stands here.
//
// The source of the locking rules is os_unix.c: unixLock, posixUnlock, unixClose,
// unixLockSharedMemory, unixShmMap, unixShmLock.
class Vfs {
 public:
  explicit Vfs(Process& process);
  ~Vfs();
  Vfs(const Vfs&) = delete;
  Vfs& operator=(const Vfs&) = delete;

  const std::string& name() const { return name_; }

 private:
  struct Calls;
  int Open(const char* name, sqlite3_file* file, int flags, int* out_flags);

  Process& process_;
  const std::string name_;
  sqlite3_vfs vfs_ = {};
  std::map<std::uint64_t, std::weak_ptr<VfsInode>> inodes_;
};

// For SQLite's own dice (salts, randomblob), which all of the program's connections share. Replaces
// the default VFS: call once, before SQLite is used; Seed begins the dice anew.
void SeedSqlite(std::uint64_t seed);

}  // namespace litestream::sim
