#include "tests/support/fault_vfs.h"

#include <cstdlib>

#include <sqlite3.h>

namespace litestream::testing {

struct FaultVfs::Registered {
  sqlite3_vfs vfs = {};
  sqlite3_vfs* base = nullptr;
  FaultVfs* owner = nullptr;
};

namespace {

// SQLite allocates it; the default VFS's own file stands directly behind.
struct FaultFile {
  sqlite3_file file;
  FaultVfs* owner;
  const char* path;
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

FaultFile& Of(sqlite3_file* file) {
  return *reinterpret_cast<FaultFile*>(file);
}

int Ask(sqlite3_file* file, const char* call) {
  const char* path = Of(file).path;
  return Of(file).owner->Ask(call, path == nullptr ? "" : path);
}

// Asks, then lets the default VFS do it.
#define LS_ASK(file, call)                                         \
  if (const int asked = Ask(file, call); asked != 0) return asked; \
  sqlite3_file* const real = Of(file).real()

int Close(sqlite3_file* file) {
  sqlite3_file* const real = Of(file).real();
  return real->pMethods == nullptr ? SQLITE_OK : real->pMethods->xClose(real);
}
int Read(sqlite3_file* file, void* out, int size, sqlite3_int64 offset) {
  LS_ASK(file, "read");
  return real->pMethods->xRead(real, out, size, offset);
}
int Write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
  LS_ASK(file, "write");
  return real->pMethods->xWrite(real, bytes, size, offset);
}
int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  LS_ASK(file, "truncate");
  return real->pMethods->xTruncate(real, size);
}
int Sync(sqlite3_file* file, int /*flags*/) {
  // Left out, so that thousands of runs take no time; nothing here loses power.
  return Ask(file, "sync");
}
int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  LS_ASK(file, "size");
  return real->pMethods->xFileSize(real, size);
}
int Lock(sqlite3_file* file, int level) {
  LS_ASK(file, "lock");
  return real->pMethods->xLock(real, level);
}
int Unlock(sqlite3_file* file, int level) {
  return Of(file).real()->pMethods->xUnlock(Of(file).real(), level);
}
int CheckReservedLock(sqlite3_file* file, int* out) {
  LS_ASK(file, "lock");
  return real->pMethods->xCheckReservedLock(real, out);
}
int FileControl(sqlite3_file* file, int op, void* arg) {
  return Of(file).real()->pMethods->xFileControl(Of(file).real(), op, arg);
}
int SectorSize(sqlite3_file* file) {
  return Of(file).real()->pMethods->xSectorSize(Of(file).real());
}
int DeviceCharacteristics(sqlite3_file* file) {
  return Of(file).real()->pMethods->xDeviceCharacteristics(Of(file).real());
}
int ShmMap(sqlite3_file* file, int page, int size, int extend, void volatile** out) {
  LS_ASK(file, "map");
  return real->pMethods->xShmMap(real, page, size, extend, out);
}
int ShmLock(sqlite3_file* file, int offset, int count, int flags) {
  if ((flags & SQLITE_SHM_LOCK) == 0) {
    return Of(file).real()->pMethods->xShmLock(Of(file).real(), offset, count, flags);
  }
  LS_ASK(file, "lock");
  return real->pMethods->xShmLock(real, offset, count, flags);
}
void ShmBarrier(sqlite3_file* file) {
  Of(file).real()->pMethods->xShmBarrier(Of(file).real());
}
int ShmUnmap(sqlite3_file* file, int remove) {
  return Of(file).real()->pMethods->xShmUnmap(Of(file).real(), remove);
}

#undef LS_ASK

// Version 2: with shared memory, without memory-mapped reads, which no hook would see.
const sqlite3_io_methods kMethods = {2,
                                     Close,
                                     Read,
                                     Write,
                                     Truncate,
                                     Sync,
                                     FileSize,
                                     Lock,
                                     Unlock,
                                     CheckReservedLock,
                                     FileControl,
                                     SectorSize,
                                     DeviceCharacteristics,
                                     ShmMap,
                                     ShmLock,
                                     ShmBarrier,
                                     ShmUnmap,
                                     nullptr,
                                     nullptr};

}  // namespace

FaultVfs::FaultVfs(const std::string& name)
    : name_(name), registered_(std::make_unique<Registered>()) {
  Registered& r = *registered_;
  r.base = sqlite3_vfs_find(nullptr);
  r.owner = this;
  r.vfs = *r.base;
  r.vfs.szOsFile = static_cast<int>(sizeof(FaultFile)) + r.base->szOsFile;
  r.vfs.zName = name_.c_str();
  r.vfs.pNext = nullptr;
  r.vfs.pAppData = &r;
  r.vfs.xOpen = [](sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out) {
    auto& self = *static_cast<Registered*>(vfs->pAppData);
    FaultFile& fault = Of(file);
    fault.file.pMethods = nullptr;
    if (const int code = self.owner->Ask("open", path == nullptr ? "" : path); code != 0) {
      return code;
    }
    fault.owner = self.owner;
    fault.path = path;
    fault.real()->pMethods = nullptr;
    const int code = self.base->xOpen(self.base, path, fault.real(), flags, out);
    if (fault.real()->pMethods != nullptr) fault.file.pMethods = &kMethods;
    return code;
  };
  r.vfs.xDelete = [](sqlite3_vfs* vfs, const char* path, int sync_directory) {
    auto& self = *static_cast<Registered*>(vfs->pAppData);
    if (const int code = self.owner->Ask("delete", path); code != 0) return code;
    return self.base->xDelete(self.base, path, sync_directory);
  };
  r.vfs.xAccess = [](sqlite3_vfs* vfs, const char* path, int flags, int* out) {
    auto& self = *static_cast<Registered*>(vfs->pAppData);
    if (const int code = self.owner->Ask("access", path); code != 0) return code;
    return self.base->xAccess(self.base, path, flags, out);
  };
  r.vfs.xFullPathname = [](sqlite3_vfs* vfs, const char* path, int size, char* out) {
    auto& self = *static_cast<Registered*>(vfs->pAppData);
    return self.base->xFullPathname(self.base, path, size, out);
  };
  r.vfs.xSleep = [](sqlite3_vfs* vfs, int microseconds) {
    // No test waits; one that wants time to pass moves its clock.
    static_cast<Registered*>(vfs->pAppData)->owner->Ask("sleep", "");
    return microseconds;
  };
  if (sqlite3_vfs_register(&r.vfs, 0) != SQLITE_OK) std::abort();
}

FaultVfs::~FaultVfs() {
  sqlite3_vfs_unregister(&registered_->vfs);
}

}  // namespace litestream::testing
