#include "tests/simulation/vfs.h"

#include <cstring>
#include <filesystem>
#include <utility>

#include <fmt/core.h>

namespace litestream::sim {
namespace {

constexpr int kMaxPathBytes = 512;
constexpr int kNamelessFiles = SQLITE_OPEN_TEMP_DB | SQLITE_OPEN_TEMP_JOURNAL |
                               SQLITE_OPEN_TRANSIENT_DB | SQLITE_OPEN_SUBJOURNAL;
constexpr int kJournals = SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL;
// Julian day of 1970-01-01, in milliseconds.
constexpr sqlite3_int64 kUnixEpochMs = 210'866'760'000'000;
constexpr int kSectorBytes = 4096;

// What SQLite allocates for an open file.
struct Handle : sqlite3_file {
  VfsFile* file;
};
VfsFile& Of(sqlite3_file* file) {
  return *static_cast<Handle*>(file)->file;
}

const sqlite3_io_methods kMethods = {
    .iVersion = 2,
    .xClose =
        [](sqlite3_file* f) noexcept {
          delete std::exchange(static_cast<Handle*>(f)->file, nullptr);
          f->pMethods = nullptr;
          return SQLITE_OK;
        },
    .xRead = [](sqlite3_file* f, void* out, int bytes,
                sqlite3_int64 at) noexcept { return Of(f).Read(out, bytes, at); },
    .xWrite = [](sqlite3_file* f, const void* from, int bytes,
                 sqlite3_int64 at) noexcept { return Of(f).Write(from, bytes, at); },
    .xTruncate = [](sqlite3_file* f, sqlite3_int64 size) noexcept { return Of(f).Truncate(size); },
    .xSync = [](sqlite3_file* f, int /*flags*/) noexcept { return Of(f).Sync(); },
    .xFileSize = [](sqlite3_file* f, sqlite3_int64* size) noexcept { return Of(f).Size(size); },
    .xLock = [](sqlite3_file* f, int level) noexcept { return Of(f).Lock(level); },
    .xUnlock = [](sqlite3_file* f, int level) noexcept { return Of(f).Unlock(level); },
    .xCheckReservedLock = [](sqlite3_file* f,
                             int* held) noexcept { return Of(f).CheckReserved(held); },
    .xFileControl = [](sqlite3_file* f, int op,
                       void* arg) noexcept { return Of(f).Control(op, arg); },
    .xSectorSize = [](sqlite3_file* /*f*/) noexcept { return kSectorBytes; },
    .xDeviceCharacteristics =
        [](sqlite3_file* /*f*/) noexcept { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; },
    .xShmMap = [](sqlite3_file* f, int region, int /*bytes*/, int extend,
                  void volatile** out) noexcept { return Of(f).ShmMap(region, extend, out); },
    .xShmLock = [](sqlite3_file* f, int first, int count,
                   int flags) noexcept { return Of(f).ShmLock(first, count, flags); },
    .xShmBarrier = [](sqlite3_file* f) noexcept { Of(f).ShmBarrier(); },
    .xShmUnmap = [](sqlite3_file* f, int remove) noexcept { return Of(f).ShmUnmap(remove != 0); },
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

Random& SqliteDice() {
  static Random dice(0);
  return dice;
}

void Fill(char* out, int bytes, Random& dice) {
  for (int i = 0; i < bytes; ++i) out[i] = static_cast<char>(dice.Next() >> 56U);
}

}  // namespace

struct Vfs::Calls {
  static Process& ProcessOf(sqlite3_vfs* vfs) { return static_cast<Vfs*>(vfs->pAppData)->process_; }

  static int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags,
                  int* out_flags) noexcept {
    file->pMethods = nullptr;
    return static_cast<Vfs*>(vfs->pAppData)->Open(name, file, flags, out_flags);
  }

  static int Delete(sqlite3_vfs* vfs, const char* name, int sync_directory) noexcept {
    Env& env = ProcessOf(vfs).env();
    const auto removed = env.Remove(name);
    if (!removed.ok()) {
      const bool gone = removed.error().Is(ErrorCode::kNotFound);
      return gone ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE;
    }
    if (sync_directory == 0) return SQLITE_OK;
    const auto parent = std::filesystem::path(name).parent_path();
    return env.SyncDirectory(parent).ok() ? SQLITE_OK : SQLITE_IOERR_DIR_FSYNC;
  }

  static int Access(sqlite3_vfs* vfs, const char* name, int flags, int* result) noexcept {
    const auto stat = ProcessOf(vfs).env().Stat(name);
    *result = stat.ok() ? 1 : 0;
    // As in os_unix.c: an empty file does not exist.
    if (flags == SQLITE_ACCESS_EXISTS && stat.ok() && stat.value().type == FileType::kRegular &&
        stat.value().size_bytes == 0) {
      *result = 0;
    }
    return SQLITE_OK;
  }

  static int FullPath(sqlite3_vfs* /*vfs*/, const char* name, int bytes, char* out) noexcept {
    sqlite3_snprintf(bytes, out, "%s", name);
    return SQLITE_OK;
  }

  static int Randomness(sqlite3_vfs* vfs, int bytes, char* out) noexcept {
    Fill(out, bytes, ProcessOf(vfs).dice());
    return bytes;
  }

  static int Sleep(sqlite3_vfs* vfs, int microseconds) noexcept {
    ProcessOf(vfs).Sleep(std::chrono::microseconds(microseconds));
    return microseconds;
  }

  static int CurrentTimeMs(sqlite3_vfs* vfs, sqlite3_int64* out) noexcept {
    *out = kUnixEpochMs + ProcessOf(vfs).world().wall().time_since_epoch().count();
    return SQLITE_OK;
  }

  static int CurrentTime(sqlite3_vfs* vfs, double* out) noexcept {
    sqlite3_int64 ms = 0;
    CurrentTimeMs(vfs, &ms);
    *out = static_cast<double>(ms) / 86'400'000.0;
    return SQLITE_OK;
  }
};

Vfs::Vfs(Process& process) : process_(process), name_(fmt::format("sim-{}", process.pid())) {
  vfs_.iVersion = 2;
  vfs_.szOsFile = sizeof(Handle);
  vfs_.mxPathname = kMaxPathBytes;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.xOpen = Calls::Open;
  vfs_.xDelete = Calls::Delete;
  vfs_.xAccess = Calls::Access;
  vfs_.xFullPathname = Calls::FullPath;
  vfs_.xRandomness = Calls::Randomness;
  vfs_.xSleep = Calls::Sleep;
  vfs_.xCurrentTime = Calls::CurrentTime;
  vfs_.xCurrentTimeInt64 = Calls::CurrentTimeMs;
  sqlite3_vfs_register(&vfs_, 0);
}

Vfs::~Vfs() {
  sqlite3_vfs_unregister(&vfs_);
}

int Vfs::Open(const char* name, sqlite3_file* file, int flags, int* out_flags) {
  if (name == nullptr || (flags & kNamelessFiles) != 0) {
    static_cast<Handle*>(file)->file = MakeTempFile().release();
    file->pMethods = &kMethods;
    if (out_flags != nullptr) *out_flags = flags;
    return SQLITE_OK;
  }
  Env& env = process_.env();
  const bool create = (flags & SQLITE_OPEN_CREATE) != 0;
  const bool existed = !create || env.Stat(name).ok();
  OpenOptions options{.write = (flags & SQLITE_OPEN_READWRITE) != 0, .create = create};
  options.exclusive = create && (flags & SQLITE_OPEN_EXCLUSIVE) != 0;
  options.owner.mode = 0644;
  auto opened = env.Open(name, options);
  if (!opened.ok()) return SQLITE_CANTOPEN;
  const bool new_journal = !existed && (flags & kJournals) != 0;
  std::unique_ptr<VfsFile> made;
  if ((flags & SQLITE_OPEN_MAIN_DB) != 0) {
    const auto stat = opened.value()->Stat();
    if (!stat.ok()) return SQLITE_IOERR_FSTAT;
    const std::uint64_t number = stat.value().identity.inode;
    auto inode = inodes_[number].lock();
    if (!inode) {
      inode = std::make_shared<VfsInode>();
      inodes_[number] = inode;
    }
    made = std::make_unique<MainFile>(process_, std::move(opened).value(), name, false, number,
                                      std::move(inode));
  } else {
    made = std::make_unique<DiskFile>(process_, std::move(opened).value(), name, new_journal);
  }
  static_cast<Handle*>(file)->file = made.release();
  file->pMethods = &kMethods;
  if (out_flags != nullptr) *out_flags = flags;
  return SQLITE_OK;
}

void SeedSqlite(std::uint64_t seed) {
  static sqlite3_vfs vfs = [] {
    sqlite3_initialize();
    sqlite3_vfs copy = *sqlite3_vfs_find(nullptr);
    copy.zName = "sim-dice";
    copy.xRandomness = [](sqlite3_vfs* /*vfs*/, int bytes, char* out) noexcept {
      Fill(out, bytes, SqliteDice());
      return bytes;
    };
    return copy;
  }();
  sqlite3_vfs_register(&vfs, 1);
  SqliteDice() = Random(seed);
  sqlite3_randomness(0, nullptr);
}

}  // namespace litestream::sim
