#include "base/posix_env.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/env.h"
#include "base/errno_error.h"
#include "base/fd.h"
#include "base/posix_watch.h"
#include "base/try.h"

namespace litestream {
namespace {

using std::filesystem::path;

// As many as the kernel follows.
constexpr int kMaxLinks = 40;
// Tries at the lock file while others remove and create it.
constexpr int kLockTries = 100;
constexpr int kLookerTries = 40;
constexpr std::chrono::milliseconds kLookerPause{1};
constexpr std::size_t kMaxBootIdBytes = 256;

// The call again for as long as signals interrupt it.
template <typename Call>
auto Retry(Call call) {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

NanoTime ToTime(const timespec& t) {
  return NanoTime(std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec));
}

timespec ToTimespec(NanoTime t) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(t);
  return {.tv_sec = seconds.time_since_epoch().count(), .tv_nsec = (t - seconds).count()};
}

FileType TypeOf(mode_t mode) {
  if (S_ISREG(mode)) return FileType::kRegular;
  if (S_ISDIR(mode)) return FileType::kDirectory;
  if (S_ISLNK(mode)) return FileType::kSymlink;
  return FileType::kOther;
}

FileStat ToFileStat(const struct stat& st) {
  return {.identity = {.device = st.st_dev, .inode = st.st_ino},
          .type = TypeOf(st.st_mode),
          .size_bytes = static_cast<std::uint64_t>(st.st_size),
          .modified_at = ToTime(st.st_mtim),
          .changed_at = ToTime(st.st_ctim),
          .mode = st.st_mode & 07777U,
          .uid = st.st_uid,
          .gid = st.st_gid};
}

class PosixFile final : public File {
 public:
  PosixFile(Fd fd, path name) : fd_(std::move(fd)), path_(std::move(name)) {}

  Result<std::size_t> ReadAt(std::span<std::byte> out, std::uint64_t offset_bytes) override {
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t n = ::pread(fd_.get(), out.data() + done, out.size() - done,
                                static_cast<off_t>(offset_bytes + done));
      if (n == 0) break;
      if (n > 0) {
        done += static_cast<std::size_t>(n);
      } else if (errno != EINTR) {
        return ErrnoError(errno, "read", path_);
      }
    }
    return done;
  }

  Result<void> WriteAt(std::span<const std::byte> bytes, std::uint64_t offset_bytes) override {
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t n = ::pwrite(fd_.get(), bytes.data() + done, bytes.size() - done,
                                 static_cast<off_t>(offset_bytes + done));
      if (n > 0) {
        done += static_cast<std::size_t>(n);
      } else if (n == 0) {
        return ErrnoError(EIO, "write", path_);
      } else if (errno != EINTR) {
        return ErrnoError(errno, "write", path_);
      }
    }
    return {};
  }

  Result<void> Truncate(std::uint64_t size_bytes) override {
    return Check(Retry([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(size_bytes)); }),
                 "truncate");
  }

  Result<void> Allocate(std::uint64_t size_bytes) override {
    if (size_bytes == 0) return {};
    if (Retry([&] { return ::fallocate(fd_.get(), 0, 0, static_cast<off_t>(size_bytes)); }) == 0) {
      return {};
    }
    if (errno != EOPNOTSUPP && errno != ENOSYS) return ErrnoError(errno, "allocate", path_);
    // No space can be reserved here. The size at least is as everywhere else.
    if (LS_TRY(Stat()).size_bytes >= size_bytes) return {};
    return Truncate(size_bytes);
  }

  Result<void> Sync() override {
    return Check(Retry([&] { return ::fsync(fd_.get()); }), "fsync");
  }
  Result<void> SyncData() override {
    return Check(Retry([&] { return ::fdatasync(fd_.get()); }), "fdatasync");
  }

  void StartWriteback(std::uint64_t offset_bytes, std::uint64_t length_bytes) override {
    if (length_bytes == 0) return;  // The system would take it for "to the end".
    ::sync_file_range(fd_.get(), static_cast<off_t>(offset_bytes), static_cast<off_t>(length_bytes),
                      SYNC_FILE_RANGE_WRITE);
  }

  Result<FileStat> Stat() override {
    struct stat st = {};
    if (::fstat(fd_.get(), &st) != 0) return ErrnoError(errno, "stat", path_);
    return ToFileStat(st);
  }

  Result<void> SetModified(NanoTime at) override {
    const std::array<timespec, 2> times = {{{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, ToTimespec(at)}};
    return Check(::futimens(fd_.get(), times.data()), "set time of");
  }

 private:
  Result<void> Check(int result, std::string_view call) const {
    if (result != 0) return ErrnoError(errno, call, path_);
    return {};
  }

  const Fd fd_;
  const path path_;
};

class PosixLock final : public FileLock {
 public:
  explicit PosixLock(Fd fd) : fd_(std::move(fd)) {}

 private:
  const Fd fd_;
};

struct OpenedFd {
  Fd fd;
  bool created = false;
};

bool WantsOwner(const FileOwner& owner) {
  return owner.uid || owner.gid;
}

// Not being allowed to give a file away is no error.
void GiveTo(const FileOwner& owner, int fd) {
  if (!WantsOwner(owner)) return;
  [[maybe_unused]] const int result = ::fchown(fd, owner.uid.value_or(static_cast<uid_t>(-1)),
                                               owner.gid.value_or(static_cast<gid_t>(-1)));
}

// What is at that path. Mostly a directory belongs to the right one as soon as it is made, and to
// see that is cheaper than to open it.
bool BelongsTo(const FileOwner& owner, const path& name) {
  struct stat st = {};
  if (::lstat(name.c_str(), &st) != 0) return false;
  return owner.uid.value_or(st.st_uid) == st.st_uid && owner.gid.value_or(st.st_gid) == st.st_gid;
}

Result<OpenedFd> OpenFd(const path& name, int flags, const FileOwner& owner) {
  const auto open = [&](int more) {
    return Retry([&] { return ::open(name.c_str(), flags | more | O_CLOEXEC, owner.mode); });
  };
  // Only an exclusive open says whether the file is new, and only a new file gets another owner.
  const bool find_out = (flags & O_CREAT) != 0 && (flags & O_EXCL) == 0 && WantsOwner(owner);
  int fd = open(find_out ? O_EXCL : 0);
  const bool created = fd >= 0 && (flags & O_CREAT) != 0 && (find_out || (flags & O_EXCL) != 0);
  if (fd < 0 && find_out && errno == EEXIST) fd = open(0);
  if (fd < 0) return ErrnoError(errno, "open", name);
  Fd opened(fd);
  if (created) GiveTo(owner, opened.get());
  return OpenedFd{.fd = std::move(opened), .created = created};
}

class PosixEnv final : public Env {
 public:
  Result<std::unique_ptr<File>> Open(const path& name, const OpenOptions& options) override {
    const int flags = (options.write ? O_RDWR : O_RDONLY) | (options.create ? O_CREAT : 0) |
                      (options.create && options.exclusive ? O_EXCL : 0) |
                      (options.truncate ? O_TRUNC : 0);
    OpenedFd opened = LS_TRY(OpenFd(name, flags, options.owner));
    return std::make_unique<PosixFile>(std::move(opened.fd), name);
  }

  Result<FileStat> Stat(const path& name) override {
    struct stat st = {};
    if (::stat(name.c_str(), &st) != 0) return ErrnoError(errno, "stat", name);
    return ToFileStat(st);
  }

  Result<path> ResolveLink(const path& name) override {
    path at = name;
    for (int links = 0; links < kMaxLinks; ++links) {
      std::array<char, PATH_MAX> target;
      const ssize_t length = ::readlink(at.c_str(), target.data(), target.size());
      if (length < 0) {
        if (errno == EINVAL || errno == ENOENT || errno == ENOTDIR) return at;  // No link.
        return ErrnoError(errno, "read link", at);
      }
      // An absolute target replaces what stands before it.
      at = at.parent_path() / path(std::string(target.data(), static_cast<std::size_t>(length)));
    }
    return ErrnoError(ELOOP, "read link", name);
  }

  Result<void> Rename(const path& from, const path& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return RenameError(errno, from, to);
    return {};
  }

  Result<void> RenameNoReplace(const path& from, const path& to) override {
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return {};
    if (errno == EINVAL || errno == ENOSYS) return posix::RenameByLink(from, to);
    return RenameError(errno, from, to);
  }

  Result<void> Remove(const path& name) override {
    if (::unlink(name.c_str()) != 0) return ErrnoError(errno, "remove", name);
    return {};
  }

  Result<void> RemoveTree(const path& name) override {
    std::error_code ec;
    std::filesystem::remove_all(name, ec);
    if (!ec || CodeFromErrno(ec.value()) == ErrorCode::kNotFound) return {};
    return ErrnoError(ec.value(), "remove tree", name);
  }

  Result<void> CreateDirectory(const path& name, const FileOwner& owner) override {
    if (::mkdir(name.c_str(), posix::DirectoryMode(owner.mode)) != 0) {
      return ErrnoError(errno, "create directory", name);
    }
    if (!WantsOwner(owner) || BelongsTo(owner, name)) return {};
    const Fd fd(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (fd.valid()) GiveTo(owner, fd.get());
    return {};
  }

  Result<std::vector<DirectoryEntry>> List(const path& name) override;
  Result<void> SyncDirectory(const path& name) override;
  Result<std::unique_ptr<FileLock>> Lock(const path& name, const FileOwner& owner) override;
  Result<bool> IsLocked(const path& name) override;

  Result<std::unique_ptr<FileWatch>> WatchFile(const path& name,
                                               FileEventCallback callback) override {
    return watcher_.WatchFile(name, std::move(callback));
  }
  Result<std::unique_ptr<FileWatch>> WatchDirectory(const path& name,
                                                    FileEventCallback callback) override {
    return watcher_.WatchDirectory(name, std::move(callback));
  }
  Result<std::unique_ptr<FileWatch>> WatchEntries(const path& directory,
                                                  std::vector<std::string> names,
                                                  FileEventCallback callback) override {
    return watcher_.WatchEntries(directory, std::move(names), std::move(callback));
  }

  void Random(std::span<std::byte> out) override;
  std::string BootId() override;
  const Clock& clock() const override { return Clock::Real(); }

 private:
  static Error RenameError(int error_number, const path& from, const path& to) {
    return ErrnoError(error_number, fmt::format("rename {} to", from.native()), to);
  }

  PosixWatcher watcher_;
};

Result<std::vector<DirectoryEntry>> PosixEnv::List(const path& name) {
  std::vector<DirectoryEntry> entries;
  std::error_code ec;
  for (std::filesystem::directory_iterator it(name, ec), end; !ec && it != end; it.increment(ec)) {
    std::error_code entry_ec;
    FileType type = FileType::kOther;
    switch (it->symlink_status(entry_ec).type()) {
      case std::filesystem::file_type::regular:
        type = FileType::kRegular;
        break;
      case std::filesystem::file_type::directory:
        type = FileType::kDirectory;
        break;
      case std::filesystem::file_type::symlink:
        type = FileType::kSymlink;
        break;
      case std::filesystem::file_type::not_found:
        continue;  // Removed since the directory was read.
      default:
        break;
    }
    entries.push_back({.name = it->path().filename().native(), .type = type});
  }
  if (ec) return ErrnoError(ec.value(), "list", name);
  return entries;
}

Result<void> PosixEnv::SyncDirectory(const path& name) {
  const Fd fd(Retry([&] { return ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!fd.valid()) return ErrnoError(errno, "open directory", name);
  // EINVAL: a file system that has nothing to sync in a directory (some FUSE and CIFS servers).
  if (Retry([&] { return ::fsync(fd.get()); }) != 0 && errno != EINVAL) {
    return ErrnoError(errno, "fsync directory", name);
  }
  return {};
}

Result<std::unique_ptr<FileLock>> PosixEnv::Lock(const path& name, const FileOwner& owner) {
  for (int i = 0; i < kLockTries; ++i) {
    OpenedFd opened = LS_TRY(OpenFd(name, O_RDWR | O_CREAT, owner));
    if (Retry([&] { return ::flock(opened.fd.get(), LOCK_EX | LOCK_NB); }) != 0) {
      if (errno != EWOULDBLOCK) return ErrnoError(errno, "lock", name);
      // Somebody only looks (IsLocked), and is gone in a moment.
      if (i < kLookerTries && ::flock(opened.fd.get(), LOCK_SH | LOCK_NB) == 0) {
        ::flock(opened.fd.get(), LOCK_UN);
        clock().Wait({}, kLookerPause);
        continue;
      }
      return Error(ErrorCode::kAlreadyExists,
                   fmt::format("lock {}: held by another process", name.native()));
    }
    // The file may have been removed between the two calls; then others do not see our lock.
    struct stat ours = {};
    struct stat there = {};
    if (::fstat(opened.fd.get(), &ours) == 0 && ::stat(name.c_str(), &there) == 0 &&
        ours.st_ino == there.st_ino && ours.st_dev == there.st_dev) {
      return std::make_unique<PosixLock>(std::move(opened.fd));
    }
  }
  return Error(ErrorCode::kIo,
               fmt::format("lock {}: somebody keeps removing the file", name.native()));
}

// By a shared lock for a moment: it can be had exactly if nobody has the exclusive one.
Result<bool> PosixEnv::IsLocked(const path& name) {
  auto opened = OpenFd(name, O_RDONLY, {});
  if (!opened.ok() && opened.error().Is(ErrorCode::kNotFound)) return false;
  const OpenedFd file = LS_TRY(std::move(opened));
  if (Retry([&] { return ::flock(file.fd.get(), LOCK_SH | LOCK_NB); }) == 0) return false;
  if (errno == EWOULDBLOCK) return true;
  return ErrnoError(errno, "look at the lock", name);
}

// No process outlives it.
std::string PosixEnv::BootId() {
  static const std::string boot_id = [this] {
    auto id = ReadSmallFile(*this, "/proc/sys/kernel/random/boot_id", kMaxBootIdBytes);
    return id.ok() ? std::move(id).value() : std::string();
  }();
  return boot_id;
}

void PosixEnv::Random(std::span<std::byte> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = Retry([&] { return ::getrandom(out.data() + done, out.size() - done, 0); });
    if (n < 0) {
      // Cannot happen on a kernel we run on, and nothing that follows could be trusted.
      std::perror("getrandom");
      std::abort();
    }
    done += static_cast<std::size_t>(n);
  }
}

}  // namespace

Result<void> posix::RenameByLink(const path& from, const path& to) {
  if (::link(from.c_str(), to.c_str()) != 0) {
    return ErrnoError(errno, fmt::format("link {} to", from.native()), to);
  }
  if (::unlink(from.c_str()) != 0) {
    const int error_number = errno;
    ::unlink(to.c_str());
    return ErrnoError(error_number, "remove", from);
  }
  return {};
}

Env& Env::Real() {
  static PosixEnv& env = *new PosixEnv;  // Never destroyed: threads may outlive main.
  return env;
}

}  // namespace litestream
