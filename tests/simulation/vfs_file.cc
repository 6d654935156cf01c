#include "tests/simulation/vfs_file.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

namespace litestream::sim {
namespace {

using Kind = PosixLocks::Kind;

// Places of the database file that SQLite locks, and of the -shm file.
constexpr std::uint64_t kPendingByte = 0x40000000;
constexpr std::uint64_t kReservedByte = kPendingByte + 1;
constexpr std::uint64_t kSharedFirst = kPendingByte + 2;
constexpr std::uint64_t kShmFirstLock = 120;
constexpr std::uint64_t kShmDeadManSwitch = kShmFirstLock + ShmNode::kLocks;
constexpr std::chrono::microseconds kMutexPoll{2};

class TempFile final : public VfsFile {
 public:
  int Read(void* out, int bytes, sqlite3_int64 offset) override {
    const auto want = static_cast<std::size_t>(bytes);
    const auto at = std::min(static_cast<std::size_t>(offset), content_.size());
    const std::size_t n = std::min(want, content_.size() - at);
    if (n > 0) std::memcpy(out, content_.data() + at, n);
    if (n == want) return SQLITE_OK;
    std::memset(static_cast<char*>(out) + n, 0, want - n);
    return SQLITE_IOERR_SHORT_READ;
  }
  int Write(const void* from, int bytes, sqlite3_int64 offset) override {
    const std::size_t end = static_cast<std::size_t>(offset) + static_cast<std::size_t>(bytes);
    if (content_.size() < end) content_.resize(end);
    std::memcpy(content_.data() + offset, from, static_cast<std::size_t>(bytes));
    return SQLITE_OK;
  }
  int Truncate(sqlite3_int64 size) override {
    content_.resize(static_cast<std::size_t>(size));
    return SQLITE_OK;
  }
  int Sync() override { return SQLITE_OK; }
  int Size(sqlite3_int64* size) override {
    *size = static_cast<sqlite3_int64>(content_.size());
    return SQLITE_OK;
  }

 private:
  std::vector<char> content_;
};

}  // namespace

std::unique_ptr<VfsFile> MakeTempFile() {
  return std::make_unique<TempFile>();
}

int SqliteCode(const Error& error, int otherwise) {
  return error.Is(ErrorCode::kNoSpace) ? SQLITE_FULL : otherwise;
}

// --- Plain files. ---

int DiskFile::Read(void* out, int bytes, sqlite3_int64 offset) {
  const std::span into(static_cast<std::byte*>(out), static_cast<std::size_t>(bytes));
  const auto got = file_->ReadAt(into, static_cast<std::uint64_t>(offset));
  if (!got.ok()) return SQLITE_IOERR_READ;
  if (got.value() == into.size()) return SQLITE_OK;
  std::memset(into.data() + got.value(), 0, into.size() - got.value());
  return SQLITE_IOERR_SHORT_READ;
}

int DiskFile::Write(const void* from, int bytes, sqlite3_int64 offset) {
  const std::span data(static_cast<const std::byte*>(from), static_cast<std::size_t>(bytes));
  const auto written = file_->WriteAt(data, static_cast<std::uint64_t>(offset));
  return written.ok() ? SQLITE_OK : SqliteCode(written.error(), SQLITE_IOERR_WRITE);
}

int DiskFile::Truncate(sqlite3_int64 size) {
  return file_->Truncate(static_cast<std::uint64_t>(size)).ok() ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
}

int DiskFile::Sync() {
  if (!file_->Sync().ok()) return SQLITE_IOERR_FSYNC;
  const auto parent = std::filesystem::path(path_).parent_path();
  if (new_name_) {
    new_name_ = false;
    return process_.env().SyncDirectory(parent).ok() ? SQLITE_OK : SQLITE_IOERR_DIR_FSYNC;
  }
  // SQLite relies on more than POSIX: a WAL that one process has created and another synced and
  // checkpoints must not vanish. Linux's file systems keep the name of a file that is synced.
  if (!process_.dead()) (void)process_.world().disk().SyncDirectory(parent).ok();
  return SQLITE_OK;
}

int DiskFile::Size(sqlite3_int64* size) {
  const auto stat = file_->Stat();
  if (!stat.ok()) return SQLITE_IOERR_FSTAT;
  *size = static_cast<sqlite3_int64>(stat.value().size_bytes);
  return SQLITE_OK;
}

int DiskFile::Control(int op, void* arg) {
  if (op != SQLITE_FCNTL_PERSIST_WAL) return SQLITE_NOTFOUND;
  int& value = *static_cast<int*>(arg);
  if (value >= 0) persist_wal_ = value != 0;
  value = persist_wal_ ? 1 : 0;
  return SQLITE_OK;
}

// --- Locks of the database file. ---

// Connections of one process change what they share one at a time.
class MainFile::Mutex {
 public:
  explicit Mutex(MainFile& file) : inode_(*file.inode_) {
    while (inode_.locking && !file.process_.dead()) file.process_.Sleep(kMutexPoll);
    inode_.locking = true;
  }
  ~Mutex() { inode_.locking = false; }
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

 private:
  VfsInode& inode_;
};

bool MainFile::Set(std::uint64_t place, Kind kind) {
  const bool failed =
      process_.Enter("lock", path_, Cost::kInstant, place, static_cast<std::uint64_t>(kind))
          .has_value();
  if (process_.dead()) return kind == Kind::kNone;
  return !failed && process_.world().locks().Set(process_.pid(), inode_number_, place, kind);
}

int MainFile::LockShared() {
  if (!Set(kPendingByte, Kind::kShared)) return SQLITE_BUSY;
  const bool got = Set(kSharedFirst, Kind::kShared);
  Set(kPendingByte, Kind::kNone);
  if (!got) return SQLITE_BUSY;
  inode_->shared = 1;
  inode_->level = level_ = SQLITE_LOCK_SHARED;
  return SQLITE_OK;
}

int MainFile::Lock(int level) {
  const Mutex alone(*this);
  return LockAlone(level);
}

int MainFile::LockAlone(int level) {
  if (process_.dead()) return SQLITE_IOERR_LOCK;
  if (level_ >= level) return SQLITE_OK;
  VfsInode& inode = *inode_;
  if (level_ != inode.level && (inode.level >= SQLITE_LOCK_PENDING || level > SQLITE_LOCK_SHARED)) {
    return SQLITE_BUSY;
  }
  if (level == SQLITE_LOCK_SHARED) {
    if (inode.level != SQLITE_LOCK_SHARED && inode.level != SQLITE_LOCK_RESERVED) {
      return LockShared();
    }
    ++inode.shared;
    level_ = SQLITE_LOCK_SHARED;
    return SQLITE_OK;
  }
  if (level == SQLITE_LOCK_EXCLUSIVE && level_ == SQLITE_LOCK_RESERVED) {
    if (!Set(kPendingByte, Kind::kExclusive)) return SQLITE_BUSY;
    level_ = inode.level = SQLITE_LOCK_PENDING;
  }
  if (level == SQLITE_LOCK_EXCLUSIVE && inode.shared > 1) return SQLITE_BUSY;
  const std::uint64_t place = level == SQLITE_LOCK_RESERVED ? kReservedByte : kSharedFirst;
  if (!Set(place, Kind::kExclusive)) return process_.dead() ? SQLITE_IOERR_LOCK : SQLITE_BUSY;
  level_ = inode.level = level;
  return SQLITE_OK;
}

int MainFile::Unlock(int level) {
  if (level_ <= level) return SQLITE_OK;
  const Mutex alone(*this);
  VfsInode& inode = *inode_;
  if (level_ > SQLITE_LOCK_SHARED) {
    if (level == SQLITE_LOCK_SHARED) Set(kSharedFirst, Kind::kShared);
    Set(kPendingByte, Kind::kNone);
    Set(kReservedByte, Kind::kNone);
    inode.level = SQLITE_LOCK_SHARED;
  }
  if (level == SQLITE_LOCK_NONE && --inode.shared == 0) {
    Set(kSharedFirst, Kind::kNone);
    Set(kPendingByte, Kind::kNone);
    Set(kReservedByte, Kind::kNone);
    inode.level = SQLITE_LOCK_NONE;
    inode.pending.clear();
  }
  level_ = level;
  return SQLITE_OK;
}

int MainFile::CheckReserved(int* held) {
  *held = 0;
  if (process_.Enter("check lock", path_, Cost::kInstant)) return SQLITE_IOERR_CHECKRESERVEDLOCK;
  const auto other = process_.world().locks().Strongest(process_.pid(), inode_number_,
                                                        kReservedByte, Kind::kExclusive);
  if (inode_->level > SQLITE_LOCK_SHARED || other != Kind::kNone) *held = 1;
  return SQLITE_OK;
}

int MainFile::Control(int op, void* arg) {
  if (op == SQLITE_FCNTL_LOCKSTATE) {
    *static_cast<int*>(arg) = level_;
    return SQLITE_OK;
  }
  if (op == SQLITE_FCNTL_HAS_MOVED) {
    const auto stat = process_.env().Stat(path_);
    *static_cast<int*>(arg) = !stat.ok() || stat.value().identity.inode != inode_number_ ? 1 : 0;
    return SQLITE_OK;
  }
  return DiskFile::Control(op, arg);
}

MainFile::~MainFile() {
  MainFile::ShmUnmap(false);
  MainFile::Unlock(SQLITE_LOCK_NONE);
  // A close drops the locks of the whole process, so it waits until nobody has any.
  if (inode_->shared > 0) inode_->pending.push_back(std::move(file_));
}

// --- The wal-index. ---

ShmNode::ShmNode(Process& process, std::string database_path, std::uint64_t database_inode)
    : process_(process), database_path_(std::move(database_path)), database_inode_(database_inode) {
  process_.Add(*this);
}

ShmNode::~ShmNode() {
  process_.Drop(*this);
  for (std::byte* const region : regions_) SharedMemory::Unmap(region);
}

void ShmNode::OwnerDied() {
  for (std::byte* const region : regions_) process_.world().memory().Detach(region);
}

int ShmNode::Open() {
  const std::string path = database_path_ + "-shm";
  auto opened = process_.env().Open(path, {.write = true, .create = true});
  if (!opened.ok()) return SQLITE_CANTOPEN;
  file_ = std::move(opened).value();
  const auto stat = file_->Stat();
  if (!stat.ok()) return SQLITE_IOERR_FSTAT;
  inode_ = stat.value().identity.inode;
  if (const int rc = LockSwitch(); rc != SQLITE_OK) return rc;
  process_.world().OnWalIndex(
      {.shm_inode = inode_, .database_inode = database_inode_, .database_path = database_path_});
  return SQLITE_OK;
}

int ShmNode::LockSwitch() {
  World& world = process_.world();
  if (process_.Enter("shm getlk", database_path_, Cost::kInstant)) return SQLITE_IOERR_LOCK;
  const Kind other =
      world.locks().Strongest(process_.pid(), inode_, kShmDeadManSwitch, Kind::kExclusive);
  if (other == Kind::kExclusive) return SQLITE_BUSY;
  if (other == Kind::kNone) {
    if (process_.Enter("shm switch", database_path_, Cost::kInstant)) return SQLITE_IOERR_LOCK;
    if (!world.locks().Set(process_.pid(), inode_, kShmDeadManSwitch, Kind::kExclusive)) {
      return SQLITE_BUSY;
    }
    if (!file_->Truncate(3).ok()) return SQLITE_IOERR_SHMOPEN;
    world.memory().Clear(inode_);
  }
  if (process_.Enter("shm switch", database_path_, Cost::kInstant)) return SQLITE_IOERR_LOCK;
  if (!world.locks().Set(process_.pid(), inode_, kShmDeadManSwitch, Kind::kShared)) {
    return SQLITE_BUSY;
  }
  return SQLITE_OK;
}

int ShmNode::Map(int region, bool extend, void volatile** out) {
  *out = nullptr;
  const auto wanted = static_cast<std::size_t>(region) + 1;
  if (regions_.size() < wanted) {
    const auto stat = file_->Stat();
    if (!stat.ok()) return SQLITE_IOERR_SHMSIZE;
    const std::uint64_t bytes = wanted * SharedMemory::kRegionBytes;
    if (stat.value().size_bytes < bytes) {
      if (!extend) return SQLITE_OK;
      const std::byte zero{};
      if (!file_->WriteAt({&zero, 1}, bytes - 1).ok()) return SQLITE_IOERR_SHMSIZE;
    }
    while (regions_.size() < wanted) {
      std::byte* const mapped = process_.world().memory().Map(inode_, regions_.size());
      // It may have died in the call before.
      if (process_.dead()) process_.world().memory().Detach(mapped);
      regions_.push_back(mapped);
    }
  }
  *out = regions_[static_cast<std::size_t>(region)];
  return SQLITE_OK;
}

bool ShmNode::SetLock(int first, int count, Kind kind) {
  PosixLocks& locks = process_.world().locks();
  const auto place = [first](int i) {
    return kShmFirstLock + static_cast<std::uint64_t>(first + i);
  };
  if (process_.dead()) return kind == Kind::kNone;
  for (int i = 0; kind != Kind::kNone && i < count; ++i) {
    if (locks.Strongest(process_.pid(), inode_, place(i), kind) != Kind::kNone) return false;
  }
  for (int i = 0; i < count; ++i) locks.Set(process_.pid(), inode_, place(i), kind);
  return true;
}

void ShmNode::Unlink() {
  (void)process_.env().Remove(database_path_ + "-shm").ok();
}

int MainFile::ShmMap(int region, int extend, void volatile** out) {
  *out = nullptr;
  if (!shm_) {
    // Of one process, one at a time: the unix VFS has a mutex here.
    while (inode_->opening_shm && !process_.dead()) process_.Sleep(kMutexPoll);
    if (process_.dead()) return SQLITE_IOERR_SHMOPEN;
    auto node = inode_->shm.lock();
    if (!node) {
      inode_->opening_shm = true;
      node = std::make_shared<ShmNode>(process_, path_, inode_number_);
      const int rc = node->Open();
      inode_->opening_shm = false;
      if (rc != SQLITE_OK) return rc;
      inode_->shm = node;
    }
    shm_ = std::move(node);
  }
  return shm_->Map(region, extend != 0, out);
}

int MainFile::LockShm(int first, int count, int flags, unsigned mask) {
  auto& holders = shm_->holders;
  const auto at = static_cast<std::size_t>(first);
  if ((flags & SQLITE_SHM_UNLOCK) != 0) {
    if ((flags & SQLITE_SHM_SHARED) != 0 && holders[at] > 1) {
      --holders[at];
      shared_mask_ &= ~mask;
      return SQLITE_OK;
    }
    shm_->SetLock(first, count, Kind::kNone);
    for (int i = 0; i < count; ++i) holders[at + static_cast<std::size_t>(i)] = 0;
    shared_mask_ &= ~mask;
    exclusive_mask_ &= ~mask;
    return SQLITE_OK;
  }
  if ((flags & SQLITE_SHM_SHARED) != 0) {
    if (holders[at] < 0) return SQLITE_BUSY;
    if (holders[at] == 0 && !shm_->SetLock(first, count, Kind::kShared)) return SQLITE_BUSY;
    shared_mask_ |= mask;
    ++holders[at];
    return SQLITE_OK;
  }
  for (int i = 0; i < count; ++i) {
    if (holders[at + static_cast<std::size_t>(i)] != 0) return SQLITE_BUSY;
  }
  if (!shm_->SetLock(first, count, Kind::kExclusive)) return SQLITE_BUSY;
  exclusive_mask_ |= mask;
  for (int i = 0; i < count; ++i) holders[at + static_cast<std::size_t>(i)] = -1;
  return SQLITE_OK;
}

int MainFile::ShmLock(int first, int count, int flags) {
  if (!shm_) return SQLITE_IOERR_SHMLOCK;
  const bool failed =
      process_
          .Enter("shm lock", path_, Cost::kInstant, static_cast<std::uint64_t>(first),
                 static_cast<std::uint64_t>(flags))
          .has_value();
  const unsigned mask =
      (1U << static_cast<unsigned>(first + count)) - (1U << static_cast<unsigned>(first));
  const bool unlock = (flags & SQLITE_SHM_UNLOCK) != 0;
  if (failed && !unlock) return SQLITE_IOERR_SHMLOCK;
  if (unlock && ((shared_mask_ | exclusive_mask_) & mask) == 0) return SQLITE_OK;
  if (flags == (SQLITE_SHM_LOCK | SQLITE_SHM_SHARED) && (shared_mask_ & mask) != 0) {
    return SQLITE_OK;
  }
  return LockShm(first, count, flags, mask);
}

void MainFile::ShmBarrier() {
  (void)process_.Enter("shm barrier", path_, Cost::kInstant);
}

int MainFile::ShmUnmap(bool remove) {
  if (!shm_) return SQLITE_OK;
  // What a connection still holds would stay with its process.
  for (int i = 0; i < ShmNode::kLocks; ++i) {
    const unsigned mask = 1U << static_cast<unsigned>(i);
    const int kind = (shared_mask_ & mask) != 0 ? SQLITE_SHM_SHARED : SQLITE_SHM_EXCLUSIVE;
    if (((shared_mask_ | exclusive_mask_) & mask) != 0) {
      LockShm(i, 1, SQLITE_SHM_UNLOCK | kind, mask);
    }
  }
  if (remove && shm_.use_count() == 1) shm_->Unlink();
  shm_.reset();
  return SQLITE_OK;
}

}  // namespace litestream::sim
